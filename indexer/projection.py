"""A map of a collection: codes as points of a plane."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hashae.codes import Codes, check_codes, unpack

BLOCK = 8192


def project(codes: Codes, *, sample: int = 20_000, seed: int = 0) -> NDArray[np.float32]:
    """Project codes onto the two directions along which they differ most (principal component analysis of the bits).

    Parameters
    ----------
    codes
        ``uint8 (n, bytes)``.
    sample
        Codes from which the directions are found.
    seed
        Of that sample.

    Returns
    -------
    float32 of shape (n, 2), each column in [0, 1]; 0.5 where all are equal
    """
    codes = check_codes(codes)
    n, bits = len(codes), codes.shape[1] * 8
    if not n:
        return np.empty((0, 2), np.float32)
    some = codes if n <= sample else codes[np.random.default_rng(seed).choice(n, sample, replace=False)]
    values = unpack(some).astype(np.float32)
    mean = values.mean(axis=0)
    _, directions = np.linalg.eigh(np.cov(values - mean, rowvar=False) if len(values) > 1 else np.eye(bits))
    plane = directions[:, :-3:-1].astype(np.float32)
    plane *= np.where(plane[np.abs(plane).argmax(axis=0), [0, 1]] < 0, -1, 1)  # a sign of its own would be chance
    points = np.concatenate(
        [(unpack(codes[start : start + BLOCK]) - mean) @ plane for start in range(0, n, BLOCK)]
    ).astype(np.float32)
    low, high = points.min(axis=0), points.max(axis=0)
    wide = high > low
    scaled: NDArray[np.float32] = np.where(wide, (points - low) / np.where(wide, high - low, 1), np.float32(0.5))
    return scaled.astype(np.float32)
