"""Pairs in a sorted table: the rows of a run have equal keys, and those that differ in few further bits may be near.

Numpy takes one pass over memory for each step of a loop, so the loops here are over what there are few of. Runs of one
length are laid side by side as the columns of a matrix, and each row of it is compared with all below: nothing is
looked up, and no pair is met that does not share a key. Long runs, of which each may have a length of its own, are
compared with themselves shifted by 1, 2, ...
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LONG = 4096
"""Longest run that is compared pair by pair; a longer one is a search of its own."""
SHORT = 64
"""Longest run that becomes a column of a matrix."""
WORTH = 4096
"""Rows in runs of one length from which a matrix pays."""
CHUNK = 1 << 20
"""Values whose runs are sorted by length at a time; they take some 20 bytes each."""
ROWS = 1 << 15
"""Rows of a matrix, so that all about it stays in the processor's cache; also rows that are shifted at a time."""
ROOM = 1 << 17
"""Pairs of long runs that are handed over at a time."""
KEPT = 0.6
"""Share of values whose run has not ended, below which those that have are thrown out."""


class RunPairs(NamedTuple):
    """Some pairs that share a key.

    Attributes
    ----------
    rows
        ``int64 (m,)``, row numbers; no row is there twice unless ``m == 2 k``.
    left, right
        ``int64 (k,)``: which of `rows` make a pair.
    """

    rows: NDArray[np.int64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]

    @property
    def is_dense(self) -> bool:
        """Whether the rows are in several pairs each, so that what belongs to a row had better be fetched once."""
        return len(self.left) > len(self.rows) // 2

    def ends(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the row numbers of both sides, ``int64 (k,)`` each."""
        return self.rows.take(self.left), self.rows.take(self.right)


def run_pairs(values: NDArray[np.uint64], key_bits: int, row_bits: int, radius: int) -> Iterator[RunPairs]:
    """Yield the pairs that share a key and may lie within `radius`, each once; but those of runs above `LONG`.

    Parameters
    ----------
    values
        ``uint64 (n,)``, sorted: key, further bits of the code, row number.
    key_bits, row_bits
        Width of the key and of the row number.
    radius
        Bits, inclusive.
    """
    edge = np.uint64(1 << (64 - key_bits))  # values with one key differ by less
    for start in range(0, len(values), CHUNK):
        before = int(start > 0)  # the value before tells whether a run begins here
        part = values[start - before : start + CHUNK + LONG + 1]  # each run that begins in the chunk ends, or is long
        begins, lengths = _runs(part, edge)
        wanted = (lengths <= LONG) & (begins >= before) & (begins < CHUNK + before)
        begins, lengths = begins[wanted], lengths[wanted].astype(np.uint16)  # numpy sorts these by radix
        counts = np.bincount(lengths, minlength=SHORT + 1)
        in_matrix = np.zeros(LONG + 1, np.bool_)
        in_matrix[: SHORT + 1] = counts[: SHORT + 1] * np.arange(SHORT + 1) >= WORTH
        others = ~in_matrix[lengths]
        if others.any():
            places = _ranges(begins[others], lengths[others].astype(np.int64))
            yield from _shifted(part.take(places), edge, row_bits, radius)
        by_length, ends = begins[np.argsort(lengths, kind="stable")], np.cumsum(counts)
        for length in np.flatnonzero(in_matrix).tolist():
            yield from _in_matrix(part, by_length[ends[length - 1] : ends[length]], length, row_bits, radius)


def long_runs(values: NDArray[np.uint64], key_bits: int) -> list[tuple[int, int]]:
    """Return start and end of the runs of equal keys above `LONG`, from sorted values."""
    shift, others, step = np.uint64(64 - key_bits), np.uint64((1 << (64 - key_bits)) - 1), LONG // 2
    posts = values[::step] >> shift  # a run that long passes two posts, or more
    inside = np.flatnonzero(posts[1:] == posts[:-1])
    found = []
    for key in np.unique(posts[inside]):
        start = int(np.searchsorted(values, key << shift))
        end = int(np.searchsorted(values, key << shift | others, side="right"))
        if end - start > LONG:
            found.append((start, end))
    return found


def _runs(values: NDArray[np.uint64], edge: np.uint64) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where the runs of two and more begin, and how long they are."""
    goes_on = np.zeros(len(values) + 1, np.bool_)  # whether a value has the key of the one before
    for start in range(0, len(values) - 1, ROWS):
        part = values[start : start + ROWS + 1]
        np.less(part[1:] ^ part[:-1], edge, out=goes_on[start + 1 : start + len(part)])
    turns = np.flatnonzero(goes_on[1:] != goes_on[:-1])
    return turns[::2], turns[1::2] - turns[::2] + 1


def _in_matrix(
    values: NDArray[np.uint64], begins: NDArray[np.int64], length: int, row_bits: int, radius: int
) -> Iterator[RunPairs]:
    """Yield the pairs of the runs of one length."""
    low, row = np.uint64(row_bits), np.uint64((1 << row_bits) - 1)
    width = max(1, ROWS // length)
    column = np.tile(np.arange(min(width, len(begins))), length - 1)
    for start in range(0, len(begins), width):
        some = begins[start : start + width]
        count = len(some)
        if count < width and start:
            column = np.tile(np.arange(count), length - 1)
        matrix = values.take(some + np.arange(length)[:, None])  # (length, count)
        telling, lefts, rights = matrix >> low, [], []
        for place in range(length - 1):
            near = np.flatnonzero(np.bitwise_count(telling[place + 1 :] ^ telling[place]) <= radius)
            if len(near):
                lefts.append(column.take(near) + place * count)
                rights.append(near + (place + 1) * count)
        if lefts:
            yield RunPairs((matrix & row).view(np.int64).ravel(), np.concatenate(lefts), np.concatenate(rights))


def _shifted(values: NDArray[np.uint64], edge: np.uint64, row_bits: int, radius: int) -> Iterator[RunPairs]:
    """Yield the pairs of whole runs, from sorted values."""
    low, row = np.uint64(row_bits), np.uint64((1 << row_bits) - 1)
    waiting: list[NDArray[np.uint64]] = []
    count = 0
    for start in range(0, len(values), ROWS):
        part = values[start : start + ROWS + LONG]
        at, value = None, part[:ROWS]  # slices are faster to read than what is picked out, as long as most is wanted
        for further in range(1, LONG):
            if at is None:
                value = value[: len(part) - further]
                differ = part[further : further + len(value)] ^ value
            else:
                if len(at) and at[-1] + further >= len(part):  # only at the end of all values
                    at = at[: np.searchsorted(at, len(part) - further)]
                    value = value[: len(at)]
                differ = part[further:].take(at) ^ value
            same = differ < edge
            alive = np.count_nonzero(same)
            if not alive:
                break
            near = np.flatnonzero(same & (np.bitwise_count(differ >> low) <= radius))
            if len(near):
                left = value.take(near)
                waiting += [left, left ^ differ.take(near)]
                count += len(near)
                if count >= ROOM:
                    yield _together(waiting, row)
                    waiting, count = [], 0
            if alive < KEPT * len(value):  # a run that has ended stays ended
                ongoing = np.flatnonzero(same)
                at = ongoing if at is None else at.take(ongoing)
                value = value.take(ongoing)
    if waiting:
        yield _together(waiting, row)


def _together(sides: list[NDArray[np.uint64]], row: np.uint64) -> RunPairs:
    """Put small arrays of pairs together: what follows costs as much for ten as for a thousand."""
    rows = (np.concatenate(sides[::2] + sides[1::2]) & row).view(np.int64)
    left = np.arange(len(rows) // 2)
    return RunPairs(rows, left, left + len(left))


def _ranges(begins: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the places of all runs, one after the other."""
    ends = np.cumsum(lengths)
    return np.repeat(begins - (ends - lengths), lengths) + np.arange(ends[-1])
