"""Names of files as people may safely see them, and JSON whatever is in them."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

from starlette.responses import Response

MISLEADING = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode categories: control and format, directions among them; lone surrogates; separators of lines."""

JOINER = "\u200d"
"""Joins emoji to one sign; it turns nothing round."""


def shown(text: str) -> str:
    """Return a name without what could mislead: control and direction marks, and bytes that are no text, are spelled.

    Examples
    --------
    >>> print(shown("evil\\u202egpj.exe"), shown("caf\\udce9"))
    evil\\u202egpj.exe caf\\udce9
    """
    if text.isascii() and text.isprintable():
        return text
    spelled = (
        # Cc, Cf: control and format, directions among them; Cs: lone surrogates; Zl, Zp: separators
        f"\\u{ord(sign):04x}"
        if sign != JOINER and unicodedata.category(sign) in {"Cc", "Cf", "Cs", "Zl", "Zp"}
        else sign
        for sign in text
    )
    return "".join(spelled)


class AsciiJson(Response):
    """JSON in ASCII: a file name may hold bytes that are no text, which UTF-8 cannot express."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return the body."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")
