"""Plain thresholding, for comparison: a sigmoid bottleneck without noise whose activations are rounded at one half.

What the binary model would be if nothing pushed its units apart: activations stay where they carry most information, in
the middle, and rounding them there loses most of it.
"""

from __future__ import annotations

from torch import Tensor

from hashae.models.base import Losses, LossWeights, Views
from hashae.models.sibling import Reconstructing


class ThresholdAutoencoder(Reconstructing):
    """Sigmoid bottleneck, no noise; code bit = activation > 1/2."""

    def loss(self, views: Views, weights: LossWeights) -> Losses:
        """Return the loss of reconstructing the clean images from themselves."""
        z = self.latent(self.encode(views.clean))  # (n, bits)
        reconstruction = self.reconstruction(z, views.clean)
        return Losses(weights.reconstruction * reconstruction, {"reconstruction": reconstruction})

    def fit_threshold(self, logits: Tensor) -> None:
        """Keep 0, where the activation is one half, and the levels 0 and 1: the code is the rounded activation."""
