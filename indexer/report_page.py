"""A duplicate report as one HTML page that needs no other file and no network."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from hashae.indexer.new_file import replacing
from hashae.indexer.page_text import common_folder, date, embedded, link, template, visible
from hashae.indexer.report import TIER_TITLES, TIERS, DedupReport, ReportGroup, ReportImage
from hashae.indexer.report_plots import plots

if TYPE_CHECKING:
    from markupsafe import Markup

Thumbnail = Callable[[str, int], "bytes | None"]
"""Returns a JPEG of at most so many pixels a side of the image file at a path, or None if it cannot be shown."""

GROUP_IMAGES = 24
"""Images of one group that the page shows; the CSV and JSON files hold all."""

PAGE_GROUPS = 100
"""Groups the page shows at a time."""

LARGE_SIDE, SMALL_SIDE = 192, 112
"""Pixels a side of a thumbnail: some 10 kB and 4.5 kB of the page each."""

LARGE_GROUPS, PICTURED_GROUPS = 1_000, 5_000
"""The first groups have large thumbnails, those after them small ones, and the rest none."""

SMALL_IMAGES = 4
"""Images of a group with small thumbnails that have one."""

PICTURE_BYTES = 160 << 20
"""Most that all thumbnails may take of the page; there are none after that."""

AS_KEEPER = "="
"""Stands for the thumbnail of an image with the bytes or pixels of the one that is kept: it is not made again."""

PICTURE_BLOCK = 50
"""Groups whose thumbnails are made together, and lie together in the page."""

DATA_BLOCK = 500
"""Groups in one piece of JSON."""

FAILURES_SHOWN = 1000
"""Unreadable files, and featureless ones, that the page lists; the JSON file holds all."""

LISTED_FOLDERS = 400
"""Folders one can choose from, those with the most images; any other can be typed."""


def write_html(
    report: DedupReport,
    path: Path,
    thumbnail: Thumbnail,
    *,
    threads: int = 1,
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a report as one HTML file.

    The groups are JSON in the page, a script shows a hundred at a time. A group of two takes some 20 kB with large
    thumbnails, 9 kB with small ones and half a kB without. Thumbnails are made in the order of the report and written
    at once, so that memory does not grow with their number.

    Parameters
    ----------
    report
        The report.
    path
        File to write; an older file is replaced only when the new one is complete.
    thumbnail
        Called with path and side of each image that has a thumbnail, from `threads` threads. An `OSError`, and so an
        `ImageError`, counts as None.
    threads
        That make thumbnails.
    on_progress
        Called from this thread with the number of groups done, and of all that have thumbnails.

    Raises
    ------
    ConfigError
        If the folder of `path` does not exist, or `path` is not a file.
    HashaeError
        If the file cannot be written.
    """
    lists = _Lists(report.groups)
    with ThreadPoolExecutor(threads) as pool:
        pieces = template("report.html.j2").generate(
            report=report,
            tiers=_tier_rows(report),
            lists=lists,
            plots=plots(report),
            head=embedded(lists.head(report)),
            blocks=_data_blocks(report.groups, lists),
            pictures=_picture_blocks(report.groups, thumbnail, pool, on_progress),
            page_groups=PAGE_GROUPS,
            group_images=GROUP_IMAGES,
            failures_shown=FAILURES_SHOWN,
            large_groups=LARGE_GROUPS,
            pictured_groups=PICTURED_GROUPS,
            small_images=SMALL_IMAGES,
        )
        with replacing(path) as file:
            for piece in pieces:
                file.write(piece)


class _Lists:
    """Folders and formats of all shown images, so that each is written once.

    Parameters
    ----------
    groups
        Of the report.
    """

    def __init__(self, groups: Sequence[ReportGroup]) -> None:
        self.folders: dict[str, int] = {}
        self.formats: dict[str, int] = {}
        self.farthest = 0
        counts: dict[str, int] = {}
        for group in groups:
            for image in group.images[:GROUP_IMAGES]:
                folder = visible(image.path).rpartition("/")[0]
                counts[folder] = counts.get(folder, 0) + 1
                self.folders.setdefault(folder, len(self.folders))
                self.formats.setdefault(visible(image.format), len(self.formats))
                self.farthest = max(self.farthest, image.distance)
        most = sorted(counts, key=lambda folder: (-counts[folder], folder))[:LISTED_FOLDERS]
        self.listed = sorted(folder for folder in most if folder)
        self.common = common_folder(self.listed)

    def head(self, report: DedupReport) -> dict[str, Any]:
        """Return what the script has to know before it reads the groups."""
        return {
            "bits": report.bits,
            "tiers": list(TIERS),
            "titles": [TIER_TITLES[tier] for tier in TIERS],
            "folders": list(self.folders),
            "formats": list(self.formats),
            "page": PAGE_GROUPS,
            "block": PICTURE_BLOCK,
        }


