"""After a crash: find out what became of the actions that were under way, and write it down. Nothing is lost by it."""

from __future__ import annotations

import os
from contextlib import suppress

from hashae.indexer.actions import discard, holds, is_link
from hashae.indexer.journal import Entry, Journal
from hashae.indexer.moves import sync_folder
from hashae.indexer.trash import find_in_trash, forget_empty, info_of

INTERRUPTED = "interrupted; the file is where it was"


def recover(journal: Journal) -> list[Entry]:
    """Settle every action that a crash left open; return them as they stand now. Call it while acting alone.

    Raises
    ------
    CollectionError
        If the journal cannot be written.
    """
    settled = []
    for entry in journal.interrupted():
        if entry.state == "intent":
            settled.append(_after_doing(entry, journal))
        else:
            settled.append(_after_undoing(entry, journal))
    return settled


def _after_doing(entry: Entry, journal: Journal) -> Entry:
    discard(entry.temporary)
    done, target = False, entry.target
    if entry.action == "trash" and not os.path.lexists(entry.path):
        found = find_in_trash(entry.path, entry.content)
        done, target = found is not None, None if found is None else found.file
    elif entry.action == "trash":
        forget_empty(entry.path)
    elif entry.action == "move" and holds(target, entry.content):
        if holds(entry.path, entry.content) and _are_two(entry):
            sync_folder(str(target))
            with suppress(OSError):
                os.unlink(entry.path)  # the copy was complete and read again; only this step was missing
        done = not os.path.lexists(entry.path)
    elif entry.action in {"hardlink", "symlink"}:
        done = is_link(entry)
    if done:
        return journal.settle(entry, "done", target=target)
    there = os.path.lexists(entry.path)
    return journal.settle(entry, "failed", reason=INTERRUPTED if there else "interrupted; the file is gone")


def _after_undoing(entry: Entry, journal: Journal) -> Entry:
    discard(entry.temporary)
    undone = False
    if entry.action in {"trash", "move"}:
        undone = holds(entry.path, entry.content)
        if undone and entry.target is not None:
            if holds(entry.target, entry.content) and _are_two(entry):
                sync_folder(entry.path)
                with suppress(OSError):
                    os.unlink(entry.target)
            if entry.action == "trash" and not os.path.lexists(entry.target):
                with suppress(OSError):
                    os.unlink(info_of(entry.target))
    elif entry.action != "reflink":
        undone = not is_link(entry) and holds(entry.path, entry.content)
    return journal.settle(entry, "undone") if undone else journal.settle(entry, "done", target=entry.target)


def _are_two(entry: Entry) -> bool:
    """Tell whether file and target are two files, or two names of one, so that one of them may go."""
    assert entry.target is not None
    one, other = os.lstat(entry.path), os.lstat(entry.target)
    return not os.path.samestat(one, other) or one.st_nlink > 1
