"""The contract every model keeps: ``encode(x) -> logits``, ``decode(z) -> image``, ``loss(views) -> Losses``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hashae.config import ModelConfig
from hashae.models.trunks import build_decoder, build_trunk


@dataclass(frozen=True)
class Views:
    """One batch as a model sees it.

    Attributes
    ----------
    clean
        ``float (n, channels, height, width)`` in [0, 1]: canonical images.
    first, second
        The same images corrupted twice, independently; same shape.
    alike
        ``bool (n, n)``: pairs of images that count as views of one another; None for no pair but an image with itself.
    """

    clean: Tensor
    first: Tensor
    second: Tensor
    alike: Tensor | None = None


@dataclass(frozen=True)
class LossWeights:
    """What each term of the loss counts, and how hard training is at this moment.

    Attributes
    ----------
    reconstruction, agreement, balance, decorrelation
        Weights.
    temperature
        Of the agreement.
    sigma
        Standard deviation of the noise in front of the sigmoid, now.
    """

    reconstruction: float = 1.0
    agreement: float = 1.0
    balance: float = 1.0
    decorrelation: float = 0.3
    temperature: float = 0.07
    sigma: float = 0.0


@dataclass(frozen=True)
class Losses:
    """The loss of one batch and the terms it is made of, each a scalar tensor."""

    total: Tensor
    terms: dict[str, Tensor]


class HashModel(nn.Module, ABC):
    """An autoencoder whose bottleneck becomes a binary code.

    Subclasses say what stands between logits and decoder, and what the loss is.

    Parameters
    ----------
    config
        Settings; stored, never changed.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk, features = build_trunk(config.trunk, config.image_shape, config.width)
        self.head = nn.Linear(features, config.bits)
        self.decoder = build_decoder(config.trunk, config.bits, config.image_shape, config.width)
        # A bit is logit > threshold. Models that do not binarise themselves get the training median here.
        self.threshold: Tensor
        self.register_buffer("threshold", torch.zeros(config.bits))

    def encode(self, x: Tensor) -> Tensor:
        """Return logits ``(n, bits)`` of canonical images ``(n, channels, height, width)``."""
        logits: Tensor = self.head(self.trunk(x))  # (n, features) -> (n, bits)
        return logits

    def decode(self, z: Tensor) -> Tensor:
        """Return images ``(n, channels, height, width)`` in [0, 1] of latents ``z (n, bits)`` in [0, 1]."""
        images: Tensor = torch.sigmoid(self.decoder(z))
        return images

    @abstractmethod
    def latent(self, logits: Tensor, sigma: float = 0.0) -> Tensor:
        """Return what the decoder is fed during training, ``(n, bits)`` in [0, 1]."""

    @abstractmethod
    def loss(self, views: Views, weights: LossWeights) -> Losses:
        """Return the loss of a batch."""

    def code(self, logits: Tensor) -> Tensor:
        """Return the bits ``(n, bits)`` as booleans: ``logit > threshold``."""
        return logits > self.threshold

    def forward(self, x: Tensor) -> Tensor:
        """Reconstruct images through the binary code; the way a user meets the model."""
        return self.decode(self.code(self.encode(x)).to(x.dtype))

    def fit_threshold(self, logits: Tensor) -> None:
        """Set the threshold from the logits ``(n, bits)`` of the training images; the base keeps 0."""
