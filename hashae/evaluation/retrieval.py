"""All retrieval measures of one set of codes, with the sizes that make them comparable."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hashae.codes import check_codes
from hashae.evaluation.blocks import count_by_label, count_neighbours
from hashae.evaluation.ranking import (
    average_precision,
    precision_at,
    precision_within,
    recall_at,
    top_average_precision,
)


@dataclass(frozen=True)
class RetrievalResult:
    """Means over the queries, and what they were measured on.

    Attributes
    ----------
    bits
        Code length.
    queries, database
        How many.
    relevant
        Mean number of relevant items of a query: those with its label.
    map
        Average precision over the whole ranking, expected over the order of ties.
    map_top
        The literature's average precision at `cutoff`; ties in database order.
    cutoff
        Of `map_top`.
    precision
        Share of relevant items among the first `first`, expected over the order of ties.
    first
        Cut-off of `precision`.
    precision_radius
        Share of relevant items within `radius`; a query with nothing there counts as 0.
    empty
        Share of queries with nothing within `radius`.
    radius
        In bits, inclusive.
    neighbour_recall
        Share of the `neighbours` nearest in pixel space that are among the first `recall_cutoff` of the ranking,
        expected over the order of ties; None without that ground truth.
    neighbours, recall_cutoff
        Of `neighbour_recall`.
    """

    bits: int
    queries: int
    database: int
    relevant: float
    map: float
    map_top: float
    cutoff: int
    precision: float
    first: int
    precision_radius: float
    empty: float
    radius: int
    neighbour_recall: float | None = None
    neighbours: int = 0
    recall_cutoff: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return everything, ready for JSON."""
        return asdict(self)


def evaluate_retrieval(
    queries: ArrayLike,
    database: ArrayLike,
    query_labels: ArrayLike,
    database_labels: ArrayLike,
    *,
    neighbours: ArrayLike | None = None,
    cutoff: int = 1000,
    first: int = 100,
    radius: int = 2,
    recall_cutoff: int = 1000,
) -> RetrievalResult:
    """Measure how well codes find the items of the same class, and the nearest in pixel space.

    Parameters
    ----------
    queries
        ``uint8 (q, bits // 8)``, packed.
    database
        ``uint8 (n, bits // 8)``.
    query_labels, database_labels
        Integers ``(q,)`` and ``(n,)``.
    neighbours
        Rows of the database ``(q, k)``: the true nearest neighbours; None leaves their recall out.
    cutoff
        Of the literature's average precision.
    first
        Cut-off of the precision.
    radius
        In bits, inclusive.
    recall_cutoff
        How much of the ranking is looked through for `neighbours`.

    A cut-off beyond the size of the database becomes that size.

    Raises
    ------
    CodeError
        If codes, labels or neighbours do not fit each other.
    ConfigError
        If a cut-off or the radius is out of range.
    """
    size = len(check_codes(database))
    cutoff, first, recall_cutoff = min(cutoff, size), min(first, size), min(recall_cutoff, size)
    blocks = count_by_label(queries, database, query_labels, database_labels)
    within, empty = precision_within(blocks, radius)
    recall = None
    if neighbours is not None:
        recall = float(recall_at(count_neighbours(queries, database, neighbours), recall_cutoff).mean())
    return RetrievalResult(
        bits=blocks.items.shape[1] - 1,
        queries=len(blocks.items),
        database=size,
        relevant=float(blocks.relevant.sum(axis=1).mean()),
        map=float(average_precision(blocks).mean()),
        map_top=float(top_average_precision(queries, database, query_labels, database_labels, cutoff).mean()),
        cutoff=cutoff,
        precision=float(precision_at(blocks, first).mean()),
        first=first,
        precision_radius=float(within.mean()),
        empty=float(empty.mean()),
        radius=radius,
        neighbour_recall=recall,
        neighbours=0 if neighbours is None else np.asarray(neighbours).shape[1],
        recall_cutoff=0 if neighbours is None else recall_cutoff,
    )
