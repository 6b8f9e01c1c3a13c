"""The stacked autoencoder: one autoencoder on the codes of another.

Trained jointly, or first layer by layer (Hinton and Salakhutdinov 2006; Bengio et al. 2007): each layer learns to
reconstruct the codes of the layer before it, which are no longer changed; then the whole stack is fine-tuned. Both
happen in the one training loop: the model looks at how far the training is, and takes the loss of the layer whose turn
it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hashae.config import ModelConfig
from hashae.errors import ConfigError
from hashae.models.base import Losses, LossWeights, Views
from hashae.models.settings import setting
from hashae.models.sibling import Reconstructing, ReconstructionSettings
from hashae.models.trunks import CropTo, drop


@dataclass(frozen=True)
class StackedSettings(ReconstructionSettings):
    """Settings of the stacked model.

    Attributes
    ----------
    depth
        Hidden layers before the code.
    training
        ``greedy`` (layer by layer, then fine-tuned) or ``joint``.
    pretraining
        Share of the training that goes to the layers one by one, with ``greedy``.
    """

    depth: int = setting(2, least=1, below=9)
    training: Literal["greedy", "joint"] = "greedy"
    pretraining: float = setting(0.4, above=0, below=1)


class StackedAutoencoder(Reconstructing):
    """Several layers with a sigmoid bottleneck, trained one by one and then together."""

    own_settings = StackedSettings
    settings: StackedSettings
    trunks = ("conv", "dense")

    def build(self, config: ModelConfig) -> None:
        """Make pairs of layers: one that encodes, one that takes its codes back."""
        pairs = _dense_pairs(config, self.settings.depth) if config.trunk == "dense" else self._conv_pairs(config)
        self.encoders = nn.ModuleList(pair[0] for pair in pairs)
        self.decoder = nn.Sequential(*(pair[1] for pair in reversed(pairs)))  # (n, bits) -> (n, c, h, w)

    def encode(self, x: Tensor) -> Tensor:
        """Return logits ``(n, bits)`` of canonical images."""
        return self.climb(x, len(self.encoders))

    def climb(self, x: Tensor, layers: int) -> Tensor:
        """Return what the first `layers` layers make of images."""
        h = self.scaled(x)
        for encoder in self.encoders[:layers]:
            h = encoder(h)
        return h

    def layer_in_turn(self, progress: float) -> int | None:
        """Return the number of the layer that is trained alone at this progress, or None if all are trained."""
        if self.settings.training == "joint" or progress >= self.settings.pretraining:
            return None
        return int(progress / self.settings.pretraining * len(self.encoders))

    def loss(self, views: Views, weights: LossWeights) -> Losses:
        """Return the reconstruction of the clean images, or of the codes below the layer whose turn it is."""
        layer = self.layer_in_turn(weights.progress)
        if layer is None:
            reconstruction = self.reconstruction(self.latent(self.encode(views.clean)), views.clean)
        else:
            with torch.no_grad():
                below = self.climb(views.clean, layer)  # images, or the codes of the layer before
            h = self.encoders[layer](below)
            if layer == len(self.encoders) - 1:
                h = self.latent(h)
            again = self.decoder[-1 - layer](h).float()
            reconstruction = self.pixel_loss(again, views.clean) if layer == 0 else F.mse_loss(again, below.float())
        return Losses(weights.reconstruction * reconstruction, {"reconstruction": reconstruction})

    def _conv_pairs(self, config: ModelConfig) -> list[tuple[nn.Module, nn.Module]]:
        channels, height, wide = config.image_shape
        pairs: list[tuple[nn.Module, nn.Module]] = []
        for layer in range(self.settings.depth):
            if min(height, wide) < 4:
                raise ConfigError(
                    f"depth is {self.settings.depth}; images {config.image_shape} can be halved {layer} times: use a "
                    "smaller depth"
                )
            width = config.width * 2**layer
            encoder = nn.Sequential(
                nn.Conv2d(channels, width, 4, stride=2, padding=1),
                nn.BatchNorm2d(width) if config.batch_norm else nn.Identity(),
                nn.ReLU(),  # (n, width, h / 2, w / 2)
                *drop(config.dropout, nn.Dropout2d),
            )
            decoder = nn.Sequential(
                nn.ConvTranspose2d(width, channels, 4, stride=2, padding=1, output_padding=(height % 2, wide % 2)),
                CropTo(height, wide),  # (n, channels, h, w)
                nn.ReLU() if layer else nn.Identity(),
            )
            pairs.append((encoder, decoder))
            channels, height, wide = width, height // 2, wide // 2
        shape = (channels, height, wide)
        features = channels * height * wide
        top = nn.Sequential(nn.Flatten(), nn.Linear(features, config.bits))  # (n, bits)
        bottom = nn.Sequential(nn.Linear(config.bits, features), nn.ReLU(), nn.Unflatten(1, shape))
        return [*pairs, (top, bottom)]


def _dense_pairs(config: ModelConfig, depth: int) -> list[tuple[nn.Module, nn.Module]]:
    channels, height, wide = config.image_shape
    units = channels * height * wide
    pairs: list[tuple[nn.Module, nn.Module]] = []
    for layer in range(depth):
        width = max(16 * config.width // 2**layer, config.bits)
        encoder = nn.Sequential(
            nn.Flatten(),
            nn.Linear(units, width),
            nn.BatchNorm1d(width) if config.batch_norm else nn.Identity(),
            nn.ReLU(),  # (n, width)
            *drop(config.dropout, nn.Dropout),
        )
        last = nn.ReLU() if layer else nn.Unflatten(1, config.image_shape)
        pairs.append((encoder, nn.Sequential(nn.Linear(width, units), last)))
        units = width
    return [*pairs, (nn.Linear(units, config.bits), nn.Sequential(nn.Linear(config.bits, units), nn.ReLU()))]
