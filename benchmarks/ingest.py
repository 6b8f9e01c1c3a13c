"""How fast a folder becomes a collection, beside imagehash and beside decoding alone.

In one process, in alternating rounds over the same files with the same number of worker threads:

* ``hashae``: `Collection.index` into a new collection: scan, decode, canonical form, encode, store (training excluded);
* ``imagehash``: ``imagehash.phash`` of each file, nothing stored;
* ``bare decode``: Pillow's ``open``, ``draft`` and ``resize`` of each file to the size of an encoder's input.

The files: photographs enlarged to 12 megapixels (4000 x 3000, JPEG quality 88; enlarged photographs are smoother and
smaller than those of a camera), and ``photos-eval.zip`` as it is. With ``--cifar`` instead: 60,000 files in one go, the
peak of memory, and the time of a second run over the unchanged folder.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from answers import print_table
from data import cache_folder, encoder_file, hashae, unpacked
from measure import MIB, alternating, circumstances, run_measured
from PIL import Image

LARGE = (4000, 3000)
LARGE_QUALITY = 88
DRAFT = 128
"""Smallest side that the bare decode asks `draft` for: enough to resize to any input that an encoder has."""
INPUT = 32


def pictures_in(folder: Path) -> list[Path]:
    """Return all JPEG files below the folder, in a fixed order."""
    return sorted(folder.rglob("*.jpg"))


def enlarged_photos(count: int, seed: int, threads: int) -> Path:
    """Return a folder of `count` photographs of 12 megapixels, made once and kept in the cache."""
    target = cache_folder() / f"photos-12mp-{count}-seed{seed}"
    if target.is_dir():
        return target
    print(f"enlarging {count} photographs into {target} (once)", file=sys.stderr)
    sources = pictures_in(unpacked("photos-eval.zip"))
    chosen = np.random.default_rng(seed).choice(len(sources), count, replace=False)
    unfinished = target.with_name(target.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()

    def enlarge(number: int) -> None:
        with Image.open(sources[chosen[number]]) as photo:
            large = photo.convert("RGB").resize(LARGE, Image.Resampling.BICUBIC)
        large.save(unfinished / f"photo {number:04d}.jpg", quality=LARGE_QUALITY)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(enlarge, range(count)))
    unfinished.rename(target)
    return target


def index_into_new_collection(folder: Path, encoder: Path, threads: int) -> None:
    """Index the folder into a collection that is thrown away."""
    from hashae import Encoder
    from hashae.indexer import Collection

    with tempfile.TemporaryDirectory() as scratch, Collection.open(Path(scratch) / "collection.db") as collection:
        collection.set_encoder(Encoder.load(encoder))
        collection.index(folder, workers=threads)


def phash_all(files: list[Path], threads: int) -> None:
    """Compute imagehash's pHash of each file."""
    import imagehash

    def one(path: Path) -> object:
        with Image.open(path) as picture:
            return imagehash.phash(picture)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(one, files))


def decode_all(files: list[Path], threads: int) -> None:
    """Decode each file to grey at the smallest scale that fits, and resize it."""

    def one(path: Path) -> object:
        with Image.open(path) as picture:
            picture.draft("L", (DRAFT, DRAFT))
            return picture.resize((INPUT, INPUT), Image.Resampling.BOX)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(one, files))


def side_by_side(title: str, folder: Path, encoder: Path, threads: int, rounds: int) -> None:
    """Measure the three on the JPEG files of one folder and print the table."""
    files = pictures_in(folder)
    for path in files:
        path.read_bytes()  # so that no round pays for the disk
    works: dict[str, Callable[[], object]] = {
        "hashae": lambda: index_into_new_collection(folder, encoder, threads),
        "imagehash": lambda: phash_all(files, threads),
        "bare decode": lambda: decode_all(files, threads),
    }
    # The first call of each pays for imports and for starting thread pools; it is not counted.
    index_into_new_collection(files[0].parent, encoder, threads)
    phash_all(files[:4], threads)
    decode_all(files[:4], threads)
    times = alternating(works, rounds)
    medians = {name: statistics.median(values) for name, values in times.items()}
    print(f"\n{title}: {len(files)} files, {threads} threads, {rounds} rounds, alternating\n")
    rows = [["", "images/s", "slowest", "fastest", "of imagehash", "of bare decode"]]
    for name, median in medians.items():
        rates = (f"{len(files) / value:.1f}" for value in (median, max(times[name]), min(times[name])))
        ratios = (f"{medians['imagehash'] / median:.2f}x", f"{medians['bare decode'] / median:.2f}x")
        rows.append([name, *rates, *ratios])
    print_table(rows)


def sixty_thousand(encoder: Path, threads: int) -> None:
    """Index CIFAR-10 twice with the command line and print time, rate and memory."""
    folder = unpacked("cifar10.zip")
    count = len(pictures_in(folder))
    with tempfile.TemporaryDirectory() as scratch:
        database = Path(scratch) / "collection.db"
        command = hashae("index", folder, "--db", database, "--encoder", encoder, "--workers", str(threads))
        rows = [["hashae index", "seconds", "images/s", "peak MiB"]]
        for name in ("first run", "second run, nothing changed"):
            elapsed, peak = run_measured(command)
            rows.append([name, f"{elapsed:.1f}", f"{count / elapsed:.0f}", f"{peak:.0f}"])
        size = database.stat().st_size / MIB
    print(f"\nCIFAR-10 as JPEG files (re-encoded): {count} files, {threads} workers, a collection of {size:.1f} MiB\n")
    print_table(rows)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", type=Path, help="ONNX file; default: the shipped one")
    parser.add_argument("--count", type=int, default=200, help="photographs of 12 megapixels (default: 200)")
    parser.add_argument(
        "--threads", type=int, default=os.cpu_count() or 1, help="worker threads of each (default: all)"
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each measurement (default: 5)")
    parser.add_argument("--seed", type=int, default=0, help="which photographs are enlarged (default: 0)")
    parser.add_argument("--cifar", action="store_true", help="60,000 small files instead: memory and second run")
    options = parser.parse_args()

    encoder = encoder_file(options.encoder)
    print(circumstances("pillow", "imagehash", "onnxruntime", "numpy", seed=options.seed))
    if options.cifar:
        sixty_thousand(encoder, options.threads)
        return
    large = enlarged_photos(options.count, options.seed, options.threads)
    side_by_side("Photographs of 12 megapixels", large, encoder, options.threads, options.rounds)
    photos = unpacked("photos-eval.zip")
    side_by_side("photos-eval.zip", photos, encoder, options.threads, options.rounds)


if __name__ == "__main__":
    main()
