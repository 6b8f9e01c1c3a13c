"""Overlap reports: which images of one set are in another, and how they are the same."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hashae.indexer.calibrated import Calibration
from hashae.indexer.image_row import ImageRow
from hashae.indexer.new_file import replacing
from hashae.indexer.report import TIERS, DedupReport, ReportGroup, ReportImage

SCHEMA_VERSION = 1
"""Version of the JSON and CSV layout; it grows when a field changes its meaning or goes away."""


@dataclass(frozen=True, slots=True)
class OverlapPair:
    """An image and its best match in the other set.

    Attributes
    ----------
    image, match
        The two images.
    distance
        Differing bits of their codes.
    tier
        How they are the same: one of :data:`hashae.indexer.report.TIERS`.
    """

    image: ImageRow
    match: ImageRow
    distance: int
    tier: str

    def row(self) -> dict[str, Any]:
        """Return one flat row: tier, distance, then what is known of the image and of its match."""
        names = ("path", "size", "width", "height", "format")
        mine = {name: getattr(self.image, name) for name in names}
        its = {f"match_{name}": getattr(self.match, name) for name in names}
        return {"tier": self.tier, "distance": self.distance, **mine, **its}


@dataclass(frozen=True, slots=True)
class OverlapReport:
    """What of one set of images is in another.

    Attributes
    ----------
    collection
        Path of the collection file that holds the images.
    folder
        Folder of the images, or None for all of the collection.
    against
        The other set: a folder, or another collection file.
    encoder, bits
        Name and code length of the encoder.
    radius
        Largest distance of a match, in bits, inclusive; with `own_radius`, the median over the images.
    images, others
        Number of images in the two sets.
    created
        ISO 8601 time of the report, UTC.
    pairs
        Every image that has a match, with its best one, by (tier, distance, path).
    own_radius
        True if every image had a radius of its own.
    calibration
        That the radii are from; None if a person or the encoder gave them.
    """

    collection: str
    folder: str | None
    against: str
    encoder: str
    bits: int
    radius: int
    images: int
    others: int
    created: str
    pairs: tuple[OverlapPair, ...] = ()
    own_radius: bool = False
    calibration: Calibration | None = None

    @property
    def share(self) -> float:
        """Share of the images that have a match, 0 to 1."""
        return len(self.pairs) / self.images if self.images else 0.0

    @property
    def rule(self) -> str:
        """The rule of a match in words."""
        return self.as_groups().rule

    def by_tier(self) -> dict[str, int]:
        """Return the number of images that have a match, by tier."""
        counts = Counter(pair.tier for pair in self.pairs)
        return {tier: counts[tier] for tier in TIERS}

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain lists and dicts, ready for :func:`json.dumps`."""
        names = ("collection", "folder", "against", "encoder", "bits", "radius", "own_radius", "created")
        head = {name: getattr(self, name) for name in names}
        head["calibration"] = None if self.calibration is None else self.calibration.to_dict()
        summary = {
            "images": self.images,
            "others": self.others,
            "matched": len(self.pairs),
            "share": self.share,
            "by_tier": self.by_tier(),
        }
        return {"schema": SCHEMA_VERSION, **head, "summary": summary, "pairs": list(self.rows())}

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield one flat row a pair."""
        for pair in self.pairs:
            yield pair.row()

    def as_groups(self) -> DedupReport:
        """Return the same as a duplicate report, for its page: each matched image of the other set and what matches it.

        The image of the other set is the one to keep.
        """
        groups: dict[str, list[OverlapPair]] = {}
        for pair in self.pairs:
            groups.setdefault(pair.match.path, []).append(pair)
        listed: list[ReportGroup] = []
        for pairs in groups.values():
            tier = max((pair.tier for pair in pairs), key=TIERS.index)
            kept = _shown(pairs[0].match, 0, tier, f"in {self.against}", keep=True)
            rest = [_shown(pair.image, pair.distance, pair.tier, "its best match", keep=False) for pair in pairs]
            far = max(pair.distance for pair in pairs)
            listed.append(ReportGroup(len(listed) + 1, tier, (kept, *rest), pairs[0].match.id, far))
        return DedupReport(
            collection=self.collection,
            folder=self.folder,
            encoder=self.encoder,
            bits=self.bits,
            radius=self.radius,
            images=self.images,
            created=self.created,
            groups=tuple(listed),
            own_radius=self.own_radius,
            calibration=self.calibration,
        )


def _shown(row: ImageRow, distance: int, tier: str, reason: str, *, keep: bool) -> ReportImage:
    return ReportImage(
        id=row.id,
        path=row.path,
        size=row.size,
        width=row.width,
        height=row.height,
        format=row.format,
        modified=row.mtime_ns / 1e9,
        distance=distance,
        tier=tier,
        keep=keep,
        reason=reason,
        content=row.content.hex(),
    )


def write_pairs(report: OverlapReport, path: Path) -> None:
    """Write a report as CSV (RFC 4180) in UTF-8: a header line, then one line a pair.

    Raises
    ------
    ConfigError
        If the folder of `path` does not exist, or `path` is not a file.
    HashaeError
        If the file cannot be written.
    """
    blank = ImageRow(0, "", 0, 0, 0, 0, "", b"")
    with replacing(path, option="--csv") as file:
        writer = csv.DictWriter(file, list(OverlapPair(blank, blank, 0, "near").row()))
        writer.writeheader()
        writer.writerows(report.rows())
