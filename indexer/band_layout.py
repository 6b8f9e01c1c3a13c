"""How bits lie in bands: how many bands, which bits, values and flips of values."""

from __future__ import annotations

from functools import lru_cache
from math import comb, log2

import numpy as np
from numpy.typing import NDArray

from hashae.codes import Codes

MAX_LENGTH = 32
"""Most bits of a band that make its value."""


def band_count(n: int, bits: int) -> int:
    """Return the number of bands for n codes: ``bits / log2(n)`` and one more.

    Norouzi et al. found bands of log2(n) bits best, when buckets hold one code on average. One band more makes them
    shorter: buckets are read faster than they are found.

    Examples
    --------
    >>> [band_count(n, 64) for n in (1000, 100_000, 1_000_000, 10_000_000)]
    [7, 5, 4, 4]
    """
    return min(bits, max(1, round(bits / log2(max(n, 2))) + 1))


def longest(n: int) -> int:
    """Return the most bits that make the value of a band: log2(n), for more buckets than codes would be empty."""
    return min(MAX_LENGTH, max(1, int(log2(max(n, 2)))))


def band_lengths(n: int, bits: int) -> list[int]:
    """Return how many bits of each band make its value, for n codes of balanced bits: its width, at most log2(n)."""
    bands, most = band_count(n, bits), longest(n)
    return [min(most, bits // bands + (band < bits % bands)) for band in range(bands)]


@lru_cache(maxsize=16)
def flips_of(length: int, levels: int) -> NDArray[np.uint32]:
    """List the values of `length` bits with at most `levels` ones, fewest first: ``uint32 (sum of binomials,)``."""
    if levels * 2 < length:
        ones = (1 << np.arange(length, dtype=np.uint32)).astype(np.uint32)
        few = [np.zeros(1, np.uint32)]
        for size in range(1, levels + 1):
            below = few[-1]  # those whose highest one is at bit b: a prefix of the size below, with b added
            few.append(np.concatenate([below[: comb(b, size - 1)] | ones[b] for b in range(size - 1, length)]))
        return np.concatenate(few)
    values = np.arange(2**length, dtype=np.uint32)
    ordered = values[np.argsort(np.bitwise_count(values), kind="stable")]
    return ordered[: sum(comb(length, size) for size in range(levels + 1))]


def permuted(codes: Codes, table: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Deal the bits of codes to bands: ``uint64 (n, words)``, by one look-up for each byte."""
    out: NDArray[np.uint64] = table[0][codes[:, 0]]
    for byte in range(1, codes.shape[1]):
        out |= table[byte][codes[:, byte]]
    return out


def band_keys(words: NDArray[np.uint64], offset: int, length: int) -> NDArray[np.uint64]:
    """Return `length` bits, at most 32, from bit `offset` on, most significant first: ``uint64 (n,)``."""
    word, left = divmod(offset, 64)
    bits = words[:, word] << np.uint64(left)
    if left + length > 64:
        bits |= words[:, word + 1] >> np.uint64(64 - left)
    return bits >> np.uint64(64 - length)


def deal_table(order: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return ``uint64 (bytes, 256, words)``: what each value of each byte becomes when bit ``order[i]`` goes to i."""
    bits = len(order)
    table = np.zeros((bits // 8, 256, -(-bits // 64)), np.uint64)
    values = np.arange(256)
    for target, source in enumerate(order.tolist()):
        ones = (values >> (7 - source % 8) & 1).astype(np.uint64)
        table[source // 8, :, target // 64] |= ones << np.uint64(63 - target % 64)
    return table


def band_masks(offsets: NDArray[np.int64], lengths: NDArray[np.int64], words: int) -> NDArray[np.uint64]:
    """Return ``uint64 (m, words)``: the bits of each band that make its value."""
    bits = np.zeros((len(offsets), words * 64), np.uint8)
    for band, (offset, length) in enumerate(zip(offsets.tolist(), lengths.tolist(), strict=True)):
        bits[band, offset : offset + length] = 1
    return np.packbits(bits, axis=1).view(">u8").astype(np.uint64)
