"""Compiled twins of the multi-index: probe the buckets, read the candidates. See :mod:`hashae.indexer.multi`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashae.indexer.bucket_kernels import AHEAD, FEW, LONG, find_buckets, is_new, key_of, prefetch
from hashae.indexer.kernels import Number, Words, compiled, count_1, popcount
from hashae.indexer.word_kernels import within_word

__all__ = ["nearest", "permute", "within", "within_word"]

EARLY = 4
"""Queries ahead whose buckets are fetched."""


@compiled
def permute(codes: NDArray[np.uint8], table: NDArray[np.uint64], out: NDArray[np.uint64]) -> None:
    """Deal the bits of codes to bands: ``out[i] |= table[byte, codes[i, byte]]`` for every byte."""
    for i in range(codes.shape[0]):
        for word in range(table.shape[2]):
            total = np.uint64(0)
            for byte in range(codes.shape[1]):
                total |= table[byte, codes[i, byte], word]
            out[i, word] = total


@compiled
def is_new_wide(code: Words, query: Words, bands: NDArray[np.uint64], level: Number, band: Number) -> Number:
    """Tell for codes of several words what :func:`hashae.indexer.bucket_kernels.is_new` does."""
    for other in range(len(bands)):
        flips = np.int64(0)
        for word in range(len(query)):
            flips += np.int64(popcount((code[word] ^ query[word]) & bands[other, word]))
        if flips < level or (flips == level and other < band):
            return False
    return True


@compiled
def push(heap: NDArray[np.uint64], size: Number, value: Number) -> Number:
    """Put a value into a heap whose largest is on top, or in the place of the top if it is full; return the size."""
    if size < len(heap):
        at = size
        while at > 0 and heap[(at - 1) >> 1] < value:
            heap[at] = heap[(at - 1) >> 1]
            at = (at - 1) >> 1
        heap[at] = value
        return size + 1
    at, size = 0, len(heap)
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and heap[child + 1] > heap[child]:
            child += 1
        if heap[child] <= value:
            break
        heap[at] = heap[child]
        at = child
    heap[at] = value
    return size


@compiled
def fetch_rows(
    query: Words,
    steps: Number,
    start: NDArray[np.uint32],
    start_at: NDArray[np.int64],
    rows: NDArray[np.uint32],
    offsets: NDArray[np.int64],
    lengths: NDArray[np.int64],
) -> None:
    """Have the rows in the buckets of a query's own values fetched."""
    for band in range(steps):
        bucket = start_at[band] + key_of(query, offsets[band], lengths[band])
        left, right = np.int64(start[bucket]), np.int64(start[bucket + 1])
        if right > left:
            prefetch(rows[band], left)


@compiled
def within(
    queries: NDArray[np.uint64],
    index: Any,
    masks: Any,
    radius: Number,
    found: NDArray[np.uint64],
    limits: NDArray[np.int64],
    counts: NDArray[np.int64],
    first: Number,
) -> Number:
    """Write down every code at most `radius` bits from each query, from query `first` on; codes of several words.

    Parameters
    ----------
    queries
        ``uint64 (m, words)``, their bits dealt to bands.
    index
        Tuple of arrays: :meth:`hashae.indexer.multi.MultiIndex.arrays`.
    masks
        Tuple ``flips, flips_at``: the bits to flip, and where those of each band and number of flips begin.
    radius
        Bits, inclusive.
    found
        ``uint64 (room,)``: ``distance << 32 | row``, ascending for each query.
    limits
        ``int64 (m + 1,)``: where the answers of each query begin; ``limits[first]`` is given.
    counts
        ``int64 (2,)``: probes and candidates, added to.

    Returns
    -------
    int
        The first query that was not answered because `found` is full; m if none.
    """
    start, start_at, rows, codes, offsets, lengths, bands = index
    flips, flips_at = masks
    number, flat = len(offsets), codes.reshape(-1)
    lefts, rights, most = np.empty(AHEAD, np.int64), np.empty(AHEAD, np.int64), np.uint64(radius)
    plain = min(radius + 1, number)  # steps without flips: their buckets are fetched some queries before
    for at in range(first, len(queries)):
        query, end, probes, read = queries[at], limits[at], np.int64(0), np.int64(0)
        if at + EARLY < len(queries):
            fetch_rows(queries[at + EARLY], plain, start, start_at, rows, offsets, lengths)
        for step in range(radius + 1):
            level, band = step // number, step % number
            if level > lengths[band]:
                continue
            key, base = key_of(query, offsets[band], lengths[band]), start_at[band]
            first_flip, last_flip = flips_at[band, level], flips_at[band, level + 1]
            for flip in range(first_flip, last_flip):
                place = (flip - first_flip) % AHEAD
                if place == 0:
                    ahead = min(np.int64(AHEAD), last_flip - flip)
                    probes += ahead
                    if ahead < FEW:
                        for i in range(ahead):
                            bucket = base + (key ^ np.int64(flips[flip + i]))
                            lefts[i], rights[i] = start[bucket], start[bucket + 1]
                            read += rights[i] - lefts[i]
                    else:
                        some = flips[flip : flip + ahead]
                        read += find_buckets(start, base, key, some, rows[band], flat, False, lefts, rights)
                for i in range(lefts[place], rights[place]):
                    row = np.int64(rows[band, i])
                    apart = np.uint64(0)
                    for word in range(len(query)):
                        apart += popcount(codes[row, word] ^ query[word])
                    if apart > most or not is_new_wide(codes[row], query, bands, level, band):
                        continue
                    if end == len(found):
                        return at
                    found[end] = apart << np.uint64(32) | np.uint64(row)
                    end += 1
        if end - limits[at] > 1:
            found[limits[at] : end].sort()
        limits[at + 1] = end
        counts[0] += probes
        counts[1] += read
    return len(queries)


