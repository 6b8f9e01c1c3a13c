"""How far apart two codes may be and still mean one picture: measured when an encoder has been trained."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from hashae.codes import Codes, hamming, pack, unpack
from hashae.images.canonical import CanonicalForm
from hashae.models.base import HashModel
from hashae.training.dataset import TrainingImages
from hashae.training.views import ViewMaker

SAMPLE = 2000
"""Most training images that are compared with each other."""

TAIL = (2e-5, 2e-3)
"""Share of pairs between which the lower tail of distances is fitted: above what true copies in the folder make up."""


@dataclass(frozen=True)
class Radii:
    """Radii of an encoder and the health of its codes.

    Attributes
    ----------
    code
        For the whole code, in bits.
    key
        For the first 64 bits.
    health
        ``imbalance`` (mean of ``|2 * mean - 1|`` over bits), ``effective_bits`` and ``distinct`` (share of different
        codes), on the sample.
    """

    code: int
    key: int
    health: dict[str, float] = field(default_factory=dict)


def choose_radii(model: HashModel, images: TrainingImages, form: CanonicalForm, seed: int = 0) -> Radii:
    """Choose the largest radii that keep false pairs rare.

    A radius is the largest at which a collection of as many pictures as were compared would hold fewer than one false
    pair for a hundred pictures. That share of pairs is far below what a sample can count, and the sample may hold true
    copies, so the lower tail of the distances is extrapolated, see :func:`tail_radius`.

    Parameters
    ----------
    model
        Trained, in evaluation mode on the CPU.
    images
        Its training images; at most `SAMPLE` of them are used.
    form
        Its canonical form.
    seed
        Of the sample.
    """
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(len(images), min(SAMPLE, len(images)), replace=False))
    views = ViewMaker(images, form, strength=0)
    with torch.no_grad():
        parts = [
            model.code(model.encode(torch.from_numpy(views.clean(rows[i : i + 256])))) for i in range(0, len(rows), 256)
        ]
    codes = pack(torch.cat(parts).numpy())
    key_bytes = model.config.key_bits // 8
    share = 0.02 / len(rows)
    whole = tail_radius(pair_distances(codes), share, model.config.bits)
    key = tail_radius(pair_distances(codes[:, :key_bytes]), share, model.config.key_bits)
    return Radii(whole, key, health(codes))


def pair_distances(codes: Codes) -> NDArray[np.int32]:
    """Return the Hamming distances of all pairs ``i < j``, ``int32 (n * (n - 1) / 2,)``."""
    return hamming(codes, codes)[np.triu_indices(len(codes), 1)]


def tail_radius(distances: NDArray[np.int32], share: float, bits: int) -> int:
    """Return the largest radius within which at most `share` of the pairs are expected.

    The logarithm of the cumulative share is close to linear in the distance far below the mean. The line is fitted
    between the shares `TAIL`, where enough pairs are seen and true copies do not weigh, and extended to `share`.
    With few pairs, the smallest distance seen stands in, at most an eighth of the bits.

    Parameters
    ----------
    distances
        Distances of pairs of different pictures, in bits.
    share
        Expected share of false pairs, in ]0, 1[.
    bits
        Code length.
    """
    if not len(distances):
        return 0
    counts = np.bincount(distances)
    cumulative = np.cumsum(counts) / len(distances)
    inside = np.flatnonzero((cumulative >= TAIL[0]) & (cumulative <= TAIL[1]))
    if len(inside) < 3:
        return min(max(int(distances.min()) - 1, 0), bits // 8)
    slope, intercept = np.polyfit(inside, np.log(cumulative[inside]), 1)
    return max(math.floor((math.log(share) - intercept) / slope), 0)


def health(codes: Codes) -> dict[str, float]:
    """Return balance, effective bits and share of distinct codes of a batch of codes.

    Effective bits are ``mean * (bits - mean) / variance`` of the distances between different images: a random code of
    so many independent bits would have the same spread.
    """
    bits = codes.shape[1] * 8
    distances = pair_distances(codes).astype(np.float64)
    mean, variance = float(distances.mean()), float(distances.var())
    means = unpack(codes).mean(axis=0)
    return {
        "imbalance": float(np.abs(2 * means - 1).mean()),
        "effective_bits": mean * (bits - mean) / variance if variance else 0.0,
        "distinct": len(np.unique(codes, axis=0)) / len(codes),
    }
