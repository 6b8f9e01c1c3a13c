"""How much there is to see in a picture: what tells a photograph from a blank page or a black frame.

A picture without detail has a code like any other, but nothing of the picture is in it: ranks blow rounding and noise
up until they decide the bits. Two blank pages then share a code, or differ in half of it, and neither means anything.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

FEATURELESS = 1.5
"""Detail, in grey levels of 255, below which a picture is called featureless.

Thumbs are whole grey levels and ranks are smoothed over two levels to either side, so fainter structure is not told
from rounding, noise and compression. Blank pages, black frames and straight gradients, with noise and as JPEG files,
stay below 0.5 (see the tests); a night with twelve lamps has 2.7, a drawing of three thin strokes 3.2, the faintest of
2,200 photographs 6.0.
"""

DEGREE = 4
"""Of the smooth surface that is no detail: uneven light, and lenses, which darken with the fourth power of a cosine."""

_LOW = np.add.outer(np.arange(DEGREE + 1), np.arange(DEGREE + 1)) <= DEGREE
"""Which products of two curves are surfaces of degree `DEGREE` at most."""

_SPREAD = 0.6745
"""Median of the absolute value of a standard normal variable."""


def detail(levels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how much structure there is in each image, in grey levels.

    A smooth surface, a polynomial of degree `DEGREE` in both coordinates, is taken out; of the rest ``r`` the structure
    is the root of the largest of three estimates of its variance without noise: the mean product of horizontal
    neighbours, that of vertical neighbours (noise of single pixels has none, a line or a shape has), and ``mean(r**2) -
    2 * s**2`` with the noise ``s`` from the median absolute difference of neighbours (sparse structure, such as a few
    lights at night, leaves that median alone). A colour image has the detail of its richest channel.

    Parameters
    ----------
    levels
        ``float32 (n, channels, size, size)`` in [0, 255]: what the encoder sees, before ranks; see
        :meth:`hashae.images.canonical.CanonicalForm.levels`.

    Returns
    -------
    float32 of shape (n,), 0 for a uniform image; below `FEATURELESS` there is nothing to go by
    """
    n, channels, size, _ = levels.shape
    planes = levels.reshape(n * channels, size, size)
    curves = _curves(size)  # (size, DEGREE + 1)
    # Products of orthonormal curves are an orthonormal basis of surfaces; those of too high a degree are left out.
    weights = (curves.T @ planes @ curves) * _LOW
    rest = planes - curves @ weights @ curves.T
    across, down = rest[:, :, 1:], rest[:, 1:]
    horizontal = np.einsum("nij,nij->n", across, rest[:, :, :-1]) / (size * (size - 1))
    vertical = np.einsum("nij,nij->n", down, rest[:, :-1]) / (size * (size - 1))
    variance = np.einsum("nij,nij->n", rest, rest) / size**2
    # Every second pixel of both directions: the median of so many is steady enough, and half the work.
    steps = [(across - rest[:, :, :-1])[:, ::2], (down - rest[:, :-1])[:, ::2]]
    apart = np.abs(np.concatenate([step.reshape(len(rest), step.shape[1] * step.shape[2]) for step in steps], axis=1))
    noise = (_median(apart) / _SPREAD) ** 2 / 2
    estimates = np.stack([horizontal, vertical, variance - 2 * noise]).max(axis=0)
    found: NDArray[np.float32] = np.sqrt(np.maximum(estimates, 0)).reshape(n, channels).max(axis=1).astype(np.float32)
    return found


def _median(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the median of each row, as :func:`numpy.median` does, which loads masked arrays to look for NaN."""
    middle = [(values.shape[1] - 1) // 2, values.shape[1] // 2]
    found: NDArray[np.float32] = np.partition(values, middle, axis=1)[:, middle].mean(axis=1)
    return found


@cache
def _curves(size: int) -> NDArray[np.float32]:
    """Return an orthonormal basis of the polynomials up to `DEGREE` on a line: ``float32 (size, DEGREE + 1)``."""
    powers = np.linspace(-1, 1, size)[:, None] ** np.arange(DEGREE + 1)
    basis: NDArray[np.float32] = np.linalg.qr(powers)[0].astype(np.float32)
    return basis
