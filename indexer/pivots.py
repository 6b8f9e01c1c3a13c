"""The approximate way to duplicates at wide radii: only codes that are near a common pivot are compared.

Some codes are drawn as pivots, and every code is put into the lists of the few pivots nearest to it. Two codes that
match are near each other, so they usually share a list; all pairs of a list are compared. How many of the matching
pairs were found is measured on a sample of codes that are compared with all others, and told with the answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashae.indexer.approximate import Recall
from hashae.indexer.compiled import loops
from hashae.indexer.rule import MatchRule
from hashae.indexer.scan import Words, distances_between
from hashae.indexer.tasks import run_all

LISTS = 8
"""Lists that each code goes to."""
BALANCE = 40
"""With ``LISTS * sqrt(n / BALANCE)`` pivots, finding the nearest of them takes about as long as comparing the lists."""
SAMPLE = 2000
"""Codes whose matches are looked for everywhere, to measure the recall."""
BLOCK = 4096


def pivot_lists(words: Words, *, compiled: bool, threads: int = 1, seed: int = 0) -> Iterator[NDArray[np.int64]]:
    """Yield lists of rows, ascending, that are near a common pivot; two rows at least.

    Parameters
    ----------
    words
        ``uint64 (n, words)``, 1, 2, 4 or 8 words if compiled.
    compiled
        Use the compiled loops.
    threads
        Of the compiled loops.
    seed
        Of the draw of pivots.
    """
    pivots, wanted = draw_pivots(words, seed)
    yield from lists_of(nearest_pivots(words, pivots, wanted, compiled, threads), len(pivots))


def draw_pivots(words: Words, seed: int = 0) -> tuple[Words, int]:
    """Return pivots, and to the lists of how many of them each row goes."""
    n = len(words)
    count = min(n, max(1, round(LISTS * sqrt(n / BALANCE))))
    return words[np.sort(np.random.default_rng(seed).choice(n, count, replace=False))], min(LISTS, count)


def lists_of(nearest: NDArray[np.int32], count: int) -> Iterator[NDArray[np.int64]]:
    """Yield the rows, ascending, of each of `count` pivots, from :func:`nearest_pivots`; two rows at least."""
    order = np.argsort(nearest, axis=None, kind="stable")
    ends = np.cumsum(np.bincount(nearest.ravel(), minlength=count))
    for start, end in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True):
        if end - start > 1:
            yield order[start:end] // nearest.shape[1]


def nearest_pivots(words: Words, pivots: Words, count: int, compiled: bool, threads: int = 1) -> NDArray[np.int32]:
    """Return the numbers of the `count` pivots nearest to each row, ``int32 (n, count)``, in no particular order.

    Of equal distances the smaller number is taken.
    """
    columns = np.ascontiguousarray(pivots.T)
    out = np.empty((len(words), count), np.int32)
    kernels: Any = loops("group_kernels") if compiled else None

    def assign(start: int) -> float:
        part = words[start : start + BLOCK]
        if kernels is not None:
            kernels.nearest_columns(part, columns, out[start : start + BLOCK])
        else:
            packed = distances_between(part, columns).astype(np.int64) * len(pivots) + np.arange(len(pivots))
            out[start : start + BLOCK] = np.argpartition(packed, count - 1, axis=1)[:, :count]
        return float(len(part))

    run_all(assign, range(0, len(words), BLOCK), threads if compiled else 1, len(words), None)
    return out


def sampled_recall(words: Words, rule: MatchRule, root: NDArray[np.int64], *, compiled: bool, seed: int = 0) -> Recall:
    """Measure how many of the matching pairs of a sample of rows with all others are in one component.

    Parameters
    ----------
    words, rule
        The codes and when they match.
    root
        ``int64 (n,)``: component of each row, as it was found.
    compiled
        Use the compiled loops; then 1, 2, 4 or 8 words.
    seed
        Of the sample.
    """
    n = len(words)
    asked = np.random.default_rng(seed).choice(n, min(n, SAMPLE), replace=False)
    columns, everyone, counts = np.ascontiguousarray(words.T), np.arange(n), np.zeros(2, np.int64)
    kernels = loops("group_kernels") if compiled else None
    for row in asked.tolist():
        if kernels is not None:
            margin = float(rule.margins[row])
            kernels.count_joined(columns, words[row], margin, float(rule.radius), rule.margins, root, root[row], counts)
        else:
            matching = rule.linked(row, everyone, distances_between(words[row : row + 1], columns)[0])
            counts += matching.sum(), (root[matching] == root[row]).sum()
    counts -= len(asked)  # each matches itself
    total, joined = counts.tolist()
    return Recall("approximate", joined / total if total else None, len(asked), total)
