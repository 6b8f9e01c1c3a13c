"""A duplicate report as Markdown: short enough for a terminal or a ticket."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from hashae.indexer.human_size import human_size
from hashae.indexer.new_file import replacing
from hashae.indexer.page_text import amount, date, visible
from hashae.indexer.report import TIER_TITLES, DedupReport, ReportGroup

MARKDOWN_GROUPS = 50
"""Groups that are listed, those that free the most; the JSON and CSV files hold all."""

MARKDOWN_IMAGES = 10
"""Images of a group that are listed."""

MARKDOWN_FAILURES = 20
"""Files listed that could not be used."""


def write_markdown(report: DedupReport, path: Path) -> None:
    """Write a report as Markdown with tables as GitHub draws them.

    Raises
    ------
    ConfigError
        If the folder of `path` does not exist, or `path` is not a file.
    HashaeError
        If the file cannot be written.
    """
    with replacing(path, option="--markdown") as file:
        for line in markdown_lines(report):
            file.write(line + "\n")


def markdown_lines(report: DedupReport) -> Iterator[str]:
    """Yield the lines of a report as Markdown, without line ends."""
    yield f"# Duplicate images in {_code(report.folder or report.collection)}"
    yield ""
    if not report.groups:
        yield f"No duplicates among {amount(report.images, 'image')} ({report.rule})."
    else:
        yield f"{amount(report.images, 'image')}, {report.rule}; {report.created[:16].replace('T', ' ')} UTC."
        yield ""
        yield "| match | groups | spare images | to free |"
        yield "|---|---:|---:|---:|"
        for tier, counts in report.by_tier().items():
            numbers = f"{counts['groups']:,} | {counts['images']:,} | {human_size(counts['bytes'])}"
            yield f"| {TIER_TITLES[tier]} | {numbers} |"
        numbers = f"{len(report.groups):,} | {report.duplicates:,} | {human_size(report.bytes_to_free)}"
        yield f"| **all** | {numbers} |"
    for group in report.groups[:MARKDOWN_GROUPS]:
        yield from _group_lines(group)
    left = len(report.groups) - MARKDOWN_GROUPS
    if left > 0:
        yield ""
        yield f"And {amount(left, 'more group')}."
    if report.featureless:
        yield ""
        count = amount(len(report.featureless), "image")
        yield f"{count} with next to nothing to see: compared by bytes and pixels only."
    if report.failures:
        yield ""
        yield f"## {amount(len(report.failures), 'file')} could not be used"
        yield ""
        for failure in report.failures[:MARKDOWN_FAILURES]:
            yield f"- {_code(failure.path)}: {_text(failure.reason)}"
        left = len(report.failures) - MARKDOWN_FAILURES
        if left > 0:
            yield f"- and {left:,} more"


def _group_lines(group: ReportGroup) -> Iterator[str]:
    chain = ", chain" if group.chained else ""
    yield ""
    yield (
        f"## Group {group.number}: {TIER_TITLES[group.tier]}, {amount(len(group.images), 'image')}, "
        f"{human_size(group.bytes_to_free)} to free"
    )
    yield ""
    yield f"Diameter {amount(group.diameter, 'bit')}{chain}."
    yield ""
    yield "| | file | bits | pixels | format | size | date | why |"
    yield "|---|---|---:|---|---|---:|---|---|"
    for image in group.images[:MARKDOWN_IMAGES]:
        mark = "keep" if image.keep else "stays" if image.protected else ""
        facts = f"{image.width} × {image.height} | {_text(image.format)} | {human_size(image.size)}"
        why = f"{date(image.modified)} | {_text(image.reason)}"
        yield f"| {mark} | {_code(image.path)} | {image.distance} | {facts} | {why} |"
    left = len(group.images) - MARKDOWN_IMAGES
    if left > 0:
        yield ""
        yield f"And {amount(left, 'more image')}."


def _code(name: str) -> str:
    """Return a name as a code span: no sign in it is markup, a bar does not end its cell."""
    shown = visible(name).replace("|", "\\|")
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", shown)), default=0))
    # a space on both sides is taken away again by whoever reads Markdown
    pad = " " if shown[:1] in ("`", " ") or shown[-1:] in ("`", " ") or not shown else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def _text(words: str) -> str:
    """Return words with everything escaped that Markdown or HTML would take for markup."""
    return re.sub(r"([\\`*_{}\[\]<>|#&~])", r"\\\1", visible(words))
