"""Find the pictures of a folder."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hashae.errors import SourceError
from hashae.images.raw import ENDINGS as RAW_ENDINGS
from hashae.images.raw import is_readable
from hashae.object_store import check_stored_folder, collapsed, is_address, listed

EXTENSIONS = frozenset(
    """.jpg .jpeg .jpe .jfif .png .gif .bmp .dib .tif .tiff .webp .ppm .pgm .pbm .pnm .tga .ico .jp2 .j2k
    .heic .heif .avif .mpo .apng""".split()
)
"""File name endings, lower case, that are looked at; those of raw files are, too, where their extra is installed.
What is inside decides: see :mod:`hashae.images.decode`."""


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file whose name says picture.

    Attributes
    ----------
    path
        Absolute path.
    relative
        Path below the scanned folder, with ``/`` between its parts.
    size
        Bytes.
    mtime_ns
        Modification time in nanoseconds since 1970.
    """

    path: str
    relative: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that could not be looked at, and why."""

    path: str
    relative: str
    reason: str


def check_folder(folder: str | Path) -> Path:
    """Return the folder, absolute and without links in its path, or say why it cannot be scanned.

    Raises
    ------
    SourceError
        If the folder is missing, is a file, or cannot be listed.
    """
    if is_address(folder) or collapsed(folder):
        raise SourceError(f"{folder} is the address of an object store; expected a folder of this machine")
    path = Path(os.path.realpath(folder))
    try:
        if not stat.S_ISDIR(path.stat().st_mode):
            raise SourceError(f"{path} is a file; expected a folder of pictures")
        with os.scandir(path):
            return path
    except FileNotFoundError as error:
        raise SourceError(f"{path} does not exist; expected a folder of pictures") from error
    except PermissionError as error:
        raise SourceError(f"{path} cannot be listed (permission denied); allow reading or choose another") from error
    except SourceError:
        raise
    except OSError as error:
        raise SourceError(f"{path} cannot be listed ({error.strerror or error})") from error


def check_source(folder: str | Path) -> str:
    """Return a folder of this machine as :func:`check_folder`, or of an object store, or say why it cannot be scanned.

    Raises
    ------
    SourceError
        If it is missing, or cannot be listed.
    MissingDependency
        If the library of the store is not installed.
    """
    if is_address(folder):
        return check_stored_folder(str(folder))
    if collapsed(folder):
        raise SourceError(f"{folder} is an address made into a path, which drops a slash; give it as text")
    return str(check_folder(folder))


def is_candidate(name: str) -> bool:
    """Tell whether a file name says picture."""
    ending = os.path.splitext(name)[1].lower()
    return ending in EXTENSIONS or (ending in RAW_ENDINGS and is_readable())


def _inside(link: str, root: Path) -> bool:
    """Return whether a link leads to something below `root` that a scan finds without it."""
    target = os.path.realpath(link)
    base = os.path.realpath(root) + os.sep
    hidden = any(part.startswith(".") for part in target[len(base) :].split(os.sep))
    return target.startswith(base) and is_candidate(target) and not hidden


def scan(folder: str | Path, on_problem: Callable[[Problem], None] | None = None) -> Iterator[FoundFile]:
    """Walk a folder and yield its pictures.

    The order is that of the sorted names, folder by folder, so two scans of one tree agree on every machine.
    Folders and files whose names start with a dot are skipped. Links are followed; a folder that was seen before
    (a loop, or two links to one place) is not entered again. Only regular files are yielded: a FIFO or a device
    named ``.jpg`` is a problem, not a hang.

    Parameters
    ----------
    folder
        Where to start; the address of an object store does, too.
    on_problem
        Called for each folder that cannot be listed and each broken link named like a picture; None ignores them.

    Raises
    ------
    SourceError
        If `folder` itself is missing or cannot be listed.
    """
    report = on_problem or (lambda _problem: None)
    return _scan_store(str(folder), report) if is_address(folder) else _scan_folder(folder, report)


def _scan_folder(folder: str | Path, report: Callable[[Problem], None]) -> Iterator[FoundFile]:
    root = check_folder(folder)
    top = os.stat(root)
    seen = {(top.st_dev, top.st_ino)}
    pending = [("", str(root))]
    while pending:
        relative, path = pending.pop()
        try:
            with os.scandir(path) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            report(Problem(path, relative, f"folder cannot be listed ({error.strerror or error})"))
            continue
        below = []
        for entry in listed:
            if entry.name.startswith("."):
                continue
            name = f"{relative}/{entry.name}" if relative else entry.name
            candidate = is_candidate(entry.name)
            try:
                if not candidate and not entry.is_dir():
                    continue
                status = entry.stat()
            except OSError as error:
                broken = "broken link" if entry.is_symlink() else str(error.strerror or error)
                if candidate:
                    report(Problem(entry.path, name, broken))
                continue
            if entry.is_symlink() and not stat.S_ISDIR(status.st_mode) and _inside(entry.path, root):
                continue  # the file itself is found at its own place
            if stat.S_ISDIR(status.st_mode):
                if (status.st_dev, status.st_ino) not in seen:
                    seen.add((status.st_dev, status.st_ino))
                    below.append((name, entry.path))
            elif stat.S_ISREG(status.st_mode):
                yield FoundFile(entry.path, name, status.st_size, status.st_mtime_ns)
            else:
                report(Problem(entry.path, name, "not a regular file (a pipe, socket or device)"))
        pending.extend(reversed(below))


def _scan_store(folder: str, report: Callable[[Problem], None]) -> Iterator[FoundFile]:
    """Yield the pictures of an object store, in the order in which those of a folder of this machine come.

    Each folder is one question, for each thousand names in it one more: what is hidden is never asked for.
    """
    root, pending = check_source(folder), [""]
    while pending:
        relative = pending.pop()
        at = f"{root}/{relative}" if relative else root
        try:
            entries = listed(at)
        except PermissionError as error:
            if not relative:
                raise SourceError(f"{root} cannot be listed (access denied: {error})") from error
            report(Problem(at, relative, f"folder cannot be listed ({error})"))
            continue
        below = []
        for entry in entries:
            if entry.name.startswith("."):
                continue
            name = f"{relative}/{entry.name}" if relative else entry.name
            if entry.is_folder:
                below.append(name)
            elif is_candidate(entry.name):
                yield FoundFile(f"{root}/{name}", name, entry.size, entry.mtime_ns)
        pending.extend(reversed(below))
