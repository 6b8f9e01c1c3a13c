"""Groups of codes that lie within a radius of one another.

Three steps, none of which holds a list of all pairs:

1. equal codes become one node with a weight, so that 100,000 equal codes are one node;
2. pairs of nodes within the radius stream through a union-find into connected components;
3. a component is cut into groups around a representative, because a component chains: a near b, b near c, a far from c.

The cut is the greedy set cover: the code with the most unassigned neighbours takes them, until none is left. With
`margins` every image has its own radius: see :meth:`_Rule.linked`, the one place that says when two codes match.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashae.codes import Codes, check_codes
from hashae.errors import CodeError, ConfigError
from hashae.indexer.bands import BandIndex
from hashae.indexer.nearest import faiss_pairs, has_faiss
from hashae.indexer.planner import plan_pairs
from hashae.indexer.scan import (
    Pairs,
    Words,
    check_ids,
    check_radius,
    check_threads,
    distances_between,
    group_diameters,
    scan_pairs,
    words_of,
)


@dataclass(frozen=True, slots=True)
class CodeGroup:
    """Codes that show the same picture, as far as codes can tell.

    Attributes
    ----------
    representative
        Id of the code with the most neighbours in its group; of equal ones the smallest id.
    members
        Ids of all members, the representative among them, by (distance to the representative, id).
    distances
        Distance of each member to the representative, in bits.
    diameter
        Largest distance between two members, in bits.
    chained
        True if a member is farther from the representative than allowed; only with ``chains=True``.
    """

    representative: int
    members: tuple[int, ...]
    distances: tuple[int, ...]
    diameter: int
    chained: bool


@dataclass(frozen=True, slots=True)
class _Rule:
    """When two nodes match: the radius, and the margin of each node."""

    radius: int
    margins: NDArray[np.float64]  # (nodes,)

    def linked(
        self, a: NDArray[np.int64] | int, b: NDArray[np.int64], distance: NDArray[np.integer]
    ) -> NDArray[np.bool_]:
        """Tell which pairs are within ``radius + (margin of a + margin of b) / 2``, inclusive."""
        near: NDArray[np.bool_] = distance <= self.radius + (self.margins[a] + self.margins[b]) / 2
        return near

    def largest(self, bits: int) -> int:
        """Return the largest distance at which any pair can match, in bits."""
        return min(bits, int(self.radius + self.margins.max(initial=0)))


def find_groups(
    codes: ArrayLike,
    ids: ArrayLike,
    radius: int,
    *,
    chains: bool = False,
    threads: int = 1,
    margins: ArrayLike | None = None,
) -> list[CodeGroup]:
    """Group codes that lie within a radius of a common representative.

    The answer does not depend on the order of the rows or on the number of threads.

    Parameters
    ----------
    codes
        ``uint8 (n, bytes)``.
    ids
        ``int64 (n,)``, each once.
    radius
        Largest distance to the representative, in bits, inclusive; 0 to ``8 * bytes``.
    chains
        Report each connected component as one group, even where members are farther from the representative.
    threads
        Threads where FAISS compares the codes, 1 or more. Default 1.
    margins
        ``float32 (n,)``, each 0 or more, in bits: two codes match when
        ``distance <= radius + (margin_a + margin_b) / 2``. Default: all 0.

    Returns
    -------
    list of CodeGroup
        Groups of two or more, ordered by the id of the representative. Without `chains` no id is in two groups.

    Raises
    ------
    CodeError
        If codes, ids and margins do not belong together or an id is repeated.
    ConfigError
        If the radius or `threads` is outside its range or a margin is negative or not finite.

    Notes
    -----
    Pairs are found by sorted bands or by comparing all codes, whichever :func:`hashae.indexer.planner.plan_pairs`
    expects to be cheaper. The greedy cover is the one of Chvatal (1979), evaluated lazily (Minoux 1978): a count of
    unassigned neighbours only ever falls, so an old count is an upper bound.

    Examples
    --------
    >>> codes = np.array([[0b0000], [0b0001], [0b0011], [0b11110000]], np.uint8)
    >>> [group.members for group in find_groups(codes, [1, 2, 3, 4], radius=1)]
    [(2, 1, 3)]
    """
    codes = check_codes(codes)
    radius = check_radius(radius, codes.shape[1] * 8)
    threads = check_threads(threads)
    known = check_ids(ids, len(codes))
    own = check_margins(margins, len(codes))
    order = np.argsort(known)
    known, codes, own = known[order], codes[order], own[order]
    node, first = _nodes(codes, own)
    weight = np.bincount(node, minlength=len(first))
    codes_of, rule = codes[first], _Rule(radius, own[first])
    root, near, mass = _components(codes_of, weight, rule, threads)
    centre = _heads(root, mass)
    if not chains:
        reached = near[centre] == np.bincount(root, minlength=len(root))[root] - 1
        words = words_of(codes_of)
        for part in _split(root, np.flatnonzero(~reached)):
            centre[part] = part[_cover(words[part], weight[part], mass[part], _Rule(radius, rule.margins[part]))]
    return _groups(known, node, codes_of, centre, rule)


def check_margins(margins: ArrayLike | None, count: int) -> NDArray[np.float64]:
    """Return `margins` as ``float64 (count,)``; None is zeros.

    Raises
    ------
    CodeError
        If their number is not `count`.
    ConfigError
        If one is negative or not finite.
    """
    array = np.zeros(count) if margins is None else np.asarray(margins, np.float64)
    if array.shape != (count,):
        raise CodeError(f"margins have shape {array.shape}; expected ({count},), one for each code")
    if not (np.isfinite(array) & (array >= 0)).all():
        raise ConfigError("a margin is negative or not finite; expected 0 bits or more: clip margins at 0")
    return array


def _nodes(codes: Codes, margins: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give rows of equal code and margin one node, numbered by first row; return node of row, first row of node."""
    n = len(codes)
    if n == 0:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    columns = [*words_of(codes).T, margins]
    order = np.lexsort(columns)  # stable: the first of equal rows keeps the smallest row
    new = np.zeros(n, np.bool_)
    new[0] = True
    for column in columns:
        ordered = column[order]
        new[1:] |= ordered[1:] != ordered[:-1]
    first = order[new]
    by_row = np.argsort(first)
    number = np.empty_like(by_row)
    number[by_row] = np.arange(len(first))
    node = np.empty(n, np.int64)
    node[order] = number[np.cumsum(new) - 1]
    return node, first[by_row]


