"""Search by reading every code: XOR and popcount in blocks that stay in the processor's cache.

It costs the same at every radius and whatever the bits are like, so it is the path for wide radii and for codes that
bands cannot tell apart, and the yardstick of the others. With the extra ``fast`` its loops are compiled.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from hashae.codes import Codes
from hashae.indexer.hits import Hits, join_hits, no_hits, pack, packed_hits, sorted_hits
from hashae.indexer.scan import as_columns, as_rows, distances_between, words_of
from hashae.indexer.tasks import in_parts

BLOCK = 1 << 14
"""Codes that numpy reads at a time: 128 KiB of 64-bit words."""
ROOM = 1 << 16
"""Answers that a compiled loop has room for at first."""


class FlatScan:
    """Exact search through all codes, with nothing built but a copy word after word.

    Parameters
    ----------
    codes
        ``uint8 (n, bytes)``.

    Examples
    --------
    >>> scan = FlatScan(np.array([[0], [3], [255]], np.uint8))
    >>> scan.within(np.array([[1]], np.uint8), 1).rows.tolist()
    [0, 1]
    """

    def __init__(self, codes: Codes) -> None:
        self._codes = codes
        self._columns: NDArray[np.uint64] | None = None

    def columns(self) -> NDArray[np.uint64]:
        """Return the codes as ``uint64 (words, n)``, made once; no copy for codes of 64 bits."""
        if self._columns is None:
            self._columns = as_columns(self._codes)
        return self._columns

    def within(self, queries: Codes, radius: int, *, kernels: ModuleType | None = None, threads: int = 1) -> Hits:
        """Find every code at most `radius` bits from each query, ``uint8 (m, bytes)``.

        `kernels` is :mod:`hashae.indexer.flat_kernels`, or None for numpy; `threads` share a batch there.
        """
        n, m = len(self._codes), len(queries)
        if not n or not m:
            return no_hits(m)
        if kernels is None:
            return self._within_numpy(queries, radius)
        columns = self.columns()

        def search(part: slice) -> Hits:
            words, begin, room = as_rows(queries[part]), 0, ROOM
            numbers, packed = [], []
            while begin < n:
                found, number = np.empty(room, np.uint64), np.empty(room, np.int32)
                begin, end = kernels.within(columns, words, radius, begin, found, number)
                numbers.append(number[:end].astype(np.int64))
                packed.append(found[:end])
                room *= 2
            return sorted_hits(len(words), np.concatenate(numbers), np.concatenate(packed), candidates=n * len(words))

        return join_hits(in_parts(search, m, threads))

    def nearest(self, queries: Codes, k: int, *, kernels: ModuleType | None = None, threads: int = 1) -> Hits:
        """Find the `k` codes nearest to each query, or all of them; equal distances go to the smaller row."""
        n, m = len(self._codes), len(queries)
        k = min(k, n)
        if not k or not m:
            return no_hits(m)
        if kernels is None:
            return self._nearest_numpy(queries, k)
        columns = self.columns()

        def search(part: slice) -> Hits:
            words = as_rows(queries[part])
            found = np.empty((len(words), k), np.uint64)
            kernels.nearest(columns, words, found)
            return packed_hits(np.arange(len(words) + 1) * k, found.reshape(-1), 0, n * len(words))

        return join_hits(in_parts(search, m, threads))

    def _within_numpy(self, queries: Codes, radius: int) -> Hits:
        words, numbers, packed = words_of(queries), [np.empty(0, np.int64)], [np.empty(0, np.uint64)]
        for start in range(0, len(self._codes), BLOCK):
            columns = np.ascontiguousarray(words_of(self._codes[start : start + BLOCK]).T)
            for number in range(len(queries)):
                near = distances_between(words[number : number + 1], columns)[0]
                rows = np.flatnonzero(near <= radius)
                if len(rows):
                    numbers.append(np.full(len(rows), number, np.int64))
                    packed.append(pack(near[rows], start + rows))
        return sorted_hits(
            len(queries),
            np.concatenate(numbers),
            np.concatenate(packed),
            candidates=len(self._codes) * len(queries),
        )

    def _nearest_numpy(self, queries: Codes, k: int) -> Hits:
        n, best, columns = len(self._codes), [], self.columns()
        for words in as_rows(queries):  # in the form of the columns
            near = [distances_between(words[None], columns[:, at : at + BLOCK])[0] for at in range(0, n, BLOCK)]
            distances = np.concatenate(near)
            # of the codes at the cut-off only the first are needed, and rows are in order
            cut = np.partition(distances, k - 1)[k - 1]
            inside, edge = np.flatnonzero(distances < cut), np.flatnonzero(distances == cut)
            chosen = np.concatenate([inside, edge[: k - len(inside)]])
            best.append(np.sort(pack(distances[chosen], chosen)))
        return packed_hits(np.arange(len(queries) + 1) * k, np.concatenate(best), 0, n * len(queries))
