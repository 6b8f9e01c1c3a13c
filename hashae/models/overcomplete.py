"""The overcomplete autoencoder: more latents than pixels, to show why that alone teaches nothing.

With room for a copy, the easiest way to reconstruct an image is to copy it; nothing has to be left out, so nothing has
to be understood. It reconstructs white noise, which has no structure, as well as pictures. The code is taken from
random projections of the wide latent, because no small number of its units stands for the image: what comes out is
close to locality-sensitive hashing of the pixels, and is meant to be compared with that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hashae.config import ModelConfig
from hashae.models.base import Losses, LossWeights, Views
from hashae.models.plain import PlainAutoencoder, PlainSettings
from hashae.models.settings import setting
from hashae.models.sibling import median
from hashae.models.trunks import build_decoder, build_trunk


@dataclass(frozen=True)
class OvercompleteSettings(PlainSettings):
    """Settings of the overcomplete model.

    Attributes
    ----------
    factor
        Latents for each pixel value; hidden layers are widened where they would be narrower.
    """

    factor: float = setting(1.5, above=1)


class OvercompleteAutoencoder(PlainAutoencoder):
    """A latent wider than the image; the code is a random projection of it."""

    own_settings = OvercompleteSettings
    settings: OvercompleteSettings
    trunks = ("conv", "dense", "linear")  # what is pooled is narrower than the image

    def build(self, config: ModelConfig) -> None:
        """Make the layers, none narrower than the image."""
        pixels = math.prod(config.image_shape)
        self.units = math.ceil(self.settings.factor * pixels)
        # A conv trunk ends in 4 * width channels at an eighth of the side, a dense one in 16 * width units.
        enough = self.units / (pixels / 16) if config.trunk == "conv" else self.units / 16
        width = max(config.width, math.ceil(enough))
        self.trunk, features = build_trunk(config.trunk, config.image_shape, width, config.dropout, config.batch_norm)
        self.head = nn.Linear(features, self.units)
        self.decoder = build_decoder(config.trunk, self.units, config.image_shape, width)
        projection = torch.linalg.qr(torch.randn(self.units, config.bits)).Q  # (units, bits), orthonormal columns
        self.projection: Tensor
        self.register_buffer("projection", projection)

    @property
    def latent_size(self) -> int:
        """Number of values that the decoder is fed."""
        return self.units

    @property
    def centre(self) -> float:
        """Middle of the range of a latent."""
        return 0.5 if self.settings.activation == "sigmoid" else 0.0

    def wide(self, x: Tensor) -> Tensor:
        """Return the latents ``(n, units)`` of images."""
        return super().latent(self.head(self.trunk(self.scaled(x))))

    def encode(self, x: Tensor) -> Tensor:
        """Return random projections ``(n, bits)`` of the latents."""
        return (self.wide(x).float() - self.centre) @ self.projection

    def latent(self, logits: Tensor, sigma: float = 0.0) -> Tensor:
        """Return the shortest latents ``(n, units)`` with these projections; `sigma` is not used."""
        return self.centre + logits @ self.projection.T

    def reconstruct(self, x: Tensor) -> Tensor:
        """Return the images decoded from their wide latents."""
        return self.decode(self.wide(x))

    def loss(self, views: Views, weights: LossWeights) -> Losses:
        """Return the loss of reconstructing the clean images from themselves."""
        reconstruction = self.reconstruction(self.wide(views.clean), views.clean)
        return Losses(weights.reconstruction * reconstruction, {"reconstruction": reconstruction})

    def fit_threshold(self, logits: Tensor) -> None:
        """Put each threshold at the median of its logit, and fit the two levels of each projection."""
        self.threshold.copy_(median(logits))
        self.fit_levels(logits, logits)

    def decode_code(self, bits: Tensor) -> Tensor:
        """Return the images that codes stand for; bits ``(n, bits)`` are 0.0 or 1.0."""
        return self.decode(self.latent(self.levels(bits)))
