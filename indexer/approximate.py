"""The two searches that may miss something, by name only, and how much they miss.

``ivf`` is FAISS's inverted file: codes are clustered, and a query reads the lists of the centres nearest to it.
``key`` looks for candidates among the first 64 bits of the codes, within a radius of their own, and lets the whole code
decide: what differs in more bits of the key than that is missed. Both answer with true distances, in the usual order.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, sqrt
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashae.codes import KEY_BITS, Codes
from hashae.errors import ConfigError
from hashae.indexer.hits import Hits, no_hits, pack, sorted_hits
from hashae.indexer.multi import MultiIndex
from hashae.indexer.nearest import one_thread
from hashae.indexer.scan import words_of

TRAINED = 32
"""Codes per list that FAISS clusters; the others are sorted into the lists it found."""
PROBED = 8
"""One list in so many is read."""
KEY_BYTES = KEY_BITS // 8


@dataclass(frozen=True, slots=True)
class Recall:
    """How much of the exact answer a method found, measured on codes of the index itself.

    Attributes
    ----------
    method
        Name of the method.
    recall
        Share of the exact answers, by distance, 0 to 1; None if the sample has no answer but itself.
    queries
        Codes asked.
    answers
        Exact answers, the asked codes themselves left out.
    """

    method: str
    recall: float | None
    queries: int
    answers: int


class InvertedFile:
    """Approximate nearest codes through ``IndexBinaryIVF``: about ``sqrt(n)`` lists, one in eight of them read.

    Parameters
    ----------
    codes
        ``uint8 (n, bytes)``, n at least 1.
    """

    def __init__(self, codes: Codes) -> None:
        n, bits = codes.shape[0], codes.shape[1] * 8
        self.lists = max(1, 2 ** round(np.log2(max(sqrt(n), 1))))
        self.probed = max(1, self.lists // PROBED)
        with one_thread() as faiss:
            self._quantizer = faiss.IndexBinaryFlat(bits)  # kept: the index below does not own it
            self._index: Any = faiss.IndexBinaryIVF(self._quantizer, bits, self.lists)
            self._index.cp.min_points_per_centroid = 1
            self._index.nprobe = self.probed
            chosen = np.linspace(0, n - 1, min(n, TRAINED * self.lists)).astype(np.int64)
            self._index.train(codes[chosen])
            self._index.add(codes)
        self._size = n

    def nearest(self, queries: Codes, k: int) -> Hits:
        """Find codes near each query: `k`, or as many as the lists that were read hold."""
        k = min(k, self._size)
        if not len(queries):
            return no_hits(0)
        with one_thread():
            distances, rows = self._index.search(queries, k)
        number = np.repeat(np.arange(len(queries)), k)
        real = rows.reshape(-1) >= 0
        packed = pack(distances.reshape(-1)[real], rows.reshape(-1)[real])
        read = self._size * self.probed // self.lists * len(queries)
        return sorted_hits(len(queries), number[real], packed, probes=self.probed * len(queries), candidates=read)


def key_radius(radius: int, bits: int) -> int:
    """Return a radius on the 64-bit key for a radius on the whole code: mean and two standard deviations.

    If the differing bits lie anywhere with equal chance, the number of them in the key is hypergeometric.

    Examples
    --------
    >>> key_radius(33, 256)
    13
    """
    share = radius / bits
    spread = sqrt(KEY_BITS * share * (1 - share) * (bits - KEY_BITS) / max(bits - 1, 1))
    return min(KEY_BITS, ceil(KEY_BITS * share + 2 * spread))


class KeyIndex:
    """Approximate neighbourhoods of codes above 64 bits through the multi-index of their keys.

    Parameters
    ----------
    codes
        ``uint8 (n, bytes)``, more than 8 bytes.
    keys
        Multi-index of ``codes[:, :8]``.
    """

    def __init__(self, codes: Codes, keys: MultiIndex) -> None:
        self._words, self._keys = words_of(codes), keys
        self._bits = codes.shape[1] * 8

    def within(self, queries: Codes, radius: int, *, kernels: ModuleType | None, threads: int, affordable: int) -> Hits:
        """Find codes at most `radius` bits from each query whose keys are near too.

        The radius on the key is that of :func:`key_radius`, or the largest for which about `affordable` candidates
        are read for each query.
        """
        reach = key_radius(radius, self._bits)
        while reach > 0 and self._keys.expected(reach) + self._keys.probes(reach) > affordable:
            reach -= 1
        near = self._keys.within(np.ascontiguousarray(queries[:, :KEY_BYTES]), reach, kernels=kernels, threads=threads)
        number = np.repeat(np.arange(len(queries)), np.diff(near.limits))
        words = words_of(queries)
        apart = np.bitwise_count(self._words[near.rows] ^ words[number]).sum(axis=1, dtype=np.int64)
        inside = np.flatnonzero(apart <= radius)
        return sorted_hits(
            len(queries),
            number[inside],
            pack(apart[inside], near.rows[inside]),
            probes=near.probes,
            candidates=near.candidates,
        )


def check_wide(bits: int) -> None:
    """Refuse the method ``key`` for codes that are their own key.

    Raises
    ------
    ConfigError
        If `bits` is 64 or fewer.
    """
    if bits <= KEY_BITS:
        raise ConfigError(f"method 'key' needs codes of more than {KEY_BITS} bits; these have {bits}: use 'auto'")


def recall_of(method: str, exact: Hits, found: Hits, asked: NDArray[np.int64], *, k: int | None = None) -> Recall:
    """Compare answers, leaving out the code that was asked.

    Parameters
    ----------
    method
        Name to report.
    exact, found
        Answers to the same batch.
    asked
        ``int64 (m,)``: the row of each query, which finds itself.
    k
        Of a k-nearest search: an answer counts if it is no farther than the exact k-th; ids of equal distance are
        interchangeable. None compares the sets.
    """
    right = total = 0
    for query, row in enumerate(asked.tolist()):
        whole, part = exact.of(query), found.of(query)
        mine = part.distances[part.rows != row]
        true = whole.distances[whole.rows != row]
        if k is not None:
            true = true[:k]
            mine = mine[:k]
            mine = mine[mine <= true[-1]] if len(true) else mine[:0]
        right, total = right + len(mine), total + len(true)
    return Recall(method, right / total if total else None, len(asked), total)
