"""Words of codes, and distances between them: XOR and popcount with numpy."""

from __future__ import annotations

from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashae.codes import Codes, as_words
from hashae.errors import CodeError, ConfigError

Words: TypeAlias = NDArray[np.unsignedinteger]
Pairs: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]
"""Rows ``a``, rows ``b`` with ``a < b``, and their distances in bits."""

Array = TypeVar("Array", bound=NDArray[np.generic])


def check_radius(radius: int, bits: int) -> int:
    """Return `radius` if it is a whole number from 0 to `bits`.

    Raises
    ------
    ConfigError
        If it is not.
    """
    if not isinstance(radius, int | np.integer) or not 0 <= radius <= bits:
        raise ConfigError(f"radius is {radius}; expected a whole number of bits from 0 to {bits}, the code length")
    return int(radius)


def check_threads(threads: int) -> int:
    """Return `threads` if it is a whole number, 1 or more.

    Raises
    ------
    ConfigError
        If it is not.
    """
    if not isinstance(threads, int | np.integer) or threads < 1:
        raise ConfigError(f"threads is {threads}; expected a whole number, 1 or more")
    return int(threads)


def check_ids(ids: ArrayLike, count: int | None = None) -> NDArray[np.int64]:
    """Return `ids` as ``int64 (n,)``, each once; `count` is the number expected.

    Raises
    ------
    CodeError
        If they are no whole numbers, the wrong number of them, or one is repeated.
    """
    array = np.asarray(ids)
    if array.size == 0:
        array = array.astype(np.int64)
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer) or count not in (None, len(array)):
        expected = "one whole number for each code" if count is None else f"{count} whole numbers, one for each code"
        raise CodeError(f"ids are {array.dtype} of shape {array.shape}; expected {expected}")
    if array.dtype == np.uint64 and array.size and array.max() > np.iinfo(np.int64).max:
        raise CodeError(
            f"id {array.max()} does not fit; expected signed 64-bit numbers, up to {np.iinfo(np.int64).max}"
        )
    array = array.astype(np.int64)
    ordered = np.sort(array)
    repeated = np.flatnonzero(ordered[1:] == ordered[:-1])
    if len(repeated):
        raise CodeError(f"id {ordered[repeated[0]]} is given twice; expected each id once")
    return array


def words_of(codes: Codes) -> Words:
    """View codes as machine words ``(n, words)``, padding odd widths above 64 bits with zero bytes."""
    width = codes.shape[1]
    if width > 8 and width % 8:  # or every byte would be a word of its own
        codes = np.pad(codes, ((0, 0), (0, -width % 8)))
    return as_words(codes)


def as_rows(codes: Codes) -> NDArray[np.uint64]:
    """View codes as ``uint64 (n, words)`` with 1, 2, 3, 4 or 8 words, padded with zeros, for the compiled loops."""
    width = codes.shape[1]
    wanted = -(-width // 8) * 8 if width <= 32 else 64
    if wanted != width:
        codes = np.pad(codes, ((0, 0), (0, wanted - width)))
    return own(np.ascontiguousarray(codes)).view(np.uint64)


def own(array: Array) -> Array:
    """Return `array`, or a copy if it is read-only or not aligned: loops are compiled for one kind of array only."""
    return array if array.flags.writeable and array.ctypes.data % 8 == 0 else array.copy()


def as_columns(codes: Codes) -> NDArray[np.uint64]:
    """Copy codes into ``uint64 (words, n)``: the first word of all codes, then the second, and so on."""
    return np.ascontiguousarray(as_rows(codes).T)


def distances_between(queries: Words, columns: Words) -> NDArray[np.uint16]:
    """Count differing bits between every query and every code.

    Parameters
    ----------
    queries
        Words of the queries, ``(m, words)``.
    columns
        Words of the codes, one word after the other: ``(words, n)``.

    Returns
    -------
    uint16 of shape (m, n)
    """
    total = np.zeros((len(queries), columns.shape[1]), np.uint16)
    for word, column in enumerate(columns):
        total += np.bitwise_count(queries[:, word, None] ^ column)
    return total
