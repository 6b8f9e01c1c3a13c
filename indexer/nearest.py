"""FAISS behind a plain face.

What stays inside: range search that means "less than", distances that come back as floats, padding with id -1 and
distance 2147483647, assertions without a message, and a thread pool that belongs to the whole process. FAISS is
imported on first use; :func:`hashae.indexer.compiled.has_faiss` says whether it can be.

FAISS always runs with one OpenMP thread: its threads wait for one another at the end of every call, and a busy
neighbour then makes two of them several times slower than one. Large batches are cut into parts that share nothing and
go to plain threads, which FAISS leaves free of Python's lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from hashae.codes import Codes
from hashae.indexer.compiled import has_faiss
from hashae.indexer.hits import Hits, join_hits, no_hits, pack, sorted_hits
from hashae.indexer.scan import Pairs

__all__ = ["FlatIndex", "faiss_pairs", "has_faiss", "one_thread"]

THREADS_FROM = 50_000_000
"""Comparisons below which starting threads does not pay."""
RESULTS = 10_000_000
"""Most results one call may have, if every code were an answer: 120 MB."""
CHUNKS = 16
"""Parts of a self-join: a part is compared with itself and the parts before it, 53 % of all pairs."""

Part = TypeVar("Part")
Result = TypeVar("Result")


@contextmanager
def one_thread() -> Iterator[Any]:
    """Import FAISS with one OpenMP thread for the calling thread, and give it its setting back."""
    import faiss

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield faiss
    finally:
        faiss.omp_set_num_threads(before)


def _in_order(task: Callable[[Part], Result], parts: Iterable[Part], threads: int) -> Iterator[Result]:
    """Run `task` over `parts`, keeping the order and no more than ``threads + 1`` results waiting."""
    if threads == 1:
        yield from map(task, parts)
        return
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[Result]] = deque()
        for part in parts:
            waiting.append(pool.submit(task, part))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _slices(count: int, step: int) -> list[slice]:
    return [slice(start, min(start + step, count)) for start in range(0, count, step)]


def _range_search(
    index: Any, queries: Codes, radius: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
    """Return query numbers, labels and distances at most `radius`; the one place that knows FAISS asks for less."""
    limits, distances, labels = index.range_search(queries, radius + 1)
    numbers = np.repeat(np.arange(len(queries)), np.diff(limits.astype(np.int64)))
    return numbers, labels.astype(np.int64), distances.astype(np.int32)


class FlatIndex:
    """Exact search through ``IndexBinaryFlat``.

    Parameters
    ----------
    codes
        ``uint8 (n, bytes)``. FAISS keeps the code that was added first when distances are equal at the cut-off, so that
        ties go to the smaller row.
    threads
        Threads for large batches; small ones use one.
    """

    def __init__(self, codes: Codes, threads: int = 1) -> None:
        self._threads, self._size = threads, len(codes)
        with one_thread() as faiss:
            self._index = faiss.IndexBinaryFlat(codes.shape[1] * 8)
            self._index.add(codes)

    def nearest(self, queries: Codes, k: int) -> Hits:
        """Find the `k` codes nearest to each query, or all of them if there are fewer."""
        k = min(k, self._size)

        def search(part: slice) -> Hits:
            with one_thread():
                distances, rows = self._index.search(queries[part], k)  # (queries, k) each, no padding: k <= n
            limits = np.arange(len(rows) + 1) * k
            return Hits(limits, rows.reshape(-1), distances.reshape(-1), 0, self._size * len(rows))

        return self._run(search, len(queries), k)

    def within(self, queries: Codes, radius: int) -> Hits:
        """Find every code at most `radius` bits from each query."""

        def search(part: slice) -> Hits:
            with one_thread():
                numbers, rows, distances = _range_search(self._index, queries[part], radius)
            count = part.stop - part.start
            return sorted_hits(count, numbers, pack(distances, rows), candidates=self._size * count)

        return self._run(search, len(queries), self._size)

    def _run(self, search: Callable[[slice], Hits], queries: int, results: int) -> Hits:
        """Search in parts of bounded size: `results` is the most one query can have."""
        if not self._size or not queries:
            return no_hits(queries)
        threads = self._threads if queries * self._size >= THREADS_FROM else 1
        step = min(max(1, RESULTS // results), -(-queries // (1 if threads == 1 else 4 * threads)))
        return join_hits(list(_in_order(search, _slices(queries, step), threads)))


def faiss_pairs(
    codes: Codes, radius: int, threads: int = 1, on_step: Callable[[int, int], None] | None = None
) -> Iterator[Pairs]:
    """Yield all pairs of rows at most `radius` bits apart, each once, in bounded blocks; `on_step` is told how far."""
    n = len(codes)
    chunks = _slices(n, max(1, -(-n // CHUNKS)))
    indexes = []
    with one_thread() as faiss:
        for chunk in chunks:
            indexes.append(faiss.IndexBinaryFlat(codes.shape[1] * 8))
            indexes[-1].add(codes[chunk])

    def compare(task: tuple[slice, int]) -> Pairs:
        rows, other = task
        with one_thread():
            b, a, distances = _range_search(indexes[other], codes[rows], radius)
        b, a = b + rows.start, a + chunks[other].start
        once = a < b
        return a[once], b[once], distances[once]

    tasks = [
        (slice(chunk.start + part.start, chunk.start + part.stop), other)
        for number, chunk in enumerate(chunks)
        for part in _slices(chunk.stop - chunk.start, max(1, RESULTS * CHUNKS // n))
        for other in range(number + 1)
    ]
    found = _in_order(compare, tasks, threads if n * n / 2 >= THREADS_FROM else 1)
    for done, pairs in enumerate(found, 1):
        yield pairs
        if on_step:
            on_step(done, len(tasks))
