"""Sparse autoencoders: few units may be active at once.

Two ways. A penalty (Ng 2011, "Sparse autoencoder"; Lee, Ekanadham and Ng 2008) is the Kullback-Leibler divergence
between a Bernoulli variable with the wanted mean activation rho and one with the unit's mean over the batch. Or the k
largest activations of each image are kept and all others set to zero (k-sparse, Makhzani and Frey 2013).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hashae.config import ModelConfig
from hashae.errors import ConfigError
from hashae.models.base import Losses, LossWeights, Views
from hashae.models.settings import setting
from hashae.models.sibling import Reconstructing, ReconstructionSettings


@dataclass(frozen=True)
class SparseSettings(ReconstructionSettings):
    """Settings of the sparse model.

    Attributes
    ----------
    rho
        Wanted mean activation of a unit.
    beta
        Weight of the penalty, mean over units.
    k
        Keep the k largest activations of each image instead, without penalty; 0 takes the penalty.
    """

    rho: float = setting(0.1, above=0, below=1)
    beta: float = setting(0.1, least=0)
    k: int = setting(0, least=0)


class SparseAutoencoder(Reconstructing):
    """Sigmoid bottleneck, few units active at once."""

    own_settings = SparseSettings
    settings: SparseSettings

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        if self.settings.k > config.bits:
            raise ConfigError(f"k is {self.settings.k}, of {config.bits} units; expected at most as many as bits")

    def latent(self, logits: Tensor, sigma: float = 0.0) -> Tensor:
        """Return ``sigmoid(logits)``, with `k` set only the k largest of each row; `sigma` is not used."""
        z = torch.sigmoid(logits)  # (n, bits)
        if not self.settings.k:
            return z
        largest = z.topk(self.settings.k, dim=1).indices  # (n, k)
        return z * torch.zeros_like(z).scatter_(1, largest, 1.0)

    def loss(self, views: Views, weights: LossWeights) -> Losses:
        """Return reconstruction of the clean images, and the penalty unless `k` is set."""
        z = self.latent(self.encode(views.clean).float())  # (n, bits)
        terms = {"reconstruction": self.reconstruction(z, views.clean)}
        total = weights.reconstruction * terms["reconstruction"]
        if not self.settings.k:
            terms["sparsity"] = self.settings.beta * sparsity(z, self.settings.rho)
            total = total + terms["sparsity"]
        return Losses(total, terms)


def sparsity(z: Tensor, rho: float) -> Tensor:
    """Return KL(Bernoulli(rho) || Bernoulli(mean activation)), mean over units, of activations ``z (n, bits)``."""
    mean = z.mean(dim=0).clamp(1e-6, 1 - 1e-6)  # (bits,)
    on = rho * torch.log(rho / mean)
    off = (1 - rho) * torch.log((1 - rho) / (1 - mean))
    return (on + off).mean()
