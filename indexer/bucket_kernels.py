"""Compiled pieces of the search in sorted bands: find the buckets of a query, and have the processor fetch them early.

What a search waits for is memory. A bucket lies anywhere; looked up one after the other, each would cost a miss of the
cache, so many are asked for before the first is read.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from hashae.indexer.kernels import Number, Words, compiled, popcount

AHEAD, FEW = 32, 4
"""Buckets that are looked up before the first of them is read; fewer than `FEW` are not worth the trouble."""
LONG = 32
"""Candidates in a bucket from which counting them first, with vector instructions, pays."""


def _prefetch(typing: Any, array: Any, index: Any) -> Any:
    """Ask the processor to fetch ``array[index]`` of a one-dimensional array before it is read."""
    if not isinstance(array, types.Array) or array.ndim != 1 or not isinstance(index, types.Integer):
        return None
    signature = types.void(array, types.intp)

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        data = context.make_array(array)(context, builder, arguments[0]).data
        address = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer(), number, number, number])
        function = builder.module.declare_intrinsic("llvm.prefetch", (address.type,), kind)
        builder.call(function, [address, number(0), number(2), number(1)])  # to read, into the second cache, data
        return context.get_dummy_value()

    return signature, generate


prefetch: Any = intrinsic(_prefetch)


@compiled
def is_new(differing: Number, bands: NDArray[np.uint64], level: Number, band: Number) -> Number:
    """Tell whether no earlier step met this candidate: a step is (flips, band), in that order."""
    for other in range(len(bands)):
        flips = np.int64(popcount(differing & bands[other, 0]))
        if flips < level or (flips == level and other < band):
            return False
    return True


@compiled
def key_of(query: Words, offset: Number, length: Number) -> Number:
    """Return `length` bits of a code from bit `offset` on, most significant first, as int64."""
    word, left = offset >> 6, offset & 63
    bits = query[word] << np.uint64(left)
    if left + length > 64:
        bits |= query[word + 1] >> np.uint64(64 - left)
    return np.int64(bits >> np.uint64(64 - length))


@compiled
def find_buckets(
    start: NDArray[np.uint32],
    base: Number,
    key: Number,
    flips: NDArray[np.uint32],
    rows: NDArray[np.uint32],
    codes: NDArray[np.uint64],
    one: Number,
    lefts: NDArray[np.int64],
    rights: NDArray[np.int64],
) -> Number:
    """Look up to `AHEAD` buckets up and have their codes fetched; return how many codes they hold.

    One miss of the cache after another would take longer than all the rest: here the misses of many buckets overlap.
    """
    total = np.int64(0)
    for i in range(len(flips)):
        prefetch(start, base + (key ^ np.int64(flips[i])))
    for i in range(len(flips)):
        bucket = base + (key ^ np.int64(flips[i]))
        lefts[i], rights[i] = start[bucket], start[bucket + 1]
        total += rights[i] - lefts[i]
        if rights[i] > lefts[i]:
            if one:
                prefetch(codes, lefts[i])
            else:
                prefetch(rows, lefts[i])
    if not one:
        words = len(codes) // len(rows)
        for i in range(len(flips)):
            for j in range(lefts[i], rights[i]):
                prefetch(codes, np.int64(rows[j]) * words)
    return total
