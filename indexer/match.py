"""What a search answers with."""

from __future__ import annotations

from typing import NamedTuple


class Match(NamedTuple):
    """One answer; matches sort by (distance, id), the order of every search path.

    Attributes
    ----------
    distance
        Hamming distance to the query, in bits.
    id
        Id of the image.
    """

    distance: int
    id: int
