"""Which path answers a search: a cost model of a few lines.

The paths answer alike; only the time differs. Costs are nanoseconds, rounded from measurements with numpy 2 on one
x86-64 core; they need to be right within a factor of two or so, because the paths differ by far more. Bits are taken to
be balanced and independent: bits that are not make buckets larger than planned, and bands slower.
"""

from __future__ import annotations

from dataclasses import dataclass

from hashae.indexer.flips import FLIP_LIMIT, neighbourhood_size

CALL = 40_000
"""Overhead of a banded search, whatever it finds."""
PROBE = 400
"""One look-up in a sorted array."""
CANDIDATE = 25
"""Fetch a code and count its differing bits."""
WORD = 1.0
"""Read 64 bits and count, in a row."""
FAISS_WORD = 0.3
"""The same inside FAISS, one thread."""
FAISS_FROM = 20_000_000
"""Scan cost below which importing FAISS and handing it the codes is not worth it."""
SORT = 150
"""Sort one code into one band."""
PAIR = 40
"""Compare two codes that share a band and remember the pair."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A path and the reason for it.

    Attributes
    ----------
    method
        Name of the path.
    why
        One sentence.
    """

    method: str
    why: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """How one search was answered.

    Attributes
    ----------
    method
        Path taken: ``bands``, ``flips``, ``scan`` or ``faiss``.
    why
        One sentence.
    probes
        Buckets looked up; 0 where every code is read.
    candidates
        Codes whose differing bits were counted.
    seconds
        Time of the search alone: building a path's arrays, once after each change, is not in it.
    answers
        Codes found.
    """

    method: str
    why: str
    probes: int
    candidates: int
    seconds: float
    answers: int


def band_width(bits: int, radius: int) -> int:
    """Return the bits of the narrowest of ``radius + 1`` bands, 0 to 64."""
    return min(64, bits // (radius + 1))


def plan_within(n: int, bits: int, radius: int, *, queries: int = 1, faiss: bool = False) -> Plan:
    """Choose the path of a neighbourhood search.

    Parameters
    ----------
    n
        Number of codes.
    bits
        Code length.
    radius
        Bits, inclusive.
    queries
        Number of queries in the batch.
    faiss
        Whether FAISS may do the scanning.
    """
    words, width = -(-bits // 64), band_width(bits, radius)
    scan = queries * n * words * WORD
    bands = CALL + queries * (radius + 1) * (PROBE + n / 2**width * CANDIDATE)
    size = neighbourhood_size(bits, radius)
    flips = queries * (CALL + size * (PROBE + n / 2 ** min(64, bits) * CANDIDATE))
    if flips < min(bands, scan) and size <= FLIP_LIMIT:
        return Plan("flips", f"only {size:,} codes lie within radius {radius}: looking each one up is cheapest")
    if bands < scan:
        return Plan(
            "bands", f"{radius + 1} bands of {width} bits: about {n / 2**width:,.1f} of {n:,} codes share one by chance"
        )
    if faiss and scan >= FAISS_FROM:
        return Plan("faiss", f"bands of {width} bits are too narrow to pay; FAISS reads {n:,} codes for each query")
    return Plan("scan", f"bands of {width} bits are too narrow to pay; reading {n:,} codes is cheaper")


def plan_nearest(n: int, *, faiss: bool) -> Plan:
    """Choose the path of a nearest-codes search over `n` codes."""
    if faiss:
        return Plan("faiss", f"FAISS reads all {n:,} codes, exactly")
    return Plan("scan", f"FAISS is not installed; numpy reads all {n:,} codes, exactly")


def plan_pairs(n: int, bits: int, radius: int, *, candidates: int | None = None, faiss: bool = False) -> Plan:
    """Choose the path that finds all pairs within a radius.

    Parameters
    ----------
    n
        Number of different codes.
    bits
        Code length.
    radius
        Bits, inclusive.
    candidates
        Pairs that share a band, if they have been counted; None estimates them from balanced, independent bits.
    faiss
        Whether FAISS may do the scanning.
    """
    words, width, halves = -(-bits // 64), band_width(bits, radius), n * n / 2
    expected = (radius + 1) * halves / 2**width if candidates is None else candidates
    bands = (radius + 1) * n * SORT + expected * PAIR
    scan = halves * words * (FAISS_WORD if faiss else WORD)
    if bands < scan:
        return Plan("bands", f"{radius + 1} sorted bands of {width} bits: about {expected:,.0f} pairs to compare")
    return Plan("faiss" if faiss else "scan", f"about {expected:,.0f} pairs share a band; comparing all is cheaper")
