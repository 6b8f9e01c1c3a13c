"""Equal codes first: whatever is done with codes is done once for each different one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hashae.codes import Codes
from hashae.indexer.scan import as_rows

ODD = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93)
"""Odd multipliers that spread words over 64 bits."""


def distinct(codes: Codes, margins: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give rows of equal code and margin one number.

    Parameters
    ----------
    codes
        ``uint8 (n, bytes)``.
    margins
        ``float64 (n,)``, no negative zero.

    Returns
    -------
    Number of each row, ``int64 (n,)``, in the order in which codes come first; first row of each number.

    Notes
    -----
    One sort of a mixture of all words, then neighbours are compared in full. Should two different codes have one
    mixture, they are sorted in full. ``np.unique`` would be many times slower.
    """
    n = len(codes)
    if n == 0:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    columns = [*as_rows(codes).T]
    if margins.any():
        columns.append(margins.view(np.uint64))
    mixed = _mixed(columns)
    order = np.argsort(mixed)
    new = _differs(columns, order)
    if len(columns) > 1 and (new & ~_differs([mixed], order))[1:].any():
        order = np.lexsort(columns)
        new = _differs(columns, order)
    if new.all():
        return np.arange(n), np.arange(n)
    first = np.minimum.reduceat(order, np.flatnonzero(new))
    is_first = np.zeros(n, np.bool_)
    is_first[first] = True
    number = np.cumsum(is_first) - 1
    node = np.empty(n, np.int64)
    node[order] = number[first][np.cumsum(new) - 1]
    return node, np.flatnonzero(is_first)


def _mixed(columns: list[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    if len(columns) == 1:
        return columns[0]
    mixed = np.zeros(len(columns[0]), np.uint64)
    for number, column in enumerate(columns):
        mixed ^= column * np.uint64(ODD[number % len(ODD)])
        mixed ^= mixed >> np.uint64(29)
        mixed *= np.uint64(ODD[0])
    return mixed


def _differs(columns: list[NDArray[np.uint64]], order: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell for each place of an order whether its row differs from the one before; the first does."""
    new = np.zeros(len(order), np.bool_)
    new[0] = True
    for column in columns:
        ordered = column[order]
        new[1:] |= ordered[1:] != ordered[:-1]
    return new
