"""The pictures that something is shown of: files, folders, an .npz file or the digits of scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashae.errors import ConfigError, ImageError, MissingDependency, SourceError
from hashae.images.canonical import CanonicalForm, area_resize
from hashae.images.decode import decode, large_images_allowed, read_bytes
from hashae.images.scan import scan

LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of red, green and blue (ITU-R BT.601), as Pillow's."""


@dataclass(frozen=True)
class Pictures:
    """Pictures as a model sees them.

    Attributes
    ----------
    images
        Canonical images ``float32 (n, channels, size, size)`` in [0, 1].
    labels
        ``int64 (n,)``, an index into `classes`; None if there are none.
    classes
        Names of the classes.
    names
        File names, or numbers.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.int64] | None
    classes: tuple[str, ...]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    def need(self, least: int, what: str) -> None:
        """Refuse too few pictures; `what` they are needed for is said in the sentence.

        Raises
        ------
        ConfigError
            If there are fewer than `least`.
        """
        if len(self) < least:
            raise ConfigError(f"{len(self)} picture{'' if len(self) == 1 else 's'} given; {what} needs {least} or more")


def load_pictures(
    sources: Sequence[str | Path], form: CanonicalForm, *, limit: int = 600, seed: int = 0, workers: int = 2
) -> Pictures:
    """Load pictures in the canonical form of a model.

    Parameters
    ----------
    sources
        Files and folders of pictures, in this order; or one ``.npz`` file, or ``digits``, of which the test images are
        taken. The sub-folders of a folder are its labels if there are at least two; of several folders, each is one.
    form
        Canonical form.
    limit
        Most pictures; of more, a random sample is taken.
    seed
        Of that sample.
    workers
        Decoding threads.

    Raises
    ------
    SourceError
        If there is no picture.
    ImageError
        If a file that was named cannot be read; in folders such files are left out.
    """
    if len(sources) == 1 and (str(sources[0]) == "digits" or Path(sources[0]).suffix == ".npz"):
        return _arrays(sources[0], form, limit, seed)
    listed = _listed(sources)
    if len(listed) > limit:
        rows = np.sort(np.random.default_rng(seed).choice(len(listed), limit, replace=False))
        listed = [listed[row] for row in rows]

    def thumb(item: tuple[Path, str, bool]) -> NDArray[np.uint8] | None:
        path, _, named = item
        try:
            return decode(read_bytes(path), path, side=form.thumb, channels=form.channels).thumb
        except ImageError:
            if named:
                raise
            return None

    with large_images_allowed(), ThreadPoolExecutor(workers) as pool:
        found = [(item, one) for item, one in zip(listed, pool.map(thumb, listed), strict=True) if one is not None]
    if not found:
        raise SourceError(f"{', '.join(map(str, sources))} holds no readable pictures; expected at least one")
    classes, places = np.unique([label for (_, label, _), _ in found], return_inverse=True)
    labelled = len(classes) > 1 and "" not in classes
    return Pictures(
        form(np.stack([one for _, one in found])),
        places.astype(np.int64) if labelled else None,
        tuple(map(str, classes)) if labelled else (),
        tuple(path.name for (path, _, _), _ in found),
    )


def _listed(sources: Sequence[str | Path]) -> list[tuple[Path, str, bool]]:
    """Return path, label and whether it was named itself, of every picture."""
    listed = []
    folders = sum(Path(source).is_dir() for source in sources)
    for source in sources:
        path = Path(source)
        if path.is_file():
            listed.append((path, "", True))
            continue
        for file in scan(path):
            below = Path(file.relative).parts
            label = path.resolve().name if folders > 1 else (below[0] if len(below) > 1 else "")
            listed.append((Path(file.path), label, False))
    return listed


def _arrays(source: str | Path, form: CanonicalForm, limit: int, seed: int) -> Pictures:
    try:
        from hashae.comparison.data import load_data
    except ModuleNotFoundError as error:
        raise MissingDependency(f"reading {source} ({error.name} is missing)", "train") from error
    data = load_data(source, images=2, queries=limit, seed=seed)
    thumbs = fit_form(data.test.pixels, form)
    return Pictures(form(thumbs), data.test_labels, data.classes, tuple(map(str, range(len(thumbs)))))


def fit_form(pixels: NDArray[np.uint8], form: CanonicalForm) -> NDArray[np.uint8]:
    """Return images ``uint8 (n, channels, side, side)`` as thumbs of a form: side and channels changed as needed."""
    if pixels.shape[1] != form.channels:
        if form.channels == 3:
            pixels = pixels.repeat(3, axis=1)
        else:
            pixels = np.rint(np.tensordot(pixels, LUMINANCE, (1, 0)))[:, None].astype(np.uint8)
    if pixels.shape[-1] == form.thumb:
        return pixels
    return np.rint(area_resize(pixels, form.thumb)).astype(np.uint8)
