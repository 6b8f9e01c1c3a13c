"""Compiled loops over sorted tables of keys, and a union-find.

Importing this module needs numba: see :func:`hashae.indexer.compiled.loops`. The twins in numpy
are in :mod:`hashae.indexer.block_tables` and :mod:`hashae.indexer.components`.

A forest is ``int32 (n,)``: the parent of every node, never above the node itself, so that the root of a tree is its
smallest node whatever the order of the unions. Every loop that could run long takes a budget of comparisons and returns
where it stopped, so that Ctrl-C and progress wait no longer than about half a second.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hashae.indexer.kernels import Number, Words, compiled, popcount

Forest = NDArray[np.int32]
Margins = NDArray[np.float64]

FEW = 16
"""Values of a run whose smallest distance is taken before single ones are looked at."""
FAR = 4096
"""Above any distance."""


@compiled
def find(forest: Forest, node: Number) -> Number:
    """Return the root of a node, halving the path on the way."""
    while forest[node] != node:
        forest[node] = forest[forest[node]]
        node = forest[node]
    return node


@compiled
def unite(forest: Forest, a: Number, b: Number) -> None:
    """Join the trees of two nodes."""
    a, b = find(forest, a), find(forest, b)
    if a < b:
        forest[b] = a
    elif b < a:
        forest[a] = b


@compiled
def unite_all(forest: Forest, a: NDArray[np.int64], b: NDArray[np.int64]) -> None:
    """Join the trees of many pairs of nodes."""
    for i in range(len(a)):
        unite(forest, a[i], b[i])


@compiled
def joined(forest: Forest, nodes: NDArray[np.int64]) -> Number:
    """Tell whether all nodes are in one tree."""
    root = find(forest, nodes[0])
    for node in nodes:  # noqa: SIM110 - compiled loops know no generators
        if find(forest, node) != root:
            return False
    return True


@compiled
def merge(forest: Forest, other: Forest) -> None:
    """Join in `forest` all that is joined in `other`."""
    for node in range(len(forest)):
        if other[node] != node:
            unite(forest, node, other[node])


@compiled
def flatten(forest: Forest) -> None:
    """Make every node a child of its root: parents never lie above, so one pass from below does."""
    for node in range(len(forest)):
        forest[node] = forest[forest[node]]


@compiled
def pack(words: Words, segments: Words, out: Words) -> None:
    """Write the value of every row in one table; see :func:`hashae.indexer.block_tables.pack`.

    Parameters
    ----------
    words
        ``uint64 (n, words)``.
    segments
        ``uint64 (segments, 4)``: word, shift to the right, mask, shift to the left.
    out
        ``uint64 (n,)``.
    """
    for row in range(len(out)):
        value = np.uint64(row)
        for s in range(len(segments)):
            word = words[row, np.int64(segments[s, 0])]
            value |= ((word >> segments[s, 1]) & segments[s, 2]) << segments[s, 3]
        out[row] = value


@compiled
def apart(words: Words, a: Number, b: Number) -> Number:
    """Count the bits in which two rows differ."""
    total = np.uint64(0)
    for word in range(words.shape[1]):
        total += popcount(words[a, word] ^ words[b, word])
    return np.int64(total)


@compiled
def least_value(values: Words, value: Number, row_bits: Number) -> Number:
    """Return the smallest distance of `FEW` values to one, over the bits above the row number."""
    least = np.uint64(FAR)
    for i in range(FEW):
        least = min(least, popcount((values[i] ^ value) >> row_bits))
    return least


@compiled
def connect_runs(
    values: Words,
    key_shift: Number,
    row_bits: Number,
    words: Words,
    margins: Margins,
    radius: Number,
    limit: Number,
    forest: Forest,
    at: Number,
    budget: Number,
    longest: Number,
    skipped: NDArray[np.int64],
) -> tuple[Number, Number]:
    """Join the rows of one sorted table that share a key and match.

    Parameters
    ----------
    values
        Sorted ``uint64 (n,)``: key, more bits of the code, row number.
    key_shift, row_bits
        Bits below the key, and bits of the row number; both uint64.
    words, margins
        ``uint64 (n, words)``; ``float64 (n,)``, or empty if all are 0.
    radius, limit
        Radius of the rule, and the largest distance that can match, in bits.
    forest
        Changed in place.
    at
        Where to go on.
    budget
        Comparisons after which to return.
    longest
        Longest run that is compared here.
    skipped
        ``int64 (room, 2)``: longer runs are written here.

    Returns
    -------
    Where it stopped (n: done), and how many runs were skipped.
    """
    n, most, few = len(values), np.uint64(limit), 0
    mask = (np.uint64(1) << row_bits) - np.uint64(1)
    while at < n and budget > 0 and few < len(skipped):
        key, end = values[at] >> key_shift, at + 1
        while end < n and (values[end] >> key_shift) == key:
            end += 1
        if end - at > longest:
            skipped[few, 0], skipped[few, 1] = at, end
            few += 1
        elif end - at > 1:
            budget -= (end - at) * (end - at) // 2
            for i in range(at, end - 1):
                value, row = values[i], np.int64(values[i] & mask)
                for start in range(i + 1, end, FEW):
                    stop = min(start + FEW, end)
                    if stop - start == FEW and least_value(values[start:stop], value, row_bits) > most:
                        continue
                    for j in range(start, stop):
                        if popcount((values[j] ^ value) >> row_bits) > most:
                            continue
                        other = np.int64(values[j] & mask)
                        if forest[row] == forest[other]:
                            continue
                        bits = apart(words, row, other)
                        if bits <= limit and (
                            len(margins) == 0 or bits <= radius + (margins[row] + margins[other]) / 2
                        ):
                            unite(forest, row, other)
        at = end
    return at, few


@compiled
def collect_runs(
    values: Words,
    key_shift: Number,
    row_bits: Number,
    words: Words,
    limit: Number,
    border: Number,
    masks: Words,
    chosen: NDArray[np.bool_],
    at: Number,
    inside: Number,
    budget: Number,
    longest: Number,
    skipped: NDArray[np.int64],
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    bits_out: NDArray[np.int32],
) -> tuple[Number, Number, Number, Number]:
    """Write down the pairs of one sorted table that lie within `limit`, each in its first table only.

    Parameters
    ----------
    values, key_shift, row_bits, words, limit, budget, longest, skipped
        As in :func:`connect_runs`.
    border
        Rows below it and rows from it on are two sets, and only pairs across count; 0 takes all pairs.
    masks, chosen
        ``uint64 (blocks, words)``, the bits of each block; ``bool (blocks,)``, the blocks of this key.
    at, inside
        Where to go on: start of a run, and the row of the run.
    left, right, bits_out
        Written from their start; they need room for more than `longest` pairs.

    Returns
    -------
    `at` and `inside` to go on from, number of pairs, number of skipped runs.
    """
    n, most, few, found = len(values), np.uint64(limit), 0, 0
    mask = (np.uint64(1) << row_bits) - np.uint64(1)
    room = len(left) - longest
    while at < n and budget > 0 and few < len(skipped):
        key, end = values[at] >> key_shift, at + 1
        while end < n and (values[end] >> key_shift) == key:
            end += 1
        if end - at > longest:
            skipped[few, 0], skipped[few, 1] = at, end
            few += 1
        else:
            for i in range(max(at, inside), end - 1):
                if found > room:
                    return at, i, found, few
                budget -= end - i
                value, row = values[i], np.int64(values[i] & mask)
                for start in range(i + 1, end, FEW):
                    stop = min(start + FEW, end)
                    if stop - start == FEW and least_value(values[start:stop], value, row_bits) > most:
                        continue
                    for j in range(start, stop):
                        if popcount((values[j] ^ value) >> row_bits) > most:
                            continue
                        other = np.int64(values[j] & mask)
                        if border and (row < border) == (other < border):
                            continue
                        bits = apart(words, row, other)
                        if bits <= limit and is_first(words, row, other, masks, chosen):
                            left[found], right[found], bits_out[found] = min(row, other), max(row, other), bits
                            found += 1
        at = end
    return at, 0, found, few


@compiled
def is_first(words: Words, a: Number, b: Number, masks: Words, chosen: NDArray[np.bool_]) -> Number:
    """Tell whether the blocks in which two rows agree begin with the chosen ones."""
    wanted = 0
    for block in range(len(chosen)):
        wanted += chosen[block]
    for block in range(len(chosen)):
        agree = True
        for word in range(words.shape[1]):
            if (words[a, word] ^ words[b, word]) & masks[block, word]:
                agree = False
        if agree != chosen[block]:
            return False
        wanted -= chosen[block]
        if wanted == 0:
            return True
    return True
