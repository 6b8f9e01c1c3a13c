"""The nearest neighbours in pixel space: a ground truth for retrieval that needs no labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hashae.errors import ConfigError


def nearest_in_pixels(queries: NDArray[np.uint8], database: NDArray[np.uint8], k: int) -> NDArray[np.int64]:
    """Return the rows of the `k` images of the database with the smallest Euclidean distance, nearest first.

    Exact, by faiss; the database is held once more as float32.

    Parameters
    ----------
    queries
        ``uint8 (q, ...)``: images.
    database
        ``uint8 (n, ...)``: images of the same shape.
    k
        From 1 to n.

    Returns
    -------
    int64 of shape (q, k)

    Raises
    ------
    ConfigError
        If the shapes differ or `k` is out of range.
    """
    if queries.shape[1:] != database.shape[1:]:
        raise ConfigError(f"queries are {queries.shape[1:]} and the database {database.shape[1:]}; expected one shape")
    if not 1 <= k <= len(database):
        raise ConfigError(f"{k} neighbours asked for; expected 1 to {len(database)}, the size of the database")
    import faiss

    flat = database.reshape(len(database), -1).astype(np.float32)
    index = faiss.IndexFlatL2(flat.shape[1])
    index.add(flat)
    _, rows = index.search(queries.reshape(len(queries), -1).astype(np.float32), k)
    found: NDArray[np.int64] = rows.astype(np.int64)
    return found
