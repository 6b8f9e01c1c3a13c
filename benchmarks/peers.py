"""Edited copies of photographs, and what the hashes of others make of them.

Copies exist as JPEG bytes in memory only. What is kept, in the cache folder, are the codes of the peers and the thumbs
that an encoder starts from; the names of the kept files hold a digest of everything that they follow from.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import TypeAlias

import imagehash
import numpy as np
import pdqhash
from data import ROOT, cache_folder
from numpy.typing import NDArray
from PIL import Image

from hashae.codes import Codes, pack
from hashae.images.canonical import CanonicalForm, trim_boxes
from hashae.images.decode import decode
from hashae.images.edits import EDITS, edited_bytes

Hash: TypeAlias = Callable[[Image.Image], NDArray[np.bool_]]

TRIM_SIDE = 96
"""Side of the thumb on which the border of a picture is looked for before a peer's hash."""

TRIMMED = " trimmed"
"""Added to the name of a peer that is given the same border trim as hashae."""

MADE_BY = ("hashae/images/edits.py", "benchmarks/peers.py", "hashae/images/decode.py")
"""Files that thumbs and codes of copies follow from."""


def pdq(picture: Image.Image) -> NDArray[np.bool_]:
    """Return the 256 bits of PDQ."""
    bits, _quality = pdqhash.compute(np.asarray(picture))
    return np.asarray(bits, np.bool_)


def of_imagehash(picture: Image.Image, *, name: str, side: int) -> NDArray[np.bool_]:
    """Return the ``side * side`` bits of a hash of imagehash, `name` being its function."""
    bits: NDArray[np.bool_] = getattr(imagehash, name)(picture, hash_size=side).hash.reshape(-1)
    return bits


PEERS: dict[str, Hash] = {
    "PDQ": pdq,
    "pHash-256": partial(of_imagehash, name="phash", side=16),
    "pHash-64": partial(of_imagehash, name="phash", side=8),
    "dHash-64": partial(of_imagehash, name="dhash", side=8),
    "aHash-64": partial(of_imagehash, name="average_hash", side=8),
}


def edited_copy(path: Path, photo: int, edit: str, seed: int) -> bytes:
    """Return the JPEG bytes of a copy; what is random in it depends on seed, photograph and edit only."""
    rng = np.random.default_rng([seed, photo, list(EDITS).index(edit)])
    with Image.open(path) as opened:
        return edited_bytes(opened.convert("RGB"), edit, ".jpg", rng)


def trimmed(picture: Image.Image, data: bytes) -> Image.Image:
    """Cut the borders off that hashae would cut off.

    They are looked for as hashae does, on a thumb of `TRIM_SIDE` pixels, and the full picture is cut at the same
    places.
    """
    thumb = decode(data, "copy", side=TRIM_SIDE).thumb
    top, bottom, left, right = trim_boxes(thumb[None], CanonicalForm().tolerance)[0] / TRIM_SIDE
    width, height = picture.size
    box = (round(left * width), round(top * height), round(right * width), round(bottom * height))
    return picture if box == (0, 0, width, height) else picture.crop(box)


def peer_codes(data: bytes, *, trim: bool) -> dict[str, Codes]:
    """Return the code of every peer, ``uint8 (bytes,)``, and those of the trimmed picture under names of their own."""
    with Image.open(BytesIO(data)) as opened:
        picture = opened.convert("RGB")
    codes = {name: pack(bits(picture)[None])[0] for name, bits in PEERS.items()}
    if trim:
        inner = trimmed(picture, data)
        for name, bits in PEERS.items():
            codes[name + TRIMMED] = codes[name] if inner is picture else pack(bits(inner)[None])[0]
    return codes


@dataclass(frozen=True, slots=True)
class Work:
    """One photograph for a process: what to make of it and of its copies.

    Attributes
    ----------
    path, number
        The photograph and its place in the database.
    edits
        Copies to make; the photograph itself always comes first.
    seed
        Of the copies.
    side, channels
        Of the thumbs; side 0 makes none.
    peers, trim
        Compute the peers' codes, and those of trimmed pictures.
    """

    path: Path
    number: int
    edits: tuple[str, ...]
    seed: int
    side: int
    channels: int
    peers: bool
    trim: bool


