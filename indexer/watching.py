"""Keeping a collection current: what changes on disk is indexed a moment later, a folder at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from threading import Event

from hashae.errors import MissingDependency

QUIET_MS = 2_000
"""Milliseconds without a change after which a folder is looked at: a copy that is under way is not read in pieces."""

LONGEST_MS = 30_000
"""Milliseconds after which it is looked at although it changes all the time."""

START_MS = 500
"""Milliseconds after which the watch is taken to stand, and all is looked at for the first time."""

MANY = 16
"""Changed folders from which a source is looked at as a whole: one walk instead of many."""


def watch_folders(
    folders: Iterable[Path],
    is_picture: Callable[[str], bool],
    stop: Event,
    *,
    quiet_ms: int = QUIET_MS,
    longest_ms: int = LONGEST_MS,
) -> Iterator[list[Path]]:
    """Yield all folders, then those in which something changed, each time it is quiet again, until `stop`.

    Parameters
    ----------
    folders
        To watch, with all that is below them.
    is_picture
        Tells from a path whether a file can be one; folders that come or go count as well.
    stop
        Set it to end.
    quiet_ms, longest_ms
        Milliseconds, see `QUIET_MS` and `LONGEST_MS`.

    Raises
    ------
    MissingDependency
        If watchfiles is not installed.
    KeyboardInterrupt
        On Ctrl-C.
    """
    try:
        from watchfiles import Change, watch
    except ModuleNotFoundError as error:
        raise MissingDependency("watching folders", "watch") from error
    listed = list(folders)

    def counts(change: Change, path: str) -> bool:
        name = os.path.basename(path)
        # What is gone may have been a folder; its name does not tell.
        folder = change == Change.deleted and not os.path.splitext(name)[1]
        return not name.startswith(".") and (folder or is_picture(path) or os.path.isdir(path))

    changes = watch(
        *listed,
        watch_filter=counts,
        debounce=longest_ms,
        step=quiet_ms,
        stop_event=stop,
        ignore_permission_denied=True,
        rust_timeout=START_MS,
        yield_on_timeout=True,
    )
    started = False
    for batch in changes:
        if not started:  # nothing that changes from here on is overlooked, and all before is looked at now
            started = True
            yield listed
        elif batch:
            yield changed_folders((path for _, path in batch), listed)


def changed_folders(paths: Iterable[str], sources: Iterable[Path]) -> list[Path]:
    """Return the folders to index for some changed paths: none inside another, whole sources where there are many.

    Parameters
    ----------
    paths
        Absolute; what is gone counts for the nearest folder that is there.
    sources
        Folders that are watched.
    """
    found: dict[Path, set[Path]] = {}
    for path in paths:
        inside = [source for source in sources if source == Path(path) or source in Path(path).parents]
        if not inside:
            continue
        source, folder = max(inside, key=lambda each: len(each.parts)), Path(path)
        while folder != source and not folder.is_dir():
            folder = folder.parent
        hidden = any(part.startswith(".") for part in folder.relative_to(source).parts)
        if not hidden:
            found.setdefault(source, set()).add(folder)
    chosen: list[Path] = []
    for source, folders in found.items():
        if len(folders) > MANY:
            chosen.append(source)
        else:
            chosen += [folder for folder in folders if not folders & set(folder.parents)]
    return sorted(chosen)
