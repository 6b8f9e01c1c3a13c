"""Two sets of codes: what of the one is in the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashae.codes import Codes
from hashae.indexer.compiled import loops
from hashae.indexer.components import THREADS_FROM
from hashae.indexer.pair_plan import plan_join
from hashae.indexer.pairs import BUDGET, near_pairs, padded_columns
from hashae.indexer.rule import MatchRule
from hashae.indexer.scan import as_rows
from hashae.indexer.tasks import in_units, run_all
from hashae.indexer.uniques import distinct

FAR = 1 << 20
"""Above any distance."""


@dataclass(frozen=True, slots=True)
class BestMatches:
    """The nearest match of each code in another set.

    Attributes
    ----------
    rows
        ``int64 (n,)``: row in the other set, the first of equally near ones; -1 if nothing matches.
    distances
        ``int32 (n,)``: bits; undefined where nothing matches.
    """

    rows: NDArray[np.int64]
    distances: NDArray[np.int32]


def best_matches(
    codes: Codes,
    others: Codes,
    radius: int,
    margins: NDArray[np.float64],
    other_margins: NDArray[np.float64],
    *,
    threads: int = 1,
    engine: str = "auto",
    on_step: Callable[[int, int], None] | None = None,
) -> BestMatches:
    """Find for each code the nearest of the others that matches it.

    Parameters
    ----------
    codes, others
        ``uint8 (n, bytes)`` and ``uint8 (m, bytes)``.
    radius, margins, other_margins
        A code matches one of the others when ``distance <= radius + (margin + other_margin) / 2``, in bits; margins are
        ``float64 (n,)`` and ``float64 (m,)``.
    threads
        Of the compiled loops and of FAISS. The answer does not depend on them.
    engine
        See :func:`hashae.indexer.pair_plan.plan_join`.
    on_step
        Told how many of the codes are done, as it were.
    """
    mine, first = distinct(codes, margins)
    _, other_first = distinct(others, other_margins)
    border, on_step = len(first), in_units(len(codes), on_step)
    whole = np.concatenate([codes[first], others[other_first]])
    rule = MatchRule(radius, np.concatenate([margins[first], other_margins[other_first]]))
    best, bits = np.full(border, -1), np.full(border, FAR, np.int32)
    if border and len(other_first):
        limit = rule.largest(8 * codes.shape[1])
        plan = plan_join(as_rows(whole), codes.shape[1], limit, border=border, engine=engine)
        if plan.engine == "compiled" and plan.blocks is None:
            _compare_all(whole, border, rule, limit, best, bits, threads if plan.cost >= THREADS_FROM else 1, on_step)
        else:
            for a, b, distance in near_pairs(
                whole, limit, border=border, engine=plan.engine, threads=threads, on_step=on_step
            ):
                linked = rule.linked(a, b, distance)
                _note(best, bits, a[linked], b[linked] - border, distance[linked])
    rows = np.where(best >= 0, other_first[best] if len(other_first) else -1, -1)
    return BestMatches(rows[mine], bits[mine])


def _note(
    best: NDArray[np.int64],
    bits: NDArray[np.int32],
    rows: NDArray[np.int64],
    numbers: NDArray[np.int64],
    distance: NDArray[np.int32],
) -> None:
    """Take over the nearest of some matches where it is nearer than what is known, or as near with a lower number."""
    order = np.lexsort((numbers, distance, rows))
    rows, numbers, distance = rows[order], numbers[order], distance[order]
    first = np.flatnonzero(np.r_[True, rows[1:] != rows[:-1]][: len(rows)])
    rows, numbers, distance = rows[first], numbers[first], distance[first]
    nearer = (distance < bits[rows]) | ((distance == bits[rows]) & (numbers < best[rows]))
    best[rows[nearer]], bits[rows[nearer]] = numbers[nearer], distance[nearer]


def _compare_all(
    codes: Codes,
    border: int,
    rule: MatchRule,
    limit: int,
    best: NDArray[np.int64],
    bits: NDArray[np.int32],
    threads: int,
    on_step: Callable[[int, int], None] | None,
) -> None:
    """Compare every row below the border with every row from it on, in compiled loops."""
    compiled: Any = loops("band_kernels")
    words, _ = padded_columns(as_rows(codes), 1)
    queries, margins = words[:border], rule.margins[:border]
    # ordered by margin, the radii of columns that are looked at together are alike
    order = np.argsort(rule.margins[border:], kind="stable")
    rows, columns = padded_columns(words[border:][order], compiled.STEP)
    others = rule.margins[border:][order]
    largest = np.maximum.reduceat(others, np.arange(0, len(rows), compiled.STEP))
    height = max(16, min(4096, 4 * BUDGET // len(rows)))

    def compare(top: int) -> float:
        bottom = min(top + height, border)
        compiled.best_band(
            queries, margins, rows, columns, others, largest, order, float(rule.radius), limit, top, bottom, best, bits
        )
        return float(bottom - top)

    run_all(compare, range(0, border, height), threads, border, on_step)
