"""Which path answers a search: a cost model of a few lines.

The paths answer alike; only the time differs. Costs are nanoseconds, rounded from measurements with numpy 2, numba 0.68
and FAISS 1.15 on one x86-64 core with AVX-512; ``benchmarks/search.py --planner`` prints what they are worth on another
machine. They need to be right within a factor of two or so, because the paths differ by far more.

What is not ready yet costs its making: an import, sorting the bands. Whether that will pay depends on how many searches
follow, which nobody knows, so it is handled like renting or buying skis: what a path would have saved so far is counted
(:class:`Ledger`), and it is made ready once that is as much as making it costs. All in all that is at most twice
as slow as knowing the future.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import comb, log

from hashae.indexer.band_layout import band_lengths
from hashae.indexer.flips import FLIP_LIMIT, neighbourhood_size

CALL = 10_000
"""Python around a search."""
STEP, WIDE_STEP = 30_000, 50_000
"""numpy calls for one step of a banded search: up to 64 bits, above."""
PROBE, FAST_PROBE = 50, 20
"""Find one bucket: numpy, compiled."""
CANDIDATE, WIDE_CANDIDATE = 15, 100
"""Fetch a code and count its differing bits with numpy: up to 64 bits, above."""
FAST_CANDIDATE, FAST_WIDE_CANDIDATE = 1.5, 20
"""The same compiled."""
WORD, BLOCK = 1.0, 5_000
"""Read 64 bits and count, in a row, with numpy; a few calls for each block of 16,384 codes."""
FAST_WORD, FETCH = 0.08, 0.1
"""The same compiled, in the cache; fetch 64 bits from memory, once for all queries of a batch.

