"""Duplicate reports as files: CSV for spreadsheets, JSON and JSON Lines for programs. The page is in report_page.py."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from hashae.indexer.new_file import replacing
from hashae.indexer.report import DedupReport, ReportImage


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
    """Write a report as JSON in UTF-8, laid out as `DedupReport.to_dict` says, one group at a time.

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
        # a lone surrogate leaves the file's error handler as \\udcff, which is the JSON escape for it
        for piece in json_pieces(report, ensure_ascii=False):
            file.write(piece)


def json_pieces(report: DedupReport, *, ensure_ascii: bool = True) -> Iterator[str]:
    """Yield the text of a report as JSON, so that no more than one group is held as text.

    Parameters
    ----------
    report
        The report.
    ensure_ascii
        Escape all other signs.
    """
    lists: list[tuple[str, Iterable[Any]]] = [
        ("groups", (group.to_dict() for group in report.groups)),
        ("featureless", report.featureless),
        ("failures", (asdict(failure) for failure in report.failures)),
    ]

    def text(value: Any, depth: int) -> str:
        return json.dumps(value, indent=2, ensure_ascii=ensure_ascii).replace("\n", "\n" + "  " * depth)

    yield text(report.head(), 0).removesuffix("\n}")
    for name, values in lists:
        yield f',\n  "{name}": ['
        between = "\n    "
        for value in values:
            yield between + text(value, 2)
            between = ",\n    "
        yield "]" if between[0] == "\n" else "\n  ]"
    yield "\n}\n"


def write_json_lines(report: DedupReport, path: Path) -> None:
    """Write a report as JSON Lines: a million groups can be read one by one.

    The first line is the report without its lists (``"kind": "report"``); then comes one line a group (``"group"``), a
    featureless image (``"featureless"``), a file that could not be used (``"failure"``).

    Raises
    ------
    ConfigError
        If the folder of `path` does not exist, or `path` is not a file.
    HashaeError
        If the file cannot be written.
    """
    with replacing(path, option="--jsonl") as file:
        for line in json_lines(report):
            # a lone surrogate leaves the file's error handler as \\udcff, which is the JSON escape for it
            file.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")


def json_lines(report: DedupReport) -> Iterator[dict[str, Any]]:
    """Yield what stands in each line of :func:`write_json_lines`."""
    yield {"kind": "report", **report.head()}
    for group in report.groups:
        yield {"kind": "group", **group.to_dict()}
    for path in report.featureless:
        yield {"kind": "featureless", "path": path}
    for failure in report.failures:
        yield {"kind": "failure", **asdict(failure)}
