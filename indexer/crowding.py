"""Crowding: how near the neighbours of each code are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hashae.calibration import COUNTED, SKIPPED
from hashae.codes import Codes, hamming_to
from hashae.indexer.index import HashIndex
from hashae.indexer.nearest import has_faiss
from hashae.indexer.summary import Progress

REFERENCE = 20_000
"""Most codes that neighbours are looked for among; more would cost time and move the estimate little."""

BLOCK = 2048

MANY = 2_000_000
"""Distances from which on FAISS is loaded for them."""


def reference_rows(n: int, *, seed: int = 0) -> NDArray[np.int64]:
    """Return the rows, ascending, that neighbours are looked for among: all of `n`, or `REFERENCE` drawn of them."""
    if n <= REFERENCE:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, REFERENCE, replace=False))


class Reference:
    """The codes that neighbours are looked for among: all of a collection, or a sample of a large one.

    Parameters
    ----------
    codes
        ``uint8 (n, bytes)`` of the collection, more than ``SKIPPED + COUNTED + 1`` of them.
    threads
        Of the search.
    seed
        Of the sample taken of more than `REFERENCE` codes.
    """

    def __init__(self, codes: Codes, *, threads: int = 1, seed: int = 0) -> None:
        n = len(codes)
        rows = reference_rows(n, seed=seed)
        self._codes, self._known = codes, codes[rows]
        self._index = HashIndex(codes.shape[1] * 8, threads=threads)
        self._index.add(rows, self._known)
        self._inside = np.zeros(len(codes), np.bool_)
        self._inside[rows] = True

    def crowding(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the mean distance of these codes of the collection to their neighbours, the nearest few left out.

        The nearest `SKIPPED` other codes may be copies of the picture; the mean is over the `COUNTED` after them.

        Parameters
        ----------
        rows
            ``int64 (m,)``: places in the codes of the collection.

        Returns
        -------
        float32 of shape (m,)
            In bits.
        """
        # The planner thinks of one question; thousands at once repay the loading of FAISS.
        many = len(rows) * len(self._known) > MANY and has_faiss()
        method = "faiss" if many else "auto"
        _, near = self._index.nearest_arrays(self._codes[rows], 1 + SKIPPED + COUNTED, method=method)
        # A code of the reference finds itself first.
        kept = np.where(self._inside[rows][:, None], near[:, 1:], near[:, :-1])[:, SKIPPED:]
        means: NDArray[np.float32] = kept.mean(axis=1, dtype=np.float32)
        return means

    def around(self, code: Codes) -> tuple[float, float]:
        """Return the crowding of a code that is not of the collection, and a reach.

        By the triangle inequality, a code of the collection ``d`` bits from this one has a crowding of at most ``d``
        more than the reach: its k-th neighbour is no farther than ``d`` and the k-th neighbour of this code, the one
        after it where it is a neighbour itself.

        Parameters
        ----------
        code
            ``uint8 (bytes,)``.
        """
        near = np.sort(hamming_to(self._known, code))[SKIPPED : SKIPPED + COUNTED + 1]
        return float(np.float32(near[:-1].mean())), float(near[1:].mean())


def crowding(
    codes: Codes, *, threads: int = 1, seed: int = 0, on_progress: Callable[[Progress], None] | None = None
) -> NDArray[np.float32]:
    """Return the crowding of every code of a collection, see :meth:`Reference.crowding`.

    Parameters
    ----------
    codes, threads, seed
        As those of :class:`Reference`.
    on_progress
        Called from this thread, with the stage ``crowding``.

    Returns
    -------
    float32 of shape (n,)
        In bits.
    """
    reference, n = Reference(codes, threads=threads, seed=seed), len(codes)
    out = np.empty(n, np.float32)
    for start in range(0, n, BLOCK):
        rows = np.arange(start, min(start + BLOCK, n))
        out[rows] = reference.crowding(rows)
        if on_progress:
            on_progress(Progress("crowding", start + len(rows), n))
    return out
