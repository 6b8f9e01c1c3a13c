"""The denoising autoencoder (Vincent et al. 2008, 2010): it sees a corrupted image and has to give back the clean one.

What it learns is the way back to where images are. With Gaussian noise of variance v_n on pixels of mean 0 and variance
v_x, the best answer is the posterior mean, x * v_x / (v_x + v_n) = x * sigmoid(log(v_x / v_n)): to clean a pixel, the
network has to know its variance, also where the mean tells nothing. See ``benchmarks/variance_mnist.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

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
    """

    corruption: Literal["gaussian", "masking", "views"] = "gaussian"
    amount: float = setting(0.3, least=0, below=1)


class DenoisingAutoencoder(PlainAutoencoder):
    """Encodes a corrupted image, reconstructs the clean one."""

    own_settings = DenoisingSettings
    settings: DenoisingSettings

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
        reconstruction = self.reconstruction(z, views.clean)
        return Losses(weights.reconstruction * reconstruction, {"reconstruction": reconstruction})
