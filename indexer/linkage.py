"""Cutting components into groups that do not chain: a near b, b near c, a far from c.

* ``star``: everything in a group matches the code that the group was made around;
* ``complete``: every two codes of a group match;
* ``component``: no cut; whatever is joined through others is one group.

The cut is greedy: the code with the most unassigned matches takes them, until none is left. For ``star`` that is the
greedy set cover of Chvatal (1979). For ``complete`` it takes them one by one, the nearest first, where they match all
that it took before. Counts are evaluated lazily (Minoux 1978): a count of unassigned matches only ever falls, so an old
one is an upper bound. Equal counts go to the first row, so the answer is always the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashae.codes import Codes
from hashae.errors import UnknownName
from hashae.indexer.compiled import loops
from hashae.indexer.pairs import near_pairs, padded_columns
from hashae.indexer.rule import MatchRule
from hashae.indexer.scan import Words, as_rows, distances_between

LINKAGES = ("star", "complete", "component")

SMALL = 1024
"""Largest component that compiled loops cut by comparing all with all."""
BATCHED = 64
"""The same for numpy, which takes components of one size together."""
SPARSE = 16
"""Pairs a code in a large component up to which they are kept as lists."""
HALF, LOW = np.uint64(32), np.uint64(0xFFFFFFFF)
BUDGET = 1 << 27
"""Comparisons of one call into a compiled loop, so that Ctrl-C is heard."""


def check_linkage(linkage: str) -> str:
    """Return `linkage` if it is one of `LINKAGES`.

    Raises
    ------
    UnknownName
        If it is not.
    """
    if linkage not in LINKAGES:
        raise UnknownName(f"unknown linkage {linkage!r}; expected one of {', '.join(LINKAGES)}")
    return linkage


def cut(
    codes: Codes,
    weight: NDArray[np.int64],
    rule: MatchRule,
    root: NDArray[np.int64],
    linkage: str,
    *,
    engine: str = "auto",
    on_step: Callable[[int, int], None] | None = None,
) -> NDArray[np.int64]:
    """Return for each code a row of its group, the same for all members.

    Parameters
    ----------
    codes, weight
        ``uint8 (n, bytes)``; ``int64 (n,)``: how many images have each code.
    rule
        When two codes match.
    root
        ``int64 (n,)``: the component of each code, as a row.
    linkage
        One of `LINKAGES`.
    engine
        ``numpy`` for plain loops; else compiled ones where there are any and enough to do.
    on_step
        Told how many of the codes in components of three or more are done.
    """
    label = root.copy()
    size = np.bincount(root, minlength=len(root))
    if linkage == "component" or not (size > 2).any():
        return label
    rows = np.flatnonzero(size[root] > 2)
    rows = rows[np.argsort(root[rows], kind="stable")]
    starts = np.flatnonzero(np.r_[True, root[rows][1:] != root[rows][:-1], True])
    sizes = np.diff(starts)
    compiled: Any = loops("group_kernels") if engine == "compiled" or _worth_loading(sizes, engine) else None
    cutter = _Cutter(codes, weight, rule, linkage == "complete", compiled, engine)
    small = sizes <= (SMALL if compiled else BATCHED)
    large = (rows[starts[number] : starts[number + 1]] for number in np.flatnonzero(~small).tolist())
    done = told = 0
    for part in chain(cutter.small(rows, starts, small, label), *(cutter.large(mine, label) for mine in large)):
        done += part
        if on_step and (done - told > len(rows) // 200 or done == len(rows)):
            told = done
            on_step(done, len(rows))
    return label


def _worth_loading(sizes: NDArray[np.int64], engine: str) -> bool:
    return engine == "auto" and float((sizes.astype(np.float64) ** 2).sum()) > 3e7


class _Cutter:
    """What is the same for all components of one search."""

    def __init__(
        self, codes: Codes, weight: NDArray[np.int64], rule: MatchRule, complete: bool, compiled: Any, engine: str
    ) -> None:
        self._codes, self._weight, self._rule, self._complete = codes, weight, rule, complete
        self._words, self._compiled, self._engine = as_rows(codes), compiled, engine

    def small(
        self, rows: NDArray[np.int64], starts: NDArray[np.int64], small: NDArray[np.bool_], label: NDArray[np.int64]
    ) -> Iterator[int]:
        """Label the rows of small components, and yield how many at a time."""
        sizes = np.diff(starts)
        if self._compiled is None:
            for count in np.flatnonzero(np.bincount(sizes[small])).tolist():
                begin = starts[:-1][small & (sizes == count)]
                step = max(1, (1 << 20) // (count * count * self._words.shape[1]))
                for at in range(0, len(begin), step):
                    mine = rows[begin[at : at + step, None] + np.arange(count)]  # (components, count)
                    label[mine] = np.take_along_axis(mine, self._batch(mine), axis=1)
                    yield mine.size
            return
        mine = rows[np.repeat(small, sizes)]
        begin = np.r_[0, np.cumsum(sizes[small])]
        words, margins, weight = self._words[mine], self._rule.margins[mine], self._weight[mine]
        out, at = np.empty(len(mine), np.int64), 0
        while at < len(begin) - 1:
            before = at
            at = self._compiled.cut_small(
                words, margins, weight, self._rule.radius, begin, self._complete, at, BUDGET, out
            )  # fmt: skip
            yield int(begin[at] - begin[before])
        label[mine] = mine[out]

    def _batch(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Cut components of one size together; return the place of the middle of each place, ``(components, size)``."""
        words, margins, weight = self._words[rows], self._rule.margins[rows], self._weight[rows]
        apart = np.bitwise_count(words[:, :, None] ^ words[:, None]).sum(axis=3, dtype=np.int64)
        linked = apart <= self._rule.radius + (margins[:, :, None] + margins[:, None]) / 2
        here, places = np.arange(len(rows)), np.arange(rows.shape[1])
        middle, free = np.full(rows.shape, -1), np.ones(rows.shape, np.bool_)
        while free.any():
            mass = ((linked & free[:, None]) * weight[:, None]).sum(axis=2)
            best = np.where(free, mass, -1).argmax(axis=1)
            taken = linked[here, best] & free
            if self._complete:
                order = np.argsort(apart[here, best] * rows.shape[1] + places, axis=1)
                members = (places == best[:, None]) & free
                for turn in range(rows.shape[1]):
                    candidate = order[:, turn]
                    fits = taken[here, candidate] & (linked[here, candidate] | ~members).all(axis=1)
                    members[here, candidate] |= fits
                taken = members
            middle = np.where(taken, best[:, None], middle)
            free &= ~taken
        return middle

    def large(self, rows: NDArray[np.int64], label: NDArray[np.int64]) -> Iterator[int]:
        """Label the rows of one component, and yield how many at a time.

        Repeatedly the row whose unassigned matches weigh most takes them, the first of equals.
        """
        words, weight, rule = self._words[rows], self._weight[rows], self._rule.of(rows)
        matches: _Listed | _Counted | None = _Listed.of(self._codes[rows], words, weight, rule, self._engine)
        matches = matches or _Counted(words, weight, rule, self._compiled)
        middle = np.full(len(rows), -1)
        heap = [(-most, row) for row, most in enumerate(matches.bound().tolist())]
        heapify(heap)
        while heap:
            _, row = heappop(heap)
            if middle[row] >= 0:
                continue
            while heap and middle[heap[0][1]] >= 0:
                heappop(heap)
            gain = matches.gain(row)
            if heap and (-gain, row) > heap[0]:
                heappush(heap, (-gain, row))
                continue
            taken, distances = matches.near(row)
            if self._complete:
                taken = _clique(words, rule, row, taken, distances)
            middle[taken] = row
            label[rows[taken]] = rows[row]
            matches.take(taken)
            yield len(taken)


