"""How like a restored picture is to the original: peak signal-to-noise ratio and structural similarity."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hashae.errors import ConfigError

WINDOW = 7
"""Side of the window of the structural similarity."""

C1, C2 = 0.01**2, 0.03**2
"""Constants of the structural similarity for values in [0, 1] (Wang et al. 2004, section III B)."""


def psnr(image: NDArray[np.float32], original: NDArray[np.float32]) -> float:
    """Return the peak signal-to-noise ratio in decibels, ``10 log10(1 / mean squared error)``; infinite if equal.

    Parameters
    ----------
    image, original
        Of one shape, in [0, 1].
    """
    error = float(np.square(image.astype(np.float64) - original).mean())
    return math.inf if error == 0 else 10 * math.log10(1 / error)


def ssim(image: NDArray[np.float32], original: NDArray[np.float32]) -> float:
    """Return the mean structural similarity (Wang et al. 2004, equation 13), 1 for equal pictures.

    Windows are uniform, 7 x 7 pixels, with unbiased variances; channels count alike.

    Parameters
    ----------
    image, original
        ``(channels, height, width)`` in [0, 1], at least 7 x 7 pixels.

    Raises
    ------
    ConfigError
        If the pictures are smaller, or of different shapes.
    """
    if image.shape != original.shape or min(image.shape[-2:]) < WINDOW:
        raise ConfigError(
            f"pictures are {image.shape} and {original.shape}; expected one shape, {WINDOW} x {WINDOW} pixels or more"
        )
    x, y = image.astype(np.float64), original.astype(np.float64)
    unbiased = WINDOW**2 / (WINDOW**2 - 1)
    mean_x, mean_y = _means(x), _means(y)
    var_x = unbiased * (_means(x * x) - mean_x**2)
    var_y = unbiased * (_means(y * y) - mean_y**2)
    both = unbiased * (_means(x * y) - mean_x * mean_y)
    likeness = (2 * mean_x * mean_y + C1) * (2 * both + C2) / ((mean_x**2 + mean_y**2 + C1) * (var_x + var_y + C2))
    return float(likeness.mean())


def _means(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of each whole window, ``(channels, height - 6, width - 6)``."""
    windows = np.lib.stride_tricks.sliding_window_view(values, (WINDOW, WINDOW), axis=(-2, -1))
    means: NDArray[np.float64] = windows.mean(axis=(-2, -1))
    return means
