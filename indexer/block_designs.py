"""Which blocks make the keys of a join, so that two codes within a radius share at least one key.

Two codes within r bits differ in at most r of k blocks and agree on f = k - r others, nobody knows which. So whatever f
blocks are taken, all blocks of some key have to be among them: the keys are a Turán system. All sets of f blocks are
one (Manku, Jain, Das Sarma, WWW 2007), and a large one. Smaller, with the same number t of blocks in a key:

* Deal the blocks to p groups with p (t - 1) < f, and take all sets of t blocks inside a group: of f blocks, at least t
  fall into one group, or there would be at most p (t - 1). For t = 2 nothing is smaller (Turán 1941).
* For f = 5 of 9 blocks, the 12 lines of the affine plane of three by three points: five points always hold a line, for
  the largest set without one has four. The groups above would make 14 keys.

A pair may share several keys, and no rule as simple as with all sets tells which comes first: these are for joins that
look for components, where meeting a pair twice costs time and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from math import comb
from typing import TypeAlias

Design: TypeAlias = list[tuple[int, ...]]
"""The blocks of each key, ascending."""

LINES: Design = [
    *((0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8)),
    *((0, 4, 8), (1, 5, 6), (2, 3, 7), (0, 5, 7), (1, 3, 8), (2, 4, 6)),
]
"""Lines of the affine plane of order 3, its points numbered row by row."""


def all_sets(blocks: int, radius: int, most: int) -> Iterator[Design]:
    """Yield the one design of all sets of ``blocks - radius`` blocks, unless it has more than `most` keys.

    Examples
    --------
    >>> list(all_sets(3, 1, 300))
    [[(0, 1), (0, 2), (1, 2)]]
    """
    if comb(blocks, radius) <= most:
        yield list(combinations(range(blocks), blocks - radius))


def few_sets(blocks: int, radius: int, most: int) -> Iterator[Design]:
    """Yield designs for `blocks` blocks of at most `most` keys, each with another number of blocks in a key.

    Examples
    --------
    >>> [(len(design[0]), len(design)) for design in few_sets(9, 4, 100)]
    [(2, 6), (3, 12)]
    >>> list(few_sets(6, 3, 300))[0]
    [(0, 1), (0, 2), (1, 2), (3, 4), (3, 5), (4, 5)]
    """
    free = blocks - radius
    if free == 1:
        yield from all_sets(blocks, radius, most)
    for size in range(2, free + 1):
        if (blocks, free, size) == (9, 5, 3):
            yield LINES
            continue
        groups = (free - 1) // (size - 1)
        members = [range(blocks * group // groups, blocks * (group + 1) // groups) for group in range(groups)]
        if sum(comb(len(group), size) for group in members) <= most:
            yield [key for group in members for key in combinations(group, size)]
