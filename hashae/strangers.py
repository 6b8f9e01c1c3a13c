"""Pairs of different pictures, scored as a duplicate search would score them: the ones that must not match.

Only numpy is needed here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hashae.calibration import BETA, COPY_RATIO, COUNTED, SKIPPED
from hashae.codes import Codes, hamming

GROUPS = 20
"""Parts of the images that are left out in turn to see how much a fitted tail depends on them."""

NEIGHBOURS = 1 + SKIPPED + COUNTED
"""Codes that a crowding needs: the code itself, the neighbours that may be copies, and those that are counted."""


def crowding_among(distances: NDArray[np.integer], *, themselves: bool) -> NDArray[np.float32]:
    """Return the crowding of each row: the mean distance to its neighbours, the `SKIPPED` nearest left out.

    Parameters
    ----------
    distances
        ``(n, m)`` in bits, of n codes to m others; at least `NEIGHBOURS` of them.
    themselves
        The rows are among the others: each finds itself first, and that is left out, too.

    Returns
    -------
    float32 of shape (n,)
    """
    first = SKIPPED + themselves
    near = np.partition(distances, first + COUNTED - 1, axis=1)[:, : first + COUNTED]
    crowding: NDArray[np.float32] = np.sort(near, axis=1)[:, first:].mean(axis=1).astype(np.float32)
    return crowding


def match_scores(
    distances: NDArray[np.integer], a: NDArray[np.float32], b: NDArray[np.float32], beta: float = BETA
) -> NDArray[np.float32]:
    """Return the smallest tau at which each pair matches, in bits; -inf for equal codes, which match at any.

    Two images match when their distance is at most the mean of their margins, ``max(tau + beta * crowding, 0)`` each,
    see :func:`hashae.calibration.own_radii`. Where both margins are positive that is ``distance - beta * (a + b) / 2``.

    Parameters
    ----------
    distances
        In bits.
    a, b
        Crowding of the first and second image of each pair, in shapes that broadcast to that of `distances`.
    beta
        Of the rule.
    """
    both = distances - beta * (a + b) / 2
    larger_alone = 2 * distances - beta * np.maximum(a, b)
    scores: NDArray[np.float32] = np.where(distances > 0, np.minimum(both, larger_alone), -np.inf).astype(np.float32)
    return scores


@dataclass(frozen=True)
class Strangers:
    """Pairs of codes of different pictures.

    Attributes
    ----------
    distances
        ``int32 (pairs,)``, in bits.
    scores
        ``float32 (pairs,)``, from :func:`match_scores`.
    groups
        ``uint8 (2, pairs)``: which of `GROUPS` parts of the images either picture belongs to.
    suspected
        Pairs left out because they may be copies of one picture.
    """

    distances: NDArray[np.int32]
    scores: NDArray[np.float32]
    groups: NDArray[np.uint8]
    suspected: int

    def __len__(self) -> int:
        return len(self.distances)


def draw_parts(n: int, seed: int) -> NDArray[np.uint8]:
    """Deal n images into `GROUPS` parts of equal size: the part of each, ``uint8 (n,)``."""
    return (np.random.default_rng(seed).permutation(n) % GROUPS).astype(np.uint8)


def strangers(codes: Codes, crowding: NDArray[np.float32], parts: NDArray[np.uint8]) -> Strangers:
    """Return all pairs of codes but those that may be copies of one picture.

    Those are the ones within `COPY_RATIO` of the crowding of either, as in :func:`hashae.calibration.different_pairs`.

    Parameters
    ----------
    codes
        ``uint8 (n, bytes)``, at most some thousands: all pairs are compared.
    crowding
        ``float32 (n,)``: of each code, in the collection that it lies in.
    parts
        ``uint8 (n,)``, from :func:`draw_parts`.
    """
    every = hamming(codes, codes)
    first, second = np.triu_indices(len(codes), 1)
    distances = every[first, second]
    different = distances > COPY_RATIO * np.minimum(crowding[first], crowding[second])
    first, second, distances = first[different], second[different], distances[different]
    return Strangers(
        distances,
        match_scores(distances, crowding[first], crowding[second]),
        np.stack([parts[first], parts[second]]),
        int(different.size - different.sum()),
    )


def pretend_collections(reference: Codes, images: int, *, seed: int = 0) -> Strangers:
    """Return the pairs of different pictures in pretended collections of so many images, made of reference codes.

    Crowding is a matter of size: in a small collection the neighbours are far. So codes that are borrowed are parted
    into collections as large as the one that borrows. They are runs of the reference, which is in the order of the
    folders of its pictures, because a small collection is seldom a draw from the world: it is a folder of pictures that
    belong together. With runs of 2,000 photographs for a reference, folders of 100 to 500 others kept the promise of
    0.999; with random parts they held three to ten times the false pairs.

    Parameters
    ----------
    reference
        ``uint8 (n, bytes)``.
    images
        `NEIGHBOURS` to n.
    seed
        Of the parts for the jackknife.
    """
    parts = draw_parts(len(reference), seed)
    runs = -(-len(reference) // images)
    collections = []
    for start in np.linspace(0, len(reference) - images, runs).astype(np.int64):
        codes = reference[start : start + images]
        crowding = crowding_among(hamming(codes, codes), themselves=True)
        collections.append(strangers(codes, crowding, parts[start : start + images]))
    return Strangers(
        np.concatenate([pairs.distances for pairs in collections]),
        np.concatenate([pairs.scores for pairs in collections]),
        np.concatenate([pairs.groups for pairs in collections], axis=1),
        sum(pairs.suspected for pairs in collections),
    )
