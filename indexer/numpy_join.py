"""Connected components by sorted tables in numpy, for machines without the compiled loops.

Numpy passes over memory once for each step of a loop, so what counts is how much is fetched from all over the place. In
dense surroundings most pairs that share a key are joined already, by an earlier table. So after the first tables the
rows are laid out by component: what is likely to be compared then lies close together, and one look at the parents,
which are as close, tells that a pair needs no look at its codes.
"""

from __future__ import annotations

from queue import SimpleQueue

import numpy as np
from numpy.typing import NDArray

from hashae.indexer.block_tables import Table, pack, permute
from hashae.indexer.forest import flatten, roots, unite
from hashae.indexer.pair_plan import JoinPlan, plan_join
from hashae.indexer.pairs import DEEPEST, scan_pairs
from hashae.indexer.rule import MatchRule
from hashae.indexer.scan import Words
from hashae.indexer.sorted_runs import long_runs, run_pairs
from hashae.indexer.tasks import Report, run_all

FIRST_TABLES = 2
"""Tables that are read before the rows are laid out by component."""
LAID_OUT_FROM = 100_000
"""Rows from which the layout matters: fewer lie in the processor's cache anyhow."""

THREADS_FROM = 2_000_000
"""Rows from which threads gain more than the memory that each of them takes is worth."""


