"""The variational autoencoder (Kingma and Welling 2014; Rezende, Mohamed and Wierstra 2014).

The encoder gives the mean and the variance of a Gaussian over latents; a sample of it, mean + deviation * noise, is
decoded, so that gradients pass (reparameterisation). The loss is ``GenLoss + lambda * KL``: the negative log-likelihood
of the image, and the divergence of that Gaussian from the standard normal one. Both are divided by the number of
pixels, so that lambda = 1 is the evidence lower bound.

The decoder is a Bernoulli variable for each pixel, a Gaussian of fixed variance, or a Gaussian whose variance is
predicted beside its mean: only this one can say that a pixel varies without knowing where to.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hashae.config import ModelConfig
from hashae.models.base import Losses, LossWeights, Views
from hashae.models.settings import Settings, setting
from hashae.models.sibling import Sibling
from hashae.models.trunks import build_decoder, build_trunk

LOG_VARIANCE = 10.0
"""Largest log-variance of a latent, either way; pixels stay within what a byte can tell, see `FINEST`."""

FINEST = math.log(1e-5)
"""Smallest log-variance of a pixel in [0, 1]: half a grey level. Below, the likelihood of a flat pixel has no limit."""


@dataclass(frozen=True)
class VariationalSettings(Settings):
    """Settings of the variational model.

    Attributes
    ----------
    likelihood
        Of the decoder: ``bernoulli``, ``gaussian`` (fixed deviation) or ``predicted`` (Gaussian, mean and variance).
    deviation
        Fixed standard deviation of a pixel, for ``gaussian``.
    kl
        Weight of the divergence: the lambda of the loss.
    """

    likelihood: Literal["bernoulli", "gaussian", "predicted"] = "bernoulli"
    deviation: float = setting(0.1, above=0)
    kl: float = setting(1.0, least=0)


class VariationalAutoencoder(Sibling):
    """Gaussian latents; a bit is the mean of its latent above the training median."""

    own_settings = VariationalSettings
    settings: VariationalSettings

    def build(self, config: ModelConfig) -> None:
        """Make the layers: two heads, and twice the channels where variances are predicted."""
        self.trunk, features = build_trunk(
            config.trunk, config.image_shape, config.width, config.dropout, config.batch_norm
        )
        self.head = nn.Linear(features, config.bits)
        self.log_variance = nn.Linear(features, config.bits)
        channels, height, width = config.image_shape
        outputs = 2 * channels if self.settings.likelihood == "predicted" else channels
        self.decoder = build_decoder(config.trunk, config.bits, (outputs, height, width), config.width)

    def latent(self, logits: Tensor, sigma: float = 0.0) -> Tensor:
        """Return the means themselves, ``(n, bits)``: without noise, as in use. `sigma` is not used."""
        return logits

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance of the latents of images, each ``(n, bits)``."""
        features = self.trunk(self.scaled(x))  # (n, features)
        log_variance = self.log_variance(features).float().clamp(-LOG_VARIANCE, LOG_VARIANCE)
        return self.head(features).float(), log_variance

    def decode_distribution(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and variance of the pixels, each ``(n, channels, height, width)``."""
        out = self.decoder(z).float()  # (n, c or 2c, h, w)
        if self.settings.likelihood == "predicted":
            mean, log_variance = out.chunk(2, dim=1)
            return torch.sigmoid(mean), (FINEST + F.softplus(log_variance - FINEST)).clamp(max=LOG_VARIANCE).exp()
        mean = torch.sigmoid(out)
        if self.settings.likelihood == "bernoulli":
            return mean, mean * (1 - mean)
        return mean, torch.full_like(mean, self.settings.deviation**2)

    def decode(self, z: Tensor) -> Tensor:
        """Return the mean images ``(n, channels, height, width)`` in [0, 1] of latents ``z (n, bits)``."""
        return self.decode_distribution(z)[0]

    def loss(self, views: Views, weights: LossWeights) -> Losses:
        """Return ``GenLoss + kl * KL`` of the clean images, per pixel."""
        mean, log_variance = self.posterior(views.clean)  # (n, bits), (n, bits)
        z = mean + (log_variance / 2).exp() * torch.randn_like(mean)  # (n, bits)
        if self.settings.likelihood == "bernoulli":
            reconstruction = F.binary_cross_entropy_with_logits(self.decoder(z).float(), views.clean)
        else:
            image, variance = self.decode_distribution(z)
            reconstruction = F.gaussian_nll_loss(image, views.clean, variance, full=True)
        pixels = views.clean[0].numel()
        terms = {
            "reconstruction": reconstruction,
            "divergence": self.settings.kl * divergence(mean, log_variance).mean() / pixels,
        }
        return Losses(weights.reconstruction * reconstruction + terms["divergence"], terms)


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return KL(N(mean, variance) || N(0, 1)) summed over latents, ``(n,)`` (Kingma and Welling 2014, appendix B)."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1)