@compiled
def nearest(
    queries: NDArray[np.uint64],
    index: Any,
    masks: Any,
    budget: Number,
    found: NDArray[np.uint64],
    done: NDArray[np.bool_],
    counts: NDArray[np.int64],
) -> None:
    """Write down the k nearest codes of each query, growing the radius until no nearer code can be left.

    Parameters
    ----------
    queries, index, masks, counts
        As in :func:`within`.
    budget
        Candidates and probes after which a query is given up.
    found
        ``uint64 (m, k)``: ``distance << 32 | row``, ascending; k at most the number of codes.
    done
        ``bool (m,)``: False where a query was given up; its row of `found` means nothing.
    """
    start, start_at, rows, codes, offsets, lengths, bands = index
    flips, flips_at = masks
    one, number, levels, flat = queries.shape[1] == 1, len(offsets), flips_at.shape[1] - 1, codes.reshape(-1)
    lefts, rights = np.empty(AHEAD, np.int64), np.empty(AHEAD, np.int64)
    for at in range(len(queries)):
        query, heap, size, spent = queries[at], found[at], 0, np.int64(0)
        top = np.uint64(0xFFFFFFFFFFFFFFFF)
        done[at] = False
        for step in range(levels * number):
            level, band = step // number, step % number
            key, base = key_of(query, offsets[band], lengths[band]), start_at[band]
            first_flip, last_flip = flips_at[band, level], flips_at[band, level + 1]
            for flip in range(first_flip, last_flip):
                place = (flip - first_flip) % AHEAD
                if place == 0:
                    some, stored = flips[flip : min(flip + AHEAD, last_flip)], codes[band] if one else flat
                    read = find_buckets(start, base, key, some, rows[band], stored, one, lefts, rights)
                    spent += read + len(some)
                    counts[0] += len(some)
                    counts[1] += read
                left, right = lefts[place], rights[place]
                long = one and right - left >= LONG
                if long and count_1(codes[band, left:right], query[0], top >> np.uint64(32)) == 0:
                    continue
                for i in range(left, right):
                    if one:
                        differing = codes[band, i] ^ query[0]
                        apart = popcount(differing)
                        if apart > top >> np.uint64(32) or not is_new(differing, bands, level, band):
                            continue
                        row = np.int64(rows[band, i])
                    else:
                        row = np.int64(rows[band, i])
                        apart = np.uint64(0)
                        for word in range(len(query)):
                            apart += popcount(codes[row, word] ^ query[word])
                        if apart > top >> np.uint64(32) or not is_new_wide(codes[row], query, bands, level, band):
                            continue
                    value = apart << np.uint64(32) | np.uint64(row)
                    if value < top:
                        size = push(heap, size, value)
                        if size == len(heap):
                            top = heap[0]
            if size == len(heap) and np.int64(top >> np.uint64(32)) <= step:
                done[at] = True
                break
            if spent > budget:
                break
        if done[at]:
            heap.sort()
