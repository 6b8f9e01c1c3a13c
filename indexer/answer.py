"""What a collection answers a query with."""

from __future__ import annotations

from dataclasses import dataclass

from hashae.indexer.planner import Explanation


@dataclass(frozen=True, slots=True)
class ImageMatch:
    """One answer to a query.

    Attributes
    ----------
    id, path
        The image.
    distance
        Hamming distance to the query in bits.
    size, width, height, format
        Of the file.
    """

    id: int
    path: str
    distance: int
    size: int
    width: int
    height: int
    format: str


@dataclass(frozen=True)
class Answer:
    """What a query answers.

    Attributes
    ----------
    matches
        Ordered by (distance, id).
    bits
        Code length the distances refer to.
    code
        Code of the query image, hexadecimal.
    confidence
        Of the query's code, 0 to 1.
    explanation
        How the answer was found, if it was asked for.
    """

    matches: tuple[ImageMatch, ...]
    bits: int
    code: str
    confidence: float
    explanation: Explanation | None = None
