"""The binary autoencoder with noise-injected sigmoid codes: the model this project is for.

A sigmoid in front of a decoder prefers its middle range, where it carries most information. Additive noise in front of
it (Salakhutdinov and Hinton 2009; Goodfellow, Bengio and Courville 2016, section 14.9) destroys what the middle range
carries, so the logits grow until the units saturate near 0 and 1, and rounding them changes little. The noise rises
during training: early, when gradients matter, it is small.

Beside reconstructing the clean image from the code of a corrupted view, two views of one image have to agree in their
codes against the other images of the batch (normalised temperature-scaled cross-entropy, Chen et al. 2020), bits have
to be balanced, and different bits decorrelated (Zbontar et al. 2021 use the same matrix). Codes are nested: agreement,
balance and decorrelation apply to the first 64 bits alone, too, so that this prefix is a good key by itself.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hashae.config import ModelConfig
from hashae.models.base import HashModel, Losses, LossWeights, Views


class BinaryAutoencoder(HashModel):
    """Sigmoid bottleneck with noise before the sigmoid; code bit = logit > 0."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        # Centres every logit over the batch, so that a bit is 1 for half of the images. The learned scale lets the
        # logits outgrow the noise.
        self.normalise = nn.BatchNorm1d(config.bits)
        nn.init.constant_(self.normalise.weight, 3.0)

    def encode(self, x: Tensor) -> Tensor:
        """Return logits ``(n, bits)`` of canonical images."""
        logits: Tensor = self.normalise(super().encode(x).float())
        return logits

    def latent(self, logits: Tensor, sigma: float = 0.0) -> Tensor:
        """Return ``sigmoid(logits + sigma * noise)``, noise standard normal and fresh in every call.

        With ``noise="straight-through"`` the bits are rounded and the gradient is that of the sigmoid instead
        (Krizhevsky and Hinton 2011); with ``noise="none"`` `sigma` is not used.
        """
        if self.config.noise == "straight-through":
            soft = torch.sigmoid(logits)
            return soft + ((logits > 0).to(soft.dtype) - soft).detach()
        if self.config.noise == "none" or sigma == 0:
            return torch.sigmoid(logits)
        return torch.sigmoid(logits + sigma * torch.randn_like(logits))

    def loss(self, views: Views, weights: LossWeights) -> Losses:
        """Return reconstruction, agreement, balance and decorrelation of a batch, weighted and summed."""
        n = len(views.clean)
        both = torch.cat([views.first, views.second])  # (2n, c, h, w)
        logits = self.encode(both)  # (2n, bits)
        z = self.latent(logits, weights.sigma)  # (2n, bits) in [0, 1]
        terms = {}
        if weights.reconstruction:
            image_logits = self.decoder(z[:n])  # (n, c, h, w): one view is enough, and half the work
            terms["reconstruction"] = F.binary_cross_entropy_with_logits(image_logits.float(), views.clean)
        signs = 2 * z.float() - 1  # (2n, bits) in [-1, 1]
        prefixes = sorted({*(weights.prefixes or (self.config.key_bits,)), self.config.bits})
        for name, term in (("agreement", None), ("balance", balance), ("decorrelation", decorrelation)):
            if not getattr(weights, name):
                continue
            parts = [
                agreement(signs[:, :p], weights.temperature, views.alike) if term is None else term(signs[:, :p])
                for p in prefixes
            ]
            terms[name] = torch.stack(parts).mean()
        zero = logits.sum() * 0  # keeps a graph when every weight is 0
        total = sum((getattr(weights, name) * value for name, value in terms.items()), zero)
        return Losses(total, terms)


def agreement(signs: Tensor, temperature: float, alike: Tensor | None = None) -> Tensor:
    """Return the normalised temperature-scaled cross-entropy of two views (Chen et al. 2020, equation 1).

    With `alike` the mean over all views of the images that count as alike (Khosla et al. 2020, equation 2).

    Parameters
    ----------
    signs
        ``(2n, bits)`` in [-1, 1]: first views, then second views in the same order.
    temperature
        Positive.
    alike
        ``bool (n, n)``, or None: see :class:`hashae.models.base.Views`.
    """
    unit = F.normalize(signs, dim=1)
    similarity = unit @ unit.T / temperature  # (2n, 2n)
    similarity.fill_diagonal_(-torch.inf)
    n = len(signs) // 2
    if alike is not None:
        positive = alike.tile(2, 2).fill_diagonal_(fill_value=False)
        chosen = F.log_softmax(similarity.float(), dim=1).masked_fill(~positive, 0)  # (2n, 2n); the diagonal is -inf
        return -(chosen.sum(dim=1) / positive.sum(dim=1)).mean()
    partner = torch.arange(2 * n, device=signs.device).roll(n)
    return F.cross_entropy(similarity, partner)


def balance(signs: Tensor) -> Tensor:
    """Return the mean squared mean of the bits: 0 if each is 1 for half of the images, 1 if all are stuck."""
    return signs.mean(dim=0).square().mean()


def decorrelation(signs: Tensor) -> Tensor:
    """Return the sum of squared correlations between different bits, per bit."""
    centred = signs - signs.mean(dim=0)
    scaled = centred / (centred.square().mean(dim=0, keepdim=True) + 1e-6).sqrt()
    correlation = scaled.T @ scaled / len(signs)  # (bits, bits)
    bits = signs.shape[1]
    return (correlation.square().sum() - correlation.diagonal().square().sum()) / bits
