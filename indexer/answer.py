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
    confidence
        Of its code, 0 to 1: how sure the least certain bits are.
    featureless
        True if there is next to nothing to see in it; its code then means little.
    allowed
        Largest distance at which it would match, in bits; None if all matches were not what was asked for.
    mirrored
        True if it is nearer to the mirror image of the query, and that was asked for.
    view
        How it was looked at where it is nearest to another view of the query than the picture as it is: a name of
        :data:`hashae.images.query_views.QUERY_VIEWS`.
    """

    id: int
    path: str
    distance: int
    size: int
    width: int
    height: int
    format: str
    confidence: float
    featureless: bool
    allowed: float | None = None
    mirrored: bool = False
    view: str | None = None


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
    featureless
        True if there is next to nothing to see in the query image: whatever is found means little.
    rule
        When two images match, in words, if all matches were asked for.
    explanation
        How the answer was found, if it was asked for.
    """

    matches: tuple[ImageMatch, ...]
    bits: int
    code: str
    confidence: float
    featureless: bool = False
    rule: str | None = None
    explanation: Explanation | None = None
