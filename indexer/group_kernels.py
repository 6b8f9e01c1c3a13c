"""Compiled loops that cut a component into groups.

Importing this module needs numba: see :func:`hashae.indexer.compiled.loops`. The twins in numpy
are in :mod:`hashae.indexer.linkage` and :mod:`hashae.indexer.representatives`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hashae.indexer.kernels import Number, Words, compiled, popcount
from hashae.indexer.pair_kernels import Margins, apart

PART = 2048
"""Columns whose distances are written down at a time, so that they stay in the first cache."""


# As in band_kernels: the words are spelled out, or the compiler makes no vector instructions of the loop.


@compiled
def write_1(columns: Words, start: Number, count: Number, query: Words, out: NDArray[np.int64]) -> None:
    """Write the distances of `count` columns to a query; codes of one word."""
    a, q0 = columns[0, start : start + count], query[0]
    for i in range(count):
        out[i] = np.int64(popcount(a[i] ^ q0))


@compiled
def write_2(columns: Words, start: Number, count: Number, query: Words, out: NDArray[np.int64]) -> None:
    """Do the same for codes of two words."""
    stop, q0, q1 = start + count, query[0], query[1]
    a, b = columns[0, start:stop], columns[1, start:stop]
    for i in range(count):
        out[i] = np.int64(popcount(a[i] ^ q0) + popcount(b[i] ^ q1))


@compiled
def write_4(columns: Words, start: Number, count: Number, query: Words, out: NDArray[np.int64]) -> None:
    """Do the same for codes of four words."""
    stop, q0, q1, q2, q3 = start + count, query[0], query[1], query[2], query[3]
    a, b, c, d = columns[0, start:stop], columns[1, start:stop], columns[2, start:stop], columns[3, start:stop]
    for i in range(count):
        out[i] = np.int64(popcount(a[i] ^ q0) + popcount(b[i] ^ q1) + popcount(c[i] ^ q2) + popcount(d[i] ^ q3))


@compiled
def write_distances(columns: Words, start: Number, count: Number, query: Words, out: NDArray[np.int64]) -> None:
    """Write the distances of the columns ``start <= i < start + count`` to `query` into the beginning of `out`."""
    words = len(query)
    if words == 1:
        write_1(columns, start, count, query, out)
    elif words == 2:
        write_2(columns, start, count, query, out)
    else:
        write_4(columns, start, count, query, out)
        if words == 8:
            more = np.empty(count, np.int64)
            write_4(columns[4:], start, count, query[4:], more)
            for i in range(count):
                out[i] += more[i]


@compiled
def gain(
    columns: Words, query: Words, margin: Number, radius: Number, margins: Margins, weight: NDArray[np.int64]
) -> Number:
    """Return the weight of all columns that match a query.

    Parameters
    ----------
    columns, margins, weight
        ``uint64 (words, n)``, 1, 2, 4 or 8 words; ``float64 (n,)``; ``int64 (n,)``.
    query, margin
        ``uint64 (words,)`` and its margin.
    radius
        Of the rule, in bits.
    """
    n, total, bits = len(margins), 0, np.empty(PART, np.int64)
    for start in range(0, n, PART):
        count = min(PART, n - start)
        write_distances(columns, start, count, query, bits)
        near, heavy = margins[start : start + count], weight[start : start + count]
        part = 0
        for i in range(count):
            part += heavy[i] if bits[i] <= radius + (margin + near[i]) / 2 else 0
        total += part
    return total


@compiled
def near_columns(
    columns: Words,
    query: Words,
    margin: Number,
    radius: Number,
    margins: Margins,
    weight: NDArray[np.int64],
    near: NDArray[np.int64],
    apart_bits: NDArray[np.int64],
) -> Number:
    """Write down which columns of some weight match a query, ascending, and their distances; return how many.

    Parameters are those of :func:`gain`; `near` and `apart_bits` are ``int64 (n,)``, written from their start.
    """
    n, found, bits = len(margins), 0, np.empty(PART, np.int64)
    for start in range(0, n, PART):
        count = min(PART, n - start)
        write_distances(columns, start, count, query, bits)
        for i in range(count):
            if weight[start + i] > 0 and bits[i] <= radius + (margin + margins[start + i]) / 2:
                near[found], apart_bits[found] = start + i, bits[i]
                found += 1
    return found


@compiled
def count_joined(
    columns: Words,
    query: Words,
    margin: Number,
    radius: Number,
    margins: Margins,
    root: NDArray[np.int64],
    own: Number,
    matching: NDArray[np.int64],
) -> None:
    """Add to ``matching[0]`` the columns that match a query, and to ``matching[1]`` those of them whose root is `own`.

    Parameters are those of :func:`gain`; `root` is ``int64 (n,)``.
    """
    n, bits = len(margins), np.empty(PART, np.int64)
    for start in range(0, n, PART):
        count = min(PART, n - start)
        write_distances(columns, start, count, query, bits)
        near, tree = margins[start : start + count], root[start : start + count]
        found, joined = np.int64(0), np.int64(0)
        for i in range(count):
            match = np.int64(bits[i] <= radius + (margin + near[i]) / 2)
            found += match
            joined += match * np.int64(tree[i] == own)
        matching[0] += found
        matching[1] += joined


@compiled
def lower(
    columns: Words,
    query: Words,
    margin: Number,
    radius: Number,
    margins: Margins,
    weight: Number,
    mass: NDArray[np.int64],
) -> None:
    """Take a weight off the mass, ``int64 (n,)``, of the columns that match a query; parameters as in :func:`gain`."""
    n, bits = len(margins), np.empty(PART, np.int64)
    for start in range(0, n, PART):
        count = min(PART, n - start)
        write_distances(columns, start, count, query, bits)
        near, part = margins[start : start + count], mass[start : start + count]
        for i in range(count):
            part[i] -= weight if bits[i] <= radius + (margin + near[i]) / 2 else 0


@compiled
def diameter(
    rows: Words, columns: Words, distance: NDArray[np.int64], best: Number, row: Number, budget: Number
) -> tuple[Number, Number]:
    """Find the largest distance between two rows, of which those far from a middle come first.

    By the triangle inequality two rows are at most as far apart as their distances to the middle together.

    Parameters
    ----------
    rows, columns
        The same codes: ``uint64 (n, words)`` and ``uint64 (words, n)``.
    distance
        ``int64 (n,)``: to the middle, descending.
    best, row
        Largest distance so far, and where to go on.
    budget
        Comparisons after which to return.

    Returns
    -------
    Largest distance, and row to go on from; n if it is done.
    """
    n, bits, reach = len(distance), np.empty(PART, np.int64), len(distance)
    while row < n and budget > 0:
        while reach > row + 1 and distance[reach - 1] + distance[row] <= best:
            reach -= 1
        if reach <= row + 1:
            return best, n
        for start in range(row + 1, reach, PART):
            count = min(PART, reach - start)
            write_distances(columns, start, count, rows[row], bits)
            part = np.int64(0)
            for i in range(count):
                part = max(part, bits[i])
            best = max(best, part)
        budget -= reach - row
        row += 1
    return best, row


@compiled
def nearest_columns(rows: Words, columns: Words, out: NDArray[np.int32]) -> None:
    """Write for each row the numbers of the nearest columns; of equal distances the smaller numbers.

    Parameters
    ----------
    rows, columns
        ``uint64 (n, words)`` and ``uint64 (words, m)``.
    out
        ``int32 (n, k)``, k at most m; each row is written in ascending order of the numbers.
    """
    m, wanted = columns.shape[1], out.shape[1]
    bits, seen = np.empty(m, np.int64), np.empty(64 * rows.shape[1] + 2, np.int64)
    for row in range(len(rows)):
        for start in range(0, m, PART):
            count = min(PART, m - start)
            write_distances(columns, start, count, rows[row], bits[start:])
        seen[:] = 0
        for i in range(m):
            seen[bits[i]] += 1
        limit, inside = 0, 0
        while inside + seen[limit] < wanted:
            inside += seen[limit]
            limit += 1
        ties, found = wanted - inside, 0
        for i in range(m):
            if bits[i] < limit or (bits[i] == limit and ties > 0):
                ties -= bits[i] == limit
                out[row, found] = i
                found += 1
                if found == wanted:
                    break


@compiled
def linked(words: Words, margins: Margins, radius: Number, a: Number, b: Number) -> Number:
    """Tell whether two rows match."""
    return apart(words, a, b) <= radius + (margins[a] + margins[b]) / 2


@compiled
def cut_small(
    words: Words,
    margins: Margins,
    weight: NDArray[np.int64],
    radius: Number,
    starts: NDArray[np.int64],
    complete: Number,
    component: Number,
    budget: Number,
    label: NDArray[np.int64],
) -> Number:
    """Cut components into groups, one after the other; see :func:`hashae.indexer.linkage.cut`.

    Parameters
    ----------
    words, margins, weight
        ``uint64 (n, words)``, ``float64 (n,)``, ``int64 (n,)``: the rows of one component after those of another.
    radius
        Of the rule, in bits.
    starts
        ``int64 (components + 1,)``: first row of each component.
    complete
        Every two members of a group match; else all match the row it was made around.
    component
        Where to go on.
    budget
        Comparisons after which to return.
    label
        ``int64 (n,)``, written: the row that each group was made around.

    Returns
    -------
    Component to go on from.
    """
    while component < len(starts) - 1 and budget > 0:
        first, size = starts[component], starts[component + 1] - starts[component]
        mass = weight[first : first + size].copy()
        free, near, bits = np.ones(size, np.bool_), np.empty(size, np.int64), np.empty(size, np.int64)
        for i in range(size):
            for j in range(i + 1, size):
                if linked(words, margins, radius, first + i, first + j):
                    mass[i] += weight[first + j]
                    mass[j] += weight[first + i]
        left = size
        while left:
            middle, most = 0, -1
            for i in range(size):
                if free[i] and mass[i] > most:
                    middle, most = i, mass[i]
            found = 0
            for i in range(size):
                if free[i] and (i == middle or linked(words, margins, radius, first + middle, first + i)):
                    near[found], bits[found] = i, apart(words, first + middle, first + i)
                    found += 1
            if complete:
                found = clique(words, margins, radius, first, near, bits, found, middle)
            for i in range(found):
                free[near[i]] = False
                label[first + near[i]] = first + middle
            left -= found
            if left:
                for i in range(size):
                    if free[i]:
                        for j in range(found):
                            if linked(words, margins, radius, first + i, first + near[j]):
                                mass[i] -= weight[first + near[j]]
        budget -= size * size
        component += 1
    return component


@compiled
def clique(
    words: Words,
    margins: Margins,
    radius: Number,
    first: Number,
    near: NDArray[np.int64],
    bits: NDArray[np.int64],
    count: Number,
    middle: Number,
) -> Number:
    """Keep of the rows around a middle those that match all before them, the nearest first; return how many."""
    order = np.argsort(bits[:count] * (near[:count].max() + 1) + near[:count])
    candidates = near[:count][order]
    near[0], found = middle, 1
    for candidate in candidates:
        if candidate == middle:
            continue
        fits = True
        for i in range(found):
            if not linked(words, margins, radius, first + candidate, first + near[i]):
                fits = False
                break
        if fits:
            near[found] = candidate
            found += 1
    return found
