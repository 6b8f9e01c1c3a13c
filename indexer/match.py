"""What a search answers with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, order=True)
class Match:
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


def ordered_matches(ids: NDArray[np.int64], distances: NDArray[np.int32], limit: int | None = None) -> list[Match]:
    """Turn parallel arrays into matches ordered by (distance, id); `limit` keeps the first so many."""
    order = np.lexsort((ids, distances))[:limit]
    return [Match(int(distances[i]), int(ids[i])) for i in order]
