"""Settings: small frozen dataclasses that travel with what they made, as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, TypeVar

from hashae.codes import KEY_BITS, check_bits
from hashae.errors import ConfigError

TRUNKS = ("conv", "pooled", "dense", "linear")
AUGMENTS = ("photo", "digits", "tiny")
NOISE_KINDS = ("rising", "constant", "none", "straight-through")
SCALINGS = ("none", "standard", "minmax", "robust")

Option = bool | int | float | str
"""Value of a setting that only one model has."""

T = TypeVar("T", bound="ModelConfig | TrainConfig")


FINE_TUNING = 0.25
"""Share of the usual learning rate that a training takes which starts from trained weights."""


@dataclass(frozen=True)
class ModelConfig:
    """What a model is; enough to build it again.

    Attributes
    ----------
    model
        Name in :data:`hashae.models.MODELS`.
    bits
        Code length: a multiple of 8, from 8 to 512.
    image_shape
        ``(channels, height, width)`` of canonical images.
    trunk
        ``conv``, ``pooled`` (convolutions averaged over the image, then a hidden layer: for kinds of pictures rather
        than copies), ``dense`` (two hidden layers) or ``linear`` (no hidden layer).
    width
        Channels of the first convolution, or a sixteenth of the units of a dense or hidden layer.
    noise
        ``rising`` (the default of the binary model), ``constant``, ``none`` or ``straight-through``.
    dropout
        Share of the activations that each hidden layer drops during training, from 0 up to, not including, 1.
    batch_norm
        Normalise hidden layers over the batch.
    scaling
        Of the inputs, pixel by pixel, fitted on training images: ``none``, ``standard`` (mean and deviation),
        ``minmax`` or ``robust`` (median and quartiles).
    options
        Settings that only this model has, by name: see its `own_settings`. The model checks them and fills in the rest.
    """

    model: str = "binary"
    bits: int = 256
    image_shape: tuple[int, int, int] = (1, 32, 32)
    trunk: Literal["conv", "pooled", "dense", "linear"] = "conv"
    width: int = 32
    noise: Literal["rising", "constant", "none", "straight-through"] = "rising"
    dropout: float = 0.0
    batch_norm: bool = True
    scaling: Literal["none", "standard", "minmax", "robust"] = "none"
    options: dict[str, Option] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        check_bits(self.bits)
        object.__setattr__(self, "image_shape", tuple(self.image_shape))
        if len(self.image_shape) != 3 or min(self.image_shape) < 1:
            raise ConfigError(f"image_shape is {self.image_shape}; expected (channels, height, width), all positive")
        if self.trunk not in TRUNKS:
            raise ConfigError(f"trunk is {self.trunk!r}; expected one of {', '.join(TRUNKS)}")
        if self.noise not in NOISE_KINDS:
            raise ConfigError(f"noise is {self.noise!r}; expected one of {', '.join(NOISE_KINDS)}")
        if self.width < 1:
            raise ConfigError(f"width is {self.width}; expected at least 1")
        if not isinstance(self.dropout, (int, float)) or not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout is {self.dropout!r}; expected a number from 0 up to, not including, 1")
        if not isinstance(self.batch_norm, bool):
            raise ConfigError(f"batch_norm is {self.batch_norm!r}; expected True or False")
        if self.scaling not in SCALINGS:
            raise ConfigError(f"scaling is {self.scaling!r}; expected one of {', '.join(SCALINGS)}")
        if not isinstance(self.options, dict):
            raise ConfigError(f"options is {self.options!r}; expected a dict of settings by name")

    @property
    def key_bits(self) -> int:
        """Length of the prefix that addresses the hash table: 64 bits, or all of a shorter code."""
        return min(self.bits, KEY_BITS)

    def to_json(self) -> str:
        """Return the settings as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_settings(cls, values: Mapping[str, Any]) -> ModelConfig:
        """Read settings in which those of every model and those of one model stand side by side.

        Examples
        --------
        >>> ModelConfig.from_settings({"model": "sparse", "bits": 64, "k": 8}).options
        {'k': 8}
        """
        shared = {item.name for item in fields(cls)}
        own = {name: value for name, value in values.items() if name not in shared}
        known = {name: value for name, value in values.items() if name in shared}
        if own:
            known["options"] = {**known.get("options", {}), **own}
        return cls(**known)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelConfig:
        """Read settings written by :meth:`to_json`; an unknown name is a `ConfigError`."""
        return _from_dict(cls, values)


