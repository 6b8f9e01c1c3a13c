"""Connected components of codes that match: pairs go straight into a union-find, and none is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashae.codes import Codes
from hashae.errors import UnknownName
from hashae.indexer.approximate import Recall
from hashae.indexer.block_tables import Table, permute
from hashae.indexer.compiled import loops
from hashae.indexer.forest import flatten, unite
from hashae.indexer.numpy_join import NumpyJoiner
from hashae.indexer.pair_plan import JoinPlan, plan_join
from hashae.indexer.pairs import BUDGET, DEEPEST, SKIPPED, near_pairs, padded_columns
from hashae.indexer.pivots import pivot_lists, sampled_recall
from hashae.indexer.rule import MatchRule
from hashae.indexer.scan import Words, as_rows
from hashae.indexer.sorted_runs import LONG
from hashae.indexer.tasks import Report, in_units, run_all

THREADS_FROM = 50_000_000
"""Expected nanoseconds below which starting threads does not pay."""


METHODS = ("auto", "exact", "approximate")
EXACT_UP_TO = 1_000_000
"""Codes up to which everything is compared with everything; above, ``auto`` compares what is near a common pivot."""


def connected(
    codes: Codes,
    rule: MatchRule,
    *,
    threads: int = 1,
    engine: str = "auto",
    method: str = "exact",
    on_step: Report | None = None,
    on_recall: Callable[[Recall], None] | None = None,
) -> NDArray[np.int64]:
    """Return for each code the smallest row of its connected component.

    Parameters
    ----------
    codes
        ``uint8 (n, bytes)``.
    rule
        When two of them match.
    threads
        At most. The answer does not depend on them.
    engine
        See :func:`hashae.indexer.pair_plan.plan_join`.
    method
        ``exact``; ``approximate``: only codes near a common pivot are compared (:mod:`hashae.indexer.pivots`); or
        ``auto``: approximate above `EXACT_UP_TO` codes. Where sorted tables are fast, all are exact.
    on_step
        Told how many of the codes are done, as it were.
    on_recall
        Told what an approximate search found of the matching pairs, measured on a sample.

    Raises
    ------
    UnknownName
        If there is no such method or engine.
    """
    if method not in METHODS:
        raise UnknownName(f"unknown method {method!r}; expected one of {', '.join(METHODS)}")
    words, width = as_rows(codes), codes.shape[1]
    assert len(codes) < 2**31, "rows are 32-bit numbers"
    if len(codes) < 2:
        return np.arange(len(codes))
    limit, on_step = rule.largest(8 * width), in_units(len(codes), on_step)
    plan = plan_join(words, width, limit, engine=engine, repeats=True)
    compiled = plan.engine == "compiled"
    affordable = method == "exact" or (method == "auto" and len(codes) <= EXACT_UP_TO)
    if affordable or plan.blocks is not None:
        if compiled:
            return Joiner(words, width, rule, limit, plan, threads, on_step).run().astype(np.int64)
        if plan.blocks is not None:
            return NumpyJoiner(words, width, rule, limit, plan, threads, on_step).run()
        return _unite_pairs(codes, rule, [None], limit, engine, threads, on_step)
    if compiled:
        words, _ = padded_columns(words, 1)
        root = Joiner(words, width, rule, limit, plan, threads, on_step).run_lists().astype(np.int64)
    else:
        root = _unite_pairs(codes, rule, pivot_lists(words, compiled=False), limit, engine, threads, None)
    if on_recall:
        on_recall(sampled_recall(words, rule, root, compiled=compiled))
    return root


def _unite_pairs(
    codes: Codes,
    rule: MatchRule,
    lists: Iterable[NDArray[np.int64] | None],
    limit: int,
    engine: str,
    threads: int,
    on_step: Report | None,
) -> NDArray[np.int64]:
    """Return the root of each row, joining the pairs of each list of rows; None stands for all of them."""
    parent, own = np.arange(len(codes)), rule.margins.any()  # without margins, all within the limit are linked
    for rows in lists:
        part = codes if rows is None else codes[rows]
        for a, b, distance in near_pairs(part, limit, engine=engine, threads=threads, on_step=on_step):
            left, right = (a, b) if rows is None else (rows[a], rows[b])
            if own:
                linked = rule.linked(left, right, distance)
                left, right = left[linked], right[linked]
            unite(parent, left, right)
    flatten(parent)
    return parent


def by_margin(
    words: Words, rule: MatchRule
) -> tuple[NDArray[np.int64], Words, Words, NDArray[np.float64], NDArray[np.float64]]:
    """Lay codes out for comparing all: order, rows, columns, margins, and the largest margin of each step of columns.

    Ordered by margin, the margins of columns that are looked at together are alike, and so are their radii. See
    :func:`hashae.indexer.band_kernels.connect_band` for the arrays.
    """
    step = int(loops("band_kernels").STEP)  # type: ignore[union-attr]
    order = np.argsort(rule.margins, kind="stable")
    rows, columns = padded_columns(words[order], step)
    margins = rule.margins[order]
    return order, rows, columns, margins, np.maximum.reduceat(margins, np.arange(0, len(rows), step))


class Joiner:
    """One compiled search for components: each thread has a forest of its own, and in the end they are merged.

    Parameters
    ----------
    words, width
        ``uint64 (n, words)`` of :func:`hashae.indexer.scan.as_rows`, and bytes of a code.
    rule, limit
        When two of them match, and the largest distance at which any two can.
    plan
        By an engine of compiled loops.
    threads, on_step
        As of :func:`connected`.
    depth
        How many searches this one lies in.
    """

    def __init__(
        self,
        words: Words,
        width: int,
        rule: MatchRule,
        limit: int,
        plan: JoinPlan,
        threads: int,
        on_step: Report | None,
        depth: int = 0,
    ) -> None:
        self._compiled: Any = loops("pair_kernels")
        self._words, self._width, self._rule, self._limit = words, width, rule, limit
        self._plan, self._on_step, self._depth = plan, on_step, depth
        self._threads = threads if plan.cost >= THREADS_FROM else 1

    def run(self) -> NDArray[np.int32]:
        """Return the root of each row."""
        return self._merged(self._join_all if self._plan.blocks is None else self._join_tables)

    def run_lists(self) -> NDArray[np.int32]:
        """Return the root of each row as far as rows in common lists can tell; nothing but the words is compared."""
        return self._merged(self._join_lists)

    def _merged(self, join: Callable[[], None]) -> NDArray[np.int32]:
        """Give each thread a forest, join, and merge the forests."""
        n = len(self._words)
        forests = [np.arange(n, dtype=np.int32) for _ in range(self._threads)]
        self._idle: SimpleQueue[NDArray[np.int32]] = SimpleQueue()
        for forest in forests:
            self._idle.put(forest)
        join()
        first, *others = forests
        for other in others:
            self._compiled.merge(first, other)
        self._compiled.flatten(first)
        return first

    def _join_tables(self) -> None:
        blocks = self._plan.blocks
        assert blocks is not None
        words = self._words if blocks.order is None else permute(self._words, blocks.order)
        margins = self._rule.margins if self._rule.margins.any() else np.empty(0)
        buffers: SimpleQueue[Words] = SimpleQueue()
        for _ in range(self._threads):
            buffers.put(np.empty(len(words), np.uint64))

        def join(table: Table) -> float:
            forest, values = self._idle.get(), buffers.get()
            try:
                self._compiled.pack(words, table.segments, values)
                values.sort()
                self.join_runs(table, values, words, margins, forest)
            finally:
                self._idle.put(forest)
                buffers.put(values)
            return 1.0

        run_all(join, blocks.tables, self._threads, len(blocks.tables), self._on_step)

    def join_runs(
        self, table: Table, values: Words, words: Words, margins: NDArray[np.float64], forest: NDArray[np.int32]
    ) -> None:
        """Join in `forest` the rows of a sorted table, or of a part of it, that share a key and match.

        Parameters
        ----------
        table, values
            Of the plan, and its sorted values.
        words, margins
            The words that were packed, and the margins of the rule; no margins if all are 0.
        """
        assert self._plan.blocks is not None
        row_bits, at, skipped = self._plan.blocks.row_bits, 0, np.empty((SKIPPED, 2), np.int64)
        shift, low, mask = np.uint64(64 - table.key_bits), np.uint64(row_bits), np.uint64((1 << row_bits) - 1)
        radius, limit = self._rule.radius, self._limit
        while at < len(values):
            at, few = self._compiled.connect_runs(
                values, shift, low, words, margins, radius, limit, forest, at, BUDGET, LONG, skipped
            )
            for start, end in skipped[:few].tolist():
                rows = (values[start:end] & mask).astype(np.int64)
                if not self._compiled.joined(forest, rows):
                    self._join_inside(np.sort(rows), forest)

    def _join_inside(self, rows: NDArray[np.int64], forest: NDArray[np.int32]) -> None:
        """Join the rows of a long run: a search with blocks of its own, for its bits are unlike those of all."""
        words, rule = self._words[rows], self._rule.of(rows)
        plan = plan_join(words, self._width, self._limit, engine="compiled", repeats=True)
        if self._depth >= DEEPEST:
            plan = JoinPlan(plan.engine, None, plan.cost, "nested too deeply")
        inside = Joiner(words, self._width, rule, self._limit, plan, 1, None, self._depth + 1).run()
        self._compiled.unite_all(forest, rows, rows[inside])

    def _join_lists(self) -> None:
        lists = list(pivot_lists(self._words, compiled=True, threads=self._threads))

        def join(rows: NDArray[np.int64]) -> float:
            forest = self._idle.get()
            try:
                self.join_list(rows, forest)
            finally:
                self._idle.put(forest)
            return float(len(rows)) ** 2

        run_all(join, lists, self._threads, sum(float(len(rows)) ** 2 for rows in lists), self._on_step)

    def join_list(self, rows: NDArray[np.int64], forest: NDArray[np.int32]) -> None:
        """Join in `forest` the rows of one list, ascending, by comparing each with each."""
        if self._compiled.joined(forest, rows):
            return
        plan = JoinPlan(self._plan.engine, None, 0.0, "a list is small")
        inside = Joiner(self._words[rows], self._width, self._rule.of(rows), self._limit, plan, 1, None).run()
        self._compiled.unite_all(forest, rows, rows[inside])

    def _join_all(self) -> None:
        compiled: Any = loops("band_kernels")
        order, rows, columns, margins, largest = by_margin(self._words, self._rule)
        n = len(rows)
        height = max(64, min(4096, 8 * BUDGET // n))
        local: SimpleQueue[NDArray[np.int32]] = SimpleQueue()
        made = [np.arange(n, dtype=np.int32) for _ in range(self._threads)]
        for forest in made:
            local.put(forest)

        def join(top: int) -> float:
            forest, bottom = local.get(), min(top + height, n)
            try:
                compiled.connect_band(
                    rows, columns, margins, largest, self._rule.radius, self._limit, forest, top, bottom
                )
            finally:
                local.put(forest)
            return float((bottom - top) * (n - (top + bottom) / 2))

        run_all(join, range(0, n, height), self._threads, n * n / 2, self._on_step)
        forest = self._idle.get()
        for part in made:
            self._compiled.flatten(part)
            self._compiled.unite_all(forest, order, order[part])
        self._idle.put(forest)