def _data_blocks(groups: Sequence[ReportGroup], lists: _Lists) -> Iterator[Markup]:
    for start in range(0, len(groups), DATA_BLOCK):
        block = enumerate(groups[start : start + DATA_BLOCK], start)
        yield embedded([_group_row(group, _pictured(place, group), lists) for place, group in block])


def _group_row(group: ReportGroup, pictures: int, lists: _Lists) -> list[Any]:
    """Return a group as report.js reads it; what stands where is said there."""
    images = [
        _image_row(image, lists, representative=image.id == group.representative)
        for image in group.images[:GROUP_IMAGES]
    ]
    return [
        group.number,
        TIERS.index(group.tier),
        group.diameter,
        int(group.chained),
        len(group.images),
        group.bytes_to_free,
        max(image.distance for image in group.images),
        pictures,
        images,
    ]


def _image_row(image: ReportImage, lists: _Lists, *, representative: bool) -> list[Any]:
    shown = visible(image.path)
    folder, _, name = shown.rpartition("/")
    when, address = date(image.modified), link(image.path)
    # what the copy button gives: 0 for what is shown, none for a name that is no text
    copied = 0 if shown == image.path else None if "\\udc" in shown else image.path
    # an address is left to the script where it follows from the path as it is shown
    plain = copied == 0 and address == "file://" + quote(shown)
    return [
        lists.folders[folder],
        name,
        image.size,
        image.width,
        image.height,
        lists.formats[visible(image.format)],
        "" if when == "unknown date" else when,
        image.distance,
        TIERS.index(image.tier),
        image.keep + 2 * image.protected + 4 * representative,
        visible(image.reason),
        None if image.confidence is None else round(image.confidence, 2),
        copied,
        0 if plain else address,
    ]


def _pictured(place: int, group: ReportGroup) -> int:
    """Return how many images of a group have a thumbnail."""
    if place < LARGE_GROUPS:
        return min(len(group.images), GROUP_IMAGES)
    return min(len(group.images), SMALL_IMAGES) if place < PICTURED_GROUPS else 0


def _picture_blocks(
    groups: Sequence[ReportGroup],
    thumbnail: Thumbnail,
    pool: ThreadPoolExecutor,
    on_progress: Callable[[int, int], None] | None,
) -> Iterator[Iterator[str]]:
    """Yield the thumbnails of some groups at a time, a line each: base64, `AS_KEEPER`, or nothing to show.

    Base64 has no sign that HTML knows, and never begins with the sign for a twin.
    """
    room = PICTURE_BYTES

    def make(path: str, side: int) -> str:
        try:
            data = thumbnail(path, side)
        except OSError:
            # one bad picture must not cost the report; the page says that there is nothing to show
            return ""
        return "" if data is None else base64.b64encode(data).decode("ascii")

    def first(wanted: tuple[ReportImage, ReportImage, int]) -> str:
        image, keeper, side = wanted
        return AS_KEEPER if image is not keeper and image.tier in TIERS[:2] else make(image.path, side)

    def lines(start: int) -> Iterator[str]:
        nonlocal room
        block = enumerate(groups[start : min(start + PICTURE_BLOCK, total)], start)
        wanted = [
            (image, group.images[0], LARGE_SIDE if place < LARGE_GROUPS else SMALL_SIDE)
            for place, group in block
            for image in group.images[: _pictured(place, group)]
        ]
        kept = ""
        for (image, keeper, side), made in zip(wanted, pool.map(first, wanted), strict=True):
            line = made
            if image is keeper:
                kept = line
            elif line == AS_KEEPER and not kept:
                line = make(image.path, side)  # the keeper is gone, its twin may be there
            room -= len(line)
            if room < 0:
                return
            yield line + "\n"
        if on_progress:
            on_progress(min(start + PICTURE_BLOCK, total), total)

    total = min(len(groups), PICTURED_GROUPS)
    for start in range(0, total, PICTURE_BLOCK):
        if room < 0:
            return
        yield lines(start)


def _tier_rows(report: DedupReport) -> list[dict[str, Any]]:
    """Return the summary by tier, with start and width of its part of the bar in percent of all bytes."""
    rows: list[dict[str, Any]] = []
    start = 0.0
    for name, numbers in report.by_tier().items():
        share = 100 * numbers["bytes"] / max(report.bytes_to_free, 1)
        rows.append({"name": name, "title": TIER_TITLES[name], "start": start, "share": share, "numbers": numbers})
        start += share
    return rows