def _pairs(codes: Codes, radius: int, threads: int) -> Iterator[Pairs]:
    """Yield all pairs within `radius` on the cheapest path."""
    bits, faiss = codes.shape[1] * 8, has_faiss()
    plan = plan_pairs(len(codes), bits, radius, faiss=faiss)
    if plan.method == "bands":
        bands = BandIndex(codes, np.arange(len(codes)), radius)
        # now that buckets can be counted: dead or correlated bits make them far larger than planned
        plan = plan_pairs(len(codes), bits, radius, candidates=bands.pair_candidates(), faiss=faiss)
        if plan.method == "bands":
            return bands.pairs(radius)
    return faiss_pairs(codes, radius, threads) if plan.method == "faiss" else scan_pairs(codes, radius)


def _components(
    codes: Codes, weight: NDArray[np.int64], rule: _Rule, threads: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return for each node the root of its component, its number of neighbours, and their weight with its own."""
    n = len(codes)
    parent, near, mass = np.arange(n), np.zeros(n, np.int64), weight.copy()
    if n < 2:
        return parent, near, mass
    for left, right, distance in _pairs(codes, rule.largest(codes.shape[1] * 8), threads):
        linked = rule.linked(left, right, distance)
        a, b = left[linked], right[linked]
        if len(a):
            ends, others = np.concatenate([a, b]), np.concatenate([b, a])
            np.add.at(near, ends, 1)
            np.add.at(mass, ends, weight[others])
            _union(parent, a, b)
    return _roots(parent, np.arange(n)), near, mass


def _roots(parent: NDArray[np.int64], nodes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Follow parents to the top, halving the paths on the way."""
    while True:
        above = parent[nodes]
        if np.array_equal(above, nodes):
            return nodes
        parent[nodes] = parent[above]
        nodes = parent[nodes]


def _union(parent: NDArray[np.int64], a: NDArray[np.int64], b: NDArray[np.int64]) -> None:
    """Join the sets of each pair; a root is always the smallest node of its set, whatever the order of pairs."""
    while len(a):
        a, b = _roots(parent, a), _roots(parent, b)
        apart = a != b
        a, b = np.minimum(a, b)[apart], np.maximum(a, b)[apart]
        np.minimum.at(parent, b, a)


def _heads(root: NDArray[np.int64], mass: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each node the heaviest node of its component, the first of equals."""
    order = np.lexsort((np.arange(len(root)), -mass, root))
    ordered = root[order]
    new = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]][: len(root)])
    head = np.empty_like(root)
    head[ordered[new]] = order[new]
    return head[root]


def _split(label: NDArray[np.int64], nodes: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Yield the `nodes` of each label, ascending."""
    order = nodes[np.argsort(label[nodes], kind="stable")]
    ordered = label[order]
    return iter(np.split(order, np.flatnonzero(ordered[1:] != ordered[:-1]) + 1) if len(order) else ())


def _cover(words: Words, weight: NDArray[np.int64], mass: NDArray[np.int64], rule: _Rule) -> NDArray[np.int64]:
    """Cut one component: return the representative of each node; leftovers represent themselves.

    Distances are counted when a candidate is looked at, so memory grows with the nodes, not with their pairs.
    """
    centre = np.full(len(words), -1, np.int64)
    free, columns = np.arange(len(words)), np.ascontiguousarray(words.T)  # candidates for neighbours, shrinking
    left = len(words)
    heap = [(-bound, node) for node, bound in enumerate(mass.tolist())]
    heapify(heap)
    while heap:
        _, node = heappop(heap)
        if centre[node] >= 0:
            continue
        if left < len(free) // 2:
            keep = centre[free] < 0
            free, columns = free[keep], np.ascontiguousarray(columns[:, keep])
        distance = distances_between(words[node : node + 1], columns)[0]
        near = free[rule.linked(node, free, distance)]
        near = near[centre[near] < 0]
        gain = int(weight[near].sum())
        while heap and centre[heap[0][1]] >= 0:
            heappop(heap)
        if len(near) > 1 and heap and (-gain, node) > heap[0]:
            heappush(heap, (-gain, node))
            continue
        centre[near] = node
        left -= len(near)
    return centre


def _groups(
    ids: NDArray[np.int64], node: NDArray[np.int64], codes: Codes, centre: NDArray[np.int64], rule: _Rule
) -> list[CodeGroup]:
    """Write down the groups of two or more rows."""
    words = words_of(codes)
    distance = np.bitwise_count(words ^ words[centre]).sum(axis=1, dtype=np.int64)  # (nodes,)
    far = ~rule.linked(np.arange(len(codes)), centre, distance)
    chained = np.bincount(centre, far, len(codes)) > 0
    rows = np.bincount(centre[node], minlength=len(codes))
    diameter = group_diameters(words, centre, distance)
    first = np.full(len(codes), -1, np.int64)
    first[node[::-1]] = ids[::-1]  # ids ascend: the last to write is the smallest
    head = centre[node]
    order = np.lexsort((ids, distance[node], head))
    order = order[rows[head[order]] > 1]
    members, distances = ids[order].tolist(), distance[node[order]].tolist()
    groups, start = [], 0
    for middle in np.flatnonzero(rows > 1).tolist():
        end = start + int(rows[middle])
        groups.append(
            CodeGroup(
                int(first[middle]),
                tuple(members[start:end]),
                tuple(distances[start:end]),
                int(diameter[middle]),
                bool(chained[middle]),
            )
        )
        start = end
    return groups
