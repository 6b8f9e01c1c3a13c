"""The matches inside one large component: which unassigned row has most of them, and which they are.

Where matches are few they are kept as lists. Where they are many, memory must grow with the rows and not with their
pairs: then they are counted whenever they are asked for, and counts are kept up to date as rows are assigned.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hashae.codes import Codes
from hashae.indexer.pairs import near_pairs, padded_columns
from hashae.indexer.rule import MatchRule
from hashae.indexer.scan import Words, distances_between

SPARSE = 16
"""Pairs for each code of a component up to which they are kept as lists."""
MOST_PAIRS = 5_000_000
"""Pairs up to which they are kept in any case: 16 bytes each."""
HALF, LOW = np.uint64(32), np.uint64(0xFFFFFFFF)

Found = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Rows, ascending, and their distances in bits."""


class Matches(Protocol):
    """What cutting a component asks; rows are numbered from 0 within it."""

    def heaviest(self) -> int:
        """Return the unassigned row whose unassigned matches weigh most, itself among them; -1 if none is left.

        Of equal ones the first.
        """

    def near(self, row: int) -> Found:
        """Return the unassigned rows that match one, itself among them."""

    def take(self, rows: NDArray[np.int64]) -> None:
        """Call rows assigned."""


def large_component(
    codes: Codes, words: Words, weight: NDArray[np.int64], rule: MatchRule, compiled: Any, engine: str
) -> Matches:
    """Return the matches of a component.

    Parameters
    ----------
    codes, words, weight, rule
        Of its rows.
    compiled
        The loops of ``group_kernels``, or None.
    engine
        For the search of pairs.
    """
    pairs: list[NDArray[np.uint64]] = []
    found = 0
    for a, b, distance in near_pairs(codes, rule.largest(8 * codes.shape[1]), engine=engine):
        linked = rule.linked(a, b, distance)
        pairs.append(_packed(a[linked].astype(np.uint64), b[linked].astype(np.uint64)))
        found += len(pairs[-1])
        if found > max(SPARSE * len(codes), MOST_PAIRS):
            return _Counted(words, weight, rule, compiled)
    return _Listed(words, weight, pairs)


def _packed(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Put two rows into one number."""
    packed: NDArray[np.uint64] = a << HALF | b
    return packed


class _Listed:
    """Matches as lists. Counts are evaluated lazily (Minoux 1978): they only ever fall, so an old one is a bound."""

    def __init__(self, words: Words, weight: NDArray[np.int64], pairs: list[NDArray[np.uint64]]) -> None:
        self._words, self._weight = words, weight.copy()
        own = np.arange(len(words), dtype=np.uint64)
        packed = np.concatenate([*pairs, *(_packed(part & LOW, part >> HALF) for part in pairs), _packed(own, own)])
        packed.sort()  # by row, then by match
        self._others = (packed & LOW).astype(np.int64)
        self._start = np.searchsorted(packed, np.arange(len(words) + 1, dtype=np.uint64) << HALF)
        bound = np.add.reduceat(self._weight[self._others], self._start[:-1])
        self._heap = [(-most, row) for row, most in enumerate(bound.tolist())]
        heapify(self._heap)

    def heaviest(self) -> int:
        """See :class:`Matches`."""
        heap = self._heap
        while heap:
            _, row = heappop(heap)
            if not self._weight[row]:
                continue
            while heap and not self._weight[heap[0][1]]:
                heappop(heap)
            gain = int(self._weight[self._others[self._start[row] : self._start[row + 1]]].sum())
            if not heap or (-gain, row) <= heap[0]:
                return row
            heappush(heap, (-gain, row))
        return -1

    def near(self, row: int) -> Found:
        """See :class:`Matches`."""
        others = self._others[self._start[row] : self._start[row + 1]]
        others = others[self._weight[others] > 0]
        return others, np.bitwise_count(self._words[others] ^ self._words[row]).sum(axis=1, dtype=np.int64)

    def take(self, rows: NDArray[np.int64]) -> None:
        """See :class:`Matches`."""
        self._weight[rows] = 0


class _Counted:
    """Matches counted when they are asked for."""

    def __init__(self, words: Words, weight: NDArray[np.int64], rule: MatchRule, compiled: Any) -> None:
        self._words, self._columns = padded_columns(words, 1)
        self._rule, self._compiled, self._radius = rule, compiled, float(rule.radius)
        self._rows, self._place = np.arange(len(words)), np.arange(len(words))  # row of column, column of row
        self._weight, self._margins = weight.copy(), rule.margins
        self._mass: NDArray[np.int64] | None = None

    def heaviest(self) -> int:
        """See :class:`Matches`."""
        if not self._weight.any():
            return -1
        if self._mass is None:
            total, mass = int(self._weight.sum()), np.empty(len(self._rows), np.int64)
            for place, row in enumerate(self._rows.tolist()):
                mass[place] = self._gain(row)
                if mass[place] == total and self._weight[place] > 0:  # it matches all: nothing can weigh more
                    return int(row)
            self._mass = mass
        return int(self._rows[np.where(self._weight > 0, self._mass, -1).argmax()])

    def near(self, row: int) -> Found:
        """See :class:`Matches`."""
        query, margin = self._words[row], self._rule.margins[row]
        if self._compiled:
            near, bits = np.empty(len(self._rows), np.int64), np.empty(len(self._rows), np.int64)
            found = self._compiled.near_columns(
                self._columns, query, margin, self._radius, self._margins, self._weight, near, bits
            )
            return self._rows[near[:found]], bits[:found]
        linked, distance = self._linked(row)
        linked &= self._weight > 0
        return self._rows[linked], distance[linked].astype(np.int64)

    def take(self, rows: NDArray[np.int64]) -> None:
        """See :class:`Matches`."""
        places = self._place[rows]
        weights = self._weight[places]
        self._weight[places] = 0
        keep = self._weight > 0
        if not keep.any():
            return
        if keep.sum() * 2 < len(keep):  # leave out what is assigned
            self._rows, self._columns = self._rows[keep], np.ascontiguousarray(self._columns[:, keep])
            self._weight, self._margins = self._weight[keep], self._margins[keep]
            self._mass = None if self._mass is None else self._mass[keep]
            self._place[self._rows] = np.arange(len(self._rows))
        if self._mass is not None:
            for row, weight in zip(rows.tolist(), weights.tolist(), strict=True):
                self._lower(self._mass, row, weight)

    def _gain(self, row: int) -> int:
        if self._compiled:
            query, margin = self._words[row], self._rule.margins[row]
            found = self._compiled.gain(self._columns, query, margin, self._radius, self._margins, self._weight)
            return int(found)
        return int(self._weight[self._linked(row)[0]].sum())

    def _lower(self, mass: NDArray[np.int64], row: int, weight: int) -> None:
        """Take the weight of a row off those that match it."""
        if self._compiled:
            query, margin = self._words[row], self._rule.margins[row]
            self._compiled.lower(self._columns, query, margin, self._radius, self._margins, weight, mass)
        else:
            mass[self._linked(row)[0]] -= weight

    def _linked(self, row: int) -> tuple[NDArray[np.bool_], NDArray[np.uint16]]:
        distance = distances_between(self._words[row : row + 1], self._columns)[0]
        return self._rule.linked(row, self._rows, distance), distance
