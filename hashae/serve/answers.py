"""Answers as JSON: images, matches and how they were found."""

from __future__ import annotations

import math
import os
from dataclasses import asdict, fields
from typing import Any

from hashae.errors import ConfigError
from hashae.indexer.answer import ImageMatch
from hashae.indexer.answer_query import Question
from hashae.indexer.image_row import ImageRow
from hashae.indexer.served import TimedAnswer
from hashae.serve.text import shown

MATCH = tuple(field.name for field in fields(ImageMatch))
"""What is told of a match; dataclasses.asdict would copy each value, which takes longer than the search."""

MOST = 1000
"""Matches of one answer; how many there were in all is told."""


def question(*, exact: bool, radius: int | None, k: int | None, matches: bool) -> Question:
    """Return what is asked; nothing given asks for the 24 nearest.

    Raises
    ------
    ConfigError
        If more than one thing is asked.
    """
    if not exact and radius is None and k is None and not matches:
        k = 24
    if k is not None and k > MOST:
        raise ConfigError(f"k is {k}; expected at most {MOST:,}")
    return Question(exact, radius, k, matches)


def image_dict(row: ImageRow) -> dict[str, Any]:
    """Return what is known of an image."""
    return {
        "id": row.id,
        "path": row.path,
        "shown": shown(row.path),
        "name": shown(os.path.basename(row.path)),
        "folder": shown(os.path.dirname(row.path)),
        "size": row.size,
        "width": row.width,
        "height": row.height,
        "format": row.format,
        "modified": row.mtime_ns / 1e9,
        "content": row.content.hex(),
    }


def answer_dict(timed: TimedAnswer) -> dict[str, Any]:
    """Return an answer: at most `MOST` matches, and how many there are."""
    answer = timed.answer
    how = None if answer.explanation is None else _finite(asdict(answer.explanation))
    listed = [
        {
            **{name: getattr(match, name) for name in MATCH},
            "shown": shown(match.path),
            "name": shown(os.path.basename(match.path)),
            "folder": shown(os.path.dirname(match.path)),
        }
        for match in answer.matches[:MOST]
    ]
    return {
        "matches": listed,
        "total": len(answer.matches),
        "bits": answer.bits,
        "code": answer.code,
        "confidence": answer.confidence,
        "featureless": answer.featureless,
        "rule": answer.rule,
        "explanation": how,
        "encode_ms": round(timed.encode * 1000, 2),
        "search_ms": round(timed.search * 1000, 2),
    }


def _finite(value: Any) -> Any:
    """Return a value of dicts and numbers for JSON, which knows no infinite time."""
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
