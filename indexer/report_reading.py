"""Reads a saved report back, from JSON or JSON Lines. What comes in is checked before it is believed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, BinaryIO

from hashae.errors import DocumentError
from hashae.indexer.calibrated import Calibration
from hashae.indexer.documents import entry, path_entry
from hashae.indexer.report import SCHEMA_VERSION, TIERS, DedupReport, Failure, ReportGroup, ReportImage

MAX_BYTES = 2 << 30
"""Largest JSON file that is read whole: some two million groups; JSON Lines are not limited."""

MAX_LINE = 256 << 20
"""Longest line of JSON Lines, in bytes: a group of half a million images."""


def read_report(path: Path) -> DedupReport:
    """Return the report that a file holds: what ``dedup --json`` printed, or ``--jsonl`` wrote.

    Raises
    ------
    DocumentError
        If the file cannot be read, is too large, damaged, no duplicate report, or written by a newer hashae.
    """
    try:
        with path.open("rb") as file:
            head = _first_line(file)
            if head is not None:
                return _from_lines(head, file, path)
            file.seek(0)
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise DocumentError(f"{path} cannot be read ({error.strerror or error})") from error
    if len(data) > MAX_BYTES:
        raise DocumentError(f"{path} has more than {MAX_BYTES:,} bytes; expected a smaller report, or one of --jsonl")
    value = _parsed(data, str(path))
    if not isinstance(value, dict) or "groups" not in value:
        raise DocumentError(f"{path} is no duplicate report: expected what hashae dedup --json prints")
    groups = [_group(one, f"{path}, group {at}") for at, one in enumerate(_list(value, "groups", path), 1)]
    failures = [_failure(one, f"{path}, failure {at}") for at, one in enumerate(_list(value, "failures", path), 1)]
    featureless = [path_entry({"path": one}, f"{path}, featureless") for one in _list(value, "featureless", path)]
    return _report(value, groups, featureless, failures, str(path))


def _first_line(file: BinaryIO) -> dict[str, Any] | None:
    """Return the head of JSON Lines, or None if this is something else."""
    line = file.readline(MAX_LINE)
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and value.get("kind") == "report" else None


def _from_lines(head: dict[str, Any], file: BinaryIO, path: Path) -> DedupReport:
    groups: list[ReportGroup] = []
    featureless: list[str] = []
    failures: list[Failure] = []
    for number, line in enumerate(_lines(file, path), 2):
        where = f"{path}, line {number}"
        value = _parsed(line, where)
        kind = entry(value, "kind", str, where)
        if kind == "group":
            groups.append(_group(value, where))
        elif kind == "featureless":
            featureless.append(path_entry(value, where))
        elif kind == "failure":
            failures.append(_failure(value, where))
        else:
            raise DocumentError(f'{where}: "kind" is {kind!r}; expected group, featureless or failure')
    told = entry(entry(head, "summary", dict, str(path)), "groups", int, f"{path}, summary")
    if told != len(groups):
        raise DocumentError(f"{path} holds {len(groups):,} groups and its head says {told:,}: it was cut off")
    return _report(head, groups, featureless, failures, f"{path}, line 1")


def _lines(file: BinaryIO, path: Path) -> Iterator[bytes]:
    while line := file.readline(MAX_LINE):
        if len(line) == MAX_LINE:
            raise DocumentError(f"{path} has a line of more than {MAX_LINE:,} bytes; expected one group a line")
        yield line


def _parsed(data: bytes, where: str) -> Any:
    try:
        return json.loads(data)
    except RecursionError as error:
        raise DocumentError(f"{where} is nested too deeply for a report") from error
    except ValueError as error:  # JSON, UTF-8, and numbers of thousands of digits
        raise DocumentError(f"{where} is not valid JSON ({error}); expected what hashae dedup --json prints") from error


def _list(value: dict[str, Any], key: str, path: Path) -> list[Any]:
    found: list[Any] = entry(value, key, list, str(path))
    return found


def _report(
    value: dict[str, Any], groups: list[ReportGroup], featureless: list[str], failures: list[Failure], where: str
) -> DedupReport:
    schema = value.get("schema")
    if not isinstance(schema, int) or isinstance(schema, bool) or not 1 <= schema <= SCHEMA_VERSION:
        raise DocumentError(f"{where} has schema {schema!r}; this hashae reads 1 to {SCHEMA_VERSION}: update hashae")
    summary = entry(value, "summary", dict, where)
    rules = entry(value, "keep_rules", list, where)
    if not all(isinstance(rule, str) for rule in rules):
        raise DocumentError(f'{where}: "keep_rules" holds something else than texts; expected names of rules')
    return DedupReport(
        collection=entry(value, "collection", str, where),
        folder=_optional(value, "folder", str, where),
        encoder=entry(value, "encoder", str, where),
        bits=entry(value, "bits", int, where),
        radius=entry(value, "radius", int, where),
        images=entry(summary, "images", int, where),
        created=entry(value, "created", str, where),
        groups=tuple(groups),
        failures=tuple(failures),
        own_radius=entry(value, "own_radius", bool, where),
        keep_rules=tuple(rules),
        ignored=entry(summary, "ignored", int, where),
        separated=entry(summary, "separated", int, where),
        featureless=tuple(featureless),
        calibration=_calibration(_optional(value, "calibration", dict, where), where),
        linkage=entry(value, "linkage", str, where),
        approximate=entry(value, "approximate", bool, where),
        recall=_number(value, "recall", where, optional=True),
    )


def _calibration(value: dict[str, Any] | None, where: str) -> Calibration | None:
    if value is None:
        return None
    names = {field.name for field in fields(Calibration)}
    if set(value) - {"format"} != names - {"format"}:
        raise DocumentError(f'{where}: "calibration" has other entries than {", ".join(sorted(names))}')
    _number(value, "precision", where)
    entry(value, "images", int, where)
    return Calibration(**value)


def _group(value: Any, where: str) -> ReportGroup:
    images = tuple(_image(one, f"{where}, image {at}") for at, one in enumerate(entry(value, "images", list, where), 1))
    kept = sum(image.keep for image in images)
    if kept != 1 or len(images) < 2:
        raise DocumentError(f"{where} keeps {kept} of {len(images)} images; expected 1 of at least 2")
    return ReportGroup(
        number=entry(value, "number", int, where),
        tier=_tier(value, where),
        images=images,
        representative=entry(value, "representative", int, where),
        diameter=_count(value, "diameter", where),
        chained=entry(value, "chained", bool, where),
    )


def _image(value: Any, where: str) -> ReportImage:
    modified = _number(value, "modified", where)
    assert modified is not None, "it is not optional"
    return ReportImage(
        id=entry(value, "id", int, where),
        path=path_entry(value, where),
        size=_count(value, "size", where),
        width=_count(value, "width", where),
        height=_count(value, "height", where),
        format=entry(value, "format", str, where),
        modified=modified,
        distance=_count(value, "distance", where),
        tier=_tier(value, where),
        keep=entry(value, "keep", bool, where),
        reason=entry(value, "reason", str, where),
        content=entry(value, "content", str, where),
        protected=entry(value, "protected", bool, where),
        confidence=_number(value, "confidence", where, optional=True),
    )


def _failure(value: Any, where: str) -> Failure:
    return Failure(path_entry(value, where), entry(value, "reason", str, where))


def _tier(value: Any, where: str) -> str:
    found: str = entry(value, "tier", str, where)
    if found not in TIERS:
        raise DocumentError(f'{where}: "tier" is {found!r}; expected one of {", ".join(TIERS)}')
    return found


def _count(value: Any, key: str, where: str) -> int:
    found: int = entry(value, key, int, where)
    if found < 0:
        raise DocumentError(f'{where}: "{key}" is {found}; expected 0 or more')
    return found


def _number(value: Any, key: str, where: str, *, optional: bool = False) -> float | None:
    if optional and isinstance(value, dict) and value.get(key, 0) is None:
        return None
    if isinstance(value, dict) and isinstance(value.get(key), float):
        return float(value[key])
    return float(entry(value, key, int, where))


def _optional(value: dict[str, Any], key: str, kind: type, where: str) -> Any:
    return None if value.get(key, 0) is None else entry(value, key, kind, where)
