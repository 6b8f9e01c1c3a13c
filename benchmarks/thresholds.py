"""Where the line between copies and other pictures lies, exactly, and how much is found on its right side.

Everything is counted in whole numbers, so that equal scores are equal: a threshold takes all pairs with its score, or
none of them. A score is ``SCALE`` times ``distance - beta * (crowding_a + crowding_b) / 2``; lower means more alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashae.calibration import COUNTED, SKIPPED

SCALE = 100
"""Parts of a bit in which scores are counted."""

Pairs: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Rows and columns of some pairs in a matrix."""


def neighbour_sums(distances: NDArray[np.integer], *, among_themselves: bool = False) -> NDArray[np.int32]:
    """Return the crowding of each row, times ``COUNTED``: the sum of its ``COUNTED`` distances after the nearest few.

    Parameters
    ----------
    distances
        ``(n, m)`` in bits; row ``i`` holds the distances of one picture to all of the database.
    among_themselves
        The rows are the database, in the same order: the picture itself is left out, and the ``SKIPPED`` nearest
        others. Otherwise the ``SKIPPED`` nearest are left out, the picture's own original among them.

    Raises
    ------
    ValueError
        If the database is too small for it.
    """
    first = SKIPPED + among_themselves
    last = first + COUNTED
    if distances.shape[1] < last:
        raise ValueError(f"the database holds {distances.shape[1]} pictures; crowding needs at least {last}")
    near = np.partition(distances, last - 1, axis=1)[:, :last]
    sums: NDArray[np.int32] = np.sort(near, axis=1)[:, first:].sum(axis=1, dtype=np.int32)
    return sums


def scores(
    distances: NDArray[np.integer], rows: NDArray[np.int32], columns: NDArray[np.int32], beta: float
) -> NDArray[np.int32]:
    """Return ``SCALE * (distance - beta * (crowding_a + crowding_b) / 2)`` of all pairs.

    Parameters
    ----------
    distances
        ``(n, m)`` in bits.
    rows, columns
        ``(n,)`` and ``(m,)``: crowding as `neighbour_sums` gives it.
    beta
        How much of the crowding counts, in steps of 0.1.

    Raises
    ------
    ValueError
        If scores with this beta are no whole numbers.
    """
    share = Fraction(str(beta)) * SCALE / (2 * COUNTED)
    if share.denominator != 1:
        raise ValueError(f"beta is {beta}; expected a multiple of {2 * COUNTED / SCALE}")
    weight = np.int32(share.numerator)
    counted = distances.astype(np.int32) * np.int32(SCALE)
    if weight:
        counted -= weight * rows[:, None]
        counted -= weight * columns[None, :]
    return counted


