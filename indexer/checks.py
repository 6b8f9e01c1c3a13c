"""What is checked right before a file is touched: it and its keeper are as planned, and nobody said no since."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from hashae.errors import ImageError
from hashae.indexer.content import content_hash
from hashae.indexer.decisions import Rulings
from hashae.indexer.plan import Plan, PlannedAction
from hashae.indexer.report import TIER_TITLES, TIERS
from hashae.indexer.sources import is_below
from hashae.object_store import is_address

LINKS = ("hardlink", "symlink", "reflink")
"""Actions that put something else in the place of the file: its bytes are then only those of the keeper."""

State = tuple[int, int, int, int, int]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a file is not touched."""

    action: PlannedAction
    reason: str


class Checker:
    """Tells whether an action of a plan may be done now.

    Parameters
    ----------
    plan
        All of it: a file that is the keeper of another one may not go, by whatever name.
    doing
        ``list``, ``trash``, ``move`` or one of `LINKS`.
    tier
        Weakest of `TIERS` that may be acted on.
    rulings
        What a person said, which may be newer than the plan.
    pixel_hash
        Hash of the decoded pixels of a file; raises `ImageError`.
    """

    def __init__(self, plan: Plan, doing: str, tier: str, rulings: Rulings, pixel_hash: Callable[[str], bytes]) -> None:
        self._protect, self._doing, self._rulings, self._pixel_hash = plan.protect, doing, rulings, pixel_hash
        self._weakest = TIERS.index(tier)
        self._contents: dict[str, tuple[State, bytes]] = {}
        self._pixels: dict[str, tuple[bytes, bytes]] = {}
        self._keepers = _inodes(action.keeper for action in plan.actions)
        self._ignored = self._ignored_groups(plan)

    def refuse(self, action: PlannedAction) -> str | None:
        """Return why an action may not be done now, or None."""
        if is_address(action.path) or is_address(action.keeper):
            return "it or its keeper lies in an object store; only files of this machine are acted on"
        return self._said(action) or self._file(action) or self._keeper(action) or self._tier(action)

    def unchanged(self, path: str) -> os.stat_result | None:
        """Return the state of a file if it is the one that was checked, as far as its inode, size and times tell."""
        try:
            now = os.lstat(path)
        except OSError:
            return None
        known = self._contents.get(path)
        return now if known is not None and known[0] == _state(now) else None

    def _ignored_groups(self, plan: Plan) -> set[tuple[int, bytes]]:
        groups: dict[tuple[int, bytes], set[bytes]] = {}
        for action in plan.actions:
            key = (action.group, action.keeper_content)
            groups.setdefault(key, {action.keeper_content}).add(action.content)
        return {key for key, contents in groups.items() if self._rulings.ignores(contents)}

    def _said(self, action: PlannedAction) -> str | None:
        if TIERS.index(action.tier) > self._weakest:
            return f"{TIER_TITLES[action.tier]} is not acted on; look at it, then allow it with --tier {action.tier}"
        if action.content in self._rulings.kept and action.content != action.keeper_content:
            return "you said to keep it"
        if self._rulings.are_apart(action.content, action.keeper_content):
            return "you said that it is no duplicate of its keeper"
        if (action.group, action.keeper_content) in self._ignored:
            return "you said to ignore its group"
        if self._doing in LINKS and action.content != action.keeper_content:
            return f"its bytes differ from those of its keeper: a {self._doing} would lose them; use trash or move"
        return None

    def _file(self, action: PlannedAction) -> str | None:
        try:
            status = os.lstat(action.path)
            same = stat.S_ISREG(status.st_mode) and self._is_as_planned(action, status)
        except FileNotFoundError:
            return "is gone"
        except OSError as error:
            return f"cannot be read ({error.strerror or error})"
        if not stat.S_ISREG(status.st_mode):
            return "is a link now; only files are acted on" if stat.S_ISLNK(status.st_mode) else "is no regular file"
        if (status.st_dev, status.st_ino) in self._keepers:
            return "is the same file as a keeper, by another name"
        return self._protected(action.path) if same else "has changed since the plan was made"

    def _is_as_planned(self, action: PlannedAction, status: os.stat_result) -> bool:
        return status.st_size == action.size and self._content(action.path) == action.content

    def _protected(self, path: str) -> str | None:
        real = os.path.realpath(path)
        for folder in self._protect:
            if is_below(path, folder) or is_below(real, os.path.realpath(folder)):
                return f"lies in a protected folder ({folder})"
        return None

    def _keeper(self, action: PlannedAction) -> str | None:
        try:
            if os.path.samefile(action.path, action.keeper):
                return "is the same file as its keeper, by another name"
            if self._content(action.keeper) != action.keeper_content:
                return f"its keeper has changed since the plan was made ({action.keeper})"
        except FileNotFoundError:
            return f"its keeper is gone ({action.keeper})"
        except OSError as error:
            return f"its keeper cannot be read ({action.keeper}: {error.strerror or error})"
        return None

    def _tier(self, action: PlannedAction) -> str | None:
        """Hold the tier against the files: a plan can be edited, and the strong tiers are acted on without asking."""
        if action.tier == "bytes" and action.content != action.keeper_content:
            return "its bytes differ from those of its keeper, although the plan says same bytes"
        if action.tier == "pixels":
            try:
                if self._pixels_of(action.path, action.content) != self._pixels_of(
                    action.keeper, action.keeper_content
                ):
                    return "its pixels differ from those of its keeper, although the plan says same pixels"
            except ImageError as error:
                return f"its pixels cannot be compared ({error})"
        return None

    def _content(self, path: str) -> bytes:
        """Return the content hash of a file; it is read again only if anything about it has changed."""
        now = _state(os.stat(path))
        known = self._contents.get(path)
        if known is None or known[0] != now:
            known = self._contents[path] = (now, content_hash(path))
        return known[1]

    def _pixels_of(self, path: str, content: bytes) -> bytes:
        known = self._pixels.get(path)
        if known is None or known[0] != content:
            known = self._pixels[path] = (content, self._pixel_hash(path))
        return known[1]


def _state(status: os.stat_result) -> State:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _inodes(paths: Iterable[str]) -> set[tuple[int, int]]:
    found = set()
    for path in set(paths):
        try:
            status = os.stat(path)
        except OSError:
            continue
        found.add((status.st_dev, status.st_ino))
    return found
