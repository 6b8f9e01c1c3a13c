"""The linear references: hashes that are computed and not trained, as models, so that they can be used and compared.

Random directions (``lsh``), principal components (``pca``), and principal components turned so that rounding changes
least (``itq``): see :mod:`hashae.evaluation.baselines`, which computes them. A bit is the sign of a projection of the
centred image. A code is decoded by the pseudo-inverse from two levels for each bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from hashae.config import ModelConfig
from hashae.errors import ConfigError
from hashae.evaluation.baselines import create_baseline
from hashae.models.base import Losses, LossWeights, Views
from hashae.models.settings import Settings, setting
from hashae.models.sibling import Sibling


@dataclass(frozen=True)
class LinearSettings(Settings):
    """Settings of a linear reference.

    Attributes
    ----------
    seed
        Of random directions and rotations.
    """

    seed: int = setting(0, least=0)


class LinearReference(Sibling):
    """A linear map fitted to the training images; subclasses name the method."""

    own_settings = LinearSettings
    settings: LinearSettings
    closed_form = True
    method: ClassVar[str]

    def build(self, config: ModelConfig) -> None:
        """Make room for the map; there are no layers, whatever the trunk."""
        pixels = math.prod(config.image_shape)
        if self.method != "lsh" and config.bits > pixels:
            raise ConfigError(
                f"bits is {config.bits}; images {config.image_shape} have {pixels} values and as many components: use "
                f"at most {pixels // 8 * 8} bits, or lsh"
            )
        self.mean: Tensor
        self.directions: Tensor
        self.back: Tensor
        self.register_buffer("mean", torch.zeros(pixels))
        # Until it is fitted, any map: a model that was only built can be looked at, too.
        directions = torch.randn(pixels, config.bits)
        self.register_buffer("directions", directions)
        self.register_buffer("back", torch.linalg.pinv(directions))

    def prepare(self, images: Tensor) -> None:
        """Compute the map from training images ``(n, channels, height, width)``."""
        super().prepare(images)
        fitted = create_baseline(self.method, self.config.bits, self.settings.seed).fit(self.scaled(images).numpy())
        self.mean.copy_(torch.from_numpy(fitted.mean))
        self.directions.copy_(torch.from_numpy(fitted.directions))
        self.back.copy_(torch.linalg.pinv(self.directions))

    def encode(self, x: Tensor) -> Tensor:
        """Return the projections ``(n, bits)`` of canonical images."""
        return (self.scaled(x).flatten(1) - self.mean) @ self.directions

    def latent(self, logits: Tensor, sigma: float = 0.0) -> Tensor:
        """Return the projections themselves; `sigma` is not used."""
        return logits

    def decode(self, z: Tensor) -> Tensor:
        """Return images ``(n, channels, height, width)`` in [0, 1] of projections ``z (n, bits)``."""
        x = (self.mean + z @ self.back).reshape(-1, *self.config.image_shape)  # (n, c, h, w)
        if self.scaling is not None:
            x = x * self.scaling.scale + self.scaling.shift
        return x.clamp(0, 1)

    def loss(self, views: Views, weights: LossWeights) -> Losses:
        """Return the mean squared error of the clean images; nothing is learned from it."""
        reconstruction = F.mse_loss(self.reconstruct(views.clean), views.clean)
        return Losses(weights.reconstruction * reconstruction, {"reconstruction": reconstruction})

    def fit_threshold(self, logits: Tensor) -> None:
        """Keep 0: a bit is the sign of a projection of the centred image. Fit the levels of the decoder."""
        self.fit_levels(logits, logits)


class LshReference(LinearReference):
    """Random directions (Charikar 2002)."""

    method = "lsh"


class PcaReference(LinearReference):
    """Principal components."""

    method = "pca"


class ItqReference(LinearReference):
    """Iterative quantisation (Gong and Lazebnik 2011)."""

    method = "itq"