A processor that cannot count bits in vectors takes five times as long. Which it is shows when all codes have been read
once, so the faster one is expected before; see :class:`Pace`.
"""
FAISS_CODE, FAISS_WORD = 0.3, 0.12
"""One code in FAISS, and each 64 bits of it."""
SELECT = 8
"""Keep one of the k nearest in order, numpy and compiled."""
LOOK_UP = 1_000
"""Search a sorted array for one code, and make the code."""
LOAD = {"numba": 400_000_000, "faiss": 120_000_000}
"""Import a library, and load what it compiled before."""
SORT = 50
"""Sort one code into one band."""
COPY = 2
"""Copy 64 bits into an index of FAISS, or word after word."""
THREADS_FROM = 5_000_000
"""Cost from which threads share the work of a batch: below, starting them costs more than they save."""
PACED_FROM = 1_000_000
"""Words read by a thread from which a search tells the pace of the processor."""
DIFFERENT = 0.75
"""Share of a pace below which another one is different."""
EXACT_UP_TO = 500_000
"""Codes up to which the nearest are found by reading all: no bucket is faster than a row of codes in the cache."""


@dataclass(frozen=True, slots=True)
class Path:
    """One way to answer a search.

    Attributes
    ----------
    method
        Name of the method.
    compiled
        True if the loops of the extra ``fast`` run it.
    cost
        Expected time in nanoseconds, once everything is ready.
    needs
        What has to be ready: ``numba``, ``faiss``, ``bands``, ``flat`` (an index of FAISS), ``columns``, ``table``.
    why
        One sentence.
    """

    method: str
    compiled: bool
    cost: float
    needs: tuple[str, ...]
    why: str

    @property
    def name(self) -> str:
        """Method and engine."""
        return f"{self.method} (numba)" if self.compiled else self.method


@dataclass(frozen=True, slots=True)
class Plan:
    """A path and the reason for it.

    Attributes
    ----------
    method
        Name of the path.
    why
        One sentence.
    compiled
        True if the loops of the extra ``fast`` run it.
    seconds
        Expected time, once everything is ready.
    alternatives
        Expected seconds of the other paths, their making included where they are not ready.
    """

    method: str
    why: str
    compiled: bool = False
    seconds: float = 0.0
    alternatives: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Explanation:
    """How one search was answered.

    Attributes
    ----------
    method
        Path taken: ``bands``, ``flips``, ``scan``, ``faiss`` or ``gpu``.
    why
        One sentence.
    probes
        Buckets looked up; 0 where every code is read.
    candidates
        Codes whose differing bits were counted.
    seconds
        Time of the search alone: building a path's arrays, once after each change, is not in it.
    answers
        Codes found.
    compiled
        True if the loops of the extra ``fast`` ran.
    expected
        Seconds that the planner expected.
    alternatives
        Expected seconds of the paths that were not taken, what they need to have made first included.
    """

    method: str
    why: str
    probes: int
    candidates: int
    seconds: float
    answers: int
    compiled: bool = False
    expected: float = 0.0
    alternatives: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Work:
    """What a banded search has to do for one query, as far as can be told beforehand.

    Attributes
    ----------
    bands
        Number of bands.
    steps
        Steps of the search: radius and one.
    probes
        Buckets looked up.
    candidates
        Codes read.
    """

    bands: int
    steps: int
    probes: float
    candidates: float


def even_work(n: int, bits: int, radius: int) -> Work:
    """Return the work of a search within `radius` if all bits are balanced and independent."""
    lengths, probes, candidates = band_lengths(n, bits), 0, 0.0
    for step in range(radius + 1):
        length = lengths[step % len(lengths)]
        step_probes = comb(length, step // len(lengths))
        probes += step_probes
        candidates += step_probes * n / 2**length
    return Work(len(lengths), radius + 1, probes, min(candidates, len(lengths) * float(n)))


def nearest_radius(n: int, bits: int, k: int) -> int:
    """Return the radius within which k of n codes are expected, if all bits are balanced and independent.

    Examples
    --------
    >>> nearest_radius(1_000_000, 64, 10)
    15
    """
    codes, wanted = 0, min(k, n) << bits
    for radius in range(bits + 1):
        codes += comb(bits, radius)
        if codes * n >= wanted:
            return radius
    return bits


def shared(cost: float, threads: int) -> float:
    """Return a cost shared by threads, where starting them pays."""
    return cost / threads if threads > 1 and cost >= THREADS_FROM else cost


def within_paths(
    n: int,
    bits: int,
    radius: int,
    *,
    queries: int = 1,
    threads: int = 1,
    faiss: bool = False,
    numba: bool = False,
    work: Work | None = None,
    fast_word: float = FAST_WORD,
) -> list[Path]:
    """Return every path of a neighbourhood search; see :func:`plan_within`. `work` defaults to :func:`even_work`."""
    words, m = -(-bits // 64), queries
    work = work or even_work(n, bits, radius)
    read = f"bands of about {bits // work.bands} bits cannot tell enough codes apart; reading all {n:,} is cheaper"
    banded = (
        f"{work.bands} bands of {bits // work.bands} bits: {work.probes:,.0f} buckets and about "
        f"{work.candidates:,.0f} of {n:,} codes read for a query"
    )
    candidate, fast_candidate = (CANDIDATE, FAST_CANDIDATE) if words == 1 else (WIDE_CANDIDATE, FAST_WIDE_CANDIDATE)
    blocks = -(-n // 16_384)
    paths = [
        Path("scan", False, CALL + m * (n * words * WORD + blocks * BLOCK), (), read),
        Path(
            "bands",
            False,
            CALL
            + work.steps * (STEP if words == 1 else WIDE_STEP)
            + m * (work.probes * PROBE + work.candidates * candidate),
            ("bands",),
            banded,
        ),
    ]
    size = neighbourhood_size(bits, radius)
    if size <= FLIP_LIMIT:
        each = m * (CALL + size * (LOOK_UP + n / 2 ** min(64, bits) * CANDIDATE))
        why = f"only {size:,} codes lie within radius {radius}: looking each one up is cheapest"
        paths.append(Path("flips", False, each, ("table",), why))
    if faiss:
        slower = fast_word / FAST_WORD  # it counts bits with the same instructions
        each = shared(m * n * (FAISS_CODE + words * FAISS_WORD) * slower, threads)
        paths.append(Path("faiss", False, CALL + each, ("faiss", "flat"), read))
    if numba:
        each = shared(n * words * (FETCH + m * fast_word), threads)
        paths.append(Path("scan", True, CALL + each, ("numba", "columns"), read))
        each = shared(m * (work.probes * FAST_PROBE + work.candidates * fast_candidate), threads)
        paths.append(Path("bands", True, CALL + each, ("numba", "bands"), banded))
    return paths


def nearest_paths(
    n: int,
    bits: int,
    k: int,
    *,
    queries: int = 1,
    threads: int = 1,
    faiss: bool = False,
    numba: bool = False,
    work: Work | None = None,
    fast_word: float = FAST_WORD,
) -> list[Path]:
    """Return every path of a search of the k nearest codes.

    `work` is that of a search within :func:`nearest_radius`, by default :func:`even_work`. Codes that lie in clusters
    are found sooner.
    """
    words, m, k = -(-bits // 64), queries, min(k, n)
    work = work or even_work(n, bits, nearest_radius(n, bits, k))
    read = f"all {n:,} codes are read, exactly"
    banded = (
        f"{work.bands} bands of {bits // work.bands} bits, the radius growing until {k:,} codes are near enough: about "
        f"{work.probes:,.0f} buckets and {work.candidates:,.0f} of {n:,} codes read for a query"
    )
    candidate, fast_candidate = (CANDIDATE, FAST_CANDIDATE) if words == 1 else (WIDE_CANDIDATE, FAST_WIDE_CANDIDATE)
    paths = [Path("scan", False, CALL + m * n * (words * WORD + 0.5), (), read)]
    banding = n > EXACT_UP_TO and work.probes + work.candidates <= nearest_budget(n, bits)
    if banding:
        each = work.probes * PROBE + work.candidates * candidate
        paths.append(
            Path("bands", False, CALL + work.steps * (STEP if words == 1 else WIDE_STEP) + m * each, ("bands",), banded)
        )
    if faiss:
        slower = fast_word / FAST_WORD  # it counts bits with the same instructions
        each = shared(m * n * (FAISS_CODE + words * FAISS_WORD) * slower, threads)
        paths.append(Path("faiss", False, CALL + each + m * k * SELECT, ("faiss", "flat"), read))
    if numba:
        kept = k * (1 + log(max(n * words / 8192, 1))) * 8 * SELECT  # codes that were among the k nearest for a while
        each = shared(n * words * (FETCH + m * fast_word) + m * kept, threads)
        paths.append(Path("scan", True, CALL + each, ("numba", "columns"), read))
    if numba and banding:
        each = shared(m * (work.probes * FAST_PROBE + work.candidates * fast_candidate), threads)
        paths.append(Path("bands", True, CALL + each, ("numba", "bands"), banded))
    return paths


def nearest_budget(n: int, bits: int) -> int:
    """Return how many buckets and candidates a search of the nearest may read before a scan would have been cheaper."""
    return max(4096, n // (16 * -(-bits // 64)))


def making_costs(n: int, bits: int) -> dict[str, float]:
    """Return what it costs to make each thing that a path may need, in nanoseconds."""
    words, bands = -(-bits // 64), len(band_lengths(n, bits))
    return {
        **LOAD,
        "bands": n * (bands * SORT + words * COPY * 8),
        "flat": n * words * COPY,
        "columns": 0.0 if bits % 64 == 0 and words == 1 else n * words * COPY,
        "table": n * SORT,
    }


class Pace:
    """How fast this processor reads all codes with the compiled loops, as searches have shown.

    Attributes
    ----------
    word
        Nanoseconds of one thread for 64 bits.
    """

    def __init__(self) -> None:
        self.word, self._seen = FAST_WORD, 0

    def note(self, words: float, seconds: float) -> bool:
        """Take one search into account: 64-bit words read by each thread. Return True if plans should be made anew."""
        if words < PACED_FROM:
            return False
        self._seen += 1
        if self._seen == 1:  # loaded what was compiled before
            return False
        found = seconds * 1e9 / words
        if self._seen > 2 and found > self.word / DIFFERENT:  # the fastest counts: others had the processor in between
            return False
        changed = not self.word * DIFFERENT < found < self.word / DIFFERENT
        self.word = found if changed else self.word
        return changed


class Ledger:
    """Which things are ready, and what those that are not would have saved so far."""

    def __init__(self) -> None:
        self._saved: dict[str, float] = {}

    def price(self, path: Path, making: Mapping[str, float]) -> float:
        """Return what a path costs now: its own cost, and of what it needs what has not been saved up yet."""
        return path.cost + sum(max(0.0, making.get(need, 0.0) - self._saved.get(need, 0.0)) for need in path.needs)

    def choose(self, paths: Sequence[Path], making: Mapping[str, float]) -> Plan:
        """Choose the cheapest path now; `making` names what is not ready and what it costs to make."""
        prices = {path.name: self.price(path, making) for path in paths}
        best = min(paths, key=lambda path: prices[path.name])
        for path in paths:
            for need in path.needs if path.cost < best.cost else ():
                self._saved[need] = self._saved.get(need, 0.0) + best.cost - path.cost
        others = {path.name: prices[path.name] / 1e9 for path in paths if path is not best}
        return Plan(best.method, best.why, best.compiled, best.cost / 1e9, others)


def plan_within(
    n: int,
    bits: int,
    radius: int,
    *,
    queries: int = 1,
    threads: int = 1,
    faiss: bool = False,
    numba: bool = False,
) -> Plan:
    """Choose the path of a neighbourhood search, everything being ready.

    Parameters
    ----------
    n
        Number of codes.
    bits
        Code length.
    radius
        Bits, inclusive.
    queries
        Number of queries in the batch.
    threads
        Threads that may share a batch.
    faiss
        Whether FAISS may do the scanning.
    numba
        Whether there are compiled loops.
    """
    return Ledger().choose(
        within_paths(n, bits, radius, queries=queries, threads=threads, faiss=faiss, numba=numba), {}
    )


def plan_nearest(
    n: int, bits: int = 64, k: int = 10, *, queries: int = 1, threads: int = 1, faiss: bool = False, numba: bool = False
) -> Plan:
    """Choose the path of a nearest-codes search over `n` codes, everything being ready; see :func:`plan_within`."""
    return Ledger().choose(nearest_paths(n, bits, k, queries=queries, threads=threads, faiss=faiss, numba=numba), {})
