"""One picture asked for in several ways, such as its mirror image: several answers become one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hashae.indexer.answer import Answer, ImageMatch

Way = tuple[bool, str | None]
"""Whether the mirror image was asked for, and the name of the view; ``(False, None)`` is the picture as it is."""


def join_answers(answers: Sequence[Answer], ways: Sequence[Way], *, k: int | None) -> Answer:
    """Return one answer: each image once, by the smallest of its distances, ordered by (distance, id).

    Parameters
    ----------
    answers
        Of the first, code, confidence and explanation are kept. At equal distances an earlier one counts.
    ways
        How the picture was asked for, of each answer.
    k
        Keep so many; None keeps all.
    """
    best: dict[int, ImageMatch] = {}
    for answer, (mirrored, view) in zip(answers, ways, strict=True):
        for match in answer.matches:
            if match.id not in best or match.distance < best[match.id].distance:
                best[match.id] = replace(match, mirrored=mirrored, view=view)
    ordered = sorted(best.values(), key=lambda match: (match.distance, match.id))
    return replace(answers[0], matches=tuple(ordered[:k]))
