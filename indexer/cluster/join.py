"""Connected components of codes that match, found by the processes of a cluster; same answer as one process gives.

The work is cut by table and key, or by bands of rows, or by lists (:mod:`hashae.indexer.cluster.parts`); every piece
returns the edges of a union-find, which are merged here as they come in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashae.codes import Codes
from hashae.errors import ConfigError, UnknownName
from hashae.indexer.approximate import Recall
from hashae.indexer.block_tables import permute
from hashae.indexer.cluster.parts import Band, Join, Lists, Piece, TablePart, join_part, nearest_part
from hashae.indexer.cluster.session import Cluster
from hashae.indexer.compiled import loops
from hashae.indexer.components import EXACT_UP_TO, METHODS, by_margin
from hashae.indexer.pair_plan import JoinPlan, plan_join
from hashae.indexer.pairs import padded_columns
from hashae.indexer.pivots import draw_pivots, lists_of, sampled_recall
from hashae.indexer.rule import MatchRule
from hashae.indexer.scan import as_rows
from hashae.indexer.tasks import Report, in_units

PARTS = 4
"""Pieces of work for each core: enough that the slowest is a small share."""
ROWS = 1 << 27
"""Most rows of one part of a table: a gibibyte of keys."""
PAIRS = 1e10
"""Most pairs compared in one piece: some seconds."""
PAYS_FROM = 10_000_000
"""Codes below which one process is faster than a cluster: starting one takes seconds, and a search takes few."""


def advice(codes: int) -> str | None:
    """Return what to say to somebody who lets a cluster compare so many codes; None if it is worth it."""
    if codes >= PAYS_FROM:
        return None
    return (
        f"hint: {codes:,} codes; below {PAYS_FROM:,} one process is faster than a cluster at comparing them (start-up, "
        "hand-over); leave out --ray unless reading the pictures takes the time"
    )


def connected_on(
    cluster: Cluster,
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
    cluster
        Does the work.
    codes, rule, method, on_step, on_recall
        As of :func:`hashae.indexer.components.connected`.
    threads, engine
        For the same signature: every process of the cluster uses one thread, and compiled loops.

    Raises
    ------
    UnknownName
        If there is no such method.
    ConfigError
        If numba is not installed, or another engine is asked for.
    HashaeError
        If one piece of work was lost too often.
    """
    if method not in METHODS:
        raise UnknownName(f"unknown method {method!r}; expected one of {', '.join(METHODS)}")
    compiled: Any = loops("pair_kernels")
    if compiled is None or engine not in ("auto", "compiled"):
        raise ConfigError(f"engine {engine!r}: a cluster needs compiled loops; run: pip install 'hashae[ray]'")
    if len(codes) < 2:
        return np.arange(len(codes))
    assert len(codes) < 2**31, "rows are 32-bit numbers"
    words, width = as_rows(codes), codes.shape[1]
    limit, on_step = rule.largest(8 * width), in_units(len(codes), on_step)
    plan = plan_join(words, width, limit, engine="compiled", repeats=True)
    if plan.blocks is not None:
        order = plan.blocks.order
        packed = None if order is None else permute(words, order)
        parts = list(_table_parts(plan, len(words), cluster.cores))
        rows = -(-len(words) // parts[0].parts)
        return _merged(cluster, Join(words, width, packed, rule, limit, plan), parts, 16 * rows, on_step)
    if method == "exact" or (method == "auto" and len(codes) <= EXACT_UP_TO):
        order, *laid = by_margin(words, rule)
        bands = list(_bands(len(words), cluster.cores))
        root = _merged(cluster, Join(words, width, None, rule, limit, plan, tuple(laid)), bands, 0, on_step, order)
    else:
        words, _ = padded_columns(words, 1)
        pieces = list(_list_parts(cluster, words))
        root = _merged(cluster, Join(words, width, None, rule, limit, plan), pieces, 0, on_step)
        if on_recall:
            on_recall(sampled_recall(words, rule, root, compiled=True))
    return root


def _merged(
    cluster: Cluster,
    join: Join,
    parts: Sequence[Piece],
    memory: int,
    on_step: Report | None,
    order: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Do all parts, merge their forests, and return the root of each row; `order` maps the rows of parts to rows."""
    compiled: Any = loops("pair_kernels")
    forest = np.arange(len(join.words), dtype=np.int32)
    # Beside what a part says it needs, each has a forest of its own.
    memory += 0 if isinstance(parts[0], Lists) else forest.nbytes
    results = cluster.run(join_part, cluster.share(join), parts, memory=memory)
    for number, (nodes, roots) in enumerate(results, 1):
        if order is None:
            compiled.unite_all(forest, nodes.astype(np.int64), roots.astype(np.int64))
        else:
            compiled.unite_all(forest, order[nodes], order[roots])
        if on_step:
            on_step(number, len(parts))
    compiled.flatten(forest)
    return forest.astype(np.int64)


def _table_parts(plan: JoinPlan, rows: int, cores: int) -> Iterator[TablePart]:
    """Cut each table into so many parts that every core has some, and none needs more than `ROWS` rows."""
    assert plan.blocks is not None
    tables = plan.blocks.tables
    # A part packs all rows and keeps its own: below a million there is nothing to gain by cutting a table.
    wanted = min(-(-PARTS * cores // len(tables)), -(-rows // 1_000_000)) if len(tables) < cores else 1
    parts = max(wanted, -(-rows // ROWS))
    for table in tables:
        for part in range(parts):
            yield TablePart(table, part, parts)


def _bands(rows: int, cores: int) -> Iterator[Band]:
    """Cut the rows into bands of about equal work: the first rows are compared with the most."""
    pairs = rows * rows / 2
    most, top = min(PAIRS, pairs / (PARTS * cores)), 0
    while top < rows:
        height = max(64, int(most / (rows - top)))
        yield Band(top, min(top + height, rows))
        top += height


def _list_parts(cluster: Cluster, words: NDArray[np.uint64]) -> Iterator[Lists]:
    """Sort the rows into the lists of their pivots, and put lists together to pieces of about equal work."""
    pivots, count = draw_pivots(words)
    nearest = np.empty((len(words), count), np.int32)
    step = max(4096, -(-len(words) // (PARTS * cluster.cores)))
    shared = cluster.share((words, pivots, count))
    blocks = [(start, min(start + step, len(words))) for start in range(0, len(words), step)]
    for start, part in cluster.run(nearest_part, shared, blocks):
        nearest[start : start + len(part)] = part
    lists = list(lists_of(nearest, len(pivots)))
    most = min(PAIRS, sum(float(len(rows)) ** 2 for rows in lists) / (PARTS * cluster.cores))
    piece, work = list[NDArray[np.int64]](), 0.0
    for rows in lists:
        piece.append(rows)
        work += float(len(rows)) ** 2
        if work >= most:
            yield Lists(tuple(piece))
            piece, work = [], 0.0
    if piece:
        yield Lists(tuple(piece))
