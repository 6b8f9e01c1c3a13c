"""Compiled loops that compare every code with every other, in steps that fit the processor's vector units and cache.

Importing this module needs numba: see :func:`hashae.indexer.compiled.loops`. The twin in numpy is in
:mod:`hashae.indexer.pairs`.

A hit is rare: of `STEP` columns the smallest distance is taken first, which vectorises, and single columns are looked
at only where that is small enough.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hashae.indexer.kernels import Number, Words, compiled, popcount
from hashae.indexer.pair_kernels import FAR, Forest, Margins, apart, find, unite

STEP = 64
"""Columns whose smallest distance is taken before single ones are looked at."""
TILE = 1024
"""Columns that many rows are compared with while they stay in the first cache."""


@compiled
def least_1(a: Words, q0: Number) -> Number:
    """Return the smallest distance of `STEP` columns of one word to a query."""
    least = np.uint64(FAR)
    for i in range(STEP):
        least = min(least, popcount(a[i] ^ q0))
    return least


@compiled
def least_2(a: Words, b: Words, q0: Number, q1: Number) -> Number:
    """Return the smallest distance of `STEP` columns of two words to a query."""
    least = np.uint64(FAR)
    for i in range(STEP):
        least = min(least, popcount(a[i] ^ q0) + popcount(b[i] ^ q1))
    return least


@compiled
def least_4(a: Words, b: Words, c: Words, d: Words, q0: Number, q1: Number, q2: Number, q3: Number) -> Number:
    """Return the smallest distance of `STEP` columns of four words to a query."""
    least = np.uint64(FAR)
    for i in range(STEP):
        least = min(least, popcount(a[i] ^ q0) + popcount(b[i] ^ q1) + popcount(c[i] ^ q2) + popcount(d[i] ^ q3))
    return least


@compiled
def reach(limit: Number, radius: Number, margin: Number, largest: Margins, start: Number) -> Number:
    """Return the largest distance at which a row can match one of the `STEP` columns from `start` on."""
    return np.uint64(min(limit, np.int64(radius + (margin + largest[start // STEP]) / 2)))


# One function for each number of words: the compiler turns a loop over columns into vector instructions only if the
# words are spelled out. Half of the words often show that no column of a step is near: then the others are not read.


@compiled
def steps_1(
    columns: Words,
    first: Number,
    end: Number,
    query: Words,
    limit: Number,
    radius: Number,
    margin: Number,
    largest: Margins,
    steps: NDArray[np.int64],
) -> Number:
    """Write down the starts of the steps that hold a column within reach; codes of one word."""
    found, q0 = 0, query[0]
    for start in range(first, end, STEP):
        near = reach(limit, radius, margin, largest, start)
        if least_1(columns[0, start : start + STEP], q0) <= near:
            steps[found] = start
            found += 1
    return found


@compiled
def steps_2(
    columns: Words,
    first: Number,
    end: Number,
    query: Words,
    limit: Number,
    radius: Number,
    margin: Number,
    largest: Margins,
    steps: NDArray[np.int64],
) -> Number:
    """Do the same for codes of two words."""
    found, q0, q1 = 0, query[0], query[1]
    for start in range(first, end, STEP):
        near, stop = reach(limit, radius, margin, largest, start), start + STEP
        if least_1(columns[0, start:stop], q0) > near:
            continue
        if least_2(columns[0, start:stop], columns[1, start:stop], q0, q1) <= near:
            steps[found] = start
            found += 1
    return found


@compiled
def steps_4(
    columns: Words,
    first: Number,
    end: Number,
    query: Words,
    limit: Number,
    radius: Number,
    margin: Number,
    largest: Margins,
    steps: NDArray[np.int64],
) -> Number:
    """Do the same for codes of four words."""
    found, q0, q1, q2, q3 = 0, query[0], query[1], query[2], query[3]
    for start in range(first, end, STEP):
        near, stop = reach(limit, radius, margin, largest, start), start + STEP
        a, b = columns[0, start:stop], columns[1, start:stop]
        if least_2(a, b, q0, q1) > near:
            continue
        if least_4(a, b, columns[2, start:stop], columns[3, start:stop], q0, q1, q2, q3) <= near:
            steps[found] = start
            found += 1
    return found


@compiled
def steps_8(
    columns: Words,
    first: Number,
    end: Number,
    query: Words,
    limit: Number,
    radius: Number,
    margin: Number,
    largest: Margins,
    steps: NDArray[np.int64],
) -> Number:
    """Do the same for codes of eight words: each half has to be near enough."""
    found, q0, q1, q2, q3 = 0, query[0], query[1], query[2], query[3]
    q4, q5, q6, q7 = query[4], query[5], query[6], query[7]
    for start in range(first, end, STEP):
        near, stop = reach(limit, radius, margin, largest, start), start + STEP
        a, b, c, d = columns[0, start:stop], columns[1, start:stop], columns[2, start:stop], columns[3, start:stop]
        one = least_4(a, b, c, d, q0, q1, q2, q3)
        if one > near:
            continue
        e, f, g, h = columns[4, start:stop], columns[5, start:stop], columns[6, start:stop], columns[7, start:stop]
        if one + least_4(e, f, g, h, q4, q5, q6, q7) <= near:
            steps[found] = start
            found += 1
    return found


@compiled
def steps_near(
    columns: Words,
    first: Number,
    end: Number,
    query: Words,
    limit: Number,
    radius: Number,
    margin: Number,
    largest: Margins,
    steps: NDArray[np.int64],
) -> Number:
    """Write down the starts of the steps, from `first` below `end`, that may hold a column within reach of `query`.

    Parameters
    ----------
    columns
        ``uint64 (words, n)``, 1, 2, 4 or 8 words, n and `first` multiples of `STEP`.
    query
        ``uint64 (words,)``.
    limit, radius, margin, largest
        See :func:`reach`.
    steps
        ``int64``, written from its start.

    Returns
    -------
    Number of steps.
    """
    if len(query) == 1:
        return steps_1(columns, first, end, query, limit, radius, margin, largest, steps)
    if len(query) == 2:
        return steps_2(columns, first, end, query, limit, radius, margin, largest, steps)
    if len(query) == 4:
        return steps_4(columns, first, end, query, limit, radius, margin, largest, steps)
    return steps_8(columns, first, end, query, limit, radius, margin, largest, steps)


@compiled
def common_root(forest: Forest, start: Number, stop: Number) -> Number:
    """Return the root that all nodes of a range share, or -1."""
    root = find(forest, start)
    for node in range(start + 1, stop):
        if find(forest, node) != root:
            return -1
    return root


@compiled
def connect_band(
    rows: Words,
    columns: Words,
    margins: Margins,
    largest: Margins,
    radius: Number,
    limit: Number,
    forest: Forest,
    top: Number,
    bottom: Number,
) -> None:
    """Join the rows ``top <= i < bottom`` with all that follow and match.

    Parameters
    ----------
    rows, columns
        The same codes: ``uint64 (n, words)``, and ``uint64 (words, m)`` with zeros up to a multiple of `STEP`.
    margins, largest
        ``float64 (n,)``, and the largest of each `STEP`.
    radius, limit
        Radius of the rule, and the largest distance that can match, in bits.
    forest
        Changed in place.
    """
    n, steps = len(rows), np.empty(TILE // STEP, np.int64)
    for tile in range(top // TILE * TILE, n, TILE):
        end = min(tile + TILE, n)
        shared = common_root(forest, tile, end)  # a dense cluster is one tree soon: nothing is left to find in it
        for i in range(top, min(bottom, end - 1)):
            if shared >= 0 and find(forest, i) == shared:
                continue
            first = max(tile, (i + 1) // STEP * STEP)
            for s in range(steps_near(columns, first, end, rows[i], limit, radius, margins[i], largest, steps)):
                for j in range(max(steps[s], i + 1), min(steps[s] + STEP, end)):
                    if forest[i] != forest[j]:
                        bits = apart(rows, i, j)
                        if bits <= radius + (margins[i] + margins[j]) / 2:
                            unite(forest, i, j)


@compiled
def collect_band(
    rows: Words,
    columns: Words,
    limit: Number,
    border: Number,
    none: Margins,
    top: Number,
    bottom: Number,
    tile: Number,
    at: Number,
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    bits_out: NDArray[np.int32],
) -> tuple[Number, Number, Number]:
    """Write down the pairs of the rows ``top <= i < bottom`` with codes that follow them and lie within `limit`.

    Parameters
    ----------
    rows, columns
        As in :func:`connect_band`.
    limit
        Bits, inclusive.
    border
        Only codes from here on; 0 takes all that follow a row.
    none
        Zeros, one for each `STEP` columns.
    tile, at
        Column, a multiple of `TILE`, and row to go on from.
    first, second, bits_out
        Written from their start; they need room for `TILE` pairs.

    Returns
    -------
    Column (n or more: done) and row to go on from, and the number of pairs.
    """
    n, steps, found, room = len(rows), np.empty(TILE // STEP, np.int64), 0, len(first) - TILE
    while tile < n:
        end = min(tile + TILE, n)
        while at < bottom:
            if found > room:
                return tile, at, found
            lowest = max(at + 1, border, tile)
            near = lowest // STEP * STEP
            for s in range(steps_near(columns, near, end, rows[at], limit, limit, 0.0, none, steps)):
                for j in range(max(steps[s], lowest), min(steps[s] + STEP, end)):
                    bits = apart(rows, at, j)
                    if bits <= limit:
                        first[found], second[found], bits_out[found] = at, j, bits
                        found += 1
            at += 1
        at = top
        tile += TILE
    return tile, at, found


@compiled
def best_band(
    queries: Words,
    query_margins: Margins,
    rows: Words,
    columns: Words,
    margins: Margins,
    largest: Margins,
    numbers: NDArray[np.int64],
    radius: Number,
    limit: Number,
    top: Number,
    bottom: Number,
    best: NDArray[np.int64],
    best_bits: NDArray[np.int32],
) -> None:
    """Note for the queries ``top <= i < bottom`` the nearest row that matches; of equal ones that of smallest number.

    Parameters
    ----------
    queries, query_margins
        ``uint64 (n, words)``, ``float64 (n,)``: one set of codes.
    rows, columns, margins, largest
        The other set, as in :func:`connect_band`.
    numbers
        ``int64 (m,)``: what the rows are called in the answer.
    radius, limit
        Radius of the rule, and the largest distance that can match, in bits.
    best, best_bits
        ``int64 (n,)``, -1 for none yet; ``int32 (n,)``, above any distance for none yet. Changed in place.
    """
    n, steps = len(rows), np.empty(TILE // STEP, np.int64)
    for tile in range(0, n, TILE):
        end = min(tile + TILE, n)
        for i in range(top, bottom):
            most, margin = min(limit, np.int64(best_bits[i])), query_margins[i]
            for s in range(steps_near(columns, tile, end, queries[i], most, radius, margin, largest, steps)):
                for j in range(steps[s], min(steps[s] + STEP, end)):
                    bits = np.int64(0)
                    for word in range(rows.shape[1]):
                        bits += np.int64(popcount(queries[i, word] ^ rows[j, word]))
                    if bits > radius + (margin + margins[j]) / 2:
                        continue
                    if bits < best_bits[i] or (bits == best_bits[i] and numbers[j] < best[i]):
                        best[i], best_bits[i] = numbers[j], bits
