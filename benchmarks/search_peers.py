"""The engines that benchmarks/search.py compares, each behind the same few lines.

An engine is built from codes and answers batches: ``within`` gives for each query the pairs (id, distance) within a
radius, ``nearest`` distances of k codes; both only as far as it can. Times of building are measured by the caller.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from hashae.indexer import HashIndex

Codes = NDArray[np.uint8]
Found = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]
"""Limits, ids and distances, as HashIndex.within_arrays gives them."""


@dataclass(frozen=True)
class Engine:
    """A built engine.

    Attributes
    ----------
    within
        Batch of queries to `Found`, in any order inside a query; None if it has no such search.
    nearest
        Batch of queries to distances ``int32 (m, k)``; None if it has no such search.
    exact
        True if it misses nothing.
    most
        Largest number of queries that it is asked at once, for engines that take long.
    """

    within: Callable[[Codes], Found] | None = None
    nearest: Callable[[Codes], NDArray[np.int32]] | None = None
    exact: bool = True
    most: int = 1_000_000
    keep: list[Any] = field(default_factory=list)


def hashae(method: str, *, compiled: bool, threads: int, radius: int, k: int) -> Callable[[Codes], Engine]:
    """Return a builder of our own index, through its public methods that return arrays."""

    def build(codes: Codes) -> Engine:
        index = HashIndex(codes.shape[1] * 8, threads=threads, compiled=compiled)
        index.add(np.arange(len(codes)), codes)
        index.codes  # noqa: B018 - merges what was added
        if method in {"bands", "auto"}:
            index.bands()
        return Engine(
            within=None if method in {"ivf"} else lambda q: index.within_arrays(q, radius, method=method),
            nearest=None if method == "key" else lambda q: index.nearest_arrays(q, k, method=method)[1],
            exact=method not in {"ivf", "key"},
            keep=[index],
        )

    return build


def faiss_flat(threads: int, radius: int, k: int) -> Callable[[Codes], Engine]:
    """Return a builder of ``IndexBinaryFlat`` with OpenMP threads of its own."""
    return _faiss(faiss.IndexBinaryFlat, threads, radius, k)


def faiss_multihash(threads: int, radius: int, k: int) -> Callable[[Codes], Engine]:
    """Return a builder of ``IndexBinaryMultiHash``: radius + 1 tables of 16 bits, no flips; exact within the radius."""

    def make(bits: int) -> Any:
        index = faiss.IndexBinaryMultiHash(bits, radius + 1, min(bits // (radius + 1), 24))
        index.nflip = 0
        return index

    return _faiss(make, threads, radius, k, nearest=False)


def faiss_multihash_nearest(threads: int, radius: int, k: int, flips: int) -> Callable[[Codes], Engine]:
    """Return a builder of ``IndexBinaryMultiHash`` for nearest codes: four tables of 16 bits, approximate."""

    def make(bits: int) -> Any:
        index = faiss.IndexBinaryMultiHash(bits, 4, 16)
        index.nflip = flips
        return index

    return _faiss(make, threads, radius, k, within=False, exact=False)


def faiss_hash(threads: int, radius: int, k: int, width: int) -> Callable[[Codes], Engine]:
    """Return a builder of ``IndexBinaryHash`` that flips up to `radius` of its bits; exact within the radius."""

    def make(bits: int) -> Any:
        index = faiss.IndexBinaryHash(bits, width)
        index.nflip = radius
        return index

    return _faiss(make, threads, radius, k, nearest=False)


def faiss_hnsw(threads: int, radius: int, k: int, search: int) -> Callable[[Codes], Engine]:
    """Return a builder of ``IndexBinaryHNSW``."""

    def make(bits: int) -> Any:
        index = faiss.IndexBinaryHNSW(bits, 16)
        index.hnsw.efConstruction, index.hnsw.efSearch = 64, search
        return index

    return _faiss(make, threads, radius, k, within=False, exact=False)


def usearch_hnsw(threads: int, k: int, search: int) -> Callable[[Codes], Engine]:
    """Return a builder of usearch's HNSW on bits."""
    from usearch.index import Index

    def build(codes: Codes) -> Engine:
        index = Index(ndim=codes.shape[1] * 8, metric="hamming", dtype="b1", expansion_search=search)
        index.add(np.arange(len(codes)), codes, threads=threads)

        def nearest(queries: Codes) -> NDArray[np.int32]:
            return index.search(queries, k, threads=threads).distances.reshape(len(queries), -1).astype(np.int32)

        return Engine(nearest=nearest, exact=False, keep=[index])

    return build


def bk_tree(radius: int) -> Callable[[Codes], Engine]:
    """Return a builder of a BK-tree of Python integers, as small duplicate finders have it (pybktree)."""
    import pybktree

    def build(codes: Codes) -> Engine:
        values = codes.view(">u8")[:, 0].tolist()
        ids: dict[int, list[int]] = {}
        for number, value in enumerate(values):
            ids.setdefault(value, []).append(number)
        tree = pybktree.BKTree(pybktree.hamming_distance, ids)

        def within(queries: Codes) -> Found:
            found = [tree.find(value, radius) for value in queries.view(">u8")[:, 0].tolist()]
            return _found([[(id_, d) for d, value in pairs for id_ in ids[value]] for pairs in found])

        return Engine(within=within, most=20, keep=[tree])

    return build


def imagededup(radius: int) -> Callable[[Codes], Engine]:
    """Return a builder of imagededup's search: a compiled loop over all codes, whose list is made anew every time."""
    from imagededup.handlers.search.brute_force_cython import BruteForceCython

    def build(codes: Codes) -> Engine:
        hashes = {str(number): code.tobytes().hex() for number, code in enumerate(codes)}
        searcher = BruteForceCython(hashes, None)

        def within(queries: Codes) -> Found:
            found = [searcher.search(query.tobytes().hex(), tol=radius) for query in queries]
            return _found([[(int(name), int(d)) for name, d in pairs] for pairs in found])

        return Engine(within=within, most=5, keep=[searcher])

    return build


def _faiss(
    make: Callable[[int], Any],
    threads: int,
    radius: int,
    k: int,
    *,
    within: bool = True,
    nearest: bool = True,
    exact: bool = True,
) -> Callable[[Codes], Engine]:
    def build(codes: Codes) -> Engine:
        faiss.omp_set_num_threads(threads)
        index = make(codes.shape[1] * 8)
        index.add(codes)

        def near(queries: Codes) -> NDArray[np.int32]:
            faiss.omp_set_num_threads(threads)
            return index.search(queries, k)[0]

        def inside(queries: Codes) -> Found:
            faiss.omp_set_num_threads(threads)
            limits, distances, ids = index.range_search(queries, radius + 1)  # less than, not at most
            return limits.astype(np.int64), ids, distances.astype(np.int32)

        return Engine(inside if within else None, near if nearest else None, exact, keep=[index])

    return build


def _found(rows: list[list[tuple[int, int]]]) -> Found:
    limits = np.cumsum([0, *map(len, rows)])
    flat = [pair for row in rows for pair in row]
    return limits, np.array([id_ for id_, _ in flat], np.int64), np.array([d for _, d in flat], np.int32)
