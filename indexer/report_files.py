"""Duplicate reports as files: one HTML page for people, CSV for spreadsheets, JSON for programs."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import unicodedata
from collections.abc import Callable
from dataclasses import fields
from datetime import datetime, timedelta
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hashae.indexer.new_file import replacing
from hashae.indexer.report import TIER_TITLES, DedupReport, ReportImage

if TYPE_CHECKING:
    from jinja2 import Template

GROUP_IMAGES = 24
"""Images of one group that the HTML page shows; the CSV and JSON files hold all."""

PAGE_GROUPS = 100
"""Groups the HTML page shows at a time."""

FAILURES_SHOWN = 1000
"""Unreadable files, and featureless ones, that the HTML page lists; the JSON file holds all."""


def human_size(size: int) -> str:
    """Return a number of bytes the way file managers write it, in powers of 1000.

    Examples
    --------
    >>> human_size(950), human_size(1_300_000), human_size(999_999)
    ('950 bytes', '1.3 MB', '1.0 MB')
    """
    if abs(size) < 1000:
        return "1 byte" if size == 1 else f"{size} bytes"
    value = float(size)
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        # what would be rounded up to 1000.0 belongs to the next unit
        if abs(value) < 999.95:
            return f"{value:.1f} {unit}"
    return f"{value / 1000:,.1f} TB"


def write_html(report: DedupReport, path: Path, thumbnail: Callable[[str], bytes | None]) -> None:
    """Write a report as one HTML file that needs no other file and no network.

    Groups are written one after the other, so that memory does not grow with their number.

    Parameters
    ----------
    report
        The report.
    path
        File to write; an older file is replaced only when the new one is complete.
    thumbnail
        Called with the path of each image that is shown, right before it is written. Returns a small JPEG, or None if
        the picture cannot be shown; an `OSError`, and so an `ImageError`, counts as None.

    Raises
    ------
    ConfigError
        If the folder of `path` does not exist, or `path` is not a file.
    HashaeError
        If the file cannot be written.
    """

    def preview(source: str) -> str | None:
        try:
            data = thumbnail(source)
        except OSError:
            # one bad picture must not cost the report; the page says that there is nothing to show
            return None
        return None if data is None else "data:image/jpeg;base64," + base64.b64encode(data).decode("ascii")

    pieces = _template().generate(
        report=report,
        tiers=_tier_rows(report),
        preview=preview,
        page_groups=PAGE_GROUPS,
        group_images=GROUP_IMAGES,
        failures_shown=FAILURES_SHOWN,
    )
    with replacing(path) as file:
        for piece in pieces:
            file.write(piece)


def write_csv(report: DedupReport, path: Path) -> None:
    r"""Write a report as CSV (RFC 4180) in UTF-8: a header line, then one line an image.

    Columns are ``group``, ``group_tier`` and the fields of `ReportImage`. Bytes of a file name that are no text appear
    as ``\udc80`` to ``\udcff``; the JSON file gives such names back exactly.

    Parameters
    ----------
    report
        The report.
    path
        File to write; an older file is replaced only when the new one is complete.

    Raises
    ------
    ConfigError
        If the folder of `path` does not exist, or `path` is not a file.
    HashaeError
        If the file cannot be written.
    """
    columns = ["group", "group_tier", *(field.name for field in fields(ReportImage))]
    with replacing(path) as file:
        # line ends stay CRLF: with another one, csv leaves a carriage return inside a file name unquoted
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(report.rows())


def write_json(report: DedupReport, path: Path) -> None:
    """Write a report as JSON in UTF-8, laid out as `DedupReport.to_dict` says.

    Parameters
    ----------
    report
        The report.
    path
        File to write; an older file is replaced only when the new one is complete.

    Raises
    ------
    ConfigError
        If the folder of `path` does not exist, or `path` is not a file.
    HashaeError
        If the file cannot be written.
    """
    with replacing(path) as file:
        # a lone surrogate leaves the file's error handler as \udcff, which is the JSON escape for it
        json.dump(report.to_dict(), file, indent=2, ensure_ascii=False)
        file.write("\n")


@cache
def _template() -> Template:
    # Jinja2 takes a tenth of a second to import: only those who write a page pay for it
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    environment.filters.update(
        amount=_amount,
        csp_hash=_csp_hash,
        date=_date,
        human_size=human_size,
        link=_link,
        number="{:,}".format,
        visible=_visible,
    )
    environment.globals["tier_titles"] = TIER_TITLES
    return environment.from_string(files("hashae.indexer").joinpath("report.html.j2").read_text(encoding="utf-8"))


def _tier_rows(report: DedupReport) -> list[dict[str, Any]]:
    """Return the summary by tier, with start and width of its part of the bar in percent of all bytes."""
    rows: list[dict[str, Any]] = []
    start = 0.0
    for name, numbers in report.by_tier().items():
        share = 100 * numbers["bytes"] / max(report.bytes_to_free, 1)
        rows.append({"name": name, "title": TIER_TITLES[name], "start": start, "share": share, "numbers": numbers})
        start += share
    return rows


def _amount(number: int, word: str) -> str:
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def _csp_hash(text: str) -> str:
    """Return what a content security policy calls an inline script or style sheet by."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(str(text).encode()).digest()).decode()}'"


def _date(seconds: float) -> str:
    try:
        # not fromtimestamp: it refuses years before 1970 on some systems
        return f"{datetime(1970, 1, 1) + timedelta(seconds=seconds):%Y-%m-%d %H:%M}"
    except (OverflowError, ValueError):
        return "unknown date"


def _link(path: str) -> str | None:
    """Return the file: address of an absolute path, so that a click opens the full picture."""
    try:
        return Path(path).as_uri()
    except ValueError:
        return None


def _visible(text: str) -> str:
    """Write out characters that cannot be seen or that turn the text around them, so that no name looks like another.

    The two joiners stay as they are: emoji and Persian need them.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char.encode("unicode_escape").decode("ascii")
        if char not in "\u200c\u200d" and unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")
        else char
        for char in text
    )
