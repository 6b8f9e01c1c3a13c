"""Images whose content lies in the variance of their pixels, not in the mean: a task that copying cannot solve.

Each pixel is ``1/2 + s * e`` with `e` standard normal, fresh for each pixel, and a deviation `s` that grows with the
ink of a digit. No linear map of such an image says anything about the digit: the mean is the same everywhere. Whoever
cleans it of added noise of variance v_n has to know the variance v_x of each pixel, because the best answer keeps the
share ``v_x / (v_x + v_n) = sigmoid(log(v_x / v_n))`` of its deviation from the mean.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LOW, HIGH = 0.02, 0.2
"""Standard deviation of a pixel without ink, and of one full of it; pixels are in [0, 1]."""


def deviations(images: NDArray[np.uint8], low: float = LOW, high: float = HIGH) -> NDArray[np.float32]:
    """Return the standard deviation of each pixel, ``float32 (n, side, side)``, of digits ``uint8 (n, side, side)``."""
    return (low + (high - low) * (images.astype(np.float32) / 255)).astype(np.float32)


def variance_images(
    images: NDArray[np.uint8], rng: np.random.Generator, low: float = LOW, high: float = HIGH
) -> NDArray[np.uint8]:
    """Return images that hold the given ones in the variance of their pixels.

    Parameters
    ----------
    images
        ``uint8 (n, side, side)``, light on dark.
    rng
        Source of the noise.
    low, high
        Standard deviation where there is no ink, and where it is full.

    Returns
    -------
    uint8 of shape (n, side, side), mean 127.5; three deviations are within range for the default `high`
    """
    s = deviations(images, low, high)
    pixels = 255 * (0.5 + s * rng.standard_normal(s.shape, dtype=np.float32))
    levels: NDArray[np.uint8] = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    return levels


def best_gate(deviation: NDArray[np.float32], noise: float) -> NDArray[np.float32]:
    """Return the share of a pixel's deviation from the mean that the best denoiser keeps.

    Parameters
    ----------
    deviation
        Standard deviation of the clean pixel, any shape.
    noise
        Standard deviation of the noise.

    Returns
    -------
    float32 of the same shape: ``sigmoid(log(v_x / v_n))``, v being the squares
    """
    odds = np.log(np.square(deviation.astype(np.float64)) / noise**2)
    return (1 / (1 + np.exp(-odds))).astype(np.float32)
