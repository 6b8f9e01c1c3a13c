"""Exact search by a multi-index: one set of sorted bands that serves every radius.

A code is dealt to m bands, and the rows of all codes are sorted by the value of each band (multi-index hashing,
Norouzi, Punjani, Fleet, CVPR 2012). Let the radius be ``r = a * m + b`` with ``b < m``. Two codes within r bits of each
other differ in at most a bits on one of the bands 0 to b, or in at most a - 1 bits on another: otherwise they would
differ in ``(b + 1) * (a + 1) + (m - b - 1) * a = r + 1`` bits. So a search takes ``r + 1`` steps: step t flips exactly
``t // m`` bits of band ``t % m`` and reads the buckets of the values it gets. After step t everything within t bits has
been met. A radius search stops after step r; a search of the k nearest stops as soon as k are as near as t.

A candidate says itself whether it is new: it was met by an earlier step if one of its bands differs in fewer flips, or
in as many and comes first. So no set of seen rows is kept.

Memory, for n codes: of each band 4 bytes a code for the row, about 4 or fewer for the beginnings of buckets, and for
codes up to 64 bits the code itself in the order of the band (8 bytes), so that a bucket is read in one go.
"""

from __future__ import annotations

from math import comb
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashae.codes import Codes
from hashae.errors import ConfigError
from hashae.indexer.band_layout import band_count, band_keys, band_masks, deal_table, flips_of, longest, permuted
from hashae.indexer.hits import Hits, join_hits, no_hits, pack, packed_hits, sorted_hits
from hashae.indexer.order import deal
from hashae.indexer.scan import own
from hashae.indexer.tasks import in_parts

MAX_ROWS = 2**32 - 1
CHUNK = 1 << 18
"""Candidates that numpy compares at a time: their arrays stay in the processor's cache."""
FLIPS = 1 << 20
"""Most values of one band that a k-nearest search may look up for one query before it gives up."""
ROOM = 4096
"""Answers there is room for at first; doubled when it is full."""

Arrays: TypeAlias = dict[str, NDArray[Any]]