class _Listed:
    """The matches in a large component, as lists: for components with few pairs."""

    def __init__(self, words: Words, weight: NDArray[np.int64], pairs: list[NDArray[np.uint64]]) -> None:
        self._words, self._weight = words, weight.copy()
        own = np.arange(len(words), dtype=np.uint64)
        packed = np.concatenate([*pairs, *(_packed(part & LOW, part >> HALF) for part in pairs), _packed(own, own)])
        packed.sort()  # by row, then by match
        self._others = (packed & LOW).astype(np.int64)
        self._start = np.searchsorted(packed, np.arange(len(words) + 1, dtype=np.uint64) << HALF)

    @classmethod
    def of(cls, codes: Codes, words: Words, weight: NDArray[np.int64], rule: MatchRule, engine: str) -> _Listed | None:
        """Return the lists, or None if there are too many pairs."""
        pairs: list[NDArray[np.uint64]] = []
        found = 0
        for a, b, distance in near_pairs(codes, rule.largest(8 * codes.shape[1]), engine=engine):
            linked = rule.linked(a, b, distance)
            pairs.append(_packed(a[linked].astype(np.uint64), b[linked].astype(np.uint64)))
            found += len(pairs[-1])
            if found > SPARSE * len(codes):
                return None
        return cls(words, weight, pairs)

    def bound(self) -> NDArray[np.int64]:
        """Return at least the gain of each row."""
        total: NDArray[np.int64] = np.add.reduceat(self._weight[self._others], self._start[:-1])
        return total

    def gain(self, row: int) -> int:
        """Return the weight of the unassigned rows that match one, itself among them."""
        return int(self._weight[self._others[self._start[row] : self._start[row + 1]]].sum())

    def near(self, row: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Return the unassigned rows that match one, ascending, and their distances."""
        others = self._others[self._start[row] : self._start[row + 1]]
        others = others[self._weight[others] > 0]
        return others, np.bitwise_count(self._words[others] ^ self._words[row]).sum(axis=1, dtype=np.int32)

    def take(self, rows: NDArray[np.int64]) -> None:
        """Call rows assigned: they weigh nothing any more."""
        self._weight[rows] = 0


class _Counted:
    """The same, counted when it is asked for: memory grows with the rows, not with their pairs."""

    def __init__(self, words: Words, weight: NDArray[np.int64], rule: MatchRule, compiled: Any) -> None:
        self._words, self._columns = padded_columns(words, 1)
        self._rule, self._compiled = rule, compiled
        self._rows, self._place = np.arange(len(words)), np.arange(len(words))  # row of column, column of row
        self._weight, self._margins = weight.copy(), rule.margins

    def bound(self) -> NDArray[np.int64]:
        """Return at least the gain of each row."""
        return np.full(len(self._words), self._weight.sum())

    def gain(self, row: int) -> int:
        """Return the weight of the unassigned rows that match one, itself among them."""
        if self._compiled:
            query, margin = self._words[row], self._rule.margins[row]
            found = self._compiled.gain(
                self._columns, query, margin, float(self._rule.radius), self._margins, self._weight
            )  # fmt: skip
            return int(found)
        return int(self._weight[self._linked(row)[0]].sum())

    def near(self, row: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Return the unassigned rows that match one, ascending, and their distances."""
        linked, distance = self._linked(row)
        linked &= self._weight > 0
        return self._rows[linked], distance[linked].astype(np.int32)

    def take(self, rows: NDArray[np.int64]) -> None:
        """Call rows assigned: they weigh nothing any more, and are left out once they are half of all."""
        self._weight[self._place[rows]] = 0
        keep = self._weight > 0
        if keep.sum() * 2 < len(keep):
            self._rows, self._columns = self._rows[keep], np.ascontiguousarray(self._columns[:, keep])
            self._weight, self._margins = self._weight[keep], self._margins[keep]
            self._place[self._rows] = np.arange(len(self._rows))

    def _linked(self, row: int) -> tuple[NDArray[np.bool_], NDArray[np.uint16]]:
        distance = distances_between(self._words[row : row + 1], self._columns)[0]
        return self._rule.linked(row, self._rows, distance), distance


def _packed(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Put two rows into one number."""
    packed: NDArray[np.uint64] = a << HALF | b
    return packed


def _clique(
    words: Words, rule: MatchRule, row: int, rows: NDArray[np.int64], distances: NDArray[np.int32]
) -> NDArray[np.int64]:
    """Return of the matches of a row those that match all before them, the nearest first, then by row."""
    candidates = rows[np.lexsort((rows, distances))]
    candidates = candidates[candidates != row]
    members = [row]
    while len(candidates):
        first, candidates = int(candidates[0]), candidates[1:]
        members.append(first)
        distance = np.bitwise_count(words[candidates] ^ words[first]).sum(axis=1, dtype=np.int64)
        candidates = candidates[rule.linked(first, candidates, distance)]
    return np.array(members)
