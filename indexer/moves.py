"""Moving, linking and copying single files: nothing is overwritten, and a crash leaves every byte somewhere."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import sys
from contextlib import suppress
from functools import cache
from typing import Any

from hashae.indexer.content import content_hash

FICLONE = 0x40049409
"""Linux's ioctl by which a file shares the blocks of another one (linux/fs.h)."""

_AT_FDCWD, _RENAME_NOREPLACE = -100, 1
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
_NO_CLONE = {errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS}


def rename_new(source: str, target: str) -> None:
    """Rename a file in one step, or raise: `target` is never replaced.

    Raises
    ------
    FileExistsError
        If there is something at `target`.
    OSError
        If it cannot be done; ``EXDEV`` if the two lie on different file systems.
    """
    function = _renameat2()
    if function is not None:
        if function(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE) == 0:
            return
        code = ctypes.get_errno()
        if code not in {errno.EINVAL, errno.ENOSYS}:
            raise OSError(code, os.strerror(code), source, None, target)
    # The file has two names for a moment; it is never without one.
    os.link(source, target, follow_symlinks=False)
    os.unlink(source)


@cache
def _renameat2() -> Any:
    """Return the C library's function, or None where there is none."""
    if sys.platform != "linux":
        return None
    function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if function is not None:
        function.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    return function


def move_new(source: str, target: str, temporary: str, content: bytes) -> None:
    """Move a file to a name that is free, to another file system if need be; modes and times go with it.

    Parameters
    ----------
    source, target
        Absolute paths; the folder of `target` exists.
    temporary
        Free name in the folder of `target`, for a copy that is not complete yet.
    content
        Hash of the file; a copy that has another one is thrown away.

    Raises
    ------
    FileExistsError
        If there is something at `target`.
    OSError
        If it cannot be done; the file is where it was.
    """
    try:
        rename_new(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    else:
        return
    copy_new(source, temporary, content)
    try:
        rename_new(temporary, target)
    except OSError:
        os.unlink(temporary)
        raise
    sync_folder(target)
    try:
        os.unlink(source)
    except OSError:
        os.unlink(target)  # the copy: the file itself could not be taken away
        raise


def copy_new(source: str, target: str, content: bytes) -> None:
    """Copy a file with its mode and times to a free name, and read it again to be sure.

    Raises
    ------
    FileExistsError
        If there is something at `target`.
    OSError
        If it cannot be copied, or the copy has another content; nothing is left at `target`.
    """
    with open(source, "rb") as reading, open(target, "xb") as writing:
        try:
            shutil.copyfileobj(reading, writing, 1 << 20)
            writing.flush()
            os.fsync(writing.fileno())
        except BaseException:
            os.unlink(target)
            raise
    try:
        shutil.copystat(source, target)
        if content_hash(target) != content:
            raise OSError(errno.EIO, "the copy differs from the file", target)
    except BaseException:
        os.unlink(target)
        raise


def make_hardlink(keeper: str, temporary: str) -> None:
    """Make a second name of the file that `keeper` is, or leads to.

    Raises
    ------
    OSError
        With a sentence where the two lie on different file systems, or theirs knows no hard links.
    """
    try:
        os.link(os.path.realpath(keeper), temporary)
    except OSError as error:
        if error.errno == errno.EXDEV:
            raise OSError(
                error.errno, "is on another file system than its keeper; use trash, move or symlink"
            ) from error
        if error.errno in _NO_LINKS:
            raise OSError(error.errno, "the file system knows no hard links; use trash, move or symlink") from error
        raise


def make_symlink(keeper: str, temporary: str) -> None:
    """Make a symbolic link to `keeper`, relative, so that a folder that holds both can be moved."""
    folder = os.path.realpath(os.path.dirname(temporary))
    os.symlink(os.path.relpath(os.path.realpath(keeper), folder), temporary)


def make_reflink(keeper: str, temporary: str, like: str) -> None:
    """Make a file of its own that shares the blocks of `keeper`, with mode and times of the file `like`.

    Raises
    ------
    OSError
        With a sentence where the file system cannot do that.
    """
    if sys.platform != "linux":
        raise OSError(errno.ENOSYS, "reflink works on Linux only; use trash, move, hardlink or symlink")
    import fcntl

    with open(keeper, "rb") as reading, open(temporary, "xb") as writing:
        try:
            fcntl.ioctl(writing.fileno(), FICLONE, reading.fileno())
            os.fsync(writing.fileno())
        except OSError as error:
            os.unlink(temporary)
            if error.errno in _NO_CLONE:
                sentence = "the file system cannot share blocks with the keeper (btrfs and XFS can); use hardlink"
                raise OSError(error.errno, sentence) from error
            raise
    shutil.copystat(like, temporary)


def free_names(path: str) -> Any:
    """Yield `path`, then ``name (2).jpg``, ``name (3).jpg`` ... for a place that is taken."""
    yield path
    folder, name = os.path.split(path)
    stem, ending = os.path.splitext(name)
    number = 2
    while True:
        yield os.path.join(folder, f"{stem} ({number}){ending}")
        number += 1


def make_folder(path: str) -> None:
    """Make a folder and what is missing above it, so that they last through a power cut.

    Raises
    ------
    FileExistsError
        If there is a file at `path`, or above it.
    OSError
        If it cannot be made.
    """
    missing = []
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for folder in reversed(missing):
        try:
            os.mkdir(folder)
        except FileExistsError:
            if not os.path.isdir(folder):  # else somebody was faster
                raise
        sync_folder(folder)


def sync_folder(path: str) -> None:
    """Make the name of a file or folder last through a power cut, where the file system can."""
    _sync(os.path.dirname(path))


def sync_file(path: str) -> None:
    """Make the content of a file last through a power cut, where the file system can."""
    _sync(path)


def _sync(path: str) -> None:
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
