"""What a duplicate search has found, and what was decided of each of its groups: plain data."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from hashae.errors import ConfigError
from hashae.indexer.report import DedupReport, ReportGroup, ReportImage

STATES = ("open", "keep", "distinct", "ignore", "done")
FOLDERS = 200
"""Folders that a person can choose from."""

SORTS: dict[str, Callable[[ReportGroup], Any]] = {
    "bytes": lambda group: (-group.bytes_to_free, group.number),
    "distance": lambda group: (max(image.distance for image in group.images), group.number),
    "size": lambda group: (-len(group.images), group.number),
    "date": lambda group: (-max(image.modified for image in group.images), group.number),
}


@dataclass(frozen=True)
class Search:
    """What is asked of a duplicate search, as :meth:`hashae.indexer.collection.Collection.dedup` takes it."""

    radius: int | None = None
    linkage: str = "star"
    folder: str | None = None
    keep: str | None = None
    prefer: tuple[str, ...] = ()
    protect: tuple[str, ...] = ()


@dataclass
class Decision:
    """What was decided of one group.

    Attributes
    ----------
    state
        One of `STATES`: ``keep`` is marked and waits to be applied, ``done`` was applied.
    keep
        Ids of the images that stay, the keeper first.
    verdict
        Number of the verdict that was stored for it.
    """

    state: str = "open"
    keep: tuple[int, ...] = ()
    verdict: int | None = None


@dataclass
class Found:
    """A search, and what was decided of its groups.

    Attributes
    ----------
    report, search
        What was found, and what was asked.
    generation
        Of the collection when it was searched, or changed by what was decided here.
    groups
        By number.
    decisions
        By number of the group; open where there is none.
    gone
        Paths of what was put into the trash.
    known
        All images of the groups, by path.
    folders
        Those that hold most images of groups, in the order of the alphabet.
    """

    report: DedupReport
    search: Search
    generation: int
    groups: dict[int, ReportGroup] = field(default_factory=dict)
    decisions: dict[int, Decision] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    known: dict[str, ReportImage] = field(default_factory=dict)
    folders: tuple[str, ...] = ()

    @classmethod
    def of(cls, report: DedupReport, search: Search, generation: int) -> Found:
        """Return what was found, with nothing decided."""
        groups = {group.number: group for group in report.groups}
        known = {image.path: image for group in report.groups for image in group.images}
        folders = Counter(os.path.dirname(path) for path in known)
        often = tuple(sorted(folder for folder, _ in folders.most_common(FOLDERS)))
        return cls(report, search, generation, groups, known=known, folders=often)


def choices(values: Iterable[str], known: Sequence[str], what: str) -> frozenset[str]:
    """Return names that are all known.

    Raises
    ------
    ConfigError
        If one is not.
    """
    found = frozenset(values)
    for name in sorted(found):
        if name not in known:
            raise ConfigError(f"{name!r} is no {what}; expected one of {', '.join(known)}")
    return found
