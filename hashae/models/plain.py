"""The plain undercomplete autoencoder (Hinton and Salakhutdinov 2006), for comparison.

It reconstructs the image it is given through a bottleneck, nothing else. With the ``linear`` trunk, a linear
bottleneck, a linear output and squared error it spans the subspace of the principal components (Baldi and Hornik 1989);
with a sigmoid bottleneck and cross-entropy it is the textbook's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from hashae.models.base import Losses, LossWeights, Views
from hashae.models.sibling import Reconstructing, ReconstructionSettings


@dataclass(frozen=True)
class PlainSettings(ReconstructionSettings):
    """Settings of the plain model.

    Attributes
    ----------
    activation
        Of the bottleneck: ``sigmoid``, ``relu`` or ``linear``.
    """

    activation: Literal["sigmoid", "relu", "linear"] = "sigmoid"


class PlainAutoencoder(Reconstructing):
    """One bottleneck, one term in the loss."""

    own_settings = PlainSettings
    settings: PlainSettings

    def latent(self, logits: Tensor, sigma: float = 0.0) -> Tensor:
        """Return the activation of the logits, ``(n, bits)``; `sigma` is not used: this model has no noise."""
        if self.settings.activation == "linear":
            return logits
        return torch.sigmoid(logits) if self.settings.activation == "sigmoid" else torch.relu(logits)

    def loss(self, views: Views, weights: LossWeights) -> Losses:
        """Return the loss of reconstructing the clean images from themselves."""
        z = self.latent(self.encode(views.clean))  # (n, bits)
        reconstruction = self.reconstruction(z, views.clean)
        return Losses(weights.reconstruction * reconstruction, {"reconstruction": reconstruction})
