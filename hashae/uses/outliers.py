"""Pictures that do not belong: those whose code is rare, and those that the decoder cannot give back.

A code is rare if even its nearest codes are far away, or if its bits are seldom what they are here. A picture of a kind
that the encoder did not learn is decoded from its code into a picture of a kind that it did learn: the reconstruction
error is large. None of this needs labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hashae.codes import Codes, hamming, pack, unpack
from hashae.encoder import Encoder
from hashae.errors import ConfigError, EncoderFileError, ImageError
from hashae.images.decode import decode, large_images_allowed, read_bytes
from hashae.images.scan import FoundFile, Problem, scan

NEAREST = 10
"""Nearest codes whose mean distance is the rarity of a code."""

MIN_PICTURES = NEAREST + 2

BLOCK = 512

By = Literal["error", "rarity", "surprise"]


@dataclass(frozen=True)
class Outlier:
    """One picture and how little it belongs.

    Attributes
    ----------
    path
        Of the file; a number where pictures came as arrays.
    score
        What the ranking is by, 0 (belongs) to 1.
    error
        Mean squared error of the picture decoded from its code, in canonical form; None without a decoder.
    rarity
        Mean distance in bits to the nearest codes. Strangers that resemble one another are not rare.
    surprise
        Code length in bits, see :func:`surprise`.
    """

    path: str
    score: float
    error: float | None
    rarity: float
    surprise: float

    def to_dict(self) -> dict[str, Any]:
        """Return all values, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class OutlierReport:
    """All pictures, those that belong least first.

    Attributes
    ----------
    encoder
        Its name.
    by
        What the ranking is by.
    ranked
        All pictures that could be read.
    failed
        Files that could not be read, and why.
    """

    encoder: str
    by: By
    ranked: tuple[Outlier, ...]
    failed: tuple[Problem, ...]

    def to_dict(self, count: int | None = None) -> dict[str, Any]:
        """Return the first `count` pictures and what was counted, ready for JSON."""
        return {
            "encoder": self.encoder,
            "by": self.by,
            "pictures": len(self.ranked),
            "outliers": [one.to_dict() for one in self.ranked[:count]],
            "failures": [{"path": problem.path, "reason": problem.reason} for problem in self.failed],
        }


def rarity(codes: Codes, nearest: int = NEAREST) -> NDArray[np.float32]:
    """Return the mean distance in bits of each code to its nearest others, ``float32 (n,)``.

    Parameters
    ----------
    codes
        ``uint8 (n, bytes)``, more than `nearest`. All pairs are compared.
    nearest
        Others that count.
    """
    if len(codes) <= nearest:
        raise ConfigError(f"{len(codes)} codes given; the distance to {nearest} others needs {nearest + 1} or more")
    means = []
    for start in range(0, len(codes), BLOCK):
        distances = hamming(codes[start : start + BLOCK], codes)
        own = np.arange(len(distances))
        distances[own, start + own] = np.iinfo(distances.dtype).max
        near = np.partition(distances, nearest - 1, axis=1)[:, :nearest]
        means.append(near.mean(axis=1, dtype=np.float32))
    return np.concatenate(means)


def surprise(codes: Codes) -> NDArray[np.float32]:
    """Return for each code how long a message tells it to someone who knows how often each bit is on, ``float32 (n,)``.

    In bits: ``-sum(log2 p)`` over the bits, with `p` the share of the codes that have the same bit there (Shannon
    1948); one code of each kind is added, so that none is impossible. Bits count as independent.

    Parameters
    ----------
    codes
        ``uint8 (n, bytes)``.
    """
    ones = unpack(codes)
    share = (ones.sum(axis=0) + 1) / (len(ones) + 2)  # (bits,)
    lengths: NDArray[np.float32] = np.where(ones, -np.log2(share), -np.log2(1 - share)).sum(axis=1).astype(np.float32)
    return lengths


def code_errors(encoder: Encoder, images: NDArray[np.float32], codes: Codes) -> NDArray[np.float32]:
    """Return the mean squared error of images decoded from their codes, ``float32 (n,)``.

    Parameters
    ----------
    encoder
        With its decoder.
    images
        Canonical images ``float32 (n, channels, size, size)``.
    codes
        Their codes.
    """
    errors: NDArray[np.float32] = np.square(encoder.decode(codes) - images).mean(axis=(1, 2, 3))
    return errors