class Tally:
    """How many right pairs of each edit, and how many wrong pairs, there are at each score.

    Parameters
    ----------
    bits
        Length of the codes.
    beta
        Largest share of the crowding that is taken off.
    edits
        Number of edits.
    """

    def __init__(self, bits: int, beta: float, edits: int) -> None:
        # Crowding is at most `bits`, so no score is below minus beta times that.
        self.lowest = -int(np.ceil(SCALE * beta * bits))
        size = SCALE * bits - self.lowest + 1
        self.right = np.zeros((edits, size), np.int64)
        self.wrong = np.zeros(size, np.int64)

    def add(self, edit: int, block: NDArray[np.int32], own: NDArray[np.int64], ignored: Pairs) -> None:
        """Count the pairs of queries of one edit.

        Parameters
        ----------
        edit
            Number of the edit.
        block
            ``(n, m)``: scores of n queries against all m originals.
        own
            ``(n,)``: column of each query's own original; the right pairs.
        ignored
            Pairs that are neither right nor wrong; none of them a right one.
        """
        size = len(self.wrong)
        own_scores = block[np.arange(len(block)), own]
        right = np.bincount(own_scores - self.lowest, minlength=size)
        self.right[edit] += right
        self.wrong += np.bincount((block - np.int32(self.lowest)).reshape(-1), minlength=size) - right
        self.wrong -= np.bincount(block[ignored] - self.lowest, minlength=size)

    def threshold(self, precision: float) -> int | None:
        """Return the largest score down from which at least `precision` of all pairs are right.

        Between two scores that occur, the larger end of the gap is returned: with whole bits, a whole number of them.
        None if even the lowest score that occurs holds too many wrong pairs.
        """
        least = Fraction(str(precision))
        right, wrong = np.cumsum(self.right.sum(axis=0)), np.cumsum(self.wrong)
        enough = (right * least.denominator >= (right + wrong) * least.numerator) & (right > 0)
        return int(np.flatnonzero(enough)[-1]) + self.lowest if enough.any() else None

    def recall(self, threshold: int | None) -> NDArray[np.float64]:
        """Return, for each edit, the share of right pairs whose score is at most `threshold`."""
        found = self.right[:, : self._stop(threshold)].sum(axis=1)
        shares: NDArray[np.float64] = found / np.maximum(self.right.sum(axis=1), 1)
        return shares

    def wrong_pairs(self, threshold: int | None) -> int:
        """Return how many wrong pairs have a score of at most `threshold`."""
        return int(self.wrong[: self._stop(threshold)].sum())

    def _stop(self, threshold: int | None) -> int:
        return 0 if threshold is None else threshold - self.lowest + 1


class Worst:
    """The wrong pairs with the lowest scores; of the edits of one photograph, the worst with each original.

    Parameters
    ----------
    own
        ``(n,)``: column of each photograph's own original.
    ignored
        Pairs that are neither right nor wrong.
    originals
        Size of the database.
    """

    def __init__(self, own: NDArray[np.int64], ignored: Pairs, originals: int) -> None:
        self._own, self._ignored = own, ignored
        self._score = np.full((len(own), originals), np.iinfo(np.int32).max, np.int32)
        self._edit = np.zeros((len(own), originals), np.int16)

    def add(self, edit: int, block: NDArray[np.int32]) -> None:
        """Take the scores ``(n, m)`` of one edit of all photographs."""
        closer = block < self._score
        self._score[closer] = block[closer]
        self._edit[closer] = edit

    def pairs(self, count: int) -> list[tuple[int, int, int, int]]:
        """Return at most `count` of ``(row, column, edit, score)``, worst first, two originals only once."""
        wrong = self._score.copy()
        wrong[np.arange(len(wrong)), self._own] = np.iinfo(np.int32).max
        wrong[self._ignored] = np.iinfo(np.int32).max
        # Either picture of a pair may be the query: twice as many are looked through.
        few = min(2 * count, wrong.size)
        places = np.argpartition(wrong, few - 1, axis=None)[:few]
        places = places[np.lexsort((places, wrong.reshape(-1)[places]))]
        found: dict[frozenset[int], tuple[int, int, int, int]] = {}
        for row, column in zip(*np.unravel_index(places, wrong.shape), strict=True):
            if wrong[row, column] == np.iinfo(np.int32).max:
                break
            pair = (int(row), int(column), int(self._edit[row, column]), int(wrong[row, column]))
            found.setdefault(frozenset((int(self._own[row]), int(column))), pair)
        return list(found.values())[:count]


def ignored_pairs(own: Sequence[int], same: Sequence[Sequence[int]]) -> Pairs:
    """Return the pairs of queries and originals that show the same picture without being copy and original.

    Parameters
    ----------
    own
        Column of each query's own original.
    same
        Sets of columns that show one picture; no column in two of them.
    """
    others = {column: [other for other in members if other != column] for members in same for column in members}
    pairs = [(row, other) for row, column in enumerate(own) for other in others.get(column, ())]
    rows, columns = np.array(pairs, np.int64).reshape(-1, 2).T
    return rows, columns
