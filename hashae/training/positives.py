"""Which images of a batch count as views of one another.

Two corruptions of one image agree; so may two images that the model already finds alike. Once codes mean something, the
nearest neighbours of an image are, nearly always, of its own kind, and pulling them together makes kinds compact: what
a ranking by distance is measured by. Dwibedi et al. 2021 ("With a little help from my friends") and Van Gansbeke et al.
2020 (SCAN) use such neighbours; here a pair counts only if each is among the nearest of the other. No label is used.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

REFRESHES = 20
"""How often in a training neighbours are looked for again."""

REFERENCE = 4096
"""Images among which the rank of a neighbour is estimated."""


class NeighbourPositives:
    """Marks the pairs of a batch that are mutual neighbours; what it marks depends on the seed and the logits.

    Parameters
    ----------
    share
        Two images are neighbours if each is among this share of all images that is nearest to the other; 0 marks none.
    seed
        Of the sample by which ranks are estimated.
    encode
        Returns the logits ``(images, bits)`` of all clean training images with the model as it is now.
    warm_up
        Share of the training before neighbours mean enough, 0 to 1.
    """

    def __init__(
        self, share: float, seed: int, encode: Callable[[], NDArray[np.float32]], warm_up: float = 0.2
    ) -> None:
        self._share, self._seed, self._encode, self._warm_up = share, seed, encode, warm_up
        self._period = -1
        self._unit: NDArray[np.float32] | None = None
        self._limits: NDArray[np.float32]

    def pairs(self, rows: NDArray[np.int64], progress: float) -> NDArray[np.bool_] | None:
        """Return which pairs of the given images are neighbours, ``bool (n, n)``; None before the warm-up.

        Each image is its own neighbour.
        """
        if self._share == 0 or progress < self._warm_up:
            return None
        period = int(progress * REFRESHES)
        if self._unit is None or period != self._period:
            self._look_again()
            self._period = period
        assert self._unit is not None
        unit = self._unit[rows]
        limits = self._limits[rows]
        pairs: NDArray[np.bool_] = unit @ unit.T >= np.maximum(limits[:, None], limits[None, :])
        np.fill_diagonal(pairs, val=True)
        return pairs

    def _look_again(self) -> None:
        """Encode all images and find how similar a neighbour of each has to be."""
        logits = self._encode()
        unit = logits / np.maximum(np.linalg.norm(logits, axis=1, keepdims=True), 1e-12)
        sample = np.random.default_rng([self._seed, 3]).permutation(len(unit))[:REFERENCE]
        near = max(round(self._share * len(sample)), 1)
        limits = np.empty(len(unit), np.float32)
        for start in range(0, len(unit), 1024):
            similar = unit[start : start + 1024] @ unit[sample].T
            limits[start : start + 1024] = -np.partition(-similar, near, axis=1)[:, near]
        self._unit, self._limits = unit, limits
