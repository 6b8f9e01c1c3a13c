"""One action on one file, with its two entries in the journal; and its way back."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from hashae.indexer.content import content_hash
from hashae.indexer.journal import Entry, Journal
from hashae.indexer.moves import copy_new, free_names, make_folder, make_hardlink, make_reflink, make_symlink, move_new
from hashae.indexer.trash import find_in_trash, info_of, put_into_trash

ACTIONS = ("trash", "move", "hardlink", "symlink", "reflink")
"""What can be done with a file that need not be kept."""


def perform(entry: Entry, journal: Journal, *, unchanged: Callable[[], bool]) -> Entry:
    """Do what an entry says; it is checked already. Return it as it stands in the journal afterwards.

    Parameters
    ----------
    entry
        With the wanted `target` of a move; the name that is free in the end may be another.
    journal
        Where it is written down, before and after.
    unchanged
        Tells whether the file is still the one that was checked. Asked once more before a link takes its place.

    Raises
    ------
    CollectionError
        If the journal cannot be written. What was done, if anything, is found out at the next start.
    """
    if entry.action == "move":
        return _move(entry, journal)
    if entry.action == "trash":
        entry = journal.intend(entry)
        try:
            target = put_into_trash(entry.path, entry.content)
        except OSError as error:
            return journal.settle(entry, "failed", reason=sentence(error))
        return journal.settle(entry, "done", target=target)
    return _link(entry, journal, unchanged)


def undo(entry: Entry, journal: Journal) -> Entry:
    """Bring back what an action did. Return the entry as it stands in the journal afterwards.

    A file comes back from the trash or the folder it was moved to; a link becomes a file of its own again, with the
    content, mode and time that the file had. What cannot be brought back stays done, with the reason.

    Raises
    ------
    CollectionError
        If the journal cannot be written. What was undone, if anything, is found out at the next start.
    """
    temporary = beside(entry.path)
    entry = journal.settle(entry, "undoing", target=entry.target, temporary=temporary, durable=True)
    try:
        if entry.action == "trash":
            _restore(entry, temporary)
        elif entry.action == "move":
            _move_back(entry, temporary)
        else:
            _unlink(entry, temporary)
    except OSError as error:
        discard(temporary)
        return journal.settle(entry, "done", target=entry.target, reason=sentence(error))
    return journal.settle(entry, "undone")


def is_link(entry: Entry) -> bool:
    """Tell whether the file of an entry is the link that the action makes; that of a reflink cannot be told."""
    try:
        if entry.action == "symlink":
            return os.path.islink(entry.path)
        return not os.path.islink(entry.path) and os.path.samefile(entry.path, entry.keeper)
    except OSError:
        return False


def discard(temporary: str | None) -> None:
    """Remove a temporary file of ours, if it is there."""
    if temporary is not None:
        with suppress(OSError):
            os.unlink(temporary)


def holds(path: str | None, content: bytes) -> bool:
    """Tell whether a regular file of this content is there."""
    try:
        return path is not None and not os.path.islink(path) and content_hash(path) == content
    except OSError:
        return False


def beside(path: str) -> str:
    """Return a free hidden name in the folder of a file; scans skip it."""
    return os.path.join(os.path.dirname(path), f".hashae-{secrets.token_hex(8)}.tmp")


def sentence(error: OSError) -> str:
    """Return what an error says, without its number and path."""
    return str(error.strerror or error)


def _move(entry: Entry, journal: Journal) -> Entry:
    assert entry.target is not None, "a move has a target"
    for name in free_names(entry.target):
        if os.path.lexists(name):
            continue
        names = {"target": name, "temporary": beside(name)}
        if entry.id:
            entry = journal.settle(entry, "intent", durable=True, **names)
        else:
            entry = journal.intend(replace(entry, **names))
        try:
            try:
                make_folder(os.path.dirname(name))
            except FileExistsError as error:
                raise OSError(errno.ENOTDIR, f"{os.path.dirname(name)} is no folder") from error
            move_new(entry.path, name, names["temporary"], entry.content)
        except FileExistsError:
            continue  # somebody was faster: the next name
        except OSError as error:
            return journal.settle(entry, "failed", reason=sentence(error))
        return journal.settle(entry, "done", target=name)
    raise AssertionError("free names never end")


def _link(entry: Entry, journal: Journal, unchanged: Callable[[], bool]) -> Entry:
    temporary = beside(entry.path)
    entry = journal.intend(replace(entry, temporary=temporary))
    try:
        if entry.action == "hardlink":
            make_hardlink(entry.keeper, temporary)
        elif entry.action == "symlink":
            make_symlink(entry.keeper, temporary)
        else:
            make_reflink(entry.keeper, temporary, entry.path)
        if not unchanged():
            raise OSError(errno.EBUSY, "has changed this very moment")
        os.replace(temporary, entry.path)
    except OSError as error:
        discard(temporary)
        return journal.settle(entry, "failed", reason=sentence(error))
    return journal.settle(entry, "done")


def _restore(entry: Entry, temporary: str) -> None:
    if os.path.lexists(entry.path):
        if holds(entry.path, entry.content) and find_in_trash(entry.path, entry.content) is None:
            return  # a power cut took back what the journal says, or somebody was faster
        raise OSError(errno.EEXIST, "there is a file at its place now; move that away first")
    if holds(entry.target, entry.content):
        assert entry.target is not None
        file, info = entry.target, info_of(entry.target)
    else:
        found = find_in_trash(entry.path, entry.content)
        if found is None:
            raise OSError(errno.ENOENT, "is not in the trash, or hashae cannot look there; see the desktop's own trash")
        file, info = found.file, found.info
    _return(file, entry, temporary)
    with suppress(OSError):
        os.unlink(info)


def _move_back(entry: Entry, temporary: str) -> None:
    if entry.target is None or not os.path.lexists(entry.target):
        if holds(entry.path, entry.content):
            return
        raise OSError(errno.ENOENT, f"is gone from {entry.target}")
    if not holds(entry.target, entry.content):
        raise OSError(errno.EIO, f"has changed since it was moved, or cannot be read: {entry.target}")
    _return(entry.target, entry, temporary)


def _return(source: str, entry: Entry, temporary: str) -> None:
    make_folder(os.path.dirname(entry.path))
    try:
        move_new(source, entry.path, temporary, entry.content)
    except FileExistsError as error:
        raise OSError(errno.EEXIST, "there is a file at its place now; move that away first") from error


def _unlink(entry: Entry, temporary: str) -> None:
    """Put a file of its own in the place of a link."""
    if entry.action != "reflink" and not is_link(entry):
        if holds(entry.path, entry.content):
            return  # it is a file of its own: a power cut took the link back
        raise OSError(errno.EINVAL, "is no link to its keeper any more")
    try:
        same = content_hash(entry.path) == entry.content
    except FileNotFoundError as error:
        raise OSError(errno.ENOENT, f"leads nowhere: its keeper is gone ({entry.keeper})") from error
    if not same:
        raise OSError(errno.EIO, "has changed since; its content is no longer what it was")
    copy_new(entry.path, temporary, entry.content)
    os.chmod(temporary, entry.mode)
    os.utime(temporary, ns=(entry.mtime_ns, entry.mtime_ns))
    os.replace(temporary, entry.path)
