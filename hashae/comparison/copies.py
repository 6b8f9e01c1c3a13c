"""Edited copies of pictures, and how many of them a code still recognises."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from hashae.codes import Codes, hamming
from hashae.comparison.data import ComparisonData
from hashae.encoder import Encoder
from hashae.errors import ImageError
from hashae.images.decode import decode, large_images_allowed
from hashae.images.edits import EDITS, edited_bytes
from hashae.training.dataset import TrainingImages

ENLARGED = 128
"""Side in pixels, at least, at which pictures that came as arrays are edited."""

ORIGINALS = 60
"""Most test pictures that are edited, each in every way."""

FALSE_SHARE = 1e-4
"""Share of pairs of different pictures that the radius may take for copies."""


@dataclass(frozen=True)
class EditedCopies:
    """Copies of test pictures.

    Attributes
    ----------
    images
        ``m`` pictures, of the size of the test pictures.
    rows
        ``int64 (m,)``: the row of each copy's original among the test pictures.
    """

    images: TrainingImages
    rows: NDArray[np.int64]

    def recall(self, encoder: Encoder, originals: Codes) -> float:
        """Return the share of copies found, at a radius that different pictures seldom reach.

        Parameters
        ----------
        encoder
            Of any form with as many channels.
        originals
            Codes of all test pictures, ``uint8 (n, bits // 8)``.
        """
        distances = hamming(encoder.encode(self.images.thumbs(encoder.form)), originals)  # (m, n)
        own = distances[np.arange(len(self.rows)), self.rows]
        other = np.ones(distances.shape, bool)
        other[np.arange(len(self.rows)), self.rows] = False
        # The largest radius that at most this share of the other pictures lies within.
        counts = np.bincount(distances[other], minlength=encoder.bits + 1).cumsum()
        radius = int(np.searchsorted(counts, FALSE_SHARE * other.sum(), side="right")) - 1
        return float((own <= radius).mean())


def make_copies(data: ComparisonData, seed: int = 0) -> EditedCopies:
    """Edit test pictures in all the ways of :mod:`hashae.images.edits`.

    Pictures of a folder are read from their files. Those that came as arrays are enlarged to `ENLARGED` pixels first,
    and seen at their own size again after the edit: a blur of six pixels would leave nothing of 28.
    """
    rng = np.random.default_rng(seed)
    pixels, rows, side = [], [], data.test.pixels.shape[-1]
    with large_images_allowed():
        for row in range(min(ORIGINALS, len(data.test))):
            name = data.test.paths[row] if data.test.paths else f"picture {row}"
            picture = _picture(data, row)
            for edit in EDITS:
                try:
                    content = edited_bytes(picture, edit, ".jpg", rng)
                    copy = decode(content, name, side=side, channels=data.form.channels)
                except ImageError:
                    continue  # too small to be cut this far
                pixels.append(copy.thumb)
                rows.append(row)
    return EditedCopies(TrainingImages.from_array(np.stack(pixels)), np.array(rows, np.int64))


def _picture(data: ComparisonData, row: int) -> Image.Image:
    if data.test.paths:
        with Image.open(data.test.paths[row]) as file:
            return ImageOps.exif_transpose(file).convert("RGB")
    levels = data.test.pixels[row]  # (channels, side, side)
    small = Image.fromarray(levels[0] if len(levels) == 1 else levels.transpose(1, 2, 0)).convert("RGB")
    times = -(-ENLARGED // small.width)
    return small.resize((small.width * times, small.height * times), Image.Resampling.BICUBIC)
