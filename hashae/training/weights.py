"""Weights that a training may start from: one safetensors file, its model settings in the metadata."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.resources import as_file, files
from pathlib import Path

from hashae.config import ModelConfig
from hashae.encoder import write_file
from hashae.errors import CheckpointError, ConfigError
from hashae.images.canonical import CanonicalForm
from hashae.models import create_model
from hashae.models.base import HashModel
from hashae.pretrained import NAMES

FORMAT = "1"

WEIGHTS = "weights.safetensors"
"""File of the finished weights in a run folder."""


def save_weights(model: HashModel, form: CanonicalForm, path: Path) -> None:
    """Write the weights of a model as half-precision numbers; 11 bits are enough to start from.

    Parameters
    ----------
    model
        Trained.
    form
        Canonical form it was trained with: weights mean nothing on another.
    path
        Of the file, ``.safetensors``.
    """
    from safetensors.torch import save

    tensors = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in model.state_dict().items()
    }
    metadata = {
        "format": FORMAT,
        "model": json.dumps(asdict(model.config), sort_keys=True),
        "form": json.dumps(form.to_dict(), sort_keys=True),
    }
    write_file(path, save(tensors, metadata))


def load_weights(source: str | Path) -> tuple[HashModel, CanonicalForm]:
    """Return a model with the weights of `source`, and its canonical form.

    Parameters
    ----------
    source
        Name of a shipped encoder (``photo``), or a file of :func:`save_weights`.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged or holds something else.
    """
    if str(source) in NAMES:
        with as_file(files("hashae.pretrained") / f"{source}.safetensors") as path:
            return _read(path)
    return _read(Path(source))


def _read(path: Path) -> tuple[HashModel, CanonicalForm]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise CheckpointError(
            f"{path} does not exist; expected the name of a shipped encoder ({', '.join(NAMES)}) or a .safetensors "
            "file that train --weights wrote"
        )
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise CheckpointError(f"{path} holds no weights of hashae; expected a file that train --weights wrote")
            settings = asdict(ModelConfig.from_dict(json.loads(metadata["model"])))
            form = CanonicalForm(**json.loads(metadata["form"]))
            model = create_model(settings.pop("model"), **settings)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        model.load_state_dict(tensors)  # copies into single precision
    except (OSError, SafetensorError, ConfigError, RuntimeError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{path} is damaged ({str(error).splitlines()[0]}); export the weights again") from error
    return model, form
