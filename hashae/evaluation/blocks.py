"""Rankings as blocks of equal distance.

A Hamming distance has ``bits + 1`` values, so a ranking of a database is that many blocks whose inner order means
nothing. A measure that does not depend on the order of ties needs only to know how many items, and how many relevant
ones, each block holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashae.codes import Codes, check_codes, hamming
from hashae.errors import CodeError, ConfigError

DISTANCES = 1 << 22
"""Distances that are held at a time: 16 MiB."""


@dataclass(frozen=True)
class DistanceBlocks:
    """The database as each query ranks it.

    Attributes
    ----------
    items
        ``int64 (queries, bits + 1)``: items of the database at each distance from the query.
    relevant
        ``int64 (queries, bits + 1)``: how many of them are relevant.
    """

    items: NDArray[np.int64]
    relevant: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.items.shape != self.relevant.shape or self.items.ndim != 2:
            raise ConfigError(
                f"items are {self.items.shape} and relevant {self.relevant.shape}; expected (queries, bits + 1) of both"
            )
        if (self.relevant > self.items).any() or (self.relevant < 0).any():
            raise ConfigError("a block holds more relevant items than items; count both over the same database")


def count_by_label(
    queries: ArrayLike, database: ArrayLike, query_labels: ArrayLike, database_labels: ArrayLike
) -> DistanceBlocks:
    """Count blocks where an item is relevant if it has the label of the query.

    Parameters
    ----------
    queries
        ``uint8 (q, bits // 8)``, packed.
    database
        ``uint8 (n, bits // 8)``.
    query_labels, database_labels
        Integers ``(q,)`` and ``(n,)``.

    Raises
    ------
    CodeError
        If codes are malformed, or there is not one label for each.
    """
    queries, database = check_pair(queries, database)
    wanted, labels = check_labels(query_labels, queries, "queries"), check_labels(database_labels, database, "database")
    width = queries.shape[1] * 8 + 1
    items = np.empty((len(queries), width), np.int64)
    relevant = np.empty_like(items)
    for start, distances in distance_rows(queries, database):
        rows = slice(start, start + len(distances))
        items[rows], relevant[rows] = _count(distances, wanted[rows, None] == labels[None, :], width)
    return DistanceBlocks(items, relevant)


def count_neighbours(queries: ArrayLike, database: ArrayLike, neighbours: ArrayLike) -> DistanceBlocks:
    """Count blocks where the relevant items of each query are listed: the ground truth that needs no labels.

    Parameters
    ----------
    queries
        ``uint8 (q, bits // 8)``, packed.
    database
        ``uint8 (n, bits // 8)``.
    neighbours
        Integers ``(q, k)``: rows of the database, for example from :func:`hashae.evaluation.nearest_in_pixels`; no row
        twice for one query.

    Raises
    ------
    CodeError
        If codes are malformed or a row is not in the database.
    """
    queries, database = check_pair(queries, database)
    listed = np.asarray(neighbours)
    if listed.ndim != 2 or len(listed) != len(queries) or not np.issubdtype(listed.dtype, np.integer):
        raise CodeError(
            f"neighbours are {listed.dtype} {listed.shape}; expected integers ({len(queries)}, k), a row for each query"
        )
    if listed.size and not 0 <= listed.min() <= listed.max() < len(database):
        raise CodeError(
            f"neighbours name rows {listed.min()} to {listed.max()}; the database has rows 0 to {len(database) - 1}"
        )
    width = queries.shape[1] * 8 + 1
    items = np.empty((len(queries), width), np.int64)
    relevant = np.empty_like(items)
    for start, distances in distance_rows(queries, database):
        rows = slice(start, start + len(distances))
        marked = np.zeros(distances.shape, bool)
        np.put_along_axis(marked, listed[rows], values=True, axis=1)
        items[rows], relevant[rows] = _count(distances, marked, width)
    return DistanceBlocks(items, relevant)


def distance_rows(queries: Codes, database: Codes) -> Iterator[tuple[int, NDArray[np.int32]]]:
    """Yield ``(first query, distances int32 (some queries, n))``, a few queries at a time."""
    step = max(DISTANCES // max(len(database), 1), 1)
    for start in range(0, len(queries), step):
        yield start, hamming(queries[start : start + step], database)


def check_pair(queries: ArrayLike, database: ArrayLike) -> tuple[Codes, Codes]:
    """Return both batches of codes checked, of one width and neither empty."""
    database = check_codes(database)
    queries = check_codes(queries, bits=database.shape[1] * 8)
    if not len(queries) or not len(database):
        raise CodeError(f"{len(queries)} queries and {len(database)} codes in the database; expected at least one each")
    return queries, database


def check_labels(labels: ArrayLike, codes: Codes, name: str) -> NDArray[np.integer]:
    """Return `labels` as an array, one integer for each code."""
    array: NDArray[np.integer] = np.asarray(labels)
    if array.shape != (len(codes),) or not np.issubdtype(array.dtype, np.integer):
        raise CodeError(
            f"labels of the {name} are {array.dtype} {array.shape}; expected integers ({len(codes)},), one a code"
        )
    return array


def _count(
    distances: NDArray[np.int32], relevant: NDArray[np.bool_], width: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return items and relevant items at each distance, both ``int64 (queries, width)``."""
    cells = distances + (np.arange(len(distances), dtype=np.int32) * width)[:, None]
    size = len(distances) * width
    items = np.bincount(cells.reshape(-1), minlength=size).reshape(-1, width)
    hits = np.bincount(cells[relevant], minlength=size).reshape(-1, width)
    return items, hits
