"""Measures of a Hamming ranking that do not depend on the order of equal distances, and the literature's that do.

Where nothing else is said, a measure is the expected value over uniformly random orders within each block of equal
distance (McSherry and Najork, "Computing information retrieval performance measures efficiently in the presence of tied
scores", 2008). Each function returns one value for each query; the caller takes the mean.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashae.errors import ConfigError
from hashae.evaluation.blocks import DistanceBlocks, check_labels, check_pair, distance_rows


def average_precision(blocks: DistanceBlocks) -> NDArray[np.float64]:
    """Return the average precision over the whole ranking, expected over the order of ties.

    Average precision is the mean over the ``R`` relevant items of the precision at their ranks. Take a block of ``n``
    items, ``m`` of them relevant, behind ``N`` nearer items with ``M`` relevant ones. Its place ``i`` (1 to n) holds a
    relevant item with probability ``m / n``; if it does, the ``i - 1`` places before it in the block hold
    ``(i - 1) (m - 1) / (n - 1)`` others on average. So the block contributes ::

        m / n * sum over i of (M + 1 + (i - 1) (m - 1) / (n - 1)) / (N + i)

    and with ``h = 1 / (N + 1) + ... + 1 / (N + n)``, a difference of harmonic numbers, the sum is ::

        m / n * ((M + 1) h + (m - 1) / (n - 1) * (n - (N + 1) h))

    because ``(i - 1) / (N + i) = 1 - (N + 1) / (N + i)``.

    Returns
    -------
    float64 of shape (queries,), in [0, 1]; 0 for a query with no relevant item in the database

    Examples
    --------
    Two items at distance 1, one of them relevant: it comes first or second.

    >>> average_precision(DistanceBlocks(np.array([[0, 2]]), np.array([[0, 1]]))).tolist()
    [0.75]
    """
    n, m = blocks.items.astype(np.float64), blocks.relevant.astype(np.float64)
    before, hits_before = _before(blocks.items), _before(blocks.relevant)
    harmonic = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, blocks.items.sum(axis=1).max() + 1))])
    h = harmonic[before + blocks.items] - harmonic[before]
    others = np.where(n > 1, (m - 1) / np.maximum(n - 1, 1), 0.0)
    share = m / np.maximum(n, 1)
    gained = share * ((hits_before + 1) * h + others * (n - (before + 1) * h))
    total = blocks.relevant.sum(axis=1)
    result: NDArray[np.float64] = gained.sum(axis=1) / np.maximum(total, 1)
    return result


def precision_at(blocks: DistanceBlocks, k: int) -> NDArray[np.float64]:
    """Return the share of relevant items among the first `k`, expected over the order of ties.

    Raises
    ------
    ConfigError
        If `k` is not between 1 and the size of the database.
    """
    return _hits_at(blocks, k) / k


def recall_at(blocks: DistanceBlocks, k: int) -> NDArray[np.float64]:
    """Return the share of the relevant items that is among the first `k`, expected over the order of ties.

    A query with no relevant item has recall 0.

    Raises
    ------
    ConfigError
        If `k` is not between 1 and the size of the database.
    """
    recall: NDArray[np.float64] = _hits_at(blocks, k) / np.maximum(blocks.relevant.sum(axis=1), 1)
    return recall


def precision_within(blocks: DistanceBlocks, radius: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the share of relevant items among those at most `radius` bits away, and which queries have none there.

    A query with nothing within the radius counts as precision 0, as the literature does.

    Returns
    -------
    tuple of (float64 (queries,), bool (queries,))

    Raises
    ------
    ConfigError
        If `radius` is not between 0 and the number of bits.
    """
    bits = blocks.items.shape[1] - 1
    if not 0 <= radius <= bits:
        raise ConfigError(f"radius is {radius}; expected 0 to {bits}, the bits of the codes")
    found = blocks.items[:, : radius + 1].sum(axis=1)
    hits = blocks.relevant[:, : radius + 1].sum(axis=1)
    return hits / np.maximum(found, 1), found == 0


def top_average_precision(
    queries: ArrayLike, database: ArrayLike, query_labels: ArrayLike, database_labels: ArrayLike, k: int = 1000
) -> NDArray[np.float64]:
    """Return the average precision at `k` as the hashing literature computes it, for comparison with its tables.

    The mean of the precision at the ranks of the relevant items among the first `k`, divided by *how many of them are
    there*, not by how many there could be; 0 if there are none. Ties are ordered by their row in the database: the
    value depends on that order, and a database sorted by class flatters or hurts.

    Parameters
    ----------
    queries
        ``uint8 (q, bits // 8)``, packed.
    database
        ``uint8 (n, bits // 8)``.
    query_labels, database_labels
        Integers ``(q,)`` and ``(n,)``.
    k
        Cut-off, 1 to n.

    Returns
    -------
    float64 of shape (q,), in [0, 1]
    """
    queries, database = check_pair(queries, database)
    wanted, labels = check_labels(query_labels, queries, "queries"), check_labels(database_labels, database, "database")
    _check_cutoff(k, len(database))
    place = np.arange(1, k + 1)
    values = []
    for start, distances in distance_rows(queries, database):
        # Distance and row in one number: sorting it sorts by distance, then by row.
        ordered = distances.astype(np.int64) * len(database) + np.arange(len(database))
        first = np.sort(np.partition(ordered, k - 1, axis=1)[:, :k], axis=1) % len(database)
        hit = labels[first] == wanted[start : start + len(distances), None]
        precision = np.cumsum(hit, axis=1) / place
        values.append((precision * hit).sum(axis=1) / np.maximum(hit.sum(axis=1), 1))
    return np.concatenate(values)


def _before(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how much lies in the nearer blocks, same shape."""
    before: NDArray[np.int64] = np.cumsum(counts, axis=1) - counts
    return before


def _hits_at(blocks: DistanceBlocks, k: int) -> NDArray[np.float64]:
    """Return the expected number of relevant items among the first `k`."""
    _check_cutoff(k, int(blocks.items.sum(axis=1).min()))
    taken = np.clip(k - _before(blocks.items), 0, blocks.items)  # of each block
    hits: NDArray[np.float64] = (blocks.relevant * taken / np.maximum(blocks.items, 1)).sum(axis=1)
    return hits


def _check_cutoff(k: int, size: int) -> None:
    if not 1 <= k <= size:
        raise ConfigError(f"the cut-off is {k}; expected 1 to {size}, the size of the database")
