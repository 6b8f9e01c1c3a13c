"""What the siblings of the binary model share: they reconstruct, and their code is taken at the training median.

Nothing makes their units binary. A bit is 1 where its logit is above the median over the training images, which at
least balances the bits. The decoder has never seen zeros and ones, so a code is decoded from two levels for each unit:
the mean of the latent where the bit is 0, and where it is 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from hashae.config import ModelConfig
from hashae.errors import ConfigError
from hashae.models.base import HashModel
from hashae.models.settings import Settings


class Sibling(HashModel):
    """A model with a sigmoid bottleneck whose code is taken at the training median."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.low: Tensor
        self.high: Tensor
        self.register_buffer("low", torch.zeros(config.bits))  # mean latent where the bit is 0
        self.register_buffer("high", torch.ones(config.bits))  # and where it is 1

    def latent(self, logits: Tensor, sigma: float = 0.0) -> Tensor:
        """Return ``sigmoid(logits)``, ``(n, bits)`` in [0, 1]; `sigma` is not used: there is no noise."""
        return torch.sigmoid(logits)

    def fit_threshold(self, logits: Tensor) -> None:
        """Put each threshold at the median of its logit, and fit the two levels that codes are decoded from."""
        self.threshold.copy_(median(logits))
        self.fit_levels(logits, self.latent(logits))

    def fit_levels(self, logits: Tensor, values: Tensor) -> None:
        """Set the levels to the means of `values (n, bits)` where a bit is 0 and where it is 1."""
        ones = self.code(logits)  # (n, bits)
        middle = values.mean(dim=0)
        for level, where in ((self.low, ~ones), (self.high, ones)):
            count = where.sum(dim=0)
            mean = (values * where).sum(dim=0) / count.clamp(min=1)
            level.copy_(torch.where(count > 0, mean, middle))

    def decode_code(self, bits: Tensor) -> Tensor:
        """Return the images that codes stand for; bits ``(n, bits)`` are 0.0 or 1.0."""
        return self.decode(self.levels(bits))

    def levels(self, bits: Tensor) -> Tensor:
        """Return for each bit the level it stands for, ``(n, bits)``."""
        return self.low + bits * (self.high - self.low)


@dataclass(frozen=True)
class ReconstructionSettings(Settings):
    """How images are reconstructed.

    Attributes
    ----------
    output
        ``sigmoid``, or ``linear``: what the decoder gives is then cut to [0, 1] when an image is asked for.
    loss
        ``bce`` (binary cross-entropy, needs the sigmoid) or ``mse`` (mean squared error); mean over pixels.
    """

    output: Literal["sigmoid", "linear"] = "sigmoid"
    loss: Literal["bce", "mse"] = "bce"

    def __post_init__(self) -> None:
        if (self.output, self.loss) == ("linear", "bce"):
            raise ConfigError("output is 'linear' and loss 'bce'; cross-entropy needs output='sigmoid': use loss='mse'")


class Reconstructing(Sibling):
    """A sibling that reconstructs pixels by cross-entropy or squared error."""

    own_settings: ClassVar[type[Settings]] = ReconstructionSettings
    settings: ReconstructionSettings

    def decode(self, z: Tensor) -> Tensor:
        """Return images ``(n, channels, height, width)`` in [0, 1] of latents ``z (n, latent_size)``."""
        out: Tensor = self.decoder(z)
        return torch.sigmoid(out) if self.settings.output == "sigmoid" else out.clamp(0, 1)

    def reconstruction(self, z: Tensor, images: Tensor) -> Tensor:
        """Return the loss of reconstructing `images` from latents, mean over pixels."""
        return self.pixel_loss(self.decoder(z), images)

    def pixel_loss(self, out: Tensor, images: Tensor) -> Tensor:
        """Return the loss of what the decoder gave, ``(n, c, h, w)`` before the output function."""
        out = out.float()
        if self.settings.loss == "bce":
            return F.binary_cross_entropy_with_logits(out, images)
        return F.mse_loss(torch.sigmoid(out) if self.settings.output == "sigmoid" else out, images)


def median(logits: Tensor) -> Tensor:
    """Return the median of each column of ``logits (n, bits)``, between the two in the middle.

    Not one of the values itself: an image whose logit is the threshold would owe its bit to the last digit of a sum.
    """
    middle = (len(logits) - 1) // 2
    ordered = logits.sort(dim=0).values
    return (ordered[middle] + ordered[min(middle + 1, len(logits) - 1)]) / 2
