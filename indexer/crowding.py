"""Crowding: how near the neighbours of each code are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hashae.calibration import COUNTED, SKIPPED
from hashae.codes import Codes
from hashae.indexer.index import HashIndex

REFERENCE = 20_000
"""Most codes that neighbours are looked for among; more would cost time and move the estimate little."""

BLOCK = 2048


def crowding(codes: Codes, *, threads: int = 1, seed: int = 0) -> NDArray[np.float32]:
    """Return the mean distance of each code to its neighbours, the nearest few left out.

    The nearest `SKIPPED` other codes may be copies of the picture; the mean is over the `COUNTED` after them.

    Parameters
    ----------
    codes
        ``uint8 (n, bytes)``, more than ``SKIPPED + COUNTED + 1`` of them.
    threads
        Of the search.
    seed
        Of the reference sample taken of more than `REFERENCE` codes.

    Returns
    -------
    float32 of shape (n,)
        In bits.
    """
    n = len(codes)
    rows = np.arange(n)
    if n > REFERENCE:
        rows = np.sort(np.random.default_rng(seed).choice(n, REFERENCE, replace=False))
    index = HashIndex(codes.shape[1] * 8, threads=threads)
    index.add(rows, codes[rows])
    inside = np.zeros(n, bool)
    inside[rows] = True
    out = np.empty(n, np.float32)
    for start in range(0, n, BLOCK):
        answers = index.nearest_many(codes[start : start + BLOCK], 1 + SKIPPED + COUNTED)
        for place, matches in enumerate(answers, start):
            first = SKIPPED + inside[place]  # a code of the reference finds itself first
            out[place] = np.mean([match.distance for match in matches[first : first + COUNTED]])
    return out
