"""When two pictures of a collection are taken for the same: one radius for all, or one of its own for every image."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hashae.calibration import BETA, MIN_CODES, Tail
from hashae.indexer.calibrated import Calibration


@dataclass(frozen=True)
class RadiusRule:
    """A rule, for all images of a collection.

    Attributes
    ----------
    radius
        One Hamming distance for all, in bits, inclusive; with `tau` it is not used.
    tau
        Constant of own radii, in bits, usually negative: two images match when their distance is at most the mean of
        their margins, ``max(tau + beta * crowding, 0)`` each (see :mod:`hashae.calibration`). None: one radius for all.
    beta
        How much of its crowding an image adds to its margin; below 2.
    calibration
        That the numbers are from; None if they are from the encoder or a person.
    """

    radius: int
    tau: float | None = None
    beta: float = BETA
    calibration: Calibration | None = None

    def __str__(self) -> str:
        rule = f"radius {self.radius} bits" if self.tau is None else "own radius for each image"
        return rule if self.calibration is None else f"{rule}, {self.calibration.words}"

    def margins(self, crowding: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the margin of images with this crowding, ``float32 (n,)``, at least 0, in bits."""
        assert self.tau is not None, "one radius for all knows no margins"
        margins: NDArray[np.float32] = np.maximum(self.tau + self.beta * crowding, 0).astype(np.float32)
        return margins

    def widest(self, margin: float, reach: float) -> int:
        """Return the largest distance at which a code can match one of the collection, in bits.

        A code ``d`` bits away has a crowding of at most ``d + reach`` (see
        :meth:`hashae.indexer.crowding.Reference.around`), so its margin is 0 or at most ``tau + beta * (d + reach)``.
        Put into the rule and solved for ``d``, that bounds it.

        Parameters
        ----------
        margin
            Of the code.
        reach
            Of the code.
        """
        assert self.tau is not None, "one radius for all is its own bound"
        bound = max(margin / 2, (margin + self.tau + self.beta * reach) / (2 - self.beta))
        return max(math.floor(bound + 1e-3), 0)  # margins are rounded to float32


def choose_rule(
    images: int, *, radius: int | None, fallback: int, tail: Tail | None, calibration: Calibration | None = None
) -> RadiusRule:
    """Choose the rule of a collection.

    Parameters
    ----------
    images
        Number of images in the collection: a larger one has to be stricter.
    radius
        Of a person who wants one radius for all; None gives every image its own.
    fallback
        One radius for a collection too small for that.
    tail
        Of the encoder; None if it has none, which takes the fallback too.
    calibration
        Of the collection with this encoder: it decides unless a person does.
    """
    if radius is not None:
        return RadiusRule(radius)
    if calibration is not None:
        tau = calibration.tau if images >= MIN_CODES else None
        return RadiusRule(calibration.radius, tau, calibration.beta, calibration)
    if tail is None or images < MIN_CODES:
        return RadiusRule(fallback)
    return RadiusRule(fallback, tail.tau(images))
