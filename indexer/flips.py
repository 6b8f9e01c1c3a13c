"""The textbook neighbourhood search: list every code within a radius and look each one up.

Salakhutdinov and Hinton (2009) called it semantic hashing: flip bits, read the buckets. The number of codes grows as
a sum of binomials, so it is bounded here and kept as a named method and as the oracle of tests.
"""

from __future__ import annotations

from math import comb

import numpy as np
from numpy.typing import NDArray

from hashae.codes import Codes, check_bits, check_codes
from hashae.errors import SearchTooLarge
from hashae.indexer.hits import Hits, join_hits, no_hits, pack, sorted_hits
from hashae.indexer.scan import check_radius, words_of

FLIP_LIMIT = 1_000_000
"""Most codes one query may look up: 64 bits stay below it up to radius 4."""


def neighbourhood_size(bits: int, radius: int) -> int:
    """Count the codes at most `radius` bits from a given one: the sum of ``comb(bits, i)`` for i = 0 to radius.

    Examples
    --------
    >>> [neighbourhood_size(64, radius) for radius in range(5)]
    [1, 65, 2081, 43745, 679121]
    """
    return sum(comb(bits, size) for size in range(check_radius(radius, check_bits(bits)) + 1))


def check_flips(bits: int, radius: int, limit: int = FLIP_LIMIT) -> int:
    """Return the number of look-ups a flip search needs, or refuse it.

    Raises
    ------
    SearchTooLarge
        If the number is above `limit`.
    """
    size = neighbourhood_size(bits, radius)
    if size > limit:
        raise SearchTooLarge(
            f"method 'flips' would look up {size:,} codes (radius {radius} on {bits} bits); the limit is {limit:,}: "
            f"use method 'auto', which answers the same, or a smaller radius"
        )
    return size


def neighbours(code: Codes, radius: int, *, limit: int = FLIP_LIMIT) -> tuple[Codes, NDArray[np.int32]]:
    """List every code within `radius` of `code`, nearest first, each once.

    The masks of one size are kept in colexicographic order (Knuth, TAOCP 4A, 7.2.1.3): those whose highest flipped
    position is ``b`` are a prefix of the size below, ``comb(b, size - 1)`` long, with ``b`` flipped as well.

    Parameters
    ----------
    code
        ``uint8 (bytes,)`` or ``(1, bytes)``.
    radius
        Bits, 0 to ``8 * bytes``, inclusive.
    limit
        Most codes to list.

    Returns
    -------
    codes : uint8 of shape (neighbourhood_size, bytes)
    distances : int32 of shape (neighbourhood_size,)
        Bits flipped, ascending.

    Raises
    ------
    SearchTooLarge
        If there are more than `limit`.

    Examples
    --------
    >>> codes, distances = neighbours(np.array([0], np.uint8), 1)
    >>> codes[:3].ravel().tolist(), distances[:3].tolist()
    ([0, 128, 64], [0, 1, 1])
    """
    code = check_codes(np.atleast_2d(code))
    bits = code.shape[1] * 8
    check_flips(bits, radius, limit)
    flip = np.packbits(np.eye(bits, dtype=np.bool_), axis=1)  # (bits, bytes)
    levels = [np.zeros_like(code)]
    for size in range(1, radius + 1):
        below = levels[-1]
        levels.append(np.concatenate([below[: comb(b, size - 1)] ^ flip[b] for b in range(size - 1, bits)]))
    distances = np.repeat(np.arange(radius + 1, dtype=np.int32), [len(level) for level in levels])
    return np.concatenate(levels) ^ code, distances


class CodeTable:
    """Whole codes in order, to look them up.

    Parameters
    ----------
    codes
        ``uint8 (n, bytes)``.
    """

    def __init__(self, codes: Codes) -> None:
        self._words = words_of(codes)
        self._rows = np.argsort(self._words[:, 0], kind="stable")
        self._first = self._words[self._rows, 0]

    def rows_of(self, codes: Codes) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
        """Return which of `codes` are in the table, their rows, and how many codes were compared."""
        words = words_of(codes)
        left = np.searchsorted(self._first, words[:, 0], "left")
        size = np.searchsorted(self._first, words[:, 0], "right") - left
        number, ends = np.repeat(np.arange(len(words)), size), np.cumsum(size)
        place = np.arange(len(number)) + np.repeat(left - ends + size, size)
        rows = self._rows[place]
        same = (self._words[rows] == words[number]).all(axis=1)
        return number[same], rows[same], len(rows)


def flips_within(table: CodeTable, queries: Codes, radius: int, *, limit: int = FLIP_LIMIT) -> Hits:
    """Answer a neighbourhood search by looking up every neighbour of every query.

    Parameters
    ----------
    table
        Of the codes to search.
    queries
        ``uint8 (m, bytes)``.
    radius
        Bits, inclusive.
    limit
        Most codes to look up for one query.

    Raises
    ------
    SearchTooLarge
        If one query needs more than `limit` look-ups.
    """
    found = [no_hits(0)]
    for query in queries:
        codes, distances = neighbours(query, radius, limit=limit)
        number, rows, read = table.rows_of(codes)
        packed = pack(distances[number], rows)
        found.append(sorted_hits(1, np.zeros(len(rows), np.int64), packed, probes=len(codes), candidates=read))
    return join_hits(found)
