"""Several pictures on one HTML page, complete in itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files

import hashae
from hashae.drawing import to_base64
from hashae.errors import ConfigError, HashaeError
from hashae.show.catalogue import KINDS, Request


@dataclass(frozen=True)
class Shown:
    """One picture of a page.

    Attributes
    ----------
    title, text
        Above it.
    image
        PNG, as Base64; None if it could not be drawn.
    reason
        Why it could not be drawn.
    """

    title: str
    text: str
    image: str | None
    reason: str = ""


def to_html(names: Sequence[str], request: Request, *, strict: bool = True) -> str:
    """Return a page with pictures.

    Parameters
    ----------
    names
        Of :data:`hashae.show.catalogue.KINDS`.
    request
        What they are made from.
    strict
        Raise if one of them cannot be drawn; else the page says why it is missing.

    Raises
    ------
    HashaeError
        If one cannot be drawn, or, not strict, none.
    """
    shown = list(_drawn(names, request, strict))
    if not any(one.image for one in shown):
        raise ConfigError(f"none of the pictures can be drawn; the first: {shown[0].reason}")
    return render(f"Inside {request.source}", shown)


def render(title: str, shown: Sequence[Shown]) -> str:
    """Return a page of pictures that are drawn already."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    template = environment.from_string(files("hashae.show").joinpath("page.html.j2").read_text("utf-8"))
    return template.render(title=title, shown=shown, version=hashae.__version__)


def _drawn(names: Sequence[str], request: Request, strict: bool) -> Iterator[Shown]:
    for name in names:
        kind = KINDS[name]
        try:
            yield Shown(kind.title, kind.text, to_base64(kind.draw(request)))
        except HashaeError as error:
            if strict:
                raise
            yield Shown(kind.title, kind.text, None, " ".join(str(error).split()))
