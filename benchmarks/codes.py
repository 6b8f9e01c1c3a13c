"""Codes to search in: random, clustered, and real ones, with queries that have answers.

Real codes are those of all pictures of cifar10.zip and mnist.npz by the shipped encoder, tiled with flipped bits to the
size that is asked for. They are made once and kept in the cache.
"""

from __future__ import annotations

import hashlib
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
from data import cache_folder, data_folder, encoder_file, unpacked
from numpy.typing import NDArray

Codes = NDArray[np.uint8]
KINDS = ("random", "clustered", "real")


def make_codes(kind: str, n: int, bits: int, seed: int = 0) -> Codes:
    """Return codes of one kind.

    Parameters
    ----------
    kind
        ``random``: all bits balanced and independent. ``clustered``: n/50 centres, Poisson(4) flips a code, and one
        code in ten is a copy of another. ``real``: codes of photographs and digits, each further round over them with
        Poisson(3) flips.
    n
        Number of codes.
    bits
        Code length; real codes are cut to their first bits.
    seed
        Of everything random.

    Returns
    -------
    uint8 of shape (n, bits // 8)
    """
    rng = np.random.default_rng([seed, n, bits, KINDS.index(kind)])
    if kind == "random":
        return rng.integers(0, 256, (n, bits // 8), dtype=np.uint8)
    if kind == "clustered":
        centres = rng.integers(0, 256, (max(1, n // 50), bits // 8), dtype=np.uint8)
        codes = centres[rng.integers(0, len(centres), n)]
        flip_some(codes, rng.poisson(4, n), rng)
        copies = rng.choice(n, n // 10, replace=False)
        codes[copies] = codes[rng.integers(0, n, len(copies))]
        return codes
    pictures = real_codes()
    if bits > pictures.shape[1] * 8:
        raise SystemExit(f"the encoder makes {pictures.shape[1] * 8} bits; expected at least {bits}")
    rows = np.arange(n)
    codes = np.ascontiguousarray(pictures[rows % len(pictures), : bits // 8])
    flip_some(codes, np.where(rows < len(pictures), 0, rng.poisson(3, n)), rng)
    return codes


def make_queries(codes: Codes, count: int, seed: int = 1) -> Codes:
    """Return queries: half stored codes with at most two flipped bits, half random."""
    rng = np.random.default_rng([seed, len(codes)])
    near = codes[rng.integers(0, len(codes), count - count // 2)]
    flip_some(near, rng.integers(0, 3, len(near)), rng)
    return np.concatenate([near, rng.integers(0, 256, (count // 2, codes.shape[1]), dtype=np.uint8)])


def flip_some(codes: Codes, times: NDArray[np.int64], rng: np.random.Generator) -> None:
    """Flip so many random bits of each code, in place; one bit may be hit twice."""
    for round_ in range(int(times.max(initial=0))):
        rows = np.flatnonzero(times > round_)
        at = rng.integers(0, codes.shape[1] * 8, len(rows))
        codes[rows, at // 8] ^= (1 << (7 - at % 8)).astype(np.uint8)


def real_codes() -> Codes:
    """Return the codes of CIFAR-10 and MNIST by the shipped encoder, made once: ``uint8 (130000, bytes)``."""
    weights = encoder_file(None)
    kept = cache_folder() / f"codes-{hashlib.sha256(weights.read_bytes()).hexdigest()[:16]}.npy"
    if not kept.exists():
        print("encoding CIFAR-10 and MNIST, once", file=sys.stderr)
        codes = _encode(weights)
        with kept.with_suffix(".part").open("wb") as file:
            np.save(file, codes)
        kept.with_suffix(".part").rename(kept)
    return np.load(kept)


def _encode(weights: Path) -> Codes:
    from PIL import Image

    from hashae import Encoder
    from hashae.images.decode import decode

    encoder = Encoder.load(weights, threads=2)
    paths = sorted(unpacked("cifar10.zip").rglob("*.jpg"))
    parts = [encoder.encode(paths[start : start + 1000]) for start in range(0, len(paths), 1000)]
    with np.load(data_folder() / "mnist.npz") as digits:
        pictures = np.concatenate([digits["x_train"], digits["x_test"]])
    for start in range(0, len(pictures), 1000):
        thumbs = []
        for picture in pictures[start : start + 1000]:
            file = BytesIO()
            Image.fromarray(picture).save(file, "PNG")
            form = encoder.form
            thumbs.append(decode(file.getvalue(), "digit.png", side=form.thumb, channels=form.channels).thumb)
        parts.append(encoder.encode(np.stack(thumbs)))
    return np.concatenate(parts)