def done(work: Work) -> tuple[NDArray[np.uint8] | None, dict[str, Codes]]:
    """Return the thumbs and the peers' codes of a photograph and its copies, in the order of the edits."""
    files = [work.path.read_bytes()]
    files += [edited_copy(work.path, work.number, edit, work.seed) for edit in work.edits]
    thumbs = None
    if work.side:
        thumbs = np.stack([decode(data, work.path, side=work.side, channels=work.channels).thumb for data in files])
    codes: dict[str, Codes] = {}
    if work.peers:
        each = [peer_codes(data, trim=work.trim) for data in files]
        codes = {name: np.stack([codes[name] for codes in each]) for name in each[0]}
    return thumbs, codes


@dataclass(frozen=True)
class Copies:
    """Everything that is measured on: rows are all originals, then the copies, edit by edit.

    Attributes
    ----------
    thumbs
        ``uint8 (n, channels, side, side)``.
    peers
        Name: codes ``uint8 (n, bytes)``.
    kept
        All of it was in the cache.
    """

    thumbs: NDArray[np.uint8]
    peers: dict[str, Codes]
    kept: bool


def copies(
    photos: Sequence[Path],
    chosen: Sequence[int],
    edits: Sequence[str],
    *,
    seed: int,
    form: CanonicalForm,
    trim: bool,
    workers: int,
) -> Copies:
    """Return thumbs and codes of all photographs and of the copies of the chosen ones, made or from the cache.

    Parameters
    ----------
    photos
        The database.
    chosen
        Places in it of the photographs to edit.
    edits
        Names in `EDITS`.
    seed
        Of the copies.
    form
        Of the encoder: side and channels of the thumbs.
    trim
        Also give the peers trimmed pictures.
    workers
        Processes.
    """
    about = [str(photos), str(list(chosen)), str(list(edits)), str(seed)]
    about += [f"{name} {version(name)}" for name in ("pillow", "numpy")]
    about += [(ROOT / name).read_text("utf-8") for name in MADE_BY]
    libraries = [f"{name} {version(name)}" for name in ("pdqhash", "imagehash")]
    libraries += [(ROOT / "hashae/images/canonical.py").read_text("utf-8")] if trim else []
    folder = cache_folder() / f"near-duplicates-seed{seed}-{len(chosen)}"
    folder.mkdir(exist_ok=True)
    thumb_file = folder / f"thumbs-{form.thumb}-{form.channels}-{_digest(about)}.npy"
    peer_file = folder / f"peers-{_digest([*about, *libraries])}.npz"

    side = 0 if thumb_file.is_file() else form.thumb
    works = [
        Work(path, number, (), seed, side, form.channels, not peer_file.is_file(), trim)
        for number, path in enumerate(photos)
    ]
    for number in chosen:
        works[number] = replace(works[number], edits=tuple(edits))
    kept = not (works[0].side or works[0].peers)
    if not kept:
        _make(works, chosen, thumb_file, peer_file, workers)
    with np.load(peer_file) as stored:
        codes = {name: stored[name] for name in stored.files}
    return Copies(np.load(thumb_file, mmap_mode="r"), codes, kept)


def _make(works: Sequence[Work], chosen: Sequence[int], thumb_file: Path, peer_file: Path, workers: int) -> None:
    """Do all work and write the files that it is for."""
    row_of = {number: row for row, number in enumerate(chosen)}
    edits = max(len(work.edits) for work in works)
    rows = len(works) + edits * len(chosen)
    side, channels, peers = works[0].side, works[0].channels, works[0].peers
    # Under other names first: an interrupted run must not leave files that look whole.
    new_thumbs, new_peers = thumb_file.with_suffix(".unfinished"), peer_file.with_suffix(".unfinished.npz")
    all_codes: dict[str, Codes] = {}
    if side:
        shape = (rows, channels, side, side)
        all_thumbs = np.lib.format.open_memmap(new_thumbs, mode="w+", dtype=np.uint8, shape=shape)
    # The network's threads are running already: forking a process beside them could hang it.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for number, (thumbs, codes) in enumerate(pool.map(done, works, chunksize=8)):
            places = [number]
            if number in row_of:
                places += [len(works) + edit * len(chosen) + row_of[number] for edit in range(edits)]
            if thumbs is not None:
                all_thumbs[places] = thumbs
            for name, part in codes.items():
                all_codes.setdefault(name, np.zeros((rows, part.shape[1]), np.uint8))[places] = part
            if (number + 1) % 200 == 0:
                print(f"{number + 1} of {len(works)} photographs edited and hashed", file=sys.stderr)
    if side:
        all_thumbs.flush()
        new_thumbs.rename(thumb_file)
    if peers:
        np.savez(new_peers, **all_codes)
        new_peers.rename(peer_file)


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
