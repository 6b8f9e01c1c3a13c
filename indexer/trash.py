"""The desktop's trash: put a file there (send2trash), and find it again by the freedesktop.org trash specification."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from hashae.indexer.content import content_hash
from hashae.indexer.moves import sync_file, sync_folder

MAX_INFO = 1 << 16
"""Bytes of a ``.trashinfo`` file that are looked at."""


@dataclass(frozen=True, slots=True)
class Trashed:
    """A file in the trash.

    Attributes
    ----------
    file
        Where it lies now.
    info
        The ``.trashinfo`` file that says where it came from.
    """

    file: str
    info: str


def put_into_trash(path: str, content: bytes) -> str | None:
    """Put a file into the trash and return where it lies now, or None where that cannot be told (macOS, Windows).

    Parameters
    ----------
    path
        Absolute.
    content
        Hash of the file.

    Raises
    ------
    OSError
        If it cannot be done; then the file is where it was, and nothing new is in the trash.
    """
    from send2trash import send2trash

    path = _real(path)
    before = {found.info for found in _likely(path)}
    try:
        send2trash(path)
    except OSError:
        if os.path.lexists(path) and content_hash(path) == content:
            for found in _likely(path):
                if found.info not in before:  # what a disk that filled up left of a copy
                    with suppress(OSError):
                        os.unlink(found.file)
                    os.unlink(found.info)
        raise
    trashed = find_in_trash(path, content)
    if trashed is None:
        return None
    # Without its entry the desktop does not know where a file came from; a copy on another disk is not there yet.
    for written in (trashed.info, trashed.file):
        sync_file(written)
        sync_folder(written)
    return trashed.file


def find_in_trash(path: str, content: bytes) -> Trashed | None:
    """Return the file of this content that was at `path` before it went into the trash, or None."""
    path = _real(path)
    for candidates in (_likely(path), _listed(path), _unlabelled(path)):  # all of it is listed only if need be
        for found in candidates:
            with suppress(OSError):
                if content_hash(found.file) == content:
                    return found
    return None


def forget_empty(path: str) -> None:
    """Remove entries of the trash that say they came from `path` and hold no file: what a crash left of one."""
    for found in _likely(_real(path)):
        if not os.path.lexists(found.file):
            with suppress(OSError):
                os.unlink(found.info)


def info_of(file: str) -> str:
    """Return the ``.trashinfo`` file of a file in the trash."""
    files, name = os.path.split(file)
    return os.path.join(os.path.dirname(files), "info", f"{name}.trashinfo")


def _real(path: str) -> str:
    """Return a path without links in its folders, as it is written into the trash."""
    return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))


def _trashes(path: str) -> Iterator[tuple[str, str]]:
    """Yield the trash folders in which a file can be, each with the folder its relative paths start from."""
    # send2trash reads the variable once, when it is loaded: what it put there is looked for where it put it.
    backend = sys.modules.get("send2trash.plat_other")
    home = os.environ.get("XDG_DATA_HOME") or os.path.join(os.path.expanduser("~"), ".local", "share")
    if backend is not None:
        home = os.fsdecode(backend.XDG_DATA_HOME)
    yield os.path.join(home, "Trash"), home
    top = os.path.dirname(path)
    while not os.path.ismount(top) and top != os.path.dirname(top):
        top = os.path.dirname(top)
    if hasattr(os, "getuid"):
        yield os.path.join(top, ".Trash", str(os.getuid())), top
        yield os.path.join(top, f".Trash-{os.getuid()}"), top


def _likely(path: str) -> Iterator[Trashed]:
    """Yield what came from `path`, looked up by the names that trash programs give; the newest first."""
    stem, ending = os.path.splitext(os.path.basename(path))
    for trash, top in _trashes(path):
        names = [f"{stem}{ending}"]
        for pattern in ("{} {}{}", "{}.{}{}"):
            number = 1 if pattern[2] == " " else 2
            while os.path.lexists(info_of(os.path.join(trash, "files", pattern.format(stem, number, ending)))):
                names.append(pattern.format(stem, number, ending))
                number += 1
        for name in reversed(names):
            found = _came_from(path, trash, top, name)
            if found is not None:
                yield found


def _listed(path: str) -> Iterator[Trashed]:
    """Yield what came from `path`, by reading every entry of the trash."""
    for trash, top in _trashes(path):
        try:
            infos = os.listdir(os.path.join(trash, "info"))
        except OSError:
            continue
        for info in sorted(infos, reverse=True):
            if info.endswith(".trashinfo"):
                found = _came_from(path, trash, top, info.removesuffix(".trashinfo"))
                if found is not None:
                    yield found


def _unlabelled(path: str) -> Iterator[Trashed]:
    """Yield what may have come from `path` by its name, and has no entry that says so: a power cut can lose that."""
    stem, ending = os.path.splitext(os.path.basename(path))
    for trash, _ in _trashes(path):
        try:
            names = os.listdir(os.path.join(trash, "files"))
        except OSError:
            continue
        for name in sorted(names):
            found = Trashed(os.path.join(trash, "files", name), os.path.join(trash, "info", f"{name}.trashinfo"))
            if name.startswith(stem) and name.endswith(ending) and not _says_where(found.info):
                yield found


def _says_where(info: str) -> bool:
    try:
        with open(info, "rb") as file:
            return b"Path=" in file.read(MAX_INFO)
    except OSError:
        return False


def _came_from(path: str, trash: str, top: str, name: str) -> Trashed | None:
    """Return the entry `name` of a trash if it came from `path`."""
    found = Trashed(os.path.join(trash, "files", name), os.path.join(trash, "info", f"{name}.trashinfo"))
    try:
        with open(found.info, "rb") as file:
            lines = file.read(MAX_INFO).splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith(b"Path="):
            origin = os.path.join(top, os.fsdecode(unquote_to_bytes(line.removeprefix(b"Path="))))
            return found if _real(os.path.normpath(origin)) == path else None
    return None
