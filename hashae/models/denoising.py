"""The denoising autoencoder (Vincent et al. 2008, 2010): it sees a corrupted image and has to give back the clean one.

What it learns is the way back to where images are. With Gaussian noise of variance v_n on pixels of mean 0 and variance
v_x, the best answer is the posterior mean, x * v_x / (v_x + v_n) = x * sigmoid(log(v_x / v_n)): to clean a pixel, the
network has to know its variance, also where the mean tells nothing. A bottleneck cannot carry the pixels themselves
beside that. With ``gate`` it need not: the decoder gives for each pixel the share of its deviation from the mean that
is kept, so that the code holds the variances, and nothing else. See ``benchmarks/variance_mnist.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from hashae.config import ModelConfig
from hashae.errors import ConfigError
from hashae.models.base import Losses, LossWeights, Views
from hashae.models.plain import PlainAutoencoder, PlainSettings
from hashae.models.settings import setting


@dataclass(frozen=True)
class DenoisingSettings(PlainSettings):
    """Settings of the denoising model.

    Attributes
    ----------
    corruption
        ``gaussian`` adds noise, ``masking`` sets pixels to 0, ``views`` takes the corrupted views of the training
        (crops, rotations, blur and so on).
    amount
        Standard deviation of the noise, or share of the pixels that are masked.
    gate
        Reconstruct ``mean + (seen - mean) * g``, where `g` in [0, 1] is what the decoder gives and the mean is that of
        the pixel over the training images. A decoded code is then a picture of the gate.
    """

    corruption: Literal["gaussian", "masking", "views"] = "gaussian"
    amount: float = setting(0.3, least=0, below=1)
    gate: bool = False


class DenoisingAutoencoder(PlainAutoencoder):
    """Encodes a corrupted image, reconstructs the clean one."""

    own_settings = DenoisingSettings
    settings: DenoisingSettings

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        if self.settings.gate:
            if (self.settings.output, self.settings.loss) != ("sigmoid", "mse"):
                raise ConfigError("gate is set; expected output='sigmoid' and loss='mse' with it")
            self.mean: Tensor
            self.register_buffer("mean", torch.full(config.image_shape, 0.5))  # of each pixel

    @property
    def needs_images(self) -> bool:
        """Whether :meth:`prepare` has anything to do."""
        return self.settings.gate or super().needs_images

    def prepare(self, images: Tensor) -> None:
        """Fit the scaling, and the mean of each pixel, to training images ``(n, channels, height, width)``."""
        super().prepare(images)
        if self.settings.gate:
            self.mean.copy_(images.mean(dim=0))

    def reconstruct(self, x: Tensor) -> Tensor:
        """Return the cleaned images."""
        again = super().reconstruct(x)
        return (self.mean + (x - self.mean) * again).clamp(0, 1) if self.settings.gate else again

    def corrupt(self, images: Tensor) -> Tensor:
        """Return a corrupted copy of ``images (n, c, h, w)``, with fresh noise in every call.

        Noise is not cut to [0, 1]: the mean of a corrupted pixel stays that of the clean one.
        """
        if self.settings.corruption == "masking":
            kept = torch.rand_like(images[:, :1]) >= self.settings.amount  # (n, 1, h, w): all channels of a pixel
            return images * kept
        return images + self.settings.amount * torch.randn_like(images)

    def loss(self, views: Views, weights: LossWeights) -> Losses:
        """Return the loss of reconstructing the clean images from corrupted ones."""
        seen = views.first if self.settings.corruption == "views" else self.corrupt(views.clean)
        z = self.latent(self.encode(seen))  # (n, bits)
        if self.settings.gate:
            kept = torch.sigmoid(self.decoder(z).float())  # (n, c, h, w) in [0, 1]
            reconstruction = F.mse_loss(self.mean + (seen - self.mean) * kept, views.clean)
        else:
            reconstruction = self.reconstruction(z, views.clean)
        return Losses(weights.reconstruction * reconstruction, {"reconstruction": reconstruction})
