"""Exact nearest codes on a graphics card, where FAISS was built for one.

FAISS does not promise which of several codes at the cut-off distance its card returns. All codes nearer than the
farthest answer are among the answers, so more than k are asked for: if they reach beyond the k-th distance, the ties
are complete and are put in order here; where they do not, the processor decides.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from hashae.codes import Codes
from hashae.indexer.compiled import has_faiss
from hashae.indexer.hits import Hits, no_hits, pack, packed_hits, replace_queries

MOST = 2048
"""Most answers FAISS gives on a card."""
BATCH = 4096
"""Queries sent to the card at a time."""


@cache
def has_gpu() -> bool:
    """Tell whether FAISS is there with its index for cards, and a card too. Imports FAISS."""
    if not has_faiss():
        return False
    import faiss

    return hasattr(faiss, "GpuIndexBinaryFlat") and faiss.get_num_gpus() > 0


class GpuFlat:
    """``GpuIndexBinaryFlat`` with the ties of the processor.

    Parameters
    ----------
    codes
        ``uint8 (n, bytes)``.
    exact
        Answers ``(queries, k)`` on the processor where the card leaves ties open.
    index
        Made by default; anything whose ``search(queries, k)`` returns distances and rows, nearest first.
    """

    def __init__(self, codes: Codes, exact: Callable[[Codes, int], Hits], index: Any = None) -> None:
        self._size, self._exact, self._index = len(codes), exact, index
        if index is None:
            import faiss

            config = faiss.GpuIndexBinaryFlatConfig()
            self._resources = faiss.StandardGpuResources()  # kept: the index below does not own it
            self._index = faiss.GpuIndexBinaryFlat(self._resources, codes.shape[1] * 8, config)
            self._index.add(codes)

    def nearest(self, queries: Codes, k: int) -> Hits:
        """Find the `k` codes nearest to each query, or all if there are fewer."""
        k = min(k, self._size)
        if not k or not len(queries):
            return no_hits(len(queries))
        asked = min(self._size, MOST, max(2 * k, k + 64))
        if asked < k:
            return self._exact(queries, k)
        parts = [self._index.search(queries[at : at + BATCH], asked) for at in range(0, len(queries), BATCH)]
        distances = np.concatenate([part[0] for part in parts])
        packed = np.sort(pack(distances, np.concatenate([part[1] for part in parts])), axis=1)
        sure = distances.max(axis=1) > (packed[:, k - 1] >> np.uint64(32)).astype(np.int64)
        sure |= asked == self._size
        limits = np.cumsum([0, *np.where(sure, k, 0).tolist()])
        hits = packed_hits(limits, packed[sure, :k].reshape(-1), 0, self._size * len(queries))
        left = np.flatnonzero(~sure)
        return replace_queries(hits, left, self._exact(queries[left], k)) if len(left) else hits
