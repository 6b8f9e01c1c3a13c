"""Exact neighbourhood search by bands.

Split the code into ``radius + 1`` bands: two codes within `radius` bits agree on at least one of them (pigeonhole;
multi-index hashing, Norouzi, Punjani, Fleet 2012). Each band is a sorted array; the codes that share a band with the
query are the candidates, and counting their differing bits decides. Every query looks each band up once, where
flipping bits would look up a sum of binomials.

The bits a band holds may be chosen: learned bits are correlated, and a band of dead bits makes everything a candidate.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashae.codes import Codes
from hashae.errors import ConfigError
from hashae.indexer.scan import Hits, Pairs, check_radius, words_of

KEY_BITS = 64
CHUNK = 1 << 20
"""Candidates compared at a time, so that memory stays bounded when a band says nothing."""


def check_order(order: ArrayLike | None, bits: int) -> NDArray[np.int64]:
    """Return `order` as a permutation of the bit positions; None is the identity.

    Raises
    ------
    ConfigError
        If a position is missing, repeated or out of range.
    """
    if order is None:
        return np.arange(bits)
    array = np.asarray(order)
    if array.shape != (bits,) or not np.array_equal(np.sort(array), np.arange(bits)):
        raise ConfigError(f"order has shape {array.shape}; expected each bit position 0 to {bits - 1} exactly once")
    return array.astype(np.int64)


def band_values(codes: Codes, bands: int, order: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return the bits of each band as one integer: ``uint64 (bands, n)``.

    Only the first 64 bits of a band count: codes that agree on the band agree on them too, so nothing is missed. With
    more bands than bits the last bands are empty, all codes agree on them, and the search is still exact.
    """
    source: list[int] = []
    target: list[int] = []
    for band, positions in enumerate(np.array_split(order, bands)):
        used = positions[:KEY_BITS]
        source.extend(used.tolist())
        target.extend(range((band + 1) * KEY_BITS - len(used), (band + 1) * KEY_BITS))
    values = np.empty((bands, len(codes)), np.uint64)
    step = max(1, (1 << 24) // (bands * KEY_BITS))
    for start in range(0, len(codes), step):
        part = np.unpackbits(codes[start : start + step], axis=1)
        spread = np.zeros((len(part), bands * KEY_BITS), np.uint8)
        spread[:, target] = part[:, source]
        values[:, start : start + step] = np.packbits(spread, axis=1).view(">u8").T
    return values


class BandIndex:
    """Sorted bands over a fixed set of codes.

    Parameters
    ----------
    codes
        ``uint8 (n, bytes)``.
    ids
        ``int64 (n,)``: what a search answers with.
    radius
        Largest radius that can be asked, in bits; there are ``radius + 1`` bands.
    order
        ``int (bits,)``: bit positions in the order in which they are dealt to the bands. Default: as they come.

    Examples
    --------
    >>> index = BandIndex(np.array([[0], [3], [255]], np.uint8), np.array([10, 11, 12]), radius=2)
    >>> index.search(np.array([[1]], np.uint8), 1).ids.tolist()
    [10, 11]
    """

    def __init__(self, codes: Codes, ids: NDArray[np.int64], radius: int, order: ArrayLike | None = None) -> None:
        bits = codes.shape[1] * 8
        self.radius = check_radius(radius, bits)
        self._order = check_order(order, bits)
        self._ids = ids
        self._words = words_of(codes)
        self._by_row = band_values(codes, self.radius + 1, self._order)  # (bands, n)
        self._rows = np.argsort(self._by_row, axis=1)  # (bands, n), row numbers by value
        self._values = np.take_along_axis(self._by_row, self._rows, axis=1)

    def search(self, queries: Codes, radius: int) -> Hits:
        """Find every code at most `radius` bits from each query.

        Parameters
        ----------
        queries
            ``uint8 (m, bytes)``.
        radius
            Bits, inclusive, at most the radius of the index.
        """
        if radius > self.radius:
            raise ConfigError(f"radius is {radius}; these bands are exact up to {self.radius}: build them for more")
        n, m = len(self._ids), len(queries)
        keys, words = band_values(queries, self.radius + 1, self._order), words_of(queries)
        starts, ends = [], []
        for band, key in enumerate(keys):
            starts.append(np.searchsorted(self._values[band], key, "left") + band * n)
            ends.append(np.searchsorted(self._values[band], key, "right") + band * n)
        start = np.concatenate(starts)  # (bands * m,): where the bucket begins in the flat (bands * n) rows
        count = np.concatenate(ends) - start
        flat, found = self._rows.reshape(-1), []
        for part in _parts(count):
            query = np.repeat(np.arange(part.start, part.stop) % max(m, 1), count[part])
            row = flat[_ranges(start[part], count[part])]
            distance = np.bitwise_count(self._words[row] ^ words[query]).sum(axis=1, dtype=np.int32)
            near = np.flatnonzero(distance <= radius)
            found.append((query[near] * n + row[near], distance[near]))
        packed = np.concatenate([np.empty(0, np.int64), *(pair for pair, _ in found)])
        distances = np.concatenate([np.empty(0, np.int32), *(distance for _, distance in found)])
        once = _first_of_equal(packed)  # a code that shares two bands with the query was found twice
        query, row = np.divmod(packed[once], max(n, 1))
        return Hits(query, self._ids[row], distances[once], len(count), int(count.sum()))

    def pair_candidates(self) -> int:
        """Count the pairs of codes that share a band: what :meth:`pairs` has to read."""
        total = 0
        for values in self._values:
            edges = np.flatnonzero(np.r_[True, values[1:] != values[:-1], True])
            runs = np.diff(edges)
            total += int((runs * (runs - 1) // 2).sum())
        return total

    def pairs(self, radius: int) -> Iterator[Pairs]:
        """Yield all pairs of rows at most `radius` bits apart, each once, in bounded blocks.

        Equal values of a band are neighbours in its sorted array: comparing it with itself shifted by 1, 2, ... meets
        every pair, and no list of candidates is longer than the array.
        """
        kept: list[Pairs] = []
        size = 0
        for band, values in enumerate(self._values):
            rows, at, shift = self._rows[band], np.arange(len(values)), 1
            while True:
                at = at[at + shift < len(values)]
                at = at[values[at] == values[at + shift]]
                if not len(at):
                    break
                for start in range(0, len(at), CHUNK):
                    left = at[start : start + CHUNK]
                    pairs = self._near_pairs(band, rows[left], rows[left + shift], radius)
                    kept.append(pairs)
                    size += len(pairs[0])
                if size >= CHUNK or len(kept) >= 4096:
                    yield _join_pairs(kept)
                    kept, size = [], 0
                shift += 1
        if kept:
            yield _join_pairs(kept)

    def _near_pairs(self, band: int, a: NDArray[np.int64], b: NDArray[np.int64], radius: int) -> Pairs:
        distance = np.bitwise_count(self._words[a] ^ self._words[b]).sum(axis=1, dtype=np.int32)
        near = np.flatnonzero(distance <= radius)
        a, b, distance = a[near], b[near], distance[near]
        # the first band two codes share reports them, so that no set of seen pairs is needed
        new = ~(self._by_row[:band, a] == self._by_row[:band, b]).any(axis=0)
        a, b = a[new], b[new]
        return np.minimum(a, b), np.maximum(a, b), distance[new]


def _join_pairs(parts: list[Pairs]) -> Pairs:
    a, b, distance = zip(*parts, strict=True)
    return np.concatenate(a), np.concatenate(b), np.concatenate(distance)


def _parts(count: NDArray[np.int64]) -> Iterator[slice]:
    """Cut look-ups into runs of about CHUNK candidates; one look-up is never cut."""
    total = np.cumsum(count)
    start = 0
    while start < len(count) and total[-1] > 0:
        before = total[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(total, before + CHUNK, "right")))
        yield slice(start, stop)
        start = stop


def _ranges(start: NDArray[np.int64], count: NDArray[np.int64]) -> NDArray[np.int64]:
    """Concatenate ``arange(s, s + c)`` for each start and count."""
    ends = np.cumsum(count)
    return np.arange(ends[-1]) + np.repeat(start - ends + count, count)


def _first_of_equal(values: NDArray[np.int64]) -> NDArray[np.int64]:
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    return order[np.r_[True, ordered[1:] != ordered[:-1]]] if len(order) else order
