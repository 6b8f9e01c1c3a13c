"""Verdicts as a JSON file: to keep them apart from the collection, or to take them to another one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hashae.errors import ConfigError, DocumentError
from hashae.indexer.decisions import Verdict, check_verdict
from hashae.indexer.documents import content_entry, entry, path_entry, read_document, write_document

SCHEMA = 1
"""Version of the layout."""

_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T[\d:.]{5,15}(Z|[+-]\d{2}:\d{2})", re.ASCII)


def verdict_entries(verdicts: Iterable[Verdict]) -> list[dict[str, Any]]:
    """Return verdicts as plain lists and dicts."""
    return [
        {
            "verdict": verdict.kind,
            "made": verdict.made,
            "pictures": [{"content": content.hex(), "path": path} for content, path in verdict.contents.items()],
        }
        for verdict in verdicts
    ]


def write_verdicts(verdicts: Iterable[Verdict], path: Path) -> None:
    """Write verdicts to a file.

    Raises
    ------
    ConfigError
        If the folder of `path` does not exist, or `path` is not a file.
    HashaeError
        If the file cannot be written.
    """
    write_document(path, "verdicts", SCHEMA, {"verdicts": verdict_entries(verdicts)}, option="FILE")


def read_verdicts(path: Path) -> list[Verdict]:
    """Read verdicts from a file; their numbers are 0 until they are stored.

    Raises
    ------
    DocumentError
        If the file holds anything else.
    """
    listed = entry(read_document(path, "verdicts", SCHEMA), "verdicts", list, str(path))
    found = []
    for number, value in enumerate(listed, 1):
        where = f"{path}, verdict {number}"
        kind, made = entry(value, "verdict", str, where), entry(value, "made", str, where)
        contents = {}
        for at, picture in enumerate(entry(value, "pictures", list, where), 1):
            its = f"{where}, picture {at}"
            contents[content_entry(picture, its)] = path_entry(picture, its)
        try:
            check_verdict(kind, contents)
        except ConfigError as error:
            raise DocumentError(f"{where}: {error}") from error
        if not _TIME.fullmatch(made):
            raise DocumentError(f'{where}: "made" is no time such as 2026-01-31T12:00:00Z')
        found.append(Verdict(0, kind, made, contents))
    return found
