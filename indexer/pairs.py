"""Pairs of codes within a radius, as a stream of blocks: nowhere is a list of all pairs held."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashae.codes import Codes
from hashae.indexer.block_tables import BlockPlan, Table, in_first_table, pack, permute
from hashae.indexer.compiled import loops
from hashae.indexer.nearest import RESULTS, FlatIndex, faiss_pairs
from hashae.indexer.pair_plan import JoinPlan, plan_join
from hashae.indexer.scan import Pairs, Words, as_rows, distances_between
from hashae.indexer.sorted_runs import LONG, long_runs, run_pairs
from hashae.indexer.tasks import Report

ROOM = 1 << 16
"""Pairs in one block of the compiled loops, besides those of the longest run."""
BUDGET = 1 << 27
"""Comparisons of one call into a compiled loop: some tenths of a second, so that Ctrl-C is heard."""
SKIPPED = 256
"""Long runs that are set aside before they are looked at."""
BLOCK = 1 << 14
"""Codes that numpy reads at a time: 128 KiB of 64-bit words."""
DEEPEST = 4
"""Nesting of searches inside long runs, after which everything in a run is compared."""


def near_pairs(
    codes: Codes,
    limit: int,
    *,
    border: int = 0,
    engine: str = "auto",
    threads: int = 1,
    on_step: Report | None = None,
) -> Iterator[Pairs]:
    """Yield all pairs of rows at most `limit` bits apart, each once, in bounded blocks.

    Parameters
    ----------
    codes
        ``uint8 (n, bytes)``.
    limit
        Bits, inclusive.
    border
        Rows below it and rows from it on are two sets, and only pairs across are wanted; 0 for all pairs.
    engine
        See :func:`hashae.indexer.pair_plan.plan_join`.
    threads
        Where FAISS compares everything; the other ways use one.
    on_step
        Told how far the search is.

    Yields
    ------
    Rows ``a``, rows ``b`` with ``a < b``, and distances.
    """
    if len(codes) < 2:
        return
    words = as_rows(codes)
    plan = plan_join(words, codes.shape[1], limit, border=border, engine=engine)
    if plan.engine != "faiss":
        yield from _pairs_of(words, codes.shape[1], limit, plan, border, 0, on_step)
    elif border:
        yield from _faiss_across(codes, limit, border, threads, on_step)
    else:
        yield from faiss_pairs(codes, limit, threads, on_step)


def _pairs_of(
    words: Words,
    width: int,
    limit: int,
    plan: JoinPlan,
    border: int,
    depth: int,
    on_step: Report | None = None,
) -> Iterator[Pairs]:
    compiled = loops("pair_kernels") if plan.engine == "compiled" else None
    if plan.blocks is None:
        yield from (_scan_compiled if compiled else scan_pairs)(words, limit, border, on_step)
        return
    order = plan.blocks.order
    seen = words if order is None else permute(words, order)
    values = np.empty(len(words), np.uint64)
    masks = plan.blocks.masks(seen.shape[1])
    for number, table in enumerate(plan.blocks.tables, 1):
        (compiled.pack(seen, table.segments, values) if compiled else pack(seen, table, values))
        values.sort()
        long: list[tuple[int, int]] = []
        if compiled:
            yield from _runs_compiled(compiled, values, seen, limit, border, plan.blocks, table, masks, long)
        else:
            found = _runs(values, seen, limit, border, plan.blocks, table, long)
            yield from _first_only(found, seen, masks, table)
        for start, end in long:
            rows = np.sort(values[start:end] & np.uint64((1 << plan.blocks.row_bits) - 1)).astype(np.int64)
            found = _pairs_inside(words[rows], width, limit, plan.engine, rows, border, depth)
            yield from _first_only(found, seen, masks, table)
        if on_step:
            on_step(number, len(plan.blocks.tables))


def _pairs_inside(
    words: Words, width: int, limit: int, engine: str, rows: NDArray[np.int64], border: int, depth: int
) -> Iterator[Pairs]:
    """Yield the pairs of a long run: a search of its own, with blocks of its own, for its bits are not those of all."""
    inside = int(np.searchsorted(rows, border))
    if border and inside in (0, len(rows)):
        return
    plan = plan_join(words, width, limit, border=inside, engine=engine)
    if depth >= DEEPEST:
        plan = JoinPlan(plan.engine, None, plan.cost, "nested too deeply")
    for a, b, distance in _pairs_of(words, width, limit, plan, inside, depth + 1):
        yield rows[a], rows[b], distance


def _runs(
    values: Words, words: Words, limit: int, border: int, plan: BlockPlan, table: Table, long: list[tuple[int, int]]
) -> Iterator[Pairs]:
    """Yield the pairs of one sorted table; put runs that are too long into `long`."""
    long += long_runs(values, table.key_bits)
    for some in run_pairs(values, table.key_bits, plan.row_bits, limit):
        left, right = some.ends()
        distance = np.bitwise_count(words[left] ^ words[right]).sum(axis=1, dtype=np.int32)
        near = distance <= limit
        if border:
            near &= (left < border) != (right < border)
        a, b = left[near], right[near]
        yield np.minimum(a, b), np.maximum(a, b), distance[near]


def _first_only(pairs: Iterator[Pairs], words: Words, masks: Words, table: Table) -> Iterator[Pairs]:
    """Leave those out that an earlier table has too."""
    for a, b, distance in pairs:
        first = in_first_table(words, a, b, masks, table)
        yield a[first], b[first], distance[first]


def _runs_compiled(
    compiled: Any,
    values: Words,
    words: Words,
    limit: int,
    border: int,
    plan: BlockPlan,
    table: Table,
    masks: Words,
    long: list[tuple[int, int]],
) -> Iterator[Pairs]:
    """Do the same with compiled loops."""
    skipped = np.empty((SKIPPED, 2), np.int64)
    a, b = np.empty(ROOM + LONG, np.int64), np.empty(ROOM + LONG, np.int64)
    distance, at, inside = np.empty(ROOM + LONG, np.int32), 0, 0
    shift, row_bits = np.uint64(64 - table.key_bits), np.uint64(plan.row_bits)
    while at < len(values):
        at, inside, found, few = compiled.collect_runs(
            values, shift, row_bits, words, limit, border, masks, table.chosen, at, inside, BUDGET, LONG, skipped,
            a, b, distance,
        )  # fmt: skip
        long += [(int(start), int(end)) for start, end in skipped[:few]]
        if found:
            yield a[:found].copy(), b[:found].copy(), distance[:found].copy()


def scan_pairs(words: Words, limit: int, border: int = 0, on_step: Report | None = None) -> Iterator[Pairs]:
    """Yield the pairs by comparing everything, in numpy."""
    columns, height = np.ascontiguousarray(words.T), 32
    last = border or len(words)
    for top in range(0, last, height):
        rows = words[top : min(top + height, last)]
        for left in range(border or top, len(words), BLOCK):
            near = distances_between(rows, columns[:, left : left + BLOCK])
            a, b = np.nonzero(near <= limit)
            once = a + top < b + left
            a, b = a[once], b[once]
            yield a + top, b + left, near[a, b].astype(np.int32)
        if on_step:
            on_step(*_compared(top + len(rows), last, border))


def _compared(done: int, rows: int, border: int) -> tuple[int, int]:
    """Return how many comparisons the first `done` rows took, and how many all take, in units of rows."""
    if border:
        return done, rows
    return rows * rows - (rows - done) ** 2, rows * rows


def _faiss_across(codes: Codes, limit: int, border: int, threads: int, on_step: Report | None) -> Iterator[Pairs]:
    others, step = FlatIndex(codes[border:], threads), max(1, RESULTS // (len(codes) - border))
    for top in range(0, border, step):
        hits = others.within(codes[top : min(top + step, border)], limit)
        a = np.repeat(np.arange(len(hits.limits) - 1), np.diff(hits.limits)) + top
        yield a, hits.rows + border, hits.distances.astype(np.int32)
        if on_step:
            on_step(min(top + step, border), border)


def padded_columns(words: Words, step: int) -> tuple[Words, Words]:
    """Return rows of 1, 2, 4 or 8 words, and the same as columns with zeros up to a multiple of `step`."""
    if words.shape[1] == 3:
        words = np.pad(words, ((0, 0), (0, 1)))
    columns = np.zeros((words.shape[1], -(-len(words) // step) * step), np.uint64)
    columns[:, : len(words)] = words.T
    return np.ascontiguousarray(words), columns


def _scan_compiled(words: Words, limit: int, border: int, on_step: Report | None) -> Iterator[Pairs]:
    """Do the same with compiled loops."""
    compiled: Any = loops("band_kernels")
    rows, columns = padded_columns(words, compiled.STEP)
    none = np.zeros(columns.shape[1] // compiled.STEP)
    room = ROOM + compiled.TILE
    a, b, distance = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.int32)
    n = len(rows)
    height = max(64, min(4096, BUDGET // n))
    for top in range(0, border or n, height):
        bottom = min(top + height, border or n)
        tile, at = max(top, border) // compiled.TILE * compiled.TILE, top
        while tile < n:
            tile, at, found = compiled.collect_band(
                rows, columns, limit, border, none, top, bottom, tile, at, a, b, distance
            )
            if found:
                yield a[:found].copy(), b[:found].copy(), distance[:found].copy()
        if on_step:
            on_step(*_compared(bottom, border or n, border))
