"""The plain undercomplete autoencoder (Hinton and Salakhutdinov 2006), for comparison.

Sigmoid bottleneck, reconstruction of the clean image by binary cross-entropy, nothing else. It does not make its units
binary: the code is taken at the median of each logit over the training images, which at least balances the bits.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from hashae.models.base import HashModel, Losses, LossWeights, Views


class PlainAutoencoder(HashModel):
    """Sigmoid bottleneck, no noise, threshold at the training median."""

    def latent(self, logits: Tensor, sigma: float = 0.0) -> Tensor:
        """Return ``sigmoid(logits)``; `sigma` is not used: this model has no noise."""
        return torch.sigmoid(logits)

    def loss(self, views: Views, weights: LossWeights) -> Losses:
        """Return the binary cross-entropy of reconstructing the clean images, mean over pixels."""
        image_logits = self.decoder(self.latent(self.encode(views.clean)))  # (n, c, h, w)
        reconstruction = F.binary_cross_entropy_with_logits(image_logits.float(), views.clean)
        return Losses(weights.reconstruction * reconstruction, {"reconstruction": reconstruction})

    def fit_threshold(self, logits: Tensor) -> None:
        """Put each threshold at the median of its logit: bits are then balanced on the training images."""
        self.threshold.copy_(logits.median(dim=0).values)
