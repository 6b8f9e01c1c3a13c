"""What the pages share: how names, dates and amounts are written, how data is put into a page, and the templates."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import unicodedata
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hashae.indexer.human_size import human_size
from hashae.indexer.report import TIER_TITLES

if TYPE_CHECKING:
    from jinja2 import Template
    from markupsafe import Markup


@cache
def template(name: str) -> Template:
    """Return a template of this package; it finds the style sheet and the scripts as ``source(name)``."""
    # Jinja2 takes a tenth of a second to import: only those who write a page pay for it
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    def source(file: str) -> Markup:
        return Markup(_text(file))

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    environment.filters.update(
        amount=amount,
        below=below,
        csp_hash=csp_hash,
        date=date,
        human_size=human_size,
        link=link,
        number="{:,}".format,
        visible=visible,
    )
    environment.globals.update(tier_titles=TIER_TITLES, source=source)
    return environment.from_string(_text(name))


def _text(name: str) -> str:
    return files("hashae.indexer").joinpath(name).read_text(encoding="utf-8")


def embedded(value: Any) -> Markup:
    """Return a value as JSON for a ``<script type="application/json">``: no name in it can end the element.

    Everything but ASCII is escaped, and so are the three signs that HTML knows.
    """
    from markupsafe import Markup

    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)


def common_folder(folders: Iterable[str]) -> str:
    """Return the folder that all the others lie in, or nothing if there is none worth a name."""
    listed = list(folders)
    if not listed or not all(folder.startswith("/") for folder in listed):
        return ""
    return os.path.commonpath(listed).rstrip("/")


def below(folder: str, common: str) -> str:
    """Return a folder as seen from the common one, see :func:`common_folder`."""
    return folder[len(common) :].lstrip("/") or folder


def amount(number: int, word: str) -> str:
    """Return a number with its word: ``1 image``, ``1,204 images``."""
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def csp_hash(text: str) -> str:
    """Return what a content security policy calls an inline script or style sheet by."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(str(text).encode()).digest()).decode()}'"


def date(seconds: float) -> str:
    """Return a time as ``2017-07-14 02:40``, UTC, or ``unknown date`` if the calendar has none."""
    try:
        # not fromtimestamp: it refuses years before 1970 on some systems
        return f"{datetime(1970, 1, 1) + timedelta(seconds=seconds):%Y-%m-%d %H:%M}"
    except (OverflowError, ValueError):
        return "unknown date"


def link(path: str) -> str | None:
    """Return the file: address of an absolute path, so that a click opens the full picture; None if it has none."""
    try:
        return Path(path).as_uri()
    except ValueError:
        return None


def visible(text: str) -> str:
    """Write out characters that cannot be seen or that turn the text around them, so that no name looks like another.

    The two joiners stay as they are: emoji and Persian need them.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char.encode("unicode_escape").decode("ascii")
        if char not in "\u200c\u200d" and unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")
        else char
        for char in text
    )