class MultiIndex:
    """Sorted bands over a fixed set of codes, searched exactly.

    Parameters
    ----------
    arrays
        What :meth:`build` made and :meth:`arrays` gives back, perhaps read from a file:

        ``order`` int64 (bits,)
            Bit positions, band after band.
        ``widths`` int64 (m,)
            Bits of each band.
        ``lengths`` int64 (m,)
            Bits of each band, from its first on, that make its value; at most log2(n).
        ``start`` uint32 (sum of ``2 ** lengths + 1``,)
            Where the bucket of each value begins, band after band.
        ``means`` float64 (m,)
            How many codes share the bucket of a stored code, on average.
        ``rows`` uint32 (m, n)
            Rows sorted by value, then by row.
        ``words`` uint64 (m, n) or (n, words)
            Up to 64 bits: the codes in the order of `rows`. Above: the codes by row. Bits in the order of `order`.

    Examples
    --------
    >>> index = MultiIndex.build(np.array([[0], [3], [255]], np.uint8), np.arange(8))
    >>> index.within(np.array([[1]], np.uint8), 1).rows.tolist()
    [0, 1]
    """

    def __init__(self, arrays: Arrays) -> None:
        self._arrays = arrays
        self._order, self._widths, self._lengths = arrays["order"], arrays["widths"], arrays["lengths"]
        self.mean_bucket: NDArray[np.float64] = arrays["means"]
        self._start, self._rows, self._words = arrays["start"], arrays["rows"], arrays["words"]
        self.bands, self.rows = self._rows.shape
        self.bits = len(self._order)
        self._offsets = np.cumsum(self._widths) - self._widths
        self._start_at = np.cumsum([0, *(2**self._lengths + 1)])[:-1]
        self._masks = band_masks(self._offsets, self._lengths, -(-self.bits // 64))
        self._table = deal_table(self._order)
        self._flipped: dict[int, tuple[NDArray[np.uint32], NDArray[np.int64]]] = {}

    @classmethod
    def build(cls, codes: Codes, order: NDArray[np.int64], bands: int | None = None) -> MultiIndex:
        """Sort codes into bands.

        Parameters
        ----------
        codes
            ``uint8 (n, bytes)``.
        order
            ``int64 (bits,)``, see :func:`hashae.indexer.order.deal`.
        bands
            Number of bands; default :func:`band_count`.

        Raises
        ------
        ConfigError
            If there are 2**32 codes or more: rows are 32-bit numbers.
        """
        n, bits = len(codes), codes.shape[1] * 8
        if n > MAX_ROWS:
            raise ConfigError(f"{n:,} codes; an index in memory holds at most {MAX_ROWS:,}: use several")
        dealt = deal(order, bands or band_count(n, bits))
        widths = np.array([len(band) for band in dealt], np.int64)
        lengths = np.minimum(widths, longest(n))
        flat = np.concatenate(dealt)
        words = permuted(codes, deal_table(flat))
        rows = np.empty((len(dealt), n), np.uint32)
        stored = np.empty((len(dealt), n), np.uint64) if words.shape[1] == 1 else words
        start, means, numbers = [], [], np.arange(n, dtype=np.uint64)
        for band, offset in enumerate(np.cumsum(widths) - widths):
            keys = band_keys(words, int(offset), int(lengths[band]))
            rows[band] = np.sort(keys << np.uint64(32) | numbers).astype(np.uint32)  # the low half: rows by (key, row)
            if stored is not words:
                np.take(words[:, 0], rows[band], out=stored[band])
            sizes = np.bincount(keys.astype(np.int64), minlength=2 ** int(lengths[band]))
            start.append(np.concatenate([[0], np.cumsum(sizes)]).astype(np.uint32))
            means.append(float(sizes.astype(np.float64) @ sizes) / max(n, 1))
        arrays = {"order": flat, "widths": widths, "lengths": lengths, "means": np.array(means)}
        return cls(arrays | {"start": np.concatenate(start), "rows": rows, "words": stored})

    def arrays(self) -> Arrays:
        """Return the arrays that the index consists of, to be written to a file."""
        return self._arrays

    def holds(self, row: int, code: Codes) -> bool:
        """Tell whether every band has `row` in the bucket of `code`, ``uint8 (bytes,)``, and the code itself there."""
        words = permuted(code[None], self._table)
        for band in range(self.bands):
            key = int(band_keys(words, int(self._offsets[band]), int(self._lengths[band]))[0])
            left, right = self._start[self._start_at[band] + key : self._start_at[band] + key + 2].tolist()
            place = left + int(np.searchsorted(self._rows[band, left:right], row))
            if place == right or self._rows[band, place] != row:
                return False
            stored = self._words[band, place] if words.shape[1] == 1 else self._words[row]
            if not np.array_equal(np.atleast_1d(stored), words[0]):
                return False
        return True

    def probes(self, radius: int) -> int:
        """Return how many buckets a search within `radius` looks up for one query."""
        return sum(self._step_probes(step) for step in range(radius + 1))

    def _step_probes(self, step: int) -> int:
        return comb(int(self._lengths[step % self.bands]), step // self.bands)

    def expected(self, radius: int) -> float:
        """Return how many candidates a search within `radius` reads for one query like a stored code.

        The bucket of the query's own value is as large as those of stored codes; buckets of flipped values are taken to
        be as large as the average one, weighted half by its size: flips of a common value are often common too.
        """
        total = 0.0
        for step in range(radius + 1):
            band, level = step % self.bands, step // self.bands
            plain, mean = self.rows / 2.0 ** int(self._lengths[band]), float(self.mean_bucket[band])
            total += self._step_probes(step) * (mean if level == 0 else (plain * mean) ** 0.5)
        return min(total, float(self.bands * self.rows))

    def within(self, queries: Codes, radius: int, *, kernels: ModuleType | None = None, threads: int = 1) -> Hits:
        """Find every code at most `radius` bits from each query.

        Parameters
        ----------
        queries
            ``uint8 (m, bytes)``.
        radius
            Bits, inclusive.
        kernels
            :mod:`hashae.indexer.multi_kernels`, or None for numpy.
        threads
            Threads that share a batch, compiled loops only.
        """
        if not self.rows or not len(queries):
            return no_hits(len(queries))
        if kernels is None:
            return self._within_numpy(queries, radius)
        masks = self._flips(radius // self.bands)

        def search(part: slice) -> Hits:
            return self._within_compiled(kernels, queries[part], radius, masks)

        return join_hits(in_parts(search, len(queries), threads))

    def nearest(
        self, queries: Codes, k: int, *, budget: int, kernels: ModuleType | None = None, threads: int = 1
    ) -> tuple[Hits, NDArray[np.int64]]:
        """Find the `k` codes nearest to each query.

        Parameters
        ----------
        queries
            ``uint8 (m, bytes)``.
        k
            Number of codes; no more than there are.
        budget
            Candidates and probes after which a query is given up.
        kernels, threads
            As in :meth:`within`.

        Returns
        -------
        hits : Hits
            Of the queries that were answered; the others have none.
        left : int64 (l,)
            Numbers of the queries that were given up, ascending.
        """
        if not len(queries):
            return no_hits(0), np.empty(0, np.int64)
        masks = self._flips(self._levels(budget))

        def search(part: slice) -> tuple[Hits, NDArray[np.int64]]:
            if kernels is None:
                hits, done = self._nearest_numpy(queries[part], k, budget, masks)
            else:
                hits, done = self._nearest_compiled(kernels, queries[part], k, budget, masks)
            return hits, np.flatnonzero(~done) + part.start

        parts = in_parts(search, len(queries), threads if kernels else 1)
        return join_hits([hits for hits, _ in parts]), np.concatenate([left for _, left in parts])

    def _levels(self, budget: int) -> int:
        """Return the most flips of a band that a budget can pay for."""
        level, spent = 0, 1
        length = int(self._lengths.max())
        while level < length and spent < min(budget, FLIPS):
            level += 1
            spent += comb(length, level)
        return level

    def _flips(self, levels: int) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """Return the values to flip bands with, and where those of each band and number of flips begin."""
        if levels in self._flipped:
            return self._flipped[levels]
        flips, at, lengths = [], np.zeros((self.bands, levels + 2), np.int64), self._lengths.tolist()
        begin: dict[int, int] = {}
        end = 0
        for length in sorted(set(lengths)):
            begin[length] = end
            flips.append(flips_of(length, levels))
            end += len(flips[-1])
        for band, length in enumerate(lengths):
            at[band, 1:] = np.cumsum([comb(length, level) for level in range(levels + 1)])
            at[band] += begin[length]
        self._flipped[levels] = np.concatenate(flips), at
        return self._flipped[levels]

    def _deal(self, queries: Codes, kernels: ModuleType | None) -> NDArray[np.uint64]:
        if kernels is None:
            return permuted(queries, self._table)
        out = np.empty((len(queries), self._table.shape[2]), np.uint64)
        kernels.permute(own(queries), self._table, out)
        return out

    def _compiled_index(self) -> tuple[NDArray[Any], ...]:
        return (self._start, self._start_at, self._rows, self._words, self._offsets, self._lengths, self._masks)

    def _within_compiled(self, kernels: ModuleType, queries: Codes, radius: int, masks: Any) -> Hits:
        words, index, first = self._deal(queries, kernels), self._compiled_index(), 0
        limits, counts = np.zeros(len(words) + 1, np.int64), np.zeros(2, np.int64)
        found = np.empty(ROOM + 4 * len(words), np.uint64)
        within = kernels.within_word if words.shape[1] == 1 else kernels.within
        while True:
            first = within(words, index, masks, radius, found, limits, counts, first)
            if first == len(words):
                break
            larger = np.empty(2 * len(found), np.uint64)
            larger[: limits[first]] = found[: limits[first]]
            found = larger
        return packed_hits(limits, found[: limits[-1]], *counts.tolist())

    def _nearest_compiled(
        self, kernels: ModuleType, queries: Codes, k: int, budget: int, masks: Any
    ) -> tuple[Hits, NDArray[np.bool_]]:
        words, counts = self._deal(queries, kernels), np.zeros(2, np.int64)
        found, done = np.empty((len(words), k), np.uint64), np.empty(len(words), np.bool_)
        kernels.nearest(words, self._compiled_index(), masks, budget, found, done, counts)
        limits = np.cumsum([0, *(done * k)])
        return packed_hits(limits, found[done].reshape(-1), *counts.tolist()), done

    def _within_numpy(self, queries: Codes, radius: int) -> Hits:
        words, parts, counts = self._deal(queries, None), [], np.zeros(2, np.int64)
        masks = self._flips(radius // self.bands)
        most = np.full(len(words), radius)
        for step in range(radius + 1):
            parts += self._step(words, np.arange(len(words)), step, masks, most, counts)
        numbers = np.concatenate([np.empty(0, np.int64), *(number for number, _ in parts)])
        packed = np.concatenate([np.empty(0, np.uint64), *(value for _, value in parts)])
        return sorted_hits(len(words), numbers, packed, probes=int(counts[0]), candidates=int(counts[1]))

    def _nearest_numpy(self, queries: Codes, k: int, budget: int, masks: Any) -> tuple[Hits, NDArray[np.bool_]]:
        words, counts = self._deal(queries, None), np.zeros(2, np.int64)
        parts: list[tuple[NDArray[np.int64], NDArray[np.uint64]]] = []
        near = np.zeros((len(words), self.bits + 1), np.int64)  # codes found at each distance
        most = np.full(len(words), self.bits)
        active, done = np.arange(len(words)), np.zeros(len(words), np.bool_)
        for step in range(self.bands * (masks[1].shape[1] - 1)):
            before = int(counts.sum())
            for numbers, packed in self._step(words, active, step, masks, most, counts):
                parts.append((numbers, packed))
                np.add.at(near, (numbers, (packed >> np.uint64(32)).astype(np.int64)), 1)
            enough = near[active].cumsum(axis=1) >= k
            most[active] = np.where(enough.any(axis=1), enough.argmax(axis=1), self.bits)
            done[active] = most[active] <= step
            budget -= (int(counts.sum()) - before) // max(len(active), 1)
            active = active[~done[active]]
            if not len(active) or budget < 0:
                break
        numbers = np.concatenate([np.empty(0, np.int64), *(number for number, _ in parts)])
        packed = np.concatenate([np.empty(0, np.uint64), *(value for _, value in parts)])
        keep = done[numbers]
        hits = sorted_hits(
            len(words), numbers[keep], packed[keep], k=k, probes=int(counts[0]), candidates=int(counts[1])
        )
        return hits, done

    def _step(
        self,
        words: NDArray[np.uint64],
        active: NDArray[np.int64],
        step: int,
        masks: tuple[NDArray[np.uint32], NDArray[np.int64]],
        most: NDArray[np.int64],
        counts: NDArray[np.int64],
    ) -> list[tuple[NDArray[np.int64], NDArray[np.uint64]]]:
        """Take one step for the queries `active`: return numbers of queries and what each found that is new."""
        band, level, found = step % self.bands, step // self.bands, []
        flips, at = masks
        if level > self._lengths[band]:
            return []
        flip = flips[at[band, level] : at[band, level + 1]].astype(np.int64)
        key = band_keys(words[active], int(self._offsets[band]), int(self._lengths[band])).astype(np.int64)
        bucket = ((key[:, None] ^ flip) + self._start_at[band]).reshape(-1)
        left = self._start[bucket].astype(np.int64)
        size = self._start[bucket + 1].astype(np.int64) - left
        counts += len(bucket), int(size.sum())
        full = np.flatnonzero(size)
        of_query, left, size = active[full // len(flip)], left[full], size[full]
        for part in _parts(size):
            place, number = _ranges(left[part], size[part]), np.repeat(of_query[part], size[part])
            if words.shape[1] == 1:
                differing = self._words[band, place][:, None] ^ words[number]
            else:
                differing = self._words[self._rows[band, place]] ^ words[number]
            apart = np.bitwise_count(differing).sum(axis=1, dtype=np.int64)
            near = np.flatnonzero(apart <= most[number])
            near = near[self._is_new(differing[near], level, band)]
            if len(near):
                found.append((number[near], pack(apart[near], self._rows[band, place[near]])))
        return found

    def _is_new(self, differing: NDArray[np.uint64], level: int, band: int) -> NDArray[np.bool_]:
        """Tell which candidates no earlier step has met."""
        new = np.ones(len(differing), np.bool_)
        for other in range(self.bands):
            flips = np.bitwise_count(differing & self._masks[other]).sum(axis=1, dtype=np.int64)
            new &= (flips >= level) if other >= band else (flips > level)
        return new


def _parts(size: NDArray[np.int64]) -> list[slice]:
    """Cut buckets into runs of about CHUNK candidates; one bucket is never cut."""
    total, parts, start = np.cumsum(size), [], 0
    while start < len(size):
        before = int(total[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(total, before + CHUNK, "right")))
        parts.append(slice(start, stop))
        start = stop
    return parts


def _ranges(start: NDArray[np.int64], count: NDArray[np.int64]) -> NDArray[np.int64]:
    """Concatenate ``arange(s, s + c)`` for each start and count."""
    ends = np.cumsum(count)
    return np.arange(ends[-1]) + np.repeat(start - ends + count, count)
