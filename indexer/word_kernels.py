"""The compiled radius search for codes of one word: the one that is asked for most, and worth a loop of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashae.indexer.bucket_kernels import AHEAD, LONG, is_new, prefetch
from hashae.indexer.kernels import Number, compiled, count_1, popcount

FAR, EARLY = 8, 4
"""Queries ahead whose buckets are looked for, and whose buckets are fetched."""
FETCHED = 256
"""Codes of a bucket that are fetched; the processor itself goes on with long ones."""
LINE = 8
"""Codes in a line of the cache."""
SHORT = 16
"""Answers to a query that are put in order one by one."""


@compiled
def value_of(word: Number, offset: Number, length: Number) -> Number:
    """Return `length` bits of a word from bit `offset` on, most significant first, as int64."""
    return np.int64((word << np.uint64(offset)) >> np.uint64(64 - length))


@compiled
def fetch(codes: NDArray[np.uint64], left: Number, right: Number) -> None:
    """Have codes fetched."""
    if right > left:
        last = min(right, left + FETCHED) - 1
        for i in range(left, last, LINE):
            prefetch(codes, i)
        prefetch(codes, last)  # steps of a line from anywhere in the first may end before the last line


@compiled
def settle(found: NDArray[np.uint64], limits: NDArray[np.int64], rows: NDArray[np.uint32]) -> None:
    """Put rows in place of where they stand, and the answers of each query in order.

    The rows are all over the memory. Read when they are found, each would be waited for; here many are on their way.
    """
    for i in range(limits[0], limits[-1]):
        value = found[i]
        row = rows[np.int64(value >> np.uint64(32)) & 255, np.int64(value & np.uint64(0xFFFFFFFF))]
        found[i] = value >> np.uint64(40) << np.uint64(32) | np.uint64(row)
    for query in range(len(limits) - 1):
        first, end = limits[query], limits[query + 1]
        if end - first > SHORT:
            found[first:end].sort()
            continue
        for i in range(first + 1, end):
            value, at = found[i], i
            while at > first and found[at - 1] > value:
                found[at] = found[at - 1]
                at -= 1
            found[at] = value


@compiled
def within_word(
    queries: NDArray[np.uint64],
    index: Any,
    masks: Any,
    radius: Number,
    found: NDArray[np.uint64],
    limits: NDArray[np.int64],
    counts: NDArray[np.int64],
    first: Number,
) -> Number:
    """Do the same as :func:`hashae.indexer.multi_kernels.within`, for codes of one word.

    Until all is found, an answer is ``distance << 40 | band << 32 | place`` and names the place of its row in a band.
    """
    start, start_at, rows, codes, offsets, lengths, bands = index
    flips, flips_at = masks
    number, n, flat = len(offsets), codes.shape[1], codes.reshape(-1)
    lefts, rights, most = np.empty(AHEAD, np.int64), np.empty(AHEAD, np.int64), np.uint64(radius)
    plain = min(radius + 1, number)  # steps without flips: their buckets are fetched some queries before
    end, probes, read = limits[first], np.int64(0), np.int64(0)
    for at in range(first, len(queries)):
        if at + FAR < len(queries):
            word = queries[at + FAR, 0]
            for band in range(plain):
                prefetch(start, start_at[band] + value_of(word, offsets[band], lengths[band]))
        if at + EARLY < len(queries):
            word = queries[at + EARLY, 0]
            for band in range(plain):
                bucket = start_at[band] + value_of(word, offsets[band], lengths[band])
                fetch(flat, band * n + np.int64(start[bucket]), band * n + np.int64(start[bucket + 1]))
        word = queries[at, 0]
        for step in range(radius + 1):
            level, band = step // number, step % number
            if level > lengths[band]:
                continue
            key, base, shift = value_of(word, offsets[band], lengths[band]), start_at[band], band * n
            first_flip, last_flip = flips_at[band, level], flips_at[band, level + 1]
            for begin in range(first_flip, last_flip, AHEAD):
                ahead = min(np.int64(AHEAD), last_flip - begin)
                if level:
                    for i in range(ahead):
                        prefetch(start, base + (key ^ np.int64(flips[begin + i])))
                for i in range(ahead):
                    bucket = base + (key ^ np.int64(flips[begin + i]))
                    lefts[i], rights[i] = shift + np.int64(start[bucket]), shift + np.int64(start[bucket + 1])
                    read += rights[i] - lefts[i]
                    if level and rights[i] > lefts[i]:
                        prefetch(flat, lefts[i])
                probes += ahead
                for place in range(ahead):
                    left, right = lefts[place], rights[place]
                    if right - left >= LONG and count_1(flat[left:right], word, most) == 0:
                        continue
                    for i in range(left, right):
                        differing = flat[i] ^ word
                        apart = popcount(differing)
                        if apart > most or not is_new(differing, bands, level, band):
                            continue
                        if end == len(found):
                            settle(found, limits[first : at + 1], rows)
                            return at
                        found[end] = apart << np.uint64(40) | np.uint64(band) << np.uint64(32) | np.uint64(i - shift)
                        end += 1
        limits[at + 1] = end
        counts[0] += probes
        counts[1] += read
        probes, read = np.int64(0), np.int64(0)
    settle(found, limits[first:], rows)
    return len(queries)
