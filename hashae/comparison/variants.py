"""Which models are compared, and how a person names one with settings: ``sparse:k=8``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hashae.config import ModelConfig, Option, parse_setting
from hashae.errors import ConfigError
from hashae.models import MODELS, create_model, list_models

ORDER = (
    "binary",
    "threshold",
    "plain",
    "overcomplete",
    "stacked",
    "sparse",
    "denoising",
    "contractive",
    "convolutional",
    "variational",
    "itq",
    "pca",
    "lsh",
)
"""All models, as they stand in a table."""


@dataclass(frozen=True)
class Variant:
    """A model with settings.

    Attributes
    ----------
    model
        Name of the model.
    settings
        Of its own or of every model.
    """

    model: str
    settings: dict[str, Option] = field(default_factory=dict, hash=False)

    @property
    def name(self) -> str:
        """Return the name as a person would write it."""
        return ":".join([self.model, *(f"{key}={value}" for key, value in self.settings.items())])

    def config(self, *, bits: int, image_shape: tuple[int, int, int], trunk: str, width: int) -> ModelConfig:
        """Return the full settings; a model that has no such trunk takes its first one.

        Raises
        ------
        ConfigError
            If a setting is unknown or cannot be used.
        """
        trunks = MODELS[self.model].trunks
        given = {
            "bits": bits,
            "image_shape": image_shape,
            "trunk": trunk if trunk in trunks else trunks[0],
            "width": width,
            **self.settings,
        }
        return create_model(self.model, **given).config


def parse_variants(texts: Sequence[str]) -> list[Variant]:
    """Return the variants that a person named.

    Parameters
    ----------
    texts
        Each one ``name``, ``name:setting=value:setting=value``, or several of them with commas between. Nothing stands
        for all models.

    Raises
    ------
    ConfigError
        If a name or a setting is unknown, a setting has no value or one out of its range, or a variant is named twice.

    Examples
    --------
    >>> [v.name for v in parse_variants(["binary,sparse:k=8"])]
    ['binary', 'sparse:k=8']
    """
    named = [part.strip() for text in texts for part in text.split(",") if part.strip()]
    variants = [_parse(text) for text in named or ORDER]
    names = [variant.name for variant in variants]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"variant {name} is named {names.count(name)} times; name each once")
    return variants


def _parse(text: str) -> Variant:
    model, *parts = text.split(":")
    if model not in MODELS:
        raise ConfigError(f"no variant is called {model!r}; known ones are {', '.join(list_models())}")
    variant = Variant(model, dict(parse_setting(part) for part in parts))
    # Now, not when its turn comes: others may be trained for an hour before it.
    config = ModelConfig.from_settings({**variant.settings, "model": model})
    MODELS[model].own_settings.read(model, config.options)
    return variant
