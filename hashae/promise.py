"""What is promised when duplicates are reported: a least precision, and how sure of it what was seen makes us.

Only numpy is needed here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashae.errors import ConfigError


@dataclass(frozen=True)
class Promise:
    """The precision that a duplicate search has to keep.

    Precision is the share of right pairs among the pairs that the search would report in this collection, if a share of
    its images had one edited copy each in it. It depends on the size of the collection: the right pairs grow with the
    images, the pairs of different pictures with their square. It depends on the copies as well: where nothing is
    doubled, whatever is reported is wrong.

    Attributes
    ----------
    precision
        Least share of right pairs among those reported, between 0 and 1.
    copies
        Share of the images that have one edited copy, above 0, at most 1: assumed, nobody can know it.
    confidence
        That the bound on the false pairs holds, from 0.5 up to, not including, 1.

    Raises
    ------
    ConfigError
        If a number is outside its range.
    """

    precision: float = 0.999
    copies: float = 1.0
    confidence: float = 0.95

    def __post_init__(self) -> None:
        if not 0 < self.precision < 1:
            raise ConfigError(f"precision is {self.precision}; expected a share between 0 and 1, for example 0.999")
        if not 0 < self.copies <= 1:
            raise ConfigError(f"copies is {self.copies}; expected a share of the images above 0, at most 1")
        if not 0.5 <= self.confidence < 1:
            raise ConfigError(f"confidence is {self.confidence}; expected 0.5 up to, not including, 1")

    def precision_at(self, images: int, recall: ArrayLike, share: ArrayLike) -> NDArray[np.float64]:
        """Return the precision of a search, as the class defines it; 1 where nothing would be reported.

        Parameters
        ----------
        images
            In the collection, without the assumed copies.
        recall
            Share of edited copies that match their original; any shape.
        share
            Share of the pairs of different pictures that match; same shape.
        """
        copied = self.copies * images
        everything = images + copied
        right = copied * np.asarray(recall, np.float64)
        wrong = (everything * (everything - 1) / 2 - copied) * np.asarray(share, np.float64)
        reported = right + wrong
        precision: NDArray[np.float64] = np.where(reported > 0, right / np.where(reported > 0, reported, 1), 1.0)
        return precision


def upper_share(seen: ArrayLike, pairs: int, confidence: float) -> NDArray[np.float64]:
    """Return the largest share of false pairs that is still likely after `seen` of `pairs` were false.

    The largest ``p`` with ``pairs * KL(seen / pairs, p) <= -log(1 - confidence)``, KL being the divergence of two
    coins: the bound of Chernoff, which Hoeffding (1963, theorem 1) proved for sums of independent values in [0, 1], so
    that `seen` need not be whole. With nothing seen it is the exact bound of Clopper and Pearson,
    ``1 - (1 - confidence) ** (1 / pairs)``: at 95 % the rule of three, ``3 / pairs``. Else it is a little wider.

    Parameters
    ----------
    seen
        Number, or sum of the shares, of false pairs, from 0 to `pairs`; any shape.
    pairs
        Pairs looked at, each of two pictures that no other pair has. None gives 1: nothing is known.
    confidence
        One-sided, between 0 and 1.

    Examples
    --------
    >>> round(float(upper_share(0, 3000, 0.95)), 6)
    0.000998
    """
    counts = np.asarray(seen, np.float64)
    if pairs == 0:
        return np.ones_like(counts)
    mean = counts / pairs
    limit = -math.log1p(-confidence) / pairs
    low, high = mean, np.ones_like(mean)
    with np.errstate(divide="ignore", invalid="ignore"):
        for _ in range(100):  # halvings: far below what a double can tell apart
            middle = (low + high) / 2
            alike = np.where(mean > 0, mean * np.log(mean / middle), 0.0)
            apart = np.where(mean < 1, (1 - mean) * (np.log1p(-mean) - np.log1p(-middle)), 0.0)
            inside = alike + apart <= limit
            low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return np.asarray(low, np.float64)
