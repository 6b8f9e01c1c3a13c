"""Which files of a folder are there now, on this machine or in an object store."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from hashae.errors import SourceError
from hashae.object_store import check_stored_folder, exists, is_address, listed, names_below

FEW = 2000
"""Objects below which each is asked for; above, all of the folder is listed, a thousand names at a time."""

AT_ONCE = 16
"""Questions to a store at a time."""


def can_be_listed(folder: str) -> bool:
    """Tell whether a folder is there and can be looked into."""
    try:
        if is_address(folder):
            check_stored_folder(folder)
        else:
            os.scandir(folder).close()
    except (OSError, SourceError):
        return False
    return True


def holds_anything(folder: str) -> bool:
    """Tell whether a folder is there and is not empty; an empty one may be the place of a drive that is away."""
    try:
        if is_address(folder):
            return bool(listed(folder))
        with os.scandir(folder) as entries:
            return next(entries, None) is not None
    except (OSError, SourceError):
        return False


def are_there(folder: str, names: Sequence[str]) -> list[bool]:
    """Tell of each name below a folder whether anything is there.

    Raises
    ------
    SourceError
        If a store does not answer.
    """
    if not is_address(folder):
        return [os.path.lexists(os.path.join(folder, name)) for name in names]
    if len(names) > FEW:
        found = names_below(folder)
        return [name in found for name in names]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(exists, (f"{folder}/{name}" for name in names)))
