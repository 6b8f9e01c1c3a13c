"""How to find all pairs within a radius: by sorted tables or by comparing everything, and with which engine.

Costs are nanoseconds, rounded from measurements on one x86-64 core; they need to be right within a factor of two or so.
What the codes themselves add, correlated bits and clusters, is measured on a sample by
:func:`hashae.indexer.block_tables.choose_blocks`.

Asking a multi-index once for each code would be a third way. It never pays for a whole collection: a sort streams where
a look-up misses the cache, and where radii are so wide that tables fail, bands fail too.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hashae.errors import ConfigError, UnknownName
from hashae.indexer.block_tables import BlockPlan, JoinCosts, choose_blocks
from hashae.indexer.compiled import has_faiss, has_numba, loops

ENGINES = ("compiled", "faiss", "numpy")

COSTS = {
    "compiled": JoinCosts(row=10, pair=0.6, word=0.7, permute=1.0, call=20_000),
    "numpy": JoinCosts(row=30, pair=20, word=18, permute=2.0, call=150_000),
}
PAIR = {"compiled": 0.05, "faiss": 0.2, "numpy": 1.0}
"""Compare one code with another, when everything is compared."""
WORD = {"compiled": 0.03, "faiss": 0.3, "numpy": 1.0}
"""The same, for every 64 bits."""

COMPILED_FROM = 500_000_000
"""Expected nanoseconds of numpy below which loading the compiled loops is not worth it."""
PLANNED_FROM = 5_000_000
"""Nanoseconds of comparing everything below which looking for tables is not worth it."""
FAISS_FROM = 20_000_000
"""Expected nanoseconds of numpy below which loading FAISS is not worth it."""


@dataclass(frozen=True, slots=True)
class JoinPlan:
    """A way to find pairs, and the reason for it.

    Attributes
    ----------
    engine
        ``compiled``, ``faiss`` or ``numpy``.
    blocks
        The tables; None compares everything with everything.
    cost
        Expected nanoseconds on one thread.
    why
        One sentence.
    """

    engine: str
    blocks: BlockPlan | None
    cost: float
    why: str


def plan_join(
    words: NDArray[np.uint64],
    width: int,
    limit: int,
    *,
    border: int = 0,
    engine: str = "auto",
    repeats: bool = False,
) -> JoinPlan:
    """Choose how to find the pairs within `limit`.

    Parameters
    ----------
    words
        ``uint64 (n, words)`` of :func:`hashae.indexer.scan.as_rows`.
    width
        Bytes of a code.
    limit
        Bits, inclusive.
    border
        Rows below it and rows from it on are two sets of which only pairs across are wanted; 0 for all pairs.
    engine
        One of `ENGINES`, or ``auto``.
    repeats
        Pairs may be met several times: see :func:`hashae.indexer.block_tables.choose_blocks`.

    Raises
    ------
    ConfigError
        If the engine is not installed.
    UnknownName
        If there is no such engine.
    """
    pairs = float(border * (len(words) - border)) if border else len(words) ** 2 / 2
    if engine != "auto":
        return _planned(words, width, limit, pairs, repeats, _installed(engine))
    scan = "faiss" if has_faiss() and _scan_cost("numpy", pairs, words) >= FAISS_FROM else "numpy"
    plan = None if _loaded() else _planned(words, width, limit, pairs, repeats, scan)
    if has_numba() and (plan is None or plan.cost >= COMPILED_FROM) and loops("pair_kernels") is not None:
        return _planned(words, width, limit, pairs, repeats, "compiled")
    return plan or _planned(words, width, limit, pairs, repeats, scan)


def _planned(words: NDArray[np.uint64], width: int, limit: int, pairs: float, repeats: bool, engine: str) -> JoinPlan:
    """Return the cheaper way with one engine."""
    scan, blocks = _scan_cost(engine, pairs, words), None
    if len(words) > 1 and scan >= PLANNED_FROM:
        costs = COSTS["compiled" if engine == "compiled" else "numpy"]
        blocks = choose_blocks(words, width, limit, costs, repeats=repeats)
    if blocks is not None and blocks.cost < scan:
        count, read = len(blocks.tables), blocks.candidates
        why = f"{count} tables of {len(blocks.blocks)} blocks: about {read:,.0f} pairs to compare"
        return JoinPlan("numpy" if engine == "faiss" else engine, blocks, blocks.cost, why)
    return JoinPlan(engine, None, scan, f"comparing all {pairs:,.0f} pairs is cheaper than sorted tables")


def _scan_cost(engine: str, pairs: float, words: NDArray[np.uint64]) -> float:
    width: int = words.shape[1]
    return pairs * (PAIR[engine] + width * WORD[engine])


def _loaded() -> bool:
    """Tell whether the compiled loops are in memory already."""
    return "hashae.indexer.pair_kernels" in sys.modules


def _installed(engine: str) -> str:
    if engine not in ENGINES:
        raise UnknownName(f"unknown engine {engine!r}; expected auto or one of {', '.join(ENGINES)}")
    if engine == "compiled" and loops("pair_kernels") is None:
        raise ConfigError("engine 'compiled' needs numba, which is not installed; run: pip install 'hashae[fast]'")
    if engine == "faiss" and not has_faiss():
        raise ConfigError("engine 'faiss' needs FAISS, which is not installed; install faiss-cpu or use engine 'numpy'")
    return engine
