"""Compiled twins of the scan: read every code, in blocks that stay in the processor's first cache.

All queries of a batch read a block before the next one is fetched, so that memory is read once for many queries.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hashae.indexer.kernels import Number, Words, compiled, count_near, distance, mark_near
from hashae.indexer.multi_kernels import push

BLOCK_BYTES = 1 << 14
"""Bytes of codes that all queries read before the next are fetched."""
SAMPLE = 8192
"""Words looked at for a first guess of how near the k-th code is."""
MIDDLE, FINE = 512, 64
"""Codes counted at a time where a block has a hit, before single ones are looked at."""


@compiled
def first_limit(columns: Words, query: Words, k: Number) -> Number:
    """Return a distance within which at least k codes lie, from a look at the first few thousand."""
    looked = min(columns.shape[1], max(SAMPLE // columns.shape[0], 32 * k))
    low, high = 0, 64 * columns.shape[0]
    while low < high:
        middle = (low + high) // 2
        if count_near(columns, 0, looked, query, middle) >= k:
            high = middle
        else:
            low = middle + 1
    return low


@compiled
def nearest(columns: Words, queries: NDArray[np.uint64], found: NDArray[np.uint64]) -> None:
    """Write down the k nearest codes of each query.

    Parameters
    ----------
    columns
        ``uint64 (words, n)``.
    queries
        ``uint64 (m, words)``.
    found
        ``uint64 (m, k)`` with k at most n: ``distance << 32 | row``, ascending.
    """
    n, k = columns.shape[1], found.shape[1]
    block = max(FINE, BLOCK_BYTES // (8 * columns.shape[0]))
    marks = np.zeros(FINE, np.uint8)
    eights = marks.view(np.uint64)  # eight marks at once
    sizes, limits = np.zeros(len(queries), np.int64), np.empty(len(queries), np.int64)
    for at in range(len(queries)):
        limits[at] = first_limit(columns, queries[at], k)
    for start in range(0, n, block):
        stop = min(start + block, n)
        for at in range(len(queries)):
            query, heap, most = queries[at], found[at], limits[at]
            if most < 0 or count_near(columns, start, stop, query, most) == 0:
                continue
            for left in range(start, stop, MIDDLE):
                right = min(left + MIDDLE, stop)
                if most < 0 or count_near(columns, left, right, query, most) == 0:
                    continue
                for first in range(left, right, FINE):
                    if most < 0:
                        break
                    last = min(first + FINE, right)
                    marks[:] = 0
                    mark_near(columns, first, last, query, most, marks)
                    for eight in range(FINE // 8):
                        if eights[eight] == 0:
                            continue
                        for row in range(first + 8 * eight, first + 8 * eight + 8):
                            if marks[row - first] == 0:
                                continue
                            bits = distance(columns, row, query)
                            if bits <= most:
                                sizes[at] = push(heap, sizes[at], np.uint64(bits) << np.uint64(32) | np.uint64(row))
                                if sizes[at] == k:  # rows come in order: from now on an equal distance is too late
                                    most = np.int64(heap[0] >> np.uint64(32)) - 1
            limits[at] = most
    for at in range(len(queries)):
        found[at].sort()


@compiled
def within(
    columns: Words,
    queries: NDArray[np.uint64],
    radius: Number,
    begin: Number,
    found: NDArray[np.uint64],
    numbers: NDArray[np.int32],
) -> tuple[Number, Number]:
    """Write down the codes at most `radius` bits from each query, from code `begin` on.

    Parameters
    ----------
    columns, queries
        As in :func:`nearest`.
    radius
        Bits, inclusive.
    begin
        First code to read.
    found
        ``uint64 (room,)``: ``distance << 32 | row``, block by block, in each by query.
    numbers
        ``int32 (room,)``: the query of each.

    Returns
    -------
    stop : int
        The first code not read because `found` could become full; n if none.
    end : int
        Answers written.
    """
    n, end, block = columns.shape[1], 0, max(FINE, BLOCK_BYTES // (8 * columns.shape[0]))
    marks = np.zeros(FINE, np.uint8)
    eights = marks.view(np.uint64)
    for start in range(begin, n, block):
        stop = min(start + block, n)
        before = end
        for at in range(len(queries)):
            query = queries[at]
            near = count_near(columns, start, stop, query, radius)
            if near == 0:
                continue
            if end + near > len(found):
                return start, before
            for left in range(start, stop, MIDDLE):
                right = min(left + MIDDLE, stop)
                if count_near(columns, left, right, query, radius) == 0:
                    continue
                for first in range(left, right, FINE):
                    marks[:] = 0
                    mark_near(columns, first, min(first + FINE, right), query, radius, marks)
                    for eight in range(FINE // 8):
                        if eights[eight] == 0:
                            continue
                        for row in range(first + 8 * eight, first + 8 * eight + 8):
                            if marks[row - first]:
                                bits = np.uint64(distance(columns, row, query))
                                found[end], numbers[end] = bits << np.uint64(32) | np.uint64(row), at
                                end += 1
    return n, end
