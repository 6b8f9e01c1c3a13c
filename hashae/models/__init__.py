"""The autoencoders, one readable file each, and the one dict that names them."""

from __future__ import annotations

from typing import Any

from hashae.config import ModelConfig
from hashae.errors import UnknownName
from hashae.models.base import HashModel, Losses, LossWeights, Views
from hashae.models.binary import BinaryAutoencoder
from hashae.models.plain import PlainAutoencoder

__all__ = ["MODELS", "HashModel", "LossWeights", "Losses", "Views", "create_model", "list_models"]

MODELS: dict[str, type[HashModel]] = {
    "plain": PlainAutoencoder,
    "binary": BinaryAutoencoder,
}


def list_models() -> list[str]:
    """Return the names of all models, sorted."""
    return sorted(MODELS)


def create_model(name: str = "binary", **settings: Any) -> HashModel:
    """Build an untrained model.

    Parameters
    ----------
    name
        One of :func:`list_models`.
    settings
        Fields of :class:`hashae.config.ModelConfig`.

    Raises
    ------
    UnknownName
        If there is no such model.
    ConfigError
        If a setting is unknown or outside its range.

    Examples
    --------
    >>> create_model("binary", bits=64, image_shape=(1, 28, 28)).config.bits
    64
    """
    if name not in MODELS:
        raise UnknownName(f"no model is called {name!r}; known ones are {', '.join(list_models())}")
    return MODELS[name](ModelConfig.from_dict({**settings, "model": name}))
