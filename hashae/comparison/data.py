"""The images that hashes are compared on: a folder, arrays in an .npz file, or the digits of scikit-learn."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashae.errors import ConfigError, SourceError
from hashae.images.canonical import CanonicalForm
from hashae.training.dataset import TrainingImages, load_training_images

MIN_IMAGES = 10
"""Fewest images: some to learn from, some to ask with."""

TEST_SHARE = 0.2
"""Share of the images that are kept for asking where the data come in one part."""

ARRAY_NAMES = (("x", "y"), ("images", "labels"), ("data", "labels"), ("arr_0", "arr_1"))
"""Names of images and labels in an .npz file without parts of its own."""

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class ComparisonData:
    """Images to learn from and to search in, and other images to ask with.

    Attributes
    ----------
    name
        For people.
    form
        Canonical form of all encoders that are trained.
    train, test
        Images; nothing is ever learned from `test`.
    train_labels, test_labels
        Class of each image, an index into `classes`; None if there are none. Used for scoring only.
    classes
        Names of the classes.
    augment
        Kind of the corrupted views in training, see :class:`hashae.config.TrainConfig`.
    """

    name: str
    form: CanonicalForm
    train: TrainingImages
    test: TrainingImages
    train_labels: Labels | None
    test_labels: Labels | None
    classes: tuple[str, ...]
    augment: str

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all images and labels, shortened."""
        total = hashlib.sha256(self.form.name.encode())
        for part in (self.train.pixels, self.test.pixels, self.train_labels, self.test_labels):
            if part is not None:
                total.update(np.ascontiguousarray(part).tobytes())
        return total.hexdigest()[:16]


def load_data(
    source: str | Path,
    *,
    images: int = 10_000,
    queries: int = 1000,
    seed: int = 0,
    workers: int = 2,
    form: CanonicalForm | None = None,
) -> ComparisonData:
    """Load images to compare hashes on.

    Parameters
    ----------
    source
        ``digits`` (1,797 digits of 8 x 8 pixels, from scikit-learn), an ``.npz`` file, or a folder of pictures. A file
        holds ``x_train``, ``y_train``, ``x_test`` and ``y_test`` like that of MNIST, or ``x`` and ``y``; labels may be
        missing. In a folder, the sub-folders are the labels if there are at least two.
    images
        Most images to learn from and to search in; of more, a random sample is taken.
    queries
        Most images to ask with.
    seed
        Of the samples and of the division.
    workers
        Decoding threads.
    form
        Canonical form that the pictures of a folder are read for; None takes ``photo``.

    Raises
    ------
    SourceError
        If there is no such folder or file, or too few images in it.
    ConfigError
        If arrays are no images, or labels do not fit or name a single class.
    """
    if str(source) == "digits":
        return _digits(images, queries, seed)
    path = Path(source)
    if path.is_dir():
        return _folder(path, images, queries, seed, workers, form or CanonicalForm.preset("photo"))
    if path.suffix == ".npz" and path.is_file():
        return _arrays(path, images, queries, seed)
    raise SourceError(f"{source} cannot be compared on; expected a folder, an .npz file with images, or digits")


def _digits(images: int, queries: int, seed: int) -> ComparisonData:
    from sklearn.datasets import load_digits

    loaded = load_digits()
    pixels = np.rint(loaded.images * (255 / 16)).astype(np.uint8)
    return _divided("digits", pixels, loaded.target, images, queries, seed)


def _arrays(path: Path, images: int, queries: int, seed: int) -> ComparisonData:
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        if "allow_pickle" in str(error) and zipfile.is_zipfile(path):
            raise ConfigError(
                f"{path} holds lists of arrays, as images of different sizes make; expected one array, "
                "uint8 (n, side, side[, 3])"
            ) from error
        # numpy takes any other file for a pickle, and says how to load that unsafely.
        reason = str(error) if zipfile.is_zipfile(path) or isinstance(error, OSError) else "it is no .npz file"
        raise SourceError(f"{path} cannot be read as arrays ({reason})") from error
    if "x_train" in found and "x_test" in found:
        rng = np.random.default_rng(seed)
        parts = []
        for part, most in (("train", images), ("test", queries)):
            pixels, labels = _checked(path, found[f"x_{part}"], found.get(f"y_{part}"))
            rows = rng.permutation(len(pixels))[:most]  # in random order: files are often sorted by class
            parts.append((pixels[rows], None if labels is None else labels[rows]))
        (x_train, y_train), (x_test, y_test) = parts
        if y_train is None or y_test is None:
            y_train = y_test = None
        return _data(path.stem, x_train, x_test, y_train, y_test)
    for x, y in ARRAY_NAMES:
        if x in found:
            return _divided(path.stem, *_checked(path, found[x], found.get(y)), images, queries, seed)
    raise ConfigError(f"{path} holds {', '.join(sorted(found)) or 'nothing'}; expected x_train and x_test, or x")


