"""All paths of search over one fixed set of codes, each made when it is first needed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from hashae.codes import Codes
from hashae.errors import ConfigError, MissingDependency
from hashae.indexer.approximate import KEY_BYTES, InvertedFile, KeyIndex, check_wide
from hashae.indexer.band_layout import band_count
from hashae.indexer.compiled import has_faiss, has_numba, loops
from hashae.indexer.flat import FlatScan
from hashae.indexer.flips import CodeTable, check_flips, flips_within
from hashae.indexer.gpu import GpuFlat, has_gpu
from hashae.indexer.hits import Hits, no_hits, replace_queries
from hashae.indexer.memory import memory_left
from hashae.indexer.multi import MultiIndex
from hashae.indexer.nearest import FlatIndex
from hashae.indexer.order import band_order, check_order
from hashae.indexer.planner import (
    THREADS_FROM,
    Ledger,
    Pace,
    Path,
    Plan,
    Work,
    making_costs,
    nearest_budget,
    nearest_paths,
    nearest_radius,
    within_paths,
)

Made = TypeVar("Made")

ORDERED_FROM = 1000
"""Codes from which their entropies tell how to deal bits to bands."""
WATCHED_FROM = 100_000
"""Codes from which it is looked whether there is memory for bands."""
SETTLED = 1000
"""Plans that are remembered."""
LONG = 1.0
"""Seconds that a path without an estimate is taken to last."""
CARD_FROM = 10_000_000_000
"""Comparisons from which a graphics card is asked, where there is one."""
AFFORDABLE = 8
"""A search by key may read one code in so many as candidates."""


class Engines:
    """The paths of search over fixed codes.

    Parameters
    ----------
    codes
        ``uint8 (n, bytes)``.
    threads
        Threads that may share a batch.
    order
        ``int (bits,)``: bits as they are dealt to bands; None derives an order from the codes.
    compiled
        Whether the loops of the extra ``fast`` may run; None lets the planner decide.
    bands
        Multi-index of these codes, if there is one already.
    """

    def __init__(
        self,
        codes: Codes,
        *,
        threads: int = 1,
        order: NDArray[np.int64] | None = None,
        compiled: bool | None = None,
        bands: MultiIndex | None = None,
    ) -> None:
        self.codes, self.threads, self.compiled = codes, threads, compiled
        self._order = order
        self._made: dict[str, Any] = {} if bands is None else {"bands": bands}
        self._settled: dict[tuple[str, int, int, str], Plan] = {}
        self.used: set[tuple[str, str, bool]] = set()
        """Question, method and whether compiled: paths that have answered, so that what they need is made."""
        self._pace = {"within_paths": Pace(), "nearest_paths": Pace()}
        self._ledger, self._broken = Ledger(), False  # broken: numba is there, but does not work

    @property
    def bits(self) -> int:
        """Code length."""
        return int(self.codes.shape[1] * 8)

    def plan_within(self, queries: int, radius: int, method: str = "auto") -> Plan:
        """Choose the path of a neighbourhood search, or the engine of a method that is asked for by name."""
        return self._plan(within_paths, queries, radius, method)

    def plan_nearest(self, queries: int, k: int, method: str = "auto") -> Plan:
        """Choose the path of a search of the k nearest, or the engine of a method that is asked for by name.

        A graphics card takes batches that are large enough to fill it; whether there is one is only then looked up.
        """
        plan = self._plan(nearest_paths, queries, k, method)
        if method == "auto" and queries * len(self.codes) >= CARD_FROM and has_gpu():
            others = {**plan.alternatives, plan.method: plan.seconds}
            return Plan("gpu", f"a graphics card reads all {len(self.codes):,} codes, exactly", False, LONG, others)
        return plan

    def _plan(self, paths_of: Callable[..., list[Path]], queries: int, number: int, method: str) -> Plan:
        key = (paths_of.__name__, queries, number, method)
        if key in self._settled:
            return self._settled[key]
        n = len(self.codes)
        radius = number if paths_of is within_paths else nearest_radius(n, self.bits, number)
        paths = paths_of(
            n,
            self.bits,
            number,
            queries=max(queries, 1),
            threads=self.threads,
            faiss=has_faiss(),
            numba=self._numba(),
            work=self._work(radius),
            fast_word=self._pace[paths_of.__name__].word,
        )
        plan = self._choose(paths, method)
        # Nothing that is not ready would be faster: then the next choice is the same, until something is made.
        if all(path.cost / 1e9 >= plan.seconds for path in paths) and len(self._settled) < SETTLED:
            self._settled[key] = plan
        return plan

    def within(self, queries: Codes, radius: int, plan: Plan) -> Hits:
        """Find every code at most `radius` bits from each query."""
        if not len(self.codes):
            return no_hits(len(queries))
        if plan.method == "scan":
            kernels, threads = self._loops("flat_kernels", plan), self._threads_for(plan, queries)
            scan = partial(self._scan().within, queries, radius, kernels=kernels, threads=threads)
            return self._paced("within_paths", scan, len(queries), threads) if kernels else scan()
        if plan.method == "faiss":
            return self._flat().within(queries, radius)
        if plan.method == "flips":
            check_flips(self.bits, radius)  # before a table is made for nothing
            return flips_within(self._once("table", lambda: CodeTable(self.codes)), queries, radius)
        kernels, threads = self._loops("multi_kernels", plan), self._threads_for(plan, queries)
        if plan.method == "key":
            check_wide(self.bits)
            affordable = len(self.codes) // AFFORDABLE
            keys = self._once("key", self._make_keys)
            return keys.within(queries, radius, kernels=kernels, threads=threads, affordable=affordable)
        return self.bands().within(queries, radius, kernels=kernels, threads=threads)

    def nearest(self, queries: Codes, k: int, plan: Plan) -> Hits:
        """Find the k codes nearest to each query."""
        if not len(self.codes):
            return no_hits(len(queries))
        if plan.method == "faiss":
            return self._flat().nearest(queries, k)
        if plan.method == "ivf":
            self._need_faiss("ivf")
            found: InvertedFile = self._once("ivf", lambda: InvertedFile(self.codes))
            return found.nearest(queries, k)
        if plan.method == "gpu":
            if not has_gpu():
                raise ConfigError("method 'gpu' needs faiss-gpu and a CUDA device; use method 'auto'")
            card: GpuFlat = self._once("gpu", lambda: GpuFlat(self.codes, self._nearest_by_scan))
            return card.nearest(queries, k)
        if plan.method == "bands":
            return self._nearest_by_bands(queries, k, plan)
        kernels, threads = self._loops("flat_kernels", plan), self._threads_for(plan, queries)
        scan = partial(self._scan().nearest, queries, k, kernels=kernels, threads=threads)
        return self._paced("nearest_paths", scan, len(queries), threads) if kernels else scan()

    def _paced(self, kind: str, scan: Callable[[], Hits], queries: int, threads: int) -> Hits:
        """Read all codes, and note how fast that is here."""
        start = perf_counter()
        hits = scan()
        words = len(self.codes) * -(-self.bits // 64) * queries / threads
        if self._pace[kind].note(words, perf_counter() - start):
            self._settled.clear()
        return hits

    def bands(self) -> MultiIndex:
        """Return the multi-index, made now if it is not there.

        Raises
        ------
        ConfigError
            If there is too little memory for it.
        """
        if "bands" not in self._made and (lacking := self._lacking_memory()):
            raise ConfigError(lacking)
        return self._once("bands", self._make_bands)

    def _nearest_by_bands(self, queries: Codes, k: int, plan: Plan) -> Hits:
        """Search by bands; queries whose neighbours are too far off for that are answered by a scan."""
        k = min(k, len(self.codes))
        hits, left = self.bands().nearest(
            queries,
            k,
            budget=nearest_budget(len(self.codes), self.bits),
            kernels=self._loops("multi_kernels", plan),
            threads=self._threads_for(plan, queries),
        )
        if not len(left):
            return hits
        return replace_queries(hits, left, self._nearest_by_scan(queries[left], k, compiled=plan.compiled))

    def _nearest_by_scan(self, queries: Codes, k: int, *, compiled: bool | None = None) -> Hits:
        """Read all codes with the fastest engine at hand."""
        if self._fast() if compiled is None else compiled:
            return self.nearest(queries, k, Plan("scan", "", compiled=True, seconds=LONG))
        return self.nearest(queries, k, Plan("faiss" if has_faiss() else "scan", "", seconds=LONG))

    def _choose(self, paths: list[Path], method: str) -> Plan:
        if self.compiled:
            paths = [path for path in paths if path.compiled or path.method not in {"scan", "bands"}]
        making = {
            need: cost for need, cost in making_costs(len(self.codes), self.bits).items() if not self._ready(need)
        }
        if method == "auto":
            if "bands" in making and self._lacking_memory():
                paths = [path for path in paths if path.method != "bands"]
            return self._ledger.choose(paths, making)
        named = [path for path in paths if path.method == method]
        if not named:
            return Plan(method, "asked for by name", self._fast(), LONG)
        return replace(self._ledger.choose(named, making), why="asked for by name", alternatives={})

    def _ready(self, need: str) -> bool:
        if need == "faiss":
            return "faiss" in sys.modules
        if need == "numba":
            return self.compiled is True or "hashae.indexer.flat_kernels" in sys.modules
        return need in self._made

    def _work(self, radius: int) -> Work | None:
        """Return the work of a banded search as the built bands tell; None if there are none yet."""
        if "bands" not in self._made:
            return None
        bands: MultiIndex = self._made["bands"]
        return Work(bands.bands, radius + 1, bands.probes(radius), bands.expected(radius))

    def _numba(self) -> bool:
        return self.compiled is not False and has_numba() and not self._broken

    def _fast(self) -> bool:
        """Tell whether compiled loops may run, loading them."""
        return self._numba() and self._ready("numba")

    def _loops(self, name: str, plan: Plan) -> Any:
        """Return compiled loops if the plan wants them; None for numpy.

        Raises
        ------
        MissingDependency
            If they were asked for when the index was made, and are not there.
        """
        found = loops(name) if plan.compiled else None
        if found is None and plan.compiled:
            self._broken = True
            self._settled.clear()
        if found is None and self.compiled:
            raise MissingDependency("HashIndex(compiled=True)", "fast")
        return found

    def _threads_for(self, plan: Plan, queries: Codes) -> int:
        """Return the threads for a batch: one where starting more would cost more than it saves."""
        return self.threads if len(queries) > 1 and plan.seconds * 1e9 * self.threads >= THREADS_FROM else 1

    def _need_faiss(self, method: str) -> None:
        if not has_faiss():
            raise ConfigError(
                f"method {method!r} needs FAISS, which is not installed; install faiss-cpu or use method 'scan'"
            )

    def _scan(self) -> FlatScan:
        return self._once("columns", lambda: FlatScan(self.codes))

    def _flat(self) -> FlatIndex:
        self._need_faiss("faiss")
        return self._once("flat", lambda: FlatIndex(self.codes, self.threads))

    def _make_bands(self) -> MultiIndex:
        n, order = len(self.codes), self._order
        if order is None and n >= ORDERED_FROM:
            order = band_order(self.codes, band_count(n, self.bits))
        return MultiIndex.build(self.codes, check_order(order, self.bits))

    def _make_keys(self) -> KeyIndex:
        first = np.ascontiguousarray(self.codes[:, :KEY_BYTES])
        order = band_order(first, band_count(len(first), 64))
        return KeyIndex(self.codes, MultiIndex.build(first, order))

    def _lacking_memory(self) -> str:
        """Return the sentence that says how much memory bands would need, if there is too little; else nothing."""
        n = len(self.codes)
        needed, left = band_bytes(n, self.bits), memory_left() if n >= WATCHED_FROM else None
        if left is None or needed <= left:
            return ""
        return (
            f"bands over {n:,} codes need {needed / 2**20:,.0f} MiB of memory and {left / 2**20:,.0f} MiB are free; "
            f"method 'scan' answers the same with less"
        )

    def _once(self, key: str, make: Callable[[], Made]) -> Made:
        """Return what was made under `key`, making it if need be."""
        if key not in self._made:
            self._made[key] = make()
            self._settled.clear()
        made: Made = self._made[key]
        return made


def band_bytes(n: int, bits: int) -> int:
    """Return the bytes that the bands of n codes take while they are sorted, estimated from above."""
    bands, words = band_count(n, bits), -(-bits // 64)
    stored = n * bands * (16 if words == 1 else 8)
    return stored + n * (8 * words + 40)
