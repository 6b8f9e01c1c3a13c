"""hashae: semantic hashing for image collections.

An autoencoder with noise-injected sigmoid codes turns images into short binary codes. This package learns and
computes codes; :mod:`hashae.indexer` stores and searches them; :mod:`hashae.cli` is the command ``hashae``.

The names below are imported on first use, so that ``import hashae`` costs next to nothing and works without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hashae.config import ModelConfig, TrainConfig
    from hashae.encoder import Encoder
    from hashae.errors import HashaeError
    from hashae.models import create_model, list_models
    from hashae.training import train

__version__ = "0.1.0"

__all__ = ["Encoder", "HashaeError", "ModelConfig", "TrainConfig", "create_model", "list_models", "train"]

_HOMES = {
    "Encoder": "hashae.encoder",
    "HashaeError": "hashae.errors",
    "ModelConfig": "hashae.config",
    "TrainConfig": "hashae.config",
    "create_model": "hashae.models",
    "list_models": "hashae.models",
    "train": "hashae.training",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'hashae' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
