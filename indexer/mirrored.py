"""A picture and its mirror image asked for at once: two answers become one."""

from __future__ import annotations

from dataclasses import replace

from hashae.indexer.answer import Answer, ImageMatch


def join_mirrored(upright: Answer, mirrored: Answer, *, k: int | None) -> Answer:
    """Return one answer: each image once, by the smaller of its two distances, ordered by (distance, id).

    Parameters
    ----------
    upright
        Answer to the picture as it is; code, confidence and explanation are kept from it.
    mirrored
        Answer to its mirror image. At equal distances the picture as it is counts.
    k
        Keep so many; None keeps all.
    """
    best: dict[int, ImageMatch] = {match.id: match for match in upright.matches}
    for match in mirrored.matches:
        if match.id not in best or match.distance < best[match.id].distance:
            best[match.id] = replace(match, mirrored=True)
    ordered = sorted(best.values(), key=lambda match: (match.distance, match.id))
    return replace(upright, matches=tuple(ordered[:k]))
