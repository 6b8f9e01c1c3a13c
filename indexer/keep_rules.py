"""Which image of a group is kept: rules in an order that a person can choose; the first that can decide does."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from hashae.errors import ConfigError
from hashae.indexer.image_row import ImageRow
from hashae.indexer.sources import is_below
from hashae.object_store import is_address

LOSSLESS = frozenset({"PNG", "BMP", "DIB", "TIFF", "PPM", "TGA", "RAW"})

DEFAULT_RULES = ("pixels", "format", "size", "oldest", "path")
"""Order in which the rules are asked if nobody chooses another."""

RULES = {
    "pixels": "most pixels",
    "format": "lossless format",
    "size": "largest file",
    "metadata": "richest metadata",
    "folder": "preferred folder",
    "oldest": "oldest file",
    "path": "shortest path",
}
"""Name of each rule, and what it says of the image it keeps."""

LAST = "first in the alphabet"
"""What decides when no rule can: paths differ always."""

CHOSEN = "you said to keep it"
PROTECTED = "in a protected folder"


class Told(Protocol):
    """What a picture says of itself, as :class:`hashae.images.metadata.Metadata`."""

    @property
    def fields(self) -> int:
        """Number of EXIF fields."""

    @property
    def gps(self) -> bool:
        """True if it says where it was taken."""

    @property
    def rating(self) -> int:
        """Stars, 0 for none."""

    @property
    def taken(self) -> str:
        """When it was taken, in a form that sorts; empty if not told."""


# Copies of one file say the same of themselves: what they say is not read.
_AMONG_COPIES: dict[str, Callable[[ImageRow], object]] = {
    RULES["metadata"]: lambda _image: 0,
    RULES["oldest"]: lambda image: image.modified_ns,
}


def _nothing_told(_image: ImageRow) -> Told | None:
    return None


@dataclass(frozen=True)
class KeepPolicy:
    """How the image to keep is chosen, and which others are not to be removed either.

    Attributes
    ----------
    rules
        Names out of `RULES`, most important first.
    prefer
        Absolute folders, the most preferred first; for the rule ``folder``.
    protect
        Absolute folders of which nothing may be removed.
    kept
        Contents that a person said to keep.
    metadata
        Returns what an image says of itself, None if it cannot be read. Asked only where it can decide.
    """

    rules: tuple[str, ...] = DEFAULT_RULES
    prefer: tuple[str, ...] = ()
    protect: tuple[str, ...] = ()
    kept: frozenset[bytes] = frozenset()
    metadata: Callable[[ImageRow], Told | None] = _nothing_told

    def choose(self, images: Sequence[ImageRow]) -> tuple[ImageRow, str]:
        """Return the image to keep, and why: the last rule that was needed to set it apart from all others.

        What a person said to keep comes before everything, then what lies in a protected folder, then the rules.
        """
        left, reason = list(images), LAST
        for title, rank in self._ranks():
            alike = len({image.content for image in left}) == 1
            key = _AMONG_COPIES.get(title, rank) if alike else rank
            ranked = [(key(image), image) for image in left]
            best = min(value for value, _ in ranked)  # type: ignore[type-var]
            kept = [image for value, image in ranked if value == best]
            if len(kept) < len(left):
                reason = title
            left = kept
            if len(left) == 1:
                break
        return left[0], self._explained(left[0], reason)

    def spares(self, image: ImageRow, keeper: ImageRow) -> str | None:
        """Return why an image beside the keeper must not be removed, or None if it may."""
        folder = self._protecting(image)
        if folder is not None:
            return f"{PROTECTED} ({folder})"
        if image.content in self.kept and image.content != keeper.content:
            return CHOSEN
        return None

    def _ranks(self) -> list[tuple[str, Callable[[ImageRow], object]]]:
        """Return what is asked, in order: title, and sort key of which the smallest is kept."""
        keys: dict[str, Callable[[ImageRow], object]] = {
            "pixels": lambda image: -image.width * image.height,
            "format": lambda image: image.format not in LOSSLESS,
            "size": lambda image: -image.size,
            "metadata": self._poverty,
            "folder": lambda image: _place(image.path, self.prefer),
            "oldest": self._age,
            "path": lambda image: len(image.path),
        }
        return [
            (CHOSEN, lambda image: image.content not in self.kept),
            (PROTECTED, lambda image: self._protecting(image) is None),
            *((RULES[name], keys[name]) for name in self.rules),
            (LAST, lambda image: image.path),
        ]

    def _protecting(self, image: ImageRow) -> str | None:
        at = _place(image.path, self.protect)
        return self.protect[at] if at < len(self.protect) else None

    def _poverty(self, image: ImageRow) -> tuple[int, int]:
        told = self.metadata(image)
        if told is None:
            return 0, 0
        return -(told.gps + bool(told.rating) + bool(told.taken)), -told.fields

    def _age(self, image: ImageRow) -> tuple[bool, str, int]:
        told = self.metadata(image)
        taken = "" if told is None else told.taken
        return not taken, taken, image.modified_ns

    def _explained(self, keeper: ImageRow, reason: str) -> str:
        """Add the figure that decided, where there is one."""
        details: dict[str, Callable[[], str | None]] = {
            RULES["pixels"]: lambda: f"{keeper.width} × {keeper.height}",
            RULES["format"]: lambda: keeper.format,
            RULES["size"]: lambda: f"{keeper.size:,} bytes",
            RULES["metadata"]: lambda: _summary(self.metadata(keeper)),
            RULES["folder"]: lambda: self.prefer[_place(keeper.path, self.prefer)],
            PROTECTED: lambda: self._protecting(keeper),
        }
        return f"{reason} ({details[reason]()})" if reason in details else reason


def keep_policy(
    rules: str | Sequence[str] | None = None, *, prefer: Sequence[str] = (), protect: Sequence[str] = ()
) -> KeepPolicy:
    """Check a person's choice of rules and folders.

    Parameters
    ----------
    rules
        Names out of `RULES`, most important first, as a list or with commas between them. Default: `DEFAULT_RULES`.
    prefer
        Absolute folders, the most preferred first. Unless `rules` names ``folder``, they come before all rules.
    protect
        Absolute folders of which nothing may be removed.

    Raises
    ------
    ConfigError
        If a rule is unknown or named twice, or ``folder`` is asked for without a folder to prefer.

    Examples
    --------
    >>> keep_policy("size, path", prefer=["/photos"]).rules
    ('folder', 'size', 'path')
    """
    named = DEFAULT_RULES if rules is None else rules.split(",") if isinstance(rules, str) else tuple(rules)
    names = tuple(name.strip() for name in named)
    for name in names:
        if name not in RULES:
            raise ConfigError(f"{name!r} is no rule; expected some of {', '.join(RULES)}, most important first")
        if names.count(name) > 1:
            raise ConfigError(f"rule {name!r} is named twice; name it once, where it counts")
    if "folder" in names and not prefer:
        raise ConfigError("rule 'folder' needs to know which folder; give --prefer FOLDER")
    if prefer and "folder" not in names:
        names = ("folder", *names)
    return replace(KeepPolicy(), rules=names, prefer=tuple(prefer), protect=tuple(protect))


def _place(path: str, folders: Sequence[str]) -> int:
    """Return the number of the first folder that holds a file, by its name or by where links lead; else their count."""
    if not folders:
        return 0
    real = path if is_address(path) else os.path.realpath(path)
    inside = (number for number, folder in enumerate(folders) if is_below(path, folder) or is_below(real, folder))
    return next(inside, len(folders))


def _summary(told: Told | None) -> str:
    if told is None:  # it was read when it decided, and is gone now
        return "of those that could be read"
    parts = [f"{told.fields} EXIF field{'' if told.fields == 1 else 's'}"]
    parts += ["date"] * bool(told.taken) + ["position"] * told.gps
    parts += [f"{told.rating} star{'' if told.rating == 1 else 's'}"] * bool(told.rating)
    return ", ".join(parts)
