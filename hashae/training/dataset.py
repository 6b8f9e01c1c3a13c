"""The pictures a model learns from, decoded once and kept in memory."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashae.errors import ConfigError, ImageError, SourceError
from hashae.images.canonical import CanonicalForm, area_resize
from hashae.images.decode import decode, large_images_allowed, read_bytes
from hashae.images.scan import FoundFile, Problem, scan

MIN_IMAGES = 2
"""Fewest pictures a code can be learned from: every image is told from the others of its batch."""

FEW_IMAGES = 200
"""Below this number near matches are uncertain, and a program should say so."""


@dataclass(frozen=True)
class TrainingImages:
    """Decoded pictures.

    Attributes
    ----------
    pixels
        ``uint8 (n, channels, side, side)``, each picture squeezed into a square.
    aspects
        ``float32 (n,)``: width divided by height of the original, so that a rotation can be made a true one.
    problems
        Files that were left out, and why.
    paths
        The file of each picture; empty if they came as arrays.
    """

    pixels: NDArray[np.uint8]
    aspects: NDArray[np.float32]
    problems: tuple[Problem, ...] = ()
    paths: tuple[Path, ...] = ()

    def __len__(self) -> int:
        return len(self.pixels)

    def take(self, rows: NDArray[np.int64]) -> TrainingImages:
        """Return some of the pictures, in the order of `rows`."""
        paths = tuple(self.paths[row] for row in rows) if self.paths else ()
        return TrainingImages(self.pixels[rows], self.aspects[rows], (), paths)

    def thumbs(self, form: CanonicalForm) -> NDArray[np.uint8]:
        """Return what an encoder of this form takes: ``uint8 (n, channels, thumb, thumb)``."""
        if self.pixels.shape[-1] == form.thumb:
            return self.pixels
        return np.rint(area_resize(self.pixels, form.thumb)).astype(np.uint8)

    @classmethod
    def from_array(cls, pixels: NDArray[np.uint8]) -> TrainingImages:
        """Take images that are already arrays, for example digits.

        Parameters
        ----------
        pixels
            ``uint8 (n, height, width)`` or ``(n, channels, height, width)``, square.

        Raises
        ------
        ConfigError
            If dtype or shape are others, or there are fewer than `MIN_IMAGES`.
        """
        array = pixels[:, None] if pixels.ndim == 3 else pixels
        if array.dtype != np.uint8 or array.ndim != 4 or array.shape[2] != array.shape[3]:
            raise ConfigError(
                f"images are {pixels.dtype} {pixels.shape}; expected uint8 (n, side, side) or (n, channels, side, side)"
            )
        if len(array) < MIN_IMAGES:
            raise ConfigError(f"{len(array)} images given; learning a code needs at least {MIN_IMAGES}")
        return cls(np.ascontiguousarray(array), np.ones(len(array), np.float32))


def load_training_images(
    folder: str | Path,
    form: CanonicalForm,
    *,
    limit: int = 10_000,
    seed: int = 0,
    workers: int = 2,
    on_progress: Callable[[int, int], None] | None = None,
) -> TrainingImages:
    """Decode the pictures of a folder for training.

    Parameters
    ----------
    folder
        Scanned with its sub-folders.
    form
        Canonical form of the model; pictures are kept at twice its thumb, so that crops stay sharp.
    limit
        Most pictures; of a larger folder a random sample is taken.
    seed
        Of that sample.
    workers
        Decoding threads.
    on_progress
        Called with (done, total) after each picture.

    Raises
    ------
    SourceError
        If the folder is missing or holds fewer than `MIN_IMAGES` readable pictures.
    """
    problems: list[Problem] = []
    files = list(scan(folder, problems.append))
    if len(files) > limit:
        chosen = np.random.default_rng(seed).choice(len(files), limit, replace=False)
        files = [files[i] for i in sorted(chosen)]
    side = 2 * form.thumb
    pixels = np.empty((len(files), form.channels, side, side), np.uint8)
    aspects = np.ones(len(files), np.float32)

    def load(row: int, file: FoundFile) -> Problem | None:
        try:
            image = decode(read_bytes(file.path), file.path, side=side, channels=form.channels)
        except ImageError as error:
            return Problem(file.path, file.relative, error.reason)
        pixels[row] = image.thumb
        aspects[row] = image.width / image.height
        return None

    good = np.zeros(len(files), bool)
    with large_images_allowed(), ThreadPoolExecutor(workers) as pool:
        for row, problem in enumerate(pool.map(load, range(len(files)), files)):
            if problem is None:
                good[row] = True
            else:
                problems.append(problem)
            if on_progress:
                on_progress(row + 1, len(files))
    if good.sum() < MIN_IMAGES:
        first = f" (the first problem: {problems[0].path}: {problems[0].reason})" if problems else ""
        raise SourceError(
            f"{folder} holds {int(good.sum())} readable pictures{first}; learning a code needs at least {MIN_IMAGES}: "
            "add pictures or use a trained encoder"
        )
    if not good.all():
        pixels, aspects = pixels[good], aspects[good]
    paths = tuple(Path(file.path) for file, fine in zip(files, good, strict=True) if fine)
    return TrainingImages(pixels, aspects, tuple(problems), paths)
