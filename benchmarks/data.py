"""Find the pictures that benchmarks measure on, and unpack them once.

The folder is ``HASHAE_DATA``, or ``../shared/data`` seen from the project root. What is made from it (unpacked
archives, enlarged photographs, an encoder) goes to ``HASHAE_BENCH_CACHE``, or to the user's cache folder, and is
kept from run to run; deleting it is always safe.
"""

from __future__ import annotations

import os
import shutil
import sys
import zipfile
from pathlib import Path

import platformdirs

ROOT = Path(__file__).resolve().parents[1]


def data_folder() -> Path:
    """Return the folder of data sets, or stop with a sentence that says how to name one."""
    folder = Path(os.environ.get("HASHAE_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        raise SystemExit(f"no data folder at {folder}; set HASHAE_DATA to the folder that holds photos-eval.zip")
    return folder


def cache_folder() -> Path:
    """Return the folder for what benchmarks make and keep."""
    given = os.environ.get("HASHAE_BENCH_CACHE")
    folder = Path(given) if given else Path(platformdirs.user_cache_dir("hashae")) / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def unpacked(name: str) -> Path:
    """Unpack an archive of the data folder into the cache, once.

    Parameters
    ----------
    name
        File name of the archive, for example ``photos-eval.zip``.

    Returns
    -------
    Path
        Folder with its content. A changed archive (size or time) is unpacked to a folder of its own.
    """
    archive = data_folder() / name
    if not archive.is_file():
        raise SystemExit(f"{archive} is missing; expected the data sets that are named in its README")
    about = archive.stat()
    target = cache_folder() / f"{archive.stem}-{about.st_size}-{int(about.st_mtime)}"
    if not target.is_dir():
        print(f"unpacking {name} into {target}", file=sys.stderr)
        # Under another name first: a run that is interrupted must not leave half a collection that looks whole.
        unfinished = target.with_name(target.name + ".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(unfinished)
        unfinished.rename(target)
    return target


def hashae(*arguments: str | Path) -> list[str]:
    """Return the command line that runs ``hashae`` with the interpreter of this script."""
    return [sys.executable, "-m", "hashae.cli", *map(str, arguments)]


def encoder_file(given: Path | None) -> Path:
    """Return the encoder to measure with: `given`, or the one that ships with hashae."""
    if given is not None:
        if not given.is_file():
            raise SystemExit(f"no encoder file at {given}; make one with: hashae train FOLDER -o {given}")
        return given
    return ROOT / "hashae" / "pretrained" / "photo.onnx"