def _checked(
    path: Path, pixels: NDArray[np.generic], labels: NDArray[np.generic] | None
) -> tuple[NDArray[np.uint8], Labels | None]:
    if pixels.dtype != np.uint8 or pixels.ndim not in {3, 4}:
        raise ConfigError(f"images in {path} are {pixels.dtype} {pixels.shape}; expected uint8 (n, side, side[, 3])")
    array = pixels.astype(np.uint8, copy=False)
    if array.ndim == 4 and array.shape[-1] in {1, 3}:
        array = np.ascontiguousarray(array.transpose(0, 3, 1, 2))
    if labels is None:
        return array, None
    flat = labels.reshape(-1)
    if len(flat) != len(array) or not np.issubdtype(flat.dtype, np.integer):
        raise ConfigError(
            f"labels in {path} are {labels.dtype} {labels.shape}; expected {len(array)} whole numbers, one an image"
        )
    return array, flat.astype(np.int64)


def _divided(
    name: str, pixels: NDArray[np.uint8], labels: Labels | None, images: int, queries: int, seed: int
) -> ComparisonData:
    train, test = _division(name, len(pixels), images, queries, seed)
    if labels is None:
        return _data(name, pixels[train], pixels[test], None, None)
    return _data(name, pixels[train], pixels[test], labels[train], labels[test])


def _division(name: str, total: int, images: int, queries: int, seed: int) -> tuple[Labels, Labels]:
    if total < MIN_IMAGES:
        raise SourceError(f"{name} holds {total} images; a comparison needs at least {MIN_IMAGES}")
    order = np.random.default_rng(seed).permutation(total)
    asked = max(min(round(total * TEST_SHARE), queries), 2)
    return order[asked : asked + images], order[:asked]  # in random order: files are often sorted by class


def _data(
    name: str,
    x_train: NDArray[np.uint8],
    x_test: NDArray[np.uint8],
    y_train: Labels | None,
    y_test: Labels | None,
) -> ComparisonData:
    train, test = TrainingImages.from_array(x_train), TrainingImages.from_array(x_test)
    if train.pixels.shape[1:] != test.pixels.shape[1:]:
        raise ConfigError(
            f"images of {name} are {x_train.shape} in x_train and {x_test.shape} in x_test; expected one size and "
            "number of channels"
        )
    channels, side = train.pixels.shape[1], train.pixels.shape[-1]
    classes: tuple[str, ...] = ()
    if y_train is not None and y_test is not None:
        values, places = np.unique(np.concatenate([y_train, y_test]), return_inverse=True)
        if len(values) < 2:
            raise ConfigError(
                f"all labels of {name} are {values[0]}; scoring needs at least two classes: leave them out"
            )
        classes = tuple(map(str, values))
        y_train, y_test = places[: len(y_train)].astype(np.int64), places[len(y_train) :].astype(np.int64)
    form = CanonicalForm(
        name="plain" if channels == 1 else "colour", size=side, thumb=side, channels=channels, trim=False, rank=False
    )
    return ComparisonData(name, form, train, test, y_train, y_test, classes, "digits" if channels == 1 else "tiny")


def _folder(path: Path, images: int, queries: int, seed: int, workers: int, form: CanonicalForm) -> ComparisonData:
    pictures = load_training_images(path, form, limit=images + queries, seed=seed, workers=workers)
    train, test = _division(str(path), len(pictures), images, queries, seed)
    names = [file.relative_to(path).parts[0] if file.parent != path else "" for file in pictures.paths]
    classes, places = np.unique(names, return_inverse=True)
    labelled = len(classes) > 1 and "" not in classes
    labels = places.astype(np.int64)
    return ComparisonData(
        path.resolve().name,
        form,
        pictures.take(train),
        pictures.take(test),
        labels[train] if labelled else None,
        labels[test] if labelled else None,
        tuple(map(str, classes)) if labelled else (),
        "photo",
    )
