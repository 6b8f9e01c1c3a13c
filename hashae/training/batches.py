"""Which images meet in a batch.

An image is told from the others of its batch. Most others are easy: a shoe is no motorbike. What decides whether a code
can be trusted is the image that looks most like it, so images with similar codes are put into one batch on purpose.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hashae.codes import Codes, hamming

POOL = 12
"""Nearest images among which the companions of an image are drawn."""

COPY_SHARE = 0.05
"""Share of the bits up to which two images may be copies of one picture: those are never put together."""

WARM_UP = 0.1
"""Share of the training before codes mean enough to draw by them."""

REFRESHES = 12
"""How often in a training the codes are computed again."""


class BatchRows:
    """Draws the rows of each batch; what it draws depends on the seed, the step and the codes.

    Parameters
    ----------
    images
        Number of training images.
    batch
        Images in a batch.
    group
        Images that are drawn together; 1 for purely random batches.
    seed
        Of every draw.
    encode
        Returns the codes ``uint8 (images, bytes)`` of all training images with the model as it is now.
    """

    def __init__(self, images: int, batch: int, group: int, seed: int, encode: Callable[[], Codes]) -> None:
        self._images, self._batch, self._seed, self._encode = images, min(batch, images), seed, encode
        self._group = min(group, self._batch) if images > 4 * POOL else 1
        self._period = -1
        self._near: NDArray[np.int64] | None = None

    def draw(self, step: int, progress: float) -> NDArray[np.int64]:
        """Return the rows of the batch of a step; `progress` of the training, 0 to 1."""
        period = int(progress * REFRESHES)
        if self._group > 1 and progress >= WARM_UP and period != self._period:
            self._near, self._period = nearest_others(self._encode()), period
        if self._near is None:
            return self._random(step, self._batch)
        rng = np.random.default_rng([self._seed, 2, step])
        anchors = self._random(step, max(self._batch // self._group, 1))
        pool = self._near[anchors]  # (anchors, POOL)
        chosen = rng.permuted(pool, axis=1)[:, : self._group - 1]
        rows: NDArray[np.int64] = np.unique(np.concatenate([anchors, chosen.reshape(-1)]))
        return rows

    def _random(self, step: int, size: int) -> NDArray[np.int64]:
        """Return rows without repeats; each image comes once before any comes again."""
        epoch, place = divmod(step, self._images // size)
        order = np.random.default_rng([self._seed, 0, epoch]).permutation(self._images)
        rows: NDArray[np.int64] = order[place * size : (place + 1) * size]
        return rows


def nearest_others(codes: Codes, block: int = 1024) -> NDArray[np.int64]:
    """Return for each code the rows of its `POOL` nearest others, suspected copies left out, ``int64 (n, POOL)``."""
    limit = COPY_SHARE * codes.shape[1] * 8
    found = []
    for start in range(0, len(codes), block):
        distances = hamming(codes[start : start + block], codes)
        distances[distances <= limit] = np.iinfo(np.int32).max
        found.append(np.argpartition(distances, POOL, axis=1)[:, :POOL])
    return np.concatenate(found)
