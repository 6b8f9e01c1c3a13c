"""How near two codes must be to mean one picture: estimated from the codes of a collection itself, without labels.

Featureless and much alike pictures crowd together in code space, and one radius for all would be ruled by them. So each
code has a *crowding*, the distance at which its neighbours begin, and two images match when

    distance <= tau + beta * (crowding_a + crowding_b) / 2.

`tau` follows from the lower tail of ``distance - beta * crowding`` over pairs of different pictures, which is measured
once for an encoder, and from the number of images (copy-detection work calls the idea score normalisation).

Only numpy is needed here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hashae.codes import Codes, hamming, unpack

BETA = 0.7
"""How much of its crowding an image adds to its radius; the best of 0.5, 0.7, 0.9 and 1.1 on photographs."""

SKIPPED, COUNTED = 2, 5
"""Crowding is the mean distance to the third to seventh nearest other code: up to two copies do not move it."""

MIN_CODES = 100
"""Fewest codes from which crowding is estimated."""

SAMPLE = 3000
"""Most codes whose pairs are compared when a tail is fitted."""

FALSE_PAIRS = 0.0001
"""False pairs expected for each image of a collection."""

COPY_RATIO = 0.4
"""Share of the crowding within which two codes are taken for copies when different pictures are looked for."""

TAIL_SHARES = (3e-4, 5e-3)
"""Share of pairs between which the lower tail is fitted: more than true copies make up, still far below the mean."""


@dataclass(frozen=True)
class Tail:
    """The lower tail of the scores of pairs of different pictures: ``log(share) = intercept + slope * score``.

    Attributes
    ----------
    intercept, slope
        Of the line; the slope is positive, in 1 / bit.
    """

    intercept: float
    slope: float

    def threshold(self, share: float) -> float:
        """Return the score below which `share` of the pairs of different pictures are expected, in bits."""
        return (math.log(share) - self.intercept) / self.slope

    def tau(self, images: int) -> float:
        """Return the constant of the rule for a collection of so many images.

        Of its ``n * (n - 1) / 2`` pairs, ``FALSE_PAIRS * n`` may match wrongly: a larger collection has to be stricter.
        """
        return self.threshold(2 * FALSE_PAIRS / max(images - 1, 1))


@dataclass(frozen=True)
class OwnRadii:
    """A radius for every image.

    Attributes
    ----------
    margins
        ``float32 (n,)``, at least 0: two images match when their distance is at most the mean of their margins.
    tau
        The constant of the rule, in bits; usually negative.
    """

    margins: NDArray[np.float32]
    tau: float


def own_radii(crowding: NDArray[np.float32], tail: Tail) -> OwnRadii:
    """Return the radius of every image of a collection.

    Parameters
    ----------
    crowding
        ``float32 (n,)``: for each code, the mean distance to its neighbours, the `SKIPPED` nearest left out.
    tail
        Of the encoder.
    """
    tau = tail.tau(len(crowding))
    return OwnRadii(np.maximum(tau + BETA * crowding, 0).astype(np.float32), tau)


@dataclass(frozen=True)
class Pairs:
    """Pairs of codes of different pictures.

    Attributes
    ----------
    distances
        ``int32 (pairs,)``, in bits.
    scores
        ``float32 (pairs,)``: the distance less `BETA` times the mean crowding of the two.
    """

    distances: NDArray[np.int32]
    scores: NDArray[np.float32]


def different_pairs(codes: Codes) -> Pairs | None:
    """Return all pairs of codes but those that may be copies of one picture.

    A folder may hold many copies, and an estimate of how near different pictures come must not count them. Two codes
    much nearer to each other than each is to its other neighbours are left out: within `COPY_RATIO` of their crowding
    there are copies, and next to no others.

    Parameters
    ----------
    codes
        ``uint8 (n, bytes)``, at most some thousands: all pairs are compared.

    Returns
    -------
    None if there are fewer codes than `MIN_CODES`.
    """
    if len(codes) < MIN_CODES:
        return None
    every = hamming(codes, codes)
    # Column 0 of the sorted distances is the code itself.
    near = np.sort(every, axis=1)[:, 1 + SKIPPED : 1 + SKIPPED + COUNTED].mean(axis=1).astype(np.float32)
    first, second = np.triu_indices(len(codes), 1)
    distances = every[first, second]
    different = distances > COPY_RATIO * np.minimum(near[first], near[second])
    distances, mean = distances[different], (near[first] + near[second])[different] / 2
    return Pairs(distances, (distances - BETA * mean).astype(np.float32))


def pair_distances(codes: Codes) -> NDArray[np.int32]:
    """Return the Hamming distances of all pairs ``i < j``, ``int32 (n * (n - 1) / 2,)``."""
    return hamming(codes, codes)[np.triu_indices(len(codes), 1)]


def fit_tail(scores: NDArray[np.floating], total: int | None = None) -> Tail:
    """Fit the lower tail of the scores of pairs.

    The share that a promise asks for is far below what can be counted, and true copies among the pairs would be counted
    with the rest. Far below the mean the logarithm of the cumulative share is close to linear in the score: the line is
    fitted between the shares `TAIL_SHARES` and extended.

    Parameters
    ----------
    scores
        Of all pairs, copies included; any order.
    total
        Number of all pairs, if `scores` holds only the lowest of them; at least the tail that is fitted.
    """
    ordered = np.sort(scores)
    count = len(ordered) if total is None else total
    start, stop = (int(bound * count) for bound in TAIL_SHARES)
    places = np.unique(np.linspace(start, max(stop, start + 2), 200).astype(np.int64))
    values = ordered[places].astype(np.float64)
    if np.ptp(values) == 0:  # many equal scores: below them nothing is expected, so the line is steep
        return Tail(math.log((places[0] + 1) / count) - 10 * float(values[0]), 10.0)
    slope, intercept = np.polyfit(values, np.log((places + 1) / count), 1)
    return Tail(float(intercept), float(slope))


def tail_radius(distances: NDArray[np.int32], share: float, bits: int) -> int:
    """Return the largest radius within which at most `share` of the pairs are expected; see :func:`fit_tail`.

    With few pairs, the smallest distance seen stands in, at most an eighth of the bits.

    Parameters
    ----------
    distances
        Of pairs of different pictures, in bits.
    share
        Expected share of false pairs, in ]0, 1[.
    bits
        Code length.
    """
    if not len(distances):
        return 0
    if len(distances) < MIN_CODES * (MIN_CODES - 1) // 2:
        return min(max(int(distances.min()) - 1, 0), bits // 8)
    return max(math.floor(fit_tail(distances.astype(np.float32)).threshold(share)), 0)


def effective_bits(distances: NDArray[np.int32], bits: int) -> float:
    """Return how many independent, fair bits would spread the distances of different images as much.

    ``mean * (bits - mean) / variance``: distances of random codes follow a binomial law.

    Parameters
    ----------
    distances
        Of pairs of different images, in bits.
    bits
        Code length.

    Returns
    -------
    0 if all distances are equal.
    """
    mean, variance = float(distances.mean(dtype=np.float64)), float(distances.var(dtype=np.float64))
    return mean * (bits - mean) / variance if variance else 0.0


def health(codes: Codes) -> dict[str, float]:
    """Return balance, effective bits and share of distinct codes of a batch of codes, see :mod:`hashae.health`.

    ``imbalance`` is the mean of ``|2 * mean - 1|`` over the bits.
    """
    means = unpack(codes).mean(axis=0)
    return {
        "imbalance": float(np.abs(2 * means - 1).mean()),
        "effective_bits": effective_bits(pair_distances(codes), codes.shape[1] * 8),
        "distinct": len(np.unique(codes, axis=0)) / len(codes),
    }
