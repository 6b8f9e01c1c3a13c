"""Hashes that need no network, to compare with: every one is the sign of a linear map of centred data.

========== =========================================================================================================
name       directions
========== =========================================================================================================
``lsh``    random, from a normal distribution (Charikar 2002)
``pca``    leading principal components
``pca-rr`` leading principal components, rotated at random: variance is shared by the bits (Jégou et al. 2010)
``itq``    leading principal components, rotated so that rounding changes least (Gong and Lazebnik 2011)
========== =========================================================================================================
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hashae.codes import Codes, check_bits, pack
from hashae.errors import ConfigError, UnknownName

Floats = NDArray[np.float32]

ITQ_ROUNDS = 50
"""Rounds of the alternation, as in the paper."""

BLOCK = 8192
"""Rows that are encoded at a time."""


@dataclass(frozen=True)
class LinearHash:
    """A fitted hash: bit ``i`` is ``(x - mean) @ directions[:, i] > 0``.

    Attributes
    ----------
    mean
        ``float32 (dimensions,)``.
    directions
        ``float32 (dimensions, bits)``.
    """

    mean: Floats
    directions: Floats

    def encode(self, x: NDArray[np.generic]) -> Codes:
        """Return codes ``uint8 (n, bits // 8)`` of data ``(n, ...)`` of any number type, flattened.

        Raises
        ------
        ConfigError
            If the data have another number of dimensions than those it was fitted to.
        """
        flat = x.reshape(len(x), math.prod(x.shape[1:]))
        if flat.shape[1] != len(self.mean):
            raise ConfigError(f"data have {flat.shape[1]} values each; this hash was fitted to {len(self.mean)}")
        offset = self.mean @ self.directions
        parts = [
            pack(flat[start : start + BLOCK].astype(np.float32) @ self.directions > offset)
            for start in range(0, len(flat), BLOCK)
        ]
        return np.concatenate(parts) if parts else np.empty((0, self.directions.shape[1] // 8), np.uint8)


@dataclass(frozen=True)
class Baseline:
    """An unfitted hash.

    Attributes
    ----------
    name
        One of `BASELINES`.
    bits
        Code length.
    seed
        Of random directions and rotations.
    """

    name: str
    bits: int
    seed: int = 0

    def __post_init__(self) -> None:
        if self.name not in BASELINES:
            raise UnknownName(f"no baseline is called {self.name!r}; known ones are {', '.join(BASELINES)}")
        check_bits(self.bits)

    def fit(self, x: NDArray[np.generic]) -> LinearHash:
        """Fit the hash to data ``(n, ...)`` of any number type, flattened; labels are never used.

        Raises
        ------
        ConfigError
            If the data have fewer rows or dimensions than the code has bits, but for ``lsh``.
        """
        flat = x.reshape(len(x), -1).astype(np.float32)
        mean = flat.mean(axis=0, dtype=np.float64).astype(np.float32)
        if self.name != "lsh" and min(flat.shape) < self.bits:
            raise ConfigError(
                f"data are {flat.shape[0]} rows of {flat.shape[1]} values; {self.name} at {self.bits} bits expects at "
                "least as many of both: use fewer bits, or lsh"
            )
        flat -= mean
        return LinearHash(mean, BASELINES[self.name](flat, self.bits, np.random.default_rng(self.seed)))


def create_baseline(name: str, bits: int, seed: int = 0) -> Baseline:
    """Return an unfitted hash.

    Parameters
    ----------
    name
        ``lsh``, ``pca``, ``pca-rr`` or ``itq``.
    bits
        Code length.
    seed
        Of its random numbers.

    Raises
    ------
    UnknownName
        If there is no such hash.
    ConfigError
        If `bits` is no legal code length.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(100, 20))
    >>> create_baseline("itq", bits=8).fit(x).encode(x).shape
    (100, 1)
    """
    return Baseline(name, bits, seed)


def _random(x: Floats, bits: int, rng: np.random.Generator) -> Floats:
    return rng.standard_normal((x.shape[1], bits)).astype(np.float32)


def _principal(x: Floats, bits: int, rng: np.random.Generator) -> Floats:
    """Return the leading principal components of centred data, ``float32 (dimensions, bits)``."""
    from sklearn.utils.extmath import randomized_svd

    # Seven rounds of power iteration: exact for the purpose, and a wide image needs no 3,072 eigenvectors.
    _, _, components = randomized_svd(x, bits, n_iter=7, random_state=int(rng.integers(2**31)))
    return np.ascontiguousarray(components.T, np.float32)


def _rotated(x: Floats, bits: int, rng: np.random.Generator) -> Floats:
    return _principal(x, bits, rng) @ _rotation(bits, rng)


def _itq(x: Floats, bits: int, rng: np.random.Generator) -> Floats:
    """Return PCA followed by the rotation of iterative quantisation.

    With ``V`` the projected data, ``B = sign(V R)`` and ``R = argmin ||B - V R||``, the solution of an orthogonal
    Procrustes problem by the singular value decomposition of ``B^T V``, are found in turn (section 2.2 of the paper).
    """
    components = _principal(x, bits, rng)
    projected = x @ components  # (n, bits)
    rotation = _rotation(bits, rng)
    for _ in range(ITQ_ROUNDS):
        signs = np.where(projected @ rotation > 0, np.float32(1), np.float32(-1))
        left, _, right = np.linalg.svd(signs.T @ projected)
        rotation = (left @ right).T
    return components @ rotation


def _rotation(bits: int, rng: np.random.Generator) -> Floats:
    """Return a random orthogonal matrix, ``float32 (bits, bits)``."""
    rotation: Floats = np.linalg.qr(rng.standard_normal((bits, bits)))[0].astype(np.float32)
    return rotation


BASELINES: dict[str, Callable[[Floats, int, np.random.Generator], Floats]] = {
    "lsh": _random,
    "pca": _principal,
    "pca-rr": _rotated,
    "itq": _itq,
}
"""Name -> how its directions are found from centred data."""
