"""Labelled images for retrieval benchmarks: MNIST and CIFAR-10, split into database and queries.

The database is also what is trained on, without its labels. Queries are as many of each class, drawn with a seed. The
rows of the database are in a random order: where a measure settles ties by row, a database sorted by class would help.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from data import cache_folder, data_folder
from numpy.typing import NDArray
from PIL import Image

DATA = ("mnist", "cifar10")
CLASSES = 10


@dataclass(frozen=True)
class Labelled:
    """Images and classes.

    Attributes
    ----------
    title
        What it is, said beside every number.
    database, queries
        ``uint8 (n, channels, side, side)``.
    database_labels, query_labels
        ``int64 (n,)``.
    """

    title: str
    database: NDArray[np.uint8]
    queries: NDArray[np.uint8]
    database_labels: NDArray[np.int64]
    query_labels: NDArray[np.int64]


def load_labelled(name: str, queries: int = 1000, *, seed: int = 0, tuning: bool = False) -> Labelled:
    """Load a data set and draw queries.

    Parameters
    ----------
    name
        ``mnist`` or ``cifar10``.
    queries
        How many, a tenth of each class.
    seed
        Of the queries and of the order of the database.
    tuning
        Draw queries from the training images, which are then missing from the database: for choosing settings without
        a look at the test images.
    """
    train, labels, test, test_labels = _mnist() if name == "mnist" else _cifar10()
    rng = np.random.default_rng(seed)
    source, source_labels = (train, labels) if tuning else (test, test_labels)
    if queries % CLASSES or not 0 < queries // CLASSES <= np.bincount(source_labels).min():
        raise SystemExit(f"--queries is {queries}; expected a multiple of {CLASSES} that the test images allow")
    chosen = np.concatenate(
        [rng.permutation(np.flatnonzero(source_labels == label))[: queries // CLASSES] for label in range(CLASSES)]
    )
    kept = rng.permutation(np.setdiff1d(np.arange(len(train)), chosen) if tuning else np.arange(len(train)))
    title = {"mnist": "MNIST", "cifar10": "CIFAR-10 (re-encoded JPEG, not the original pixels)"}[name]
    if tuning:
        title += ", queries held out of the training images"
    return Labelled(title, train[kept], source[chosen], labels[kept], source_labels[chosen])


def _mnist() -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.uint8], NDArray[np.int64]]:
    with np.load(_existing("mnist.npz")) as arrays:
        x, y = arrays["x_train"], arrays["y_train"]
        x_test, y_test = arrays["x_test"], arrays["y_test"]
    return x[:, None], y.astype(np.int64), x_test[:, None], y_test.astype(np.int64)


def _cifar10() -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.uint8], NDArray[np.int64]]:
    """Decode the JPEG files once, and keep the pixels in the cache folder."""
    archive = _existing("cifar10.zip")
    about = archive.stat()
    kept = cache_folder() / f"cifar10-{about.st_size}-{int(about.st_mtime)}.npz"
    if not kept.is_file():
        print(f"decoding {archive.name} into {kept}", file=sys.stderr)
        _decode_cifar10(archive, kept)
    with np.load(kept) as arrays:
        return arrays["x_train"], arrays["y_train"], arrays["x_test"], arrays["y_test"]


def _decode_cifar10(archive: Path, target: Path) -> None:
    import zipfile
    from io import BytesIO

    parts: dict[str, tuple[list[NDArray[np.uint8]], list[str]]] = {"train": ([], []), "test": ([], [])}
    with zipfile.ZipFile(archive) as opened:
        for name in sorted(opened.namelist()):
            if not name.endswith(".jpg"):
                continue
            split, label = Path(name).parts[-3:-1]
            with Image.open(BytesIO(opened.read(name))) as picture:
                pixels = np.asarray(picture.convert("RGB"), np.uint8).transpose(2, 0, 1)
            parts[split][0].append(pixels)
            parts[split][1].append(label)
    names = sorted(set(parts["train"][1]))
    arrays = {}
    for split, (images, labels) in parts.items():
        arrays[f"x_{split}"] = np.stack(images)
        arrays[f"y_{split}"] = np.array([names.index(label) for label in labels], np.int64)
    unfinished = target.with_suffix(".unfinished.npz")
    np.savez(unfinished, **arrays)
    unfinished.rename(target)


def _existing(name: str) -> Path:
    path = data_folder() / name
    if not path.is_file():
        raise SystemExit(f"{path} is missing; expected the data sets that are named in its README")
    return path