def scores(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return how little each picture belongs, ``float64 (n,)`` from 0 to 1: its rank; equal values share the middle.

    Parameters
    ----------
    values
        From :func:`code_errors`, :func:`rarity` or :func:`surprise`.
    """
    ordered = np.sort(values)
    middle = (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right") - 1) / 2
    ranks: NDArray[np.float64] = middle / max(len(values) - 1, 1)
    return ranks


def find_outliers(
    folders: Sequence[str | Path],
    encoder: Encoder,
    *,
    by: By = "error",
    limit: int = 20_000,
    seed: int = 0,
    workers: int = 2,
    on_progress: Callable[[int, int], None] | None = None,
) -> OutlierReport:
    """Rank the pictures of folders by how little they belong to the others.

    Parameters
    ----------
    folders
        Scanned with their sub-folders; all pictures together are one collection.
    encoder
        Its decoder is needed for ``error``.
    by
        ``error`` tells best with an encoder that learned from pictures like these, and tells little with another one,
        where ``surprise`` told more; ``rarity`` finds single strangers only. See docs/autoencoders.md.
    limit
        Most pictures; of more, a random sample is taken: all pairs of codes are compared.
    seed
        Of that sample.
    workers
        Decoding threads.
    on_progress
        Called with (done, total).

    Raises
    ------
    SourceError
        If a folder is missing.
    ConfigError
        If there are fewer than `MIN_PICTURES` readable pictures.
    EncoderFileError
        If a decoder is needed and missing.
    """
    if by == "error" and encoder.decoder_data is None:
        raise EncoderFileError(
            f"encoder {encoder.name!r} has no decoder to measure errors with; keep its .decoder.onnx file beside it, "
            "or rank by surprise"
        )
    problems: list[Problem] = []
    files = [file for folder in folders for file in scan(folder, problems.append)]
    if len(files) > limit:
        rows = np.sort(np.random.default_rng(seed).choice(len(files), limit, replace=False))
        files = [files[row] for row in rows]
    paths, codes, errors = [], [], []
    with large_images_allowed(), ThreadPoolExecutor(workers) as pool:
        loaded = pool.map(lambda file: _load(file, encoder), files)
        done = 0
        while block := list(islice(loaded, BLOCK)):
            done += len(block)
            problems += [one for one in block if isinstance(one, Problem)]
            good = [one for one in block if not isinstance(one, Problem)]
            if good:
                images = encoder.form(np.stack([thumb for _, thumb in good]))
                made = pack(encoder.canonical_logits(images) > 0)
                paths += [path for path, _ in good]
                codes.append(made)
                if by == "error":
                    errors.append(code_errors(encoder, images, made))
            if on_progress:
                on_progress(done, len(files))
    if len(paths) < MIN_PICTURES:
        first = f" (the first problem: {problems[0].path}: {problems[0].reason})" if problems else ""
        raise ConfigError(
            f"{len(paths)} readable pictures in {', '.join(map(str, folders))}{first}; telling which do not belong "
            f"needs {MIN_PICTURES} or more"
        )
    whole = np.concatenate(codes)
    rare, surprising = rarity(whole), surprise(whole)
    wrong = np.concatenate(errors) if errors else None
    measured = {"rarity": rare, "surprise": surprising}
    if wrong is not None:
        measured["error"] = wrong
    total = scores(measured[by])
    ranked = tuple(
        Outlier(
            paths[row],
            float(total[row]),
            None if wrong is None else float(wrong[row]),
            float(rare[row]),
            float(surprising[row]),
        )
        for row in np.lexsort((np.arange(len(total)), -total)).tolist()
    )
    return OutlierReport(encoder.name, by, ranked, tuple(problems))


def _load(file: FoundFile, encoder: Encoder) -> tuple[str, NDArray[np.uint8]] | Problem:
    try:
        image = decode(read_bytes(file.path), file.path, side=encoder.form.thumb, channels=encoder.form.channels)
    except ImageError as error:
        return Problem(file.path, file.relative, error.reason)
    return file.path, image.thumb
