"""The autoencoders, one readable file each, and the one dict that names them."""

from __future__ import annotations

from typing import Any

from hashae.config import ModelConfig
from hashae.errors import UnknownName
from hashae.models.base import HashModel, Losses, LossWeights, Views
from hashae.models.binary import BinaryAutoencoder
from hashae.models.contractive import ContractiveAutoencoder
from hashae.models.convolutional import ConvolutionalAutoencoder
from hashae.models.denoising import DenoisingAutoencoder
from hashae.models.linear import ItqReference, LshReference, PcaReference
from hashae.models.overcomplete import OvercompleteAutoencoder
from hashae.models.plain import PlainAutoencoder
from hashae.models.sparse import SparseAutoencoder
from hashae.models.stacked import StackedAutoencoder
from hashae.models.threshold import ThresholdAutoencoder
from hashae.models.variational import VariationalAutoencoder

__all__ = ["MODELS", "HashModel", "LossWeights", "Losses", "Views", "create_model", "list_models"]

MODELS: dict[str, type[HashModel]] = {
    "plain": PlainAutoencoder,
    "overcomplete": OvercompleteAutoencoder,
    "stacked": StackedAutoencoder,
    "sparse": SparseAutoencoder,
    "denoising": DenoisingAutoencoder,
    "contractive": ContractiveAutoencoder,
    "convolutional": ConvolutionalAutoencoder,
    "variational": VariationalAutoencoder,
    "threshold": ThresholdAutoencoder,
    "binary": BinaryAutoencoder,
    "pca": PcaReference,
    "itq": ItqReference,
    "lsh": LshReference,
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
        Fields of :class:`hashae.config.ModelConfig`, and settings of the model's own: see its `own_settings`.

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
    >>> create_model("sparse", bits=64, rho=0.1).config.options["rho"]
    0.1
    """
    if name not in MODELS:
        raise UnknownName(f"no model is called {name!r}; known ones are {', '.join(list_models())}")
    return MODELS[name](ModelConfig.from_settings({**settings, "model": name}))
