"""Cutting components into groups that do not chain: a near b, b near c, a far from c.

* ``star``: everything in a group matches the code that the group was made around;
* ``complete``: every two codes of a group match;
* ``component``: no cut; whatever is joined through others is one group.

The cut is greedy: the code with the most unassigned matches takes them, until none is left. For ``star`` that is the
greedy set cover of Chvatal (1979). For ``complete`` it takes them one by one, the nearest first, where they match all
that it took before. Equal counts go to the first row, so the answer is always the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashae.codes import Codes
from hashae.errors import UnknownName
from hashae.indexer.compiled import loops
from hashae.indexer.large_components import large_component
from hashae.indexer.rule import MatchRule
from hashae.indexer.scan import Words, as_rows

LINKAGES = ("star", "complete", "component")

SMALL = 1024
"""Largest component that compiled loops cut by comparing all with all."""
BATCHED = 64
"""The same for numpy, which takes components of one size together."""
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
        """Label the rows of one component, and yield how many at a time."""
        words, weight, rule = self._words[rows], self._weight[rows], self._rule.of(rows)
        matches = large_component(self._codes[rows], words, weight, rule, self._compiled, self._engine)
        while (row := matches.heaviest()) >= 0:
            taken, distances = matches.near(row)
            if self._complete:
                taken = self._clique(words, rule, row, taken, distances)
            label[rows[taken]] = rows[row]
            matches.take(taken)
            yield len(taken)

    def _clique(
        self, words: Words, rule: MatchRule, row: int, rows: NDArray[np.int64], distances: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Return of the matches of a row those that match all before them, the nearest first, then by row."""
        if self._compiled:
            mine = rows.copy()
            count = self._compiled.clique(
                words, rule.margins, float(rule.radius), 0, mine, distances, len(mine), row
            )  # fmt: skip
            return mine[:count]
        candidates = rows[np.lexsort((rows, distances))]
        candidates = candidates[candidates != row]
        members = [row]
        while len(candidates):
            first, candidates = int(candidates[0]), candidates[1:]
            members.append(first)
            distance = np.bitwise_count(words[candidates] ^ words[first]).sum(axis=1, dtype=np.int64)
            candidates = candidates[rule.linked(first, candidates, distance)]
        return np.array(members)
