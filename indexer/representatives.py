"""What a finished group is described by: its representative and its diameter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashae.indexer.pairs import padded_columns
from hashae.indexer.rule import MatchRule
from hashae.indexer.scan import Words, distances_between

BUDGET = 1 << 28
"""Comparisons of one call into a compiled loop, so that Ctrl-C is heard."""
BATCHED = 64
"""Largest group whose members are compared all with all; groups of one size together."""


@dataclass(frozen=True, slots=True)
class Described:
    """Groups of codes, each known by its representative.

    Attributes
    ----------
    representative
        ``int64 (n,)``: row of the representative of each code's group.
    diameter
        ``int64 (n,)``: largest distance between two members, in bits, at the row of the representative.
    chained
        ``bool (n,)``: True where no member matches all others, at the row of the representative.
    """

    representative: NDArray[np.int64]
    diameter: NDArray[np.int64]
    chained: NDArray[np.bool_]


def describe(
    words: Words, weight: NDArray[np.int64], rule: MatchRule, label: NDArray[np.int64], compiled: Any = None
) -> Described:
    """Find representative and diameter of each group.

    The representative is the medoid: of the members that match all others, or of all members if none does, the one
    with the smallest sum of distances to all images of the group; of equal sums the first row.

    Parameters
    ----------
    words, weight
        ``uint64 (n, words)``; ``int64 (n,)``: how many images have each code.
    rule
        When two codes match.
    label
        ``int64 (n,)``: a row of the group of each code, the same for all members.
    compiled
        ``group_kernels`` for the diameters of large groups, or None.
    """
    n = len(words)
    found = Described(np.arange(n), np.zeros(n, np.int64), np.zeros(n, np.bool_))
    size = np.bincount(label, minlength=n)
    by_group = np.argsort(label, kind="stable")
    start = np.cumsum(size) - size
    few = np.flatnonzero((size > 1) & (size <= BATCHED))
    for count in np.flatnonzero(np.bincount(size[few])).tolist():
        groups = few[size[few] == count]
        step = max(1, (1 << 20) // (count * count * words.shape[1]))
        for at in range(0, len(groups), step):
            rows = by_group[start[groups[at : at + step], None] + np.arange(count)]  # (groups, count)
            _describe_alike(words, weight, rule, rows, found)
    for group in np.flatnonzero(size > BATCHED).tolist():
        rows = by_group[start[group] : start[group] + size[group]]
        _describe_large(words, weight, rule, rows, found, compiled)
    return found


def _describe_alike(
    words: Words, weight: NDArray[np.int64], rule: MatchRule, rows: NDArray[np.int64], found: Described
) -> None:
    """Describe groups of one size, ``int64 (groups, size)``."""
    part, margins = words[rows], rule.margins[rows]
    apart = np.bitwise_count(part[:, :, None] ^ part[:, None]).sum(axis=3, dtype=np.int64)  # (groups, size, size)
    reaches = (apart <= rule.radius + (margins[:, :, None] + margins[:, None]) / 2).all(axis=2)
    total = (apart * weight[rows][:, None]).sum(axis=2)
    able = reaches.any(axis=1)
    total = np.where(reaches | ~able[:, None], total, np.iinfo(np.int64).max)
    first = rows[np.arange(len(rows)), total.argmin(axis=1)]
    found.representative[rows] = first[:, None]
    found.diameter[first] = apart.max(axis=(1, 2))
    found.chained[first] = ~able


def _describe_large(
    words: Words, weight: NDArray[np.int64], rule: MatchRule, rows: NDArray[np.int64], found: Described, compiled: Any
) -> None:
    """Describe one group."""
    part, rule = words[rows], rule.of(rows)
    total = _distance_sums(part, weight[rows])
    columns = np.ascontiguousarray(part.T)
    able, everyone = np.ones(len(rows), np.bool_), np.arange(len(rows))
    best = -1
    while able.any():
        candidate = int(np.where(able, total, np.iinfo(np.int64).max).argmin())
        distance = distances_between(part[candidate : candidate + 1], columns)[0]
        missed = ~rule.linked(candidate, everyone, distance)
        if not missed.any():
            best = candidate
            break
        # whoever does not match the farthest of those it misses is out as well: few looks are enough
        able[candidate] = False
        far = int(np.where(missed, distance, 0).argmax())
        able &= rule.linked(far, everyone, distances_between(part[far : far + 1], columns)[0])
    chained = best < 0
    first = int(total.argmin()) if chained else best
    distance = distances_between(part[first : first + 1], columns)[0].astype(np.int64)
    found.representative[rows] = rows[first]
    found.diameter[rows[first]] = _diameter(part, distance, compiled)
    found.chained[rows[first]] = chained


def _distance_sums(words: Words, weight: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the sum of distances of each row to all, counted bit by bit: no pair is looked at.

    A bit adds to the sum of a row the weight of the rows that have it otherwise.
    """
    ones = np.zeros(words.shape[1] * 64, np.int64)
    blocks = [slice(start, start + 8192) for start in range(0, len(words), 8192)]
    for block in blocks:
        ones += weight[block] @ _bits(words[block])
    total, other = np.empty(len(words), np.int64), weight.sum() - 2 * ones
    for block in blocks:
        total[block] = ones.sum() + _bits(words[block]) @ other
    return total


def _bits(words: Words) -> NDArray[np.int64]:
    return np.unpackbits(np.ascontiguousarray(words).view(np.uint8), axis=1).astype(np.int64)


def _diameter(words: Words, distance: NDArray[np.int64], compiled: Any) -> int:
    """Return the largest distance of a large group, farthest from the representative first.

    By the triangle inequality two rows are at most as far apart as their distances to the representative together.
    """
    order = np.argsort(-distance, kind="stable")
    words, distance = words[order], distance[order]
    best, height = int(distance[0]), 16
    rows, columns = padded_columns(words, 1)
    if compiled:
        row = 0
        while row < len(rows):
            best, row = compiled.diameter(rows, columns, distance, best, row, BUDGET)
        return int(best)
    for top in range(0, len(words), height):
        reach = int(np.searchsorted(-distance, distance[top] - best, "left"))  # distance > best - distance[top]
        if reach <= top:
            break
        for left in range(top, reach, 4096):
            block = columns[:, left : min(left + 4096, reach)]
            best = max(best, int(distances_between(rows[top : top + height], block).max()))
    return best
