"""The contract every model keeps: ``encode(x) -> logits``, ``decode(z) -> image``, ``loss(views) -> Losses``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from hashae.config import TRUNKS, ModelConfig
from hashae.errors import ConfigError
from hashae.models.scaling import InputScaling
from hashae.models.settings import Settings
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
    progress
        Share of the training that is done, 0 to 1.
    prefixes
        Lengths of the prefixes of a code that have to be good codes, beside the whole; none given: the key.
    """

    reconstruction: float = 1.0
    agreement: float = 1.0
    balance: float = 1.0
    decorrelation: float = 0.3
    temperature: float = 0.07
    sigma: float = 0.0
    progress: float = 1.0
    prefixes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Losses:
    """The loss of one batch and the terms it is made of, each a scalar tensor.

    Terms that :class:`LossWeights` names are unweighted; all others carry their weight from the model's settings.
    """

    total: Tensor
    terms: dict[str, Tensor]


class HashModel(nn.Module, ABC):
    """An autoencoder whose bottleneck becomes a binary code.

    Subclasses say what stands between logits and decoder, and what the loss is.

    Parameters
    ----------
    config
        Settings; the model keeps them as `config`, with those of its own filled in.

    Raises
    ------
    ConfigError
        If a setting of the model's own is unknown or cannot be used, or the trunk is none of its trunks.
    """

    own_settings: ClassVar[type[Settings]] = Settings
    """Settings that only this model has."""

    trunks: ClassVar[tuple[str, ...]] = TRUNKS
    """Kinds of layers it can be built from."""

    closed_form: ClassVar[bool] = False
    """Whether :meth:`prepare` computes all of it, so that there is nothing to train."""

    settings: Settings

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        if config.trunk not in self.trunks:
            raise ConfigError(
                f"trunk is {config.trunk!r}; the {config.model} model can be built with {' or '.join(self.trunks)}"
            )
        self.settings = self.own_settings.read(config.model, config.options)
        self.config = replace(config, options=asdict(self.settings))
        self.scaling = None if config.scaling == "none" else InputScaling(config.scaling, config.image_shape)
        self.build(self.config)
        # A bit is logit > threshold. Models that do not binarise themselves get the training median here.
        self.threshold: Tensor
        self.register_buffer("threshold", torch.zeros(config.bits))

    def build(self, config: ModelConfig) -> None:
        """Make the layers; called once, by the constructor."""
        self.trunk, features = build_trunk(
            config.trunk, config.image_shape, config.width, config.dropout, config.batch_norm
        )
        self.head = nn.Linear(features, config.bits)
        self.decoder = build_decoder(config.trunk, config.bits, config.image_shape, config.width)

    @property
    def latent_size(self) -> int:
        """Number of values that the decoder is fed."""
        return self.config.bits

    @property
    def needs_images(self) -> bool:
        """Whether :meth:`prepare` has anything to do."""
        return self.scaling is not None or self.closed_form

    def prepare(self, images: Tensor) -> None:
        """Compute what is not learned from training images ``(n, channels, height, width)``, before the first step."""
        if self.scaling is not None:
            self.scaling.fit(images)

    def scaled(self, x: Tensor) -> Tensor:
        """Return the images as the first layer sees them, same shape."""
        return x if self.scaling is None else self.scaling(x)

    def encode(self, x: Tensor) -> Tensor:
        """Return logits ``(n, bits)`` of canonical images ``(n, channels, height, width)``."""
        logits: Tensor = self.head(self.trunk(self.scaled(x)))  # (n, features) -> (n, bits)
        return logits

    def decode(self, z: Tensor) -> Tensor:
        """Return images ``(n, channels, height, width)`` in [0, 1] of latents ``z (n, latent_size)``."""
        images: Tensor = torch.sigmoid(self.decoder(z))
        return images

    @abstractmethod
    def latent(self, logits: Tensor, sigma: float = 0.0) -> Tensor:
        """Return what the decoder is fed for these logits, ``(n, latent_size)``."""

    @abstractmethod
    def loss(self, views: Views, weights: LossWeights) -> Losses:
        """Return the loss of a batch."""

    def code(self, logits: Tensor) -> Tensor:
        """Return the bits ``(n, bits)`` as booleans: ``logit > threshold``."""
        return logits > self.threshold

    def decode_code(self, bits: Tensor) -> Tensor:
        """Return the images that codes stand for; bits ``(n, bits)`` are 0.0 or 1.0."""
        return self.decode(bits)

    def reconstruct(self, x: Tensor) -> Tensor:
        """Return what is left of images after the bottleneck, before anything is rounded."""
        return self.decode(self.latent(self.encode(x)))

    def forward(self, x: Tensor) -> Tensor:
        """Reconstruct images through the binary code; the way a user meets the model."""
        return self.decode_code(self.code(self.encode(x)).to(x.dtype))

    def fit_threshold(self, logits: Tensor) -> None:
        """Set the threshold from the logits ``(n, bits)`` of the training images; the base keeps 0."""
