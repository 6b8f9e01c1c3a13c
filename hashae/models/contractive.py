"""The contractive autoencoder (Rifai et al. 2011): small changes of the image must change the latent little.

The penalty is the squared Frobenius norm of the encoder's Jacobian. For one sigmoid layer it has a closed form. For
deeper encoders it is estimated: for v with independent standard normal entries, E |v J|^2 is the squared norm of J
(Hutchinson 1990), and v J is one backward pass.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hashae.models.base import Losses, LossWeights, Views
from hashae.models.settings import setting
from hashae.models.sibling import Reconstructing, ReconstructionSettings


@dataclass(frozen=True)
class ContractiveSettings(ReconstructionSettings):
    """Settings of the contractive model.

    Attributes
    ----------
    contraction
        Weight of the penalty: lambda of the paper. There both it and the reconstruction are sums over an image, here
        the reconstruction is a mean over pixels; so the penalty is divided by their number.
    samples
        Random directions in which a deep encoder is looked at in each step.
    """

    contraction: float = setting(0.1, least=0)
    samples: int = setting(1, least=1)


class ContractiveAutoencoder(Reconstructing):
    """Sigmoid bottleneck with a penalty on its Jacobian."""

    own_settings = ContractiveSettings
    settings: ContractiveSettings

    def loss(self, views: Views, weights: LossWeights) -> Losses:
        """Return reconstruction of the clean images and contraction."""
        if self.config.trunk == "linear":
            z = self.latent(self.encode(views.clean).float())  # (n, bits)
            norm = self.exact_norm(z)
        else:
            x = views.clean.detach().requires_grad_()
            z = self.latent(self.encode(x).float())  # (n, bits)
            norm = estimated_norm(z, x, self.settings.samples)
        terms = {
            "reconstruction": self.reconstruction(z, views.clean),
            "contraction": self.settings.contraction * norm.mean() / views.clean[0].numel(),
        }
        return Losses(weights.reconstruction * terms["reconstruction"] + terms["contraction"], terms)

    def exact_norm(self, z: Tensor) -> Tensor:
        """Return the squared norm of the Jacobian ``(n,)`` of one sigmoid layer, at activations ``z (n, bits)``.

        The derivative of unit j by pixel i is ``z_j (1 - z_j) W_ji``.
        """
        weight = self.head.weight  # (bits, pixels)
        if self.scaling is not None:
            weight = weight / self.scaling.scale.reshape(1, -1)
        return (z * (1 - z)).square() @ weight.float().square().sum(dim=1)


def estimated_norm(z: Tensor, x: Tensor, samples: int = 1) -> Tensor:
    """Return estimates ``(n,)`` of the squared norm of the Jacobian of ``z (n, bits)`` by ``x (n, c, h, w)``.

    Unbiased where each row of `z` depends on its own row of `x` only. Batch normalisation makes rows depend a little on
    each other, which adds the small derivatives by the other images.
    """
    total = torch.zeros(len(x), device=x.device)
    for _ in range(samples):
        direction = torch.randn_like(z)  # (n, bits)
        (slope,) = torch.autograd.grad(z, x, direction, create_graph=True)  # (n, c, h, w): v J, a row each
        total = total + slope.float().square().flatten(1).sum(dim=1)
    return total / samples
