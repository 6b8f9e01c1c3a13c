"""All pairs within a radius by bands.

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
from hashae.indexer.order import check_order
from hashae.indexer.scan import Pairs, check_radius, words_of

KEY_BITS = 64
CHUNK = 1 << 20
"""Candidates compared at a time, so that memory stays bounded when a band says nothing."""


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
    >>> [(a.tolist(), b.tolist()) for a, b, _ in index.pairs(2)]
    [([0], [1])]
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
