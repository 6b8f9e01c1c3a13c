"""Compiled loops over words of codes: popcount scans at the speed of the processor's vector units.

Importing this module needs numba, the extra ``fast``; :func:`hashae.indexer.compiled.kernels` gives the module or None.
Every function here has a twin in numpy that answers the same. They release Python's lock and start no threads: callers
cut the work into parts that share nothing.

Codes come as **columns**, ``uint64 (words, n)`` with 1, 2, 3, 4 or 8 words, as :func:`hashae.indexer.scan.as_columns`
makes them: one word of all codes after the other. The compiler turns a loop over columns into vector instructions; a
loop over the words of one code it does not. A hit is rare, so blocks are first
counted, which vectorises, and only blocks with a hit are looked at code by code.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

Function = TypeVar("Function", bound=Callable[..., Any])
Words: TypeAlias = NDArray[np.uint64]
Number: TypeAlias = Any
"""A machine integer; inside compiled loops it has numba's type, not Python's."""

COUNTED = 256
"""Codes counted at a time before single ones are looked at."""


def compiled(function: Function) -> Function:
    """Compile with numba on the first call and keep the machine code beside the module or in the user's cache.

    Where there is no folder to write to, or its disk is full, every process compiles anew.
    """
    try:
        loop = njit(function, cache=True, nogil=True)
    except RuntimeError:
        return njit(function, nogil=True)  # type: ignore[no-any-return]
    kept = getattr(loop, "_cache", None)
    if kept is not None:
        save = kept.save_overload

        def save_if_possible(signature: Any, machine_code: Any) -> None:
            with suppress(OSError):
                save(signature, machine_code)

        kept.save_overload = save_if_possible
    return loop  # type: ignore[no-any-return]


def _popcount(_typing: Any, word: Any) -> Any:
    """Count the ones of an integer; same type as the argument. For compiled code only."""
    if not isinstance(word, types.Integer):
        return None

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return word(word), generate


popcount: Any = intrinsic(_popcount)


@compiled
def distance(columns: Words, at: Number, query: Words) -> Number:
    """Count the bits in which code `at` of `columns` differs from `query`, ``uint64 (words,)``."""
    total = popcount(columns[0, at] ^ query[0])
    for word in range(1, len(query)):
        total += popcount(columns[word, at] ^ query[word])
    return np.int64(total)


@compiled
def count_1(a: Words, q0: Number, limit: Number) -> Number:
    """Count the codes of one word at most `limit` bits from a query. All arguments are uint64."""
    total = np.uint64(0)
    for i in range(len(a)):
        total += np.uint64(popcount(a[i] ^ q0) <= limit)
    return total


@compiled
def count_2(a: Words, b: Words, q0: Number, q1: Number, limit: Number) -> Number:
    """Count the codes of two words at most `limit` bits from a query."""
    total = np.uint64(0)
    for i in range(len(a)):
        total += np.uint64(popcount(a[i] ^ q0) + popcount(b[i] ^ q1) <= limit)
    return total


@compiled
def count_3(a: Words, b: Words, c: Words, q0: Number, q1: Number, q2: Number, limit: Number) -> Number:
    """Count the codes of three words at most `limit` bits from a query."""
    total = np.uint64(0)
    for i in range(len(a)):
        total += np.uint64(popcount(a[i] ^ q0) + popcount(b[i] ^ q1) + popcount(c[i] ^ q2) <= limit)
    return total


@compiled
def count_4(
    a: Words, b: Words, c: Words, d: Words, q0: Number, q1: Number, q2: Number, q3: Number, limit: Number
) -> Number:
    """Count the codes of four words at most `limit` bits from a query."""
    total = np.uint64(0)
    for i in range(len(a)):
        total += np.uint64(
            popcount(a[i] ^ q0) + popcount(b[i] ^ q1) + popcount(c[i] ^ q2) + popcount(d[i] ^ q3) <= limit
        )
    return total


@compiled
def count_8(
    a: Words, b: Words, c: Words, d: Words, e: Words, f: Words, g: Words, h: Words, query: Words, limit: Number
) -> Number:
    """Count the codes of eight words at most `limit` bits from a query."""
    q0, q1, q2, q3, q4, q5, q6, q7 = query[0], query[1], query[2], query[3], query[4], query[5], query[6], query[7]
    total = np.uint64(0)
    for i in range(len(a)):
        near = popcount(a[i] ^ q0) + popcount(b[i] ^ q1) + popcount(c[i] ^ q2) + popcount(d[i] ^ q3)
        near += popcount(e[i] ^ q4) + popcount(f[i] ^ q5) + popcount(g[i] ^ q6) + popcount(h[i] ^ q7)
        total += np.uint64(near <= limit)
    return total


@compiled
def count_near(columns: Words, start: Number, stop: Number, query: Words, limit: Number) -> Number:
    """Count the codes ``start <= i < stop`` at most `limit` bits from `query`."""
    most, words = np.uint64(limit), len(query)
    if words == 1:
        return np.int64(count_1(columns[0, start:stop], query[0], most))
    if words == 2:
        return np.int64(count_2(columns[0, start:stop], columns[1, start:stop], query[0], query[1], most))
    if words == 3:
        a, b, c = columns[0, start:stop], columns[1, start:stop], columns[2, start:stop]
        return np.int64(count_3(a, b, c, query[0], query[1], query[2], most))
    a, b, c, d = columns[0, start:stop], columns[1, start:stop], columns[2, start:stop], columns[3, start:stop]
    if words == 4:
        return np.int64(count_4(a, b, c, d, query[0], query[1], query[2], query[3], most))
    e, f, g, h = columns[4, start:stop], columns[5, start:stop], columns[6, start:stop], columns[7, start:stop]
    return np.int64(count_8(a, b, c, d, e, f, g, h, query, most))


@compiled
def mark_1(a: Words, q0: Number, limit: Number, near: NDArray[np.uint8]) -> None:
    """Write 1 for each code of one word at most `limit` bits from a query, 0 for the others."""
    for i in range(len(a)):
        near[i] = popcount(a[i] ^ q0) <= limit


@compiled
def mark_4(a: Words, b: Words, c: Words, d: Words, query: Words, limit: Number, near: NDArray[np.uint8]) -> None:
    """Do the same for codes of four words."""
    q0, q1, q2, q3 = query[0], query[1], query[2], query[3]
    for i in range(len(a)):
        near[i] = popcount(a[i] ^ q0) + popcount(b[i] ^ q1) + popcount(c[i] ^ q2) + popcount(d[i] ^ q3) <= limit


@compiled
def mark_near(
    columns: Words, start: Number, stop: Number, query: Words, limit: Number, near: NDArray[np.uint8]
) -> None:
    """Write a mark for each code ``start <= i < stop``, from ``near[0]`` on: 1 if at most `limit` bits away."""
    most, words = np.uint64(limit), len(query)
    if words == 1:
        mark_1(columns[0, start:stop], query[0], most, near)
    elif words == 4:
        a, b, c, d = columns[0, start:stop], columns[1, start:stop], columns[2, start:stop], columns[3, start:stop]
        mark_4(a, b, c, d, query, most, near)
    else:
        for i in range(start, stop):
            near[i - start] = distance(columns, i, query) <= limit


@compiled
def near_rows(
    columns: Words,
    start: Number,
    stop: Number,
    query: Words,
    limit: Number,
    rows: NDArray[np.int64],
    apart: NDArray[np.int32],
) -> Number:
    """Write down which codes ``start <= i < stop`` are at most `limit` bits from `query`; return how many.

    Parameters
    ----------
    columns
        ``uint64 (words, n)``.
    start, stop
        Range of codes.
    query
        ``uint64 (words,)``.
    limit
        Bits, inclusive, 0 or more.
    rows, apart
        ``int64 (m,)`` and ``int32 (m,)``, written from their start: numbers of the codes, ascending, and their
        distances. They must have room for ``stop - start``.
    """
    found = 0
    for at in range(start, stop, COUNTED):
        end = min(at + COUNTED, stop)
        if count_near(columns, at, end, query, limit):
            for i in range(at, end):
                bits = distance(columns, i, query)
                if bits <= limit:
                    rows[found], apart[found] = i, bits
                    found += 1
    return found