class NumpyJoiner:
    """One search for components; each thread has a forest of its own, and they are merged.

    Parameters
    ----------
    words, width
        ``uint64 (n, words)`` of :func:`hashae.indexer.scan.as_rows`, and bytes of a code.
    rule, limit
        When two of them match, and the largest distance at which any two can.
    plan
        With tables, for the engine ``numpy``.
    threads, on_step
        As of :func:`hashae.indexer.components.connected`.
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
        threads: int = 1,
        on_step: Report | None = None,
        depth: int = 0,
    ) -> None:
        assert plan.blocks is not None
        self._given, self._width, self._rule, self._limit = words, width, rule, limit
        self._blocks, self._on_step, self._depth = plan.blocks, on_step, depth
        self._words = words if self._blocks.order is None else permute(words, self._blocks.order)
        self._threads = threads if len(words) >= THREADS_FROM else 1
        self._order: NDArray[np.int64] | None = None
        self._done = 0

    def run(self) -> NDArray[np.int64]:
        """Return for each row the smallest row of its component."""
        n, tables = len(self._words), self._blocks.tables
        parent = np.arange(n)
        if n >= LAID_OUT_FROM and len(tables) > FIRST_TABLES:
            parent = self._laid_out(self._joined(parent, tables[:FIRST_TABLES]))
            tables = tables[FIRST_TABLES:]
        parent = self._joined(parent, tables)
        if self._order is None:
            return parent
        smallest = np.full(n, n)
        np.minimum.at(smallest, parent, self._order)
        found = np.empty(n, np.int64)
        found[self._order] = smallest[parent]
        return found

    def _laid_out(self, parent: NDArray[np.int64]) -> NDArray[np.int64]:
        """Put the rows of each component side by side; return the parents of the rows in their new places."""
        order = parent << self._blocks.row_bits
        del parent  # arrays as long as the codes are few on purpose here
        places = np.arange(len(order))
        order |= places
        order.sort()
        component = order >> self._blocks.row_bits
        goes_on = np.flatnonzero(component[1:] == component[:-1]) + 1
        del component
        order &= (1 << self._blocks.row_bits) - 1
        self._order, self._words = order, self._words.take(order, axis=0)
        places[goes_on] = 0
        np.maximum.accumulate(places, out=places)  # the place at which the component of each row begins
        return places

    def _joined(self, parent: NDArray[np.int64], tables: list[Table]) -> NDArray[np.int64]:
        """Return the root of each row when what `tables` tell has been added to `parent`."""
        n, threads = len(parent), min(self._threads, len(tables))
        forests = [parent, *(parent.copy() for _ in range(threads - 1))]
        idle: SimpleQueue[tuple[NDArray[np.int64], NDArray[np.uint64]]] = SimpleQueue()
        for forest in forests:
            idle.put((forest, np.empty(n, np.uint64)))

        def join(table: Table) -> float:
            forest, values = idle.get()
            try:
                pack(self._words, table, values)
                values.sort()
                self._join_runs(table, values, forest)
                forest[:] = forest.take(forest)  # paths stay short, and the first look below tells more
            finally:
                idle.put((forest, values))
            return 1.0

        report, before, total = self._on_step, self._done, len(self._blocks.tables)
        tell = None if report is None else lambda done, _total: report(before + done, total)
        run_all(join, tables, threads, len(tables), tell)
        self._done += len(tables)
        rows = np.arange(n)
        for other in forests[1:]:
            apart = np.flatnonzero(other != rows)
            unite(parent, apart, other[apart])
        flatten(parent)
        return parent

    def _join_runs(self, table: Table, values: NDArray[np.uint64], parent: NDArray[np.int64]) -> None:
        """Join the rows of a sorted table that share a key and match."""
        long = long_runs(values, table.key_bits)
        margins = self._rule.margins.any()  # without, all within the limit match
        row_bits = self._blocks.row_bits
        for some in run_pairs(values, table.key_bits, row_bits, self._limit):
            # same parents are right for most pairs, and never wrong: roots are only ever joined
            if some.is_dense:
                above, words = parent.take(some.rows), self._words.take(some.rows, axis=0)
                apart = np.flatnonzero(above.take(some.left) != above.take(some.right))
                left, right = some.left.take(apart), some.right.take(apart)
                distance = distances(words, left, right)
                near = np.flatnonzero(distance <= self._limit)
                a, b = some.rows.take(left.take(near)), some.rows.take(right.take(near))
            else:
                a, b = some.ends()
                apart = np.flatnonzero(parent.take(a) != parent.take(b))
                a, b = a.take(apart), b.take(apart)
                distance = distances(self._words, a, b)
                near = np.flatnonzero(distance <= self._limit)
                a, b = a.take(near), b.take(near)
            if margins:
                linked = self._rule.linked(self._rows(a), self._rows(b), distance.take(near))
                a, b = a[linked], b[linked]
            unite(parent, a, b)
        mask = np.uint64((1 << row_bits) - 1)
        for start, end in long:
            self._join_inside(np.sort((values[start:end] & mask).view(np.int64)), parent)

    def _rows(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return which of the given codes these rows are."""
        return rows if self._order is None else self._order[rows]

    def _join_inside(self, rows: NDArray[np.int64], parent: NDArray[np.int64]) -> None:
        """Join the rows of a long run: a search with blocks of its own, for its bits are unlike those of all."""
        if (roots(parent, rows) == roots(parent, rows[:1])).all():
            return
        given = self._rows(rows)
        words, rule = self._given[given], self._rule.of(given)
        plan = plan_join(words, self._width, self._limit, engine="numpy", repeats=True)
        if plan.blocks is not None and self._depth < DEEPEST:
            inside = NumpyJoiner(words, self._width, rule, self._limit, plan, depth=self._depth + 1).run()
            unite(parent, rows, rows[inside])
            return
        for a, b, distance in scan_pairs(words, self._limit):
            linked = rule.linked(a, b, distance)
            unite(parent, rows[a[linked]], rows[b[linked]])


def distances(words: Words, a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.integer]:
    """Return the Hamming distance of pairs of rows of `words`, in bits."""
    if words.shape[1] == 1:
        flat = words.ravel()
        narrow: NDArray[np.uint8] = np.bitwise_count(flat.take(a) ^ flat.take(b))
        return narrow
    differ = words.take(a, axis=0) ^ words.take(b, axis=0)
    wide: NDArray[np.int32] = np.bitwise_count(differ).sum(axis=1, dtype=np.int32)
    return wide
