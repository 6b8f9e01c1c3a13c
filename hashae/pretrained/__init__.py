"""Encoders that come with hashae, so that nobody has to train before the first answer.

``photo``: 256 bits, trained on photographs; its model card is ``photo.md`` beside it. Made by ``make pretrained``.
"""

from __future__ import annotations

from importlib.resources import files

from hashae.encoder import Encoder
from hashae.errors import UnknownName
from hashae.reference import SUFFIX, Reference

DEFAULT = "photo"

NAMES = ("photo",)


def load(name: str = DEFAULT, *, threads: int | None = None) -> Encoder:
    """Return a shipped encoder.

    Parameters
    ----------
    name
        One of `NAMES`.
    threads
        CPU threads of the network; None takes all cores.

    Raises
    ------
    UnknownName
        If no shipped encoder has that name.

    Examples
    --------
    >>> load("photo").bits
    256
    """
    if name not in NAMES:
        raise UnknownName(f"no shipped encoder is called {name!r}; known ones are {', '.join(NAMES)}")
    folder = files(__name__)
    return Encoder(
        (folder / f"{name}.onnx").read_bytes(),
        (folder / f"{name}.decoder.onnx").read_bytes(),
        threads=threads,
        origin=f"shipped encoder {name!r}",
    )


def card(name: str = DEFAULT) -> str:
    """Return the model card of a shipped encoder, Markdown: data, recipe, measurements, where it fails."""
    if name not in NAMES:
        raise UnknownName(f"no shipped encoder is called {name!r}; known ones are {', '.join(NAMES)}")
    return (files(__name__) / f"{name}.md").read_text("utf-8")


def reference(fingerprint: str) -> Reference | None:
    """Return the reference codes of the shipped encoder with this fingerprint; None for any other encoder."""
    for name in NAMES:
        file = files(__name__) / f"{name}{SUFFIX}"
        if file.is_file():
            found = Reference.from_bytes(file.read_bytes(), f"reference codes of {name!r}")
            if found.fingerprint == fingerprint:
                return found
    return None
