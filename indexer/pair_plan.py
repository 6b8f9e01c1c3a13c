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
    "compiled": JoinCosts(row=14, pair=0.6, permute=1.0, call=20_000),
    "numpy": JoinCosts(row=45, pair=14, permute=2.0, call=150_000),
}
WORD = {"compiled": 0.06, "faiss": 0.35, "numpy": 1.0}
"""Compare 64 bits of one code with those of another, when everything is compared."""

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


def plan_join(words: NDArray[np.uint64], width: int, limit: int, *, border: int = 0, engine: str = "auto") -> JoinPlan:
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

    Raises
    ------
    ConfigError
        If the engine is not installed.
    UnknownName
        If there is no such engine.
    """
    n = len(words)
    pairs = border * (n - border) if border else n * n / 2
    chosen = _engine(engine, pairs * words.shape[1])
    scan = pairs * words.shape[1] * WORD[chosen]
    blocks = None
    if n > 1 and scan >= PLANNED_FROM:
        blocks = choose_blocks(words, width, limit, COSTS["compiled" if chosen == "compiled" else "numpy"])
    if blocks is not None and blocks.cost < scan:
        why = (
            f"{len(blocks.tables)} tables of {len(blocks.blocks)} blocks: about {blocks.candidates:,.0f} pairs to read"
        )
        return JoinPlan("numpy" if chosen == "faiss" else chosen, blocks, blocks.cost, why)
    return JoinPlan(chosen, None, scan, f"comparing all {pairs:,.0f} pairs is cheaper than sorted tables")


def _engine(engine: str, words: float) -> str:
    """Return the engine to use: the one asked for, or the fastest whose start pays for comparing so many words."""
    if engine == "auto":
        slow = words * WORD["numpy"]
        loaded = "hashae.indexer.pair_kernels" in sys.modules
        if has_numba() and (loaded or slow >= COMPILED_FROM) and loops("pair_kernels") is not None:
            return "compiled"
        return "faiss" if has_faiss() and slow >= FAISS_FROM else "numpy"
    if engine not in ENGINES:
        raise UnknownName(f"unknown engine {engine!r}; expected auto or one of {', '.join(ENGINES)}")
    if engine == "compiled" and loops("pair_kernels") is None:
        raise ConfigError("engine 'compiled' needs numba, which is not installed; run: pip install 'hashae[fast]'")
    if engine == "faiss" and not has_faiss():
        raise ConfigError("engine 'faiss' needs FAISS, which is not installed; install faiss-cpu or use engine 'numpy'")
    return engine
