"""What every search path answers with: arrays, in the one order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, starmap

import numpy as np
from numpy.typing import NDArray

from hashae.indexer.match import Match

ROW_BITS = np.uint64(32)
ROW_MASK = np.uint64(0xFFFFFFFF)
PAIR_BITS = np.uint64(42)
"""Bits of a packed distance, 0 to 512, and row."""
PAIR_MASK = np.uint64((1 << 42) - 1)
MOST_QUERIES = 1 << 22
"""Queries of which the number fits beside them."""


@dataclass(frozen=True, slots=True)
class Hits:
    """Answers to a batch of queries: those of one query after those of another, each by (distance, row).

    Attributes
    ----------
    limits
        ``int64 (queries + 1,)``: the answers of query q are those from ``limits[q]`` to ``limits[q + 1]``.
    rows
        ``int64 (h,)``: numbers of the codes found. Rows ascend as ids do, so that they order equal distances.
    distances
        ``int32 (h,)``: bits.
    probes
        Buckets looked up.
    candidates
        Codes whose bits were counted.
    """

    limits: NDArray[np.int64]
    rows: NDArray[np.int64]
    distances: NDArray[np.int32]
    probes: int = 0
    candidates: int = 0

    def matches(self, ids: NDArray[np.int64]) -> list[list[Match]]:
        """Return the matches of each query; ``ids[row]`` is the id of a row."""
        flat = list(starmap(Match, zip(self.distances.tolist(), ids[self.rows].tolist(), strict=True)))
        return [flat[start:end] for start, end in pairwise(self.limits.tolist())]

    def of(self, query: int) -> Hits:
        """Return the answers of one query."""
        part = slice(self.limits[query], self.limits[query + 1])
        return Hits(np.array([0, part.stop - part.start]), self.rows[part], self.distances[part])


def pack(distances: NDArray[np.integer], rows: NDArray[np.integer]) -> NDArray[np.uint64]:
    """Put distance and row into one number that sorts as the pair does: ``distance << 32 | row``."""
    packed: NDArray[np.uint64] = distances.astype(np.uint64) << ROW_BITS | rows.astype(np.uint64)
    return packed


def packed_hits(limits: NDArray[np.int64], packed: NDArray[np.uint64], probes: int, candidates: int) -> Hits:
    """Take numbers of :func:`pack` apart; they are in order already."""
    rows, distances = (packed & ROW_MASK).astype(np.int64), (packed >> ROW_BITS).astype(np.int32)
    return Hits(limits, rows, distances, probes, candidates)


def sorted_hits(
    count: int,
    queries: NDArray[np.int64],
    packed: NDArray[np.uint64],
    *,
    k: int | None = None,
    probes: int = 0,
    candidates: int = 0,
) -> Hits:
    """Bring answers in any order into the order of :class:`Hits`.

    Parameters
    ----------
    count
        Number of queries in the batch.
    queries
        ``int64 (h,)``: which query each answer belongs to.
    packed
        ``uint64 (h,)``, see :func:`pack`.
    k
        Keep the first so many of each query.
    """
    if count <= MOST_QUERIES:  # one sort of plain numbers: the query, then the distance, then the row
        ordered = np.sort(queries.astype(np.uint64) << PAIR_BITS | packed) & PAIR_MASK
    else:
        ordered = packed[np.lexsort((packed, queries))]
    limits = np.zeros(count + 1, np.int64)
    np.cumsum(np.bincount(queries, minlength=count), out=limits[1:])
    if k is not None and len(ordered):
        place = np.arange(len(ordered)) - np.repeat(limits[:-1], np.diff(limits))
        ordered = ordered[place < k]
        limits[1:] = np.cumsum(np.minimum(np.diff(limits), k))
    return packed_hits(limits, ordered, probes, candidates)


def no_hits(queries: int) -> Hits:
    """Return no answer to each of so many queries."""
    return Hits(np.zeros(queries + 1, np.int64), np.empty(0, np.int64), np.empty(0, np.int32))


def join_hits(parts: Sequence[Hits]) -> Hits:
    """Put the answers to consecutive parts of a batch into one."""
    if len(parts) == 1:
        return parts[0]
    limits, end = [np.zeros(1, np.int64)], 0
    for part in parts:
        limits.append(part.limits[1:] + end)
        end += int(part.limits[-1])
    return Hits(
        np.concatenate(limits),
        np.concatenate([np.empty(0, np.int64), *(part.rows for part in parts)]),
        np.concatenate([np.empty(0, np.int32), *(part.distances for part in parts)]),
        sum(part.probes for part in parts),
        sum(part.candidates for part in parts),
    )


def replace_queries(hits: Hits, numbers: NDArray[np.int64], other: Hits) -> Hits:
    """Put the answers of `other` in the place of those of the queries `numbers`, ascending."""
    if not len(numbers):
        return replace(hits, probes=hits.probes + other.probes, candidates=hits.candidates + other.candidates)
    parts, before = [], 0
    for place, number in enumerate(numbers.tolist()):
        parts += [_cut(hits, before, number), _cut(other, place, place + 1)]
        before = number + 1
    parts.append(_cut(hits, before, len(hits.limits) - 1))
    whole = join_hits(parts)
    return replace(whole, probes=hits.probes + other.probes, candidates=hits.candidates + other.candidates)


def _cut(hits: Hits, first: int, stop: int) -> Hits:
    """Return the answers of the queries ``first <= q < stop``, without the counts."""
    limits = hits.limits[first : stop + 1]
    part = slice(limits[0], limits[-1])
    return Hits(limits - limits[0], hits.rows[part], hits.distances[part])