@dataclass(frozen=True)
class TrainConfig:
    """How a model is trained.

    Attributes
    ----------
    steps
        Optimiser steps; with a budget, the most that are made.
    batch
        Images in a step; each is seen in two views.
    budget
        Seconds the training may take, or None. The number of steps is fitted to it after the first ones are timed.
    learning_rate
        Peak of the warm-up and cosine schedule of AdamW.
    weight_decay
        Of AdamW.
    seed
        Of weights, views, noise and order. With no budget, one seed gives one encoder.
    sigma
        Standard deviation of the noise before the sigmoid at the end of training.
    temperature
        Of the agreement of two views: smaller looks harder at the most similar other images.
    reconstruction, agreement, balance, decorrelation
        Weights of the four terms of the loss.
    augment
        Kind of the corruptions: ``photo``, ``digits`` (small and centred, light on dark) or ``tiny`` (thumbnails).
    views
        Strength of the corruptions, from 0 (none) to 1.
    view_side
        Side in pixels of the corrupted views, at least 8; None for that of the model's images. For ``tiny`` views and a
        ``pooled`` trunk. A view enlarges the part that it shows: at three quarters of the side, things in it are about
        as large as they are in the whole image (Touvron et al. 2019), and a step costs little more than half.
    positives
        Two images count as views of each other, too, if each is among this share of all images whose codes are nearest
        to the other's. Makes codes of one kind of picture alike: for finding pictures of the same kind, not copies. 0
        for none.
    positives_from
        Share of the training before such images count, from 0 to 1: later, the nearest are of one kind more often.
    prefixes
        Lengths in bits of the prefixes of a code that have to be good codes by themselves, beside the whole; if none is
        named, the key of 64 bits. For models that train their codes, not only what is decoded from them.
    neighbours
        Images in a batch come in groups of this many that have similar codes, so that hard cases meet; 1 draws all of
        them at random. At most the batch.
    mirror
        Let views be mirrored, so that a picture and its mirror image get one code.
    precision
        ``auto`` (bfloat16 where the processor has it), ``float32`` or ``bfloat16``.
    device
        ``auto`` (CUDA when there), ``cpu`` or ``cuda``.
    threads
        CPU threads of torch; None leaves them.
    checkpoint_every
        Seconds between checkpoints when a run folder is given.
    """

    steps: int = 3000
    batch: int = 128
    budget: float | None = None
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    seed: int = 0
    sigma: float = 1.0
    temperature: float = 0.07
    reconstruction: float = 1.0
    agreement: float = 1.0
    balance: float = 1.0
    decorrelation: float = 0.05
    augment: Literal["photo", "digits", "tiny"] = "photo"
    views: float = 1.0
    view_side: int | None = None
    positives: float = 0.0
    positives_from: float = 0.2
    prefixes: tuple[int, ...] = ()
    neighbours: int = 4
    mirror: bool = False
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int | None = None
    checkpoint_every: float = field(default=60.0)

    def __post_init__(self) -> None:
        positive = ("steps", "learning_rate", "temperature", "checkpoint_every")
        for name in positive:
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected a positive number")
        if self.batch < 2:
            raise ConfigError(f"batch is {self.batch}; expected at least 2, because images are told from each other")
        if self.neighbours < 1:
            raise ConfigError(f"neighbours is {self.neighbours}; expected at least 1")
        if self.budget is not None and not self.budget > 0:
            raise ConfigError(f"budget is {self.budget} s; expected a positive number of seconds")
        weights = ("reconstruction", "agreement", "balance", "decorrelation", "sigma", "views", "weight_decay")
        for name in weights:
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected 0 or more")
        if not 0 <= self.positives < 1:
            raise ConfigError(f"positives is {self.positives}; expected a share from 0 up to, not including, 1")
        if not 0 <= self.positives_from <= 1:
            raise ConfigError(f"positives_from is {self.positives_from}; expected a share from 0 to 1")
        self._check_views()
        object.__setattr__(self, "prefixes", tuple(check_bits(bits) for bits in self.prefixes))
        if self.precision not in {"auto", "float32", "bfloat16"}:
            raise ConfigError(f"precision is {self.precision!r}; expected auto, float32 or bfloat16")
        if self.device not in {"auto", "cpu", "cuda"}:
            raise ConfigError(f"device is {self.device!r}; expected auto, cpu or cuda")

    def _check_views(self) -> None:
        if self.augment not in AUGMENTS:
            raise ConfigError(f"augment is {self.augment!r}; expected one of {', '.join(AUGMENTS)}")
        if self.view_side is not None and not (isinstance(self.view_side, int) and self.view_side >= 8):
            raise ConfigError(f"view_side is {self.view_side!r}; expected a whole number of at least 8 pixels, or None")

    def to_json(self) -> str:
        """Return the settings as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainConfig:
        """Read settings written by :meth:`to_json`; an unknown name is a `ConfigError`."""
        return _from_dict(cls, values)


def parse_setting(text: str) -> tuple[str, Option]:
    """Return name and value of a setting as a person writes it: ``k=8``, ``loss=mse``, ``batch_norm=false``.

    Raises
    ------
    ConfigError
        If there is no name or no value.
    """
    name, equals, value = (part.strip() for part in text.partition("="))
    if not (name and equals and value):
        raise ConfigError(f"setting {text!r} has no name or no value; expected for example width=16")
    for read in (int, float):
        try:
            return name, read(value)
        except ValueError:
            continue
    return name, {"true": True, "false": False}.get(value.lower(), value)


def _from_dict(cls: type[T], values: Mapping[str, Any]) -> T:
    known = {item.name for item in fields(cls)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ConfigError(f"unknown setting {', '.join(unknown)}; known ones are {', '.join(sorted(known))}")
    return cls(**values)
