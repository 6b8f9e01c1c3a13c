"""How far apart two codes may be and still mean one picture: measured when an encoder has been trained."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from hashae.calibration import (
    FALSE_PAIRS,
    MIN_CODES,
    SAMPLE,
    Tail,
    different_pairs,
    fit_tail,
    health,
    pair_distances,
    tail_radius,
)
from hashae.codes import Codes, pack
from hashae.images.canonical import CanonicalForm
from hashae.models.base import HashModel
from hashae.training.dataset import TrainingImages
from hashae.training.views import ViewMaker


@dataclass(frozen=True)
class Radii:
    """Radii of an encoder and the health of its codes.

    Attributes
    ----------
    code
        For the whole code, in bits.
    key
        For the first 64 bits.
    tail
        From which a collection gives every image its own radius; None if there were too few images to fit it.
    health
        ``imbalance`` (mean of ``|2 * mean - 1|`` over bits), ``effective_bits`` and ``distinct`` (share of different
        codes), on the sample.
    """

    code: int
    key: int
    tail: Tail | None = None
    health: dict[str, float] = field(default_factory=dict)


def choose_radii(model: HashModel, images: TrainingImages, form: CanonicalForm, seed: int = 0) -> Radii:
    """Choose the largest radii that keep false pairs rare.

    These are the radii to use where a collection is too small to give every image its own, and the ones a person may
    start from: see :mod:`hashae.calibration`.

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
    pairs = different_pairs(codes)
    return Radii(
        code=_radius(codes),
        key=_radius(np.ascontiguousarray(codes[:, : model.config.key_bits // 8])),
        tail=fit_tail(pairs.scores) if pairs is not None and len(pairs.scores) > MIN_CODES else None,
        health=health(codes),
    )


def _radius(codes: Codes) -> int:
    """Return one radius for all: that of a collection as large as the sample.

    A smaller one could take a larger radius, were its pictures as different as these. They seldom are: sixty shirts
    photographed on one table are a common small folder, and a wrong pair is worse than a missed one.
    """
    pairs = different_pairs(codes)
    distances = pair_distances(codes) if pairs is None else pairs.distances
    return tail_radius(distances, 2 * FALSE_PAIRS / max(len(codes) - 1, 1), codes.shape[1] * 8)
