"""Duplicate reports: groups of images that show the same picture, and which one of each to keep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from hashae.indexer.calibrated import Calibration

TIERS = ("bytes", "pixels", "code", "near")
"""How two images are the same, strongest first: equal files, equal pixels, equal codes, codes within the radius."""

TIER_TITLES = {
    "bytes": "same bytes",
    "pixels": "same pixels",
    "code": "same code",
    "near": "within radius",
}

SCHEMA_VERSION = 1
"""Version of the JSON and CSV layout; it grows when a field changes its meaning or goes away."""


@dataclass(frozen=True, slots=True)
class ReportImage:
    """One image of a group.

    Attributes
    ----------
    id
        Image id in the collection.
    path
        Absolute path of the file.
    size
        Bytes of the file.
    width, height
        Pixels, after EXIF orientation.
    format
        Format as Pillow names it, for example ``JPEG``.
    modified
        Modification time of the file, seconds since 1970.
    distance
        Hamming distance to the group's keeper, in bits.
    tier
        How the image equals the keeper: one of `TIERS`. The keeper has the tier of the group.
    keep
        True for exactly one image of a group.
    reason
        Why it is kept, or what it is beside the keeper, or why it must stay as well, in words.
    content
        Hash of the file's bytes, hexadecimal.
    protected
        True if it must stay although another one is the keeper.
    confidence
        How sure the least certain bits of its code are, 0 to 1; None if unknown.
    """

    id: int
    path: str
    size: int
    width: int
    height: int
    format: str
    modified: float
    distance: int
    tier: str
    keep: bool
    reason: str
    content: str = ""
    protected: bool = False
    confidence: float | None = None

    @property
    def spare(self) -> bool:
        """True if it need not be kept."""
        return not self.keep and not self.protected


@dataclass(frozen=True, slots=True)
class ReportGroup:
    """Images that show the same picture.

    Attributes
    ----------
    number
        1, 2, ... in the order of the report.
    tier
        Weakest tier of its images: how far one has to trust the code.
    images
        Keeper first, then by (tier, distance, path).
    representative
        Id of the medoid: every other member is within the radius of it.
    diameter
        Largest Hamming distance between two members, in bits.
    chained
        True if the group was joined through intermediate images although two members are farther apart than the
        radius from the representative.
    """

    number: int
    tier: str
    images: tuple[ReportImage, ...]
    representative: int
    diameter: int
    chained: bool = False

    @property
    def keeper(self) -> ReportImage:
        """The image to keep."""
        return next(image for image in self.images if image.keep)

    @property
    def bytes_to_free(self) -> int:
        """Bytes of all images that need not be kept."""
        return sum(image.size for image in self.images if image.spare)

    def to_dict(self) -> dict[str, Any]:
        """Return the group as plain lists and dicts, ready for :func:`json.dumps`."""
        images = [asdict(image) for image in self.images]
        return {**asdict(replace(self, images=())), "images": images, "bytes_to_free": self.bytes_to_free}


@dataclass(frozen=True, slots=True)
class Failure:
    """A file that could not be used, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class DedupReport:
    """All groups of a collection or of one folder in it.

    Attributes
    ----------
    collection
        Path of the collection file.
    folder
        Folder the report is limited to, or None for the whole collection.
    encoder
        Name of the encoder.
    bits
        Code length.
    radius
        Largest distance of a member to the representative, in bits, inclusive; with `own_radius`, the median over the
        images.
    images
        Number of images looked at.
    created
        ISO 8601 time of the report, UTC.
    groups
        Largest `bytes_to_free` first.
    failures
        Files that could not be read.
    own_radius
        True if every image had a radius of its own.
    keep_rules
        Names of the rules that chose the keepers, most important first.
    ignored
        Number of groups left out because a person said to ignore them.
    separated
        Number of pairs that a person told apart and that a group would have held otherwise.
    calibration
        That the radii are from; None if a person or the encoder gave them.
    linkage
        How groups hold together: ``star``, ``complete`` or ``component``.
    approximate
        True if not all pairs were compared.
    recall
        Of an approximate search, the share of matching pairs that it found, measured on a sample; None if it is exact,
        or if the sample has no matching pair.
    featureless
        Paths of images that show next to nothing, ordered: in a group only with others of the same bytes or pixels.
    """

    collection: str
    folder: str | None
    encoder: str
    bits: int
    radius: int
    images: int
    created: str
    groups: tuple[ReportGroup, ...] = ()
    failures: tuple[Failure, ...] = ()
    own_radius: bool = False
    keep_rules: tuple[str, ...] = ()
    ignored: int = 0
    separated: int = 0
    featureless: tuple[str, ...] = ()
    calibration: Calibration | None = None
    linkage: str = "star"
    approximate: bool = False
    recall: float | None = None

    @property
    def duplicates(self) -> int:
        """Number of images that need not be kept."""
        return sum(image.spare for group in self.groups for image in group.images)

    @property
    def bytes_to_free(self) -> int:
        """Bytes that would be freed by keeping only the keepers and what is protected."""
        return sum(group.bytes_to_free for group in self.groups)

    @property
    def rule(self) -> str:
        """The rule of a match in words: ``radius 12 of 256 bits`` or ``own radius for each image, ...``."""
        rule = f"radius {self.radius} of {self.bits} bits"
        if self.own_radius:
            rule = f"own radius for each image, median {self.radius} of {self.bits} bits"
        if self.linkage != "star":
            rule += f", {self.linkage} linkage"
        if self.approximate:
            found = "an unknown share" if self.recall is None else f"{self.recall:.1%}"
            rule += f", approximate search that finds {found} of the pairs"
        return rule if self.calibration is None else f"{rule}, {self.calibration.words}"

    def by_tier(self) -> dict[str, dict[str, int]]:
        """Return for each tier the number of groups, of spare images and of bytes they take.

        A spare image counts in its own tier, a group in its weakest.
        """
        groups = Counter(group.tier for group in self.groups)
        images: Counter[str] = Counter()
        size: Counter[str] = Counter()
        for group in self.groups:
            for image in group.images:
                if image.spare:
                    images[image.tier] += 1
                    size[image.tier] += image.size
        return {tier: {"groups": groups[tier], "images": images[tier], "bytes": size[tier]} for tier in TIERS}

    def head(self) -> dict[str, Any]:
        """Return all but the lists of groups, featureless images and failures, as plain values."""
        summary = {
            "images": self.images,
            "groups": len(self.groups),
            "duplicates": self.duplicates,
            "bytes_to_free": self.bytes_to_free,
            "ignored": self.ignored,
            "separated": self.separated,
            "featureless": len(self.featureless),
            "by_tier": self.by_tier(),
        }
        head = {
            name: getattr(self, name)
            for name in ("collection", "folder", "encoder", "bits", "radius", "own_radius", "keep_rules", "created")
        }
        head |= {"linkage": self.linkage, "approximate": self.approximate, "recall": self.recall}
        head["calibration"] = None if self.calibration is None else self.calibration.to_dict()
        return {"schema": SCHEMA_VERSION, **head, "summary": summary}

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain lists and dicts, ready for :func:`json.dumps`.

        The layout is that of ``report.schema.json`` in this package.
        """
        lists = {
            "groups": [group.to_dict() for group in self.groups],
            "featureless": list(self.featureless),
            "failures": [asdict(failure) for failure in self.failures],
        }
        return {**self.head(), **lists}

    def with_confidence(self, known: Mapping[int, float]) -> DedupReport:
        """Return the report with the confidence of each image that is in `known`, by id."""
        groups = [
            replace(group, images=tuple(replace(image, confidence=known.get(image.id)) for image in group.images))
            for group in self.groups
        ]
        return replace(self, groups=tuple(groups))

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield one flat row an image, for CSV: the fields of `ReportImage` after ``group`` and ``group_tier``."""
        for group in self.groups:
            for image in group.images:
                yield {"group": group.number, "group_tier": group.tier, **asdict(image)}
