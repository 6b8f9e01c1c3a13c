"""Union-find in numpy: a forest is an array in which each node names its parent, and a root itself."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def roots(parent: NDArray[np.int64], nodes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Follow parents to the top, halving the paths on the way."""
    while True:
        above = parent[nodes]
        if np.array_equal(above, nodes):
            return nodes
        parent[nodes] = parent[above]
        nodes = parent[nodes]


def unite(parent: NDArray[np.int64], a: NDArray[np.int64], b: NDArray[np.int64]) -> None:
    """Join the sets of each pair; a root is always the smallest node of its set, whatever the order of pairs."""
    a, b = parent[a], parent[b]
    apart = a != b  # most pairs of a dense cluster are joined already, and known by one look
    a, b = a[apart], b[apart]
    while len(a):
        a, b = roots(parent, a), roots(parent, b)
        apart = a != b
        a, b = np.minimum(a, b)[apart], np.maximum(a, b)[apart]
        np.minimum.at(parent, b, a)


def flatten(parent: NDArray[np.int64]) -> None:
    """Let each node name its root."""
    while True:
        above = parent.take(parent)
        if np.array_equal(above, parent):
            return
        parent[:] = above
