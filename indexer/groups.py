"""Groups of codes that lie within a radius of one another.

Four steps, none of which holds a list of all pairs:

1. equal codes become one node with a weight, so that 100,000 equal codes are one node (:mod:`hashae.indexer.uniques`);
2. pairs of nodes that match stream into a union-find (:mod:`hashae.indexer.components`);
3. a component is cut into groups, because a component chains: a near b, b near c, a far from c
   (:mod:`hashae.indexer.linkage`);
4. each group gets a representative and a diameter (:mod:`hashae.indexer.representatives`).

With `margins` every image has its own radius: see :class:`hashae.indexer.rule.MatchRule`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashae.codes import check_codes
from hashae.indexer.approximate import Recall
from hashae.indexer.compiled import loops
from hashae.indexer.components import connected
from hashae.indexer.linkage import check_linkage, cut
from hashae.indexer.representatives import Described, describe
from hashae.indexer.rule import MatchRule, check_margins
from hashae.indexer.scan import as_rows, check_ids, check_radius, check_threads
from hashae.indexer.uniques import distinct

Report = Callable[[str, int, int], None]
"""Told the stage (``compare`` or ``group``), the work done, and the work in all."""

LARGE_FROM = 5000
"""Members of a group above which compiled loops are loaded for its diameter."""


@dataclass(frozen=True, slots=True)
class CodeGroup:
    """Codes that show the same picture, as far as codes can tell.

    Attributes
    ----------
    representative
        Id of the medoid: of the members that match all others, or of all if none does, the one with the smallest sum
        of distances to the members; of equal ones the smallest id.
    members
        Ids of all members, the representative among them, by (distance to the representative, id).
    distances
        Distance of each member to the representative, in bits.
    diameter
        Largest distance between two members, in bits.
    chained
        True if no member matches all others; only with ``linkage="component"``.
    """

    representative: int
    members: tuple[int, ...]
    distances: tuple[int, ...]
    diameter: int
    chained: bool


def find_groups(
    codes: ArrayLike,
    ids: ArrayLike,
    radius: int,
    *,
    linkage: str = "star",
    threads: int = 1,
    margins: ArrayLike | None = None,
    engine: str = "auto",
    method: str = "exact",
    on_progress: Report | None = None,
    on_recall: Callable[[Recall], None] | None = None,
    join: Callable[..., NDArray[np.int64]] | None = None,
) -> list[CodeGroup]:
    """Group codes that lie within a radius of one another.

    The answer does not depend on the order of the rows, on the number of threads or on the engine.

    Parameters
    ----------
    codes
        ``uint8 (n, bytes)``.
    ids
        ``int64 (n,)``, each once.
    radius
        Largest distance at which two codes match, in bits, inclusive; 0 to ``8 * bytes``.
    linkage
        ``"star"``: every member matches the representative. ``"complete"``: every two members match.
        ``"component"``: whatever is joined through others is one group, however far apart.
    threads
        Threads that compare codes, 1 or more. Default 1.
    margins
        ``float32 (n,)``, each 0 or more, in bits: two codes match when
        ``distance <= radius + (margin_a + margin_b) / 2``. Default: all 0.
    engine
        ``"auto"``, ``"compiled"`` (needs numba), ``"faiss"`` or ``"numpy"``.
    method
        ``"exact"``; ``"approximate"``: only codes near a common pivot are compared, see :mod:`hashae.indexer.pivots`,
        which is much faster for millions of codes at wide radii, and misses some matches; ``"auto"``: approximate
        above a million codes at radii that are too wide for sorted tables.
    on_progress
        Called with the stage and how far it is.
    on_recall
        Called after an approximate search with the share of matching pairs that it joined, measured on a sample.
    join
        Finds the connected components, with the signature of :func:`hashae.indexer.components.connected`, the default.

    Returns
    -------
    list of CodeGroup
        Groups of two or more, ordered by the id of the representative. No id is in two groups.

    Raises
    ------
    CodeError
        If codes, ids and margins do not belong together or an id is repeated.
    ConfigError
        If the radius or `threads` is outside its range, a margin is negative or not finite, or an engine is missing.
    UnknownName
        If there is no such linkage, engine or method.

    Examples
    --------
    >>> codes = np.array([[0b0000], [0b0001], [0b0011], [0b11110000]], np.uint8)
    >>> [group.members for group in find_groups(codes, [1, 2, 3, 4], radius=1)]
    [(2, 1, 3)]
    """
    codes = check_codes(codes)
    radius = check_radius(radius, codes.shape[1] * 8)
    threads = check_threads(threads)
    check_linkage(linkage)
    known = check_ids(ids, len(codes))
    own = check_margins(margins, len(codes))
    if (known[1:] < known[:-1]).any():
        order = np.argsort(known)
        known, codes, own = known[order], codes[order], own[order]
    node, first = distinct(codes, own)
    weight = np.bincount(node, minlength=len(first))
    codes, rule = codes[first], MatchRule(radius, own[first])

    def told(stage: str) -> Callable[[int, int], None] | None:
        return None if on_progress is None else lambda done, total: on_progress(stage, done, total)

    root = (join or connected)(
        codes, rule, threads=threads, engine=engine, method=method, on_step=told("compare"), on_recall=on_recall
    )
    label = cut(codes, weight, rule, root, linkage, engine=engine, on_step=told("group"))
    large = np.bincount(label, minlength=1).max(initial=0) > LARGE_FROM
    compiled = loops("group_kernels") if large and engine in ("auto", "compiled") else None
    words = as_rows(codes)
    found = describe(words, weight, rule, label, compiled)
    distance = np.bitwise_count(words ^ words[found.representative]).sum(axis=1, dtype=np.int64)
    return _listed(known, node, distance, found)


def _listed(
    ids: NDArray[np.int64], node: NDArray[np.int64], distance: NDArray[np.int64], found: Described
) -> list[CodeGroup]:
    """Write down the groups of two or more rows; `ids` ascend, nodes are numbered by their first row."""
    head = found.representative[node]
    rows = np.bincount(head, minlength=len(found.representative))
    first = np.full(len(rows), -1, np.int64)
    first[node[::-1]] = ids[::-1]  # the last to write is the smallest
    grouped = np.flatnonzero(rows[head] > 1)
    order = grouped[np.lexsort((ids[grouped], distance[node[grouped]], head[grouped]))]
    members, distances = ids[order].tolist(), distance[node[order]].tolist()
    groups, start = [], 0
    middles = np.flatnonzero(rows > 1)
    shown = zip(
        first[middles].tolist(),
        rows[middles].tolist(),
        found.diameter[middles].tolist(),
        found.chained[middles].tolist(),
        strict=True,
    )
    for representative, count, diameter, chained in shown:
        end = start + count
        groups.append(
            CodeGroup(representative, tuple(members[start:end]), tuple(distances[start:end]), diameter, chained)
        )
        start = end
    return groups
