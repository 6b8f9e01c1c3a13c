"""Moving a collection from a file to a server, or back: every row, in the order of its key, so that it can go on.

A copy that is not finished has collections of another name, so that nobody takes it for a whole one. At the end the
rows of both sides are counted and their checksums compared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, delete, func, select, tuple_, update

from hashae.db import Database, open_database
from hashae.db.marks import UNFINISHED
from hashae.db.schema import (
    band_masks,
    codes,
    collections,
    encoders,
    failures,
    images,
    journal,
    runs,
    sources,
    verdict_contents,
    verdicts,
)
from hashae.errors import CollectionError
from hashae.indexer.band_rows import write_rows
from hashae.indexer.summary import Progress
from hashae.place import Place, ServerUrl

CHUNK = 4096
"""Rows in one transaction: what an interruption can cost."""

FEW = 8
"""Rows in one transaction of a table whose rows are megabytes."""

IN_ORDER = (collections, sources, images, encoders, codes)
"""Tables that are copied row after row, parents first: whoever changes them moves the generation on."""

AT_ONCE = (failures, verdicts, verdict_contents, runs, journal)
"""Small tables that may change without that: copied anew in the last transaction."""


@dataclass(frozen=True)
class CopySummary:
    """What was copied: table -> rows, how many of them were there from an earlier run, and a checksum of them all."""

    rows: dict[str, int]
    before: int
    checksum: str


def copy_collections(
    origin: str | Path | ServerUrl,
    target: str | Path | ServerUrl,
    *,
    on_progress: Callable[[Progress], None] | None = None,
) -> CopySummary:
    """Copy all that a file or database of collections holds; the original is only read.

    Parameters
    ----------
    origin
        File, or URL of a database.
    target
        The same; it must not hold a collection, unless it is an unfinished copy of this very one, which goes on.
    on_progress
        Called from this thread.

    Raises
    ------
    CollectionError
        If one of the two cannot be used, the target holds something else, or the copy is not what the original is.
    """
    tell = on_progress or (lambda _progress: None)
    source = open_database(origin, create=False)
    try:
        other = open_database(target)
        try:
            return _copy(source, other, tell)
        finally:
            other.close()
    finally:
        source.close()


def _copy(source: Database, target: Database, tell: Callable[[Progress], None]) -> CopySummary:
    if _same(source.path, target.path):
        raise CollectionError(f"{source.path} cannot be copied onto itself; give another place")
    with source.read() as reader:
        _check_target(reader, source.path, target)
        total = sum(_count(reader, table) for table in IN_ORDER)
        with target.read() as connection:
            done = before = sum(_count(connection, table) for table in IN_ORDER)
        for table in IN_ORDER:
            for rows in _missing_rows(reader, table, target):
                target.again(lambda table=table, rows=rows: _put(target, table, rows))  # type: ignore[misc]
                done += len(rows)
                tell(Progress("copy", done, total))
        target.again(lambda: _finish(reader, target, tell))
        tell(Progress("compare", 0, None))
        compared = {table: _checksums(reader, target, table) for table in (*IN_ORDER, *AT_ONCE, band_masks)}
        bad = [table.name for table, (mine, its) in compared.items() if mine != its]
        if bad:
            raise CollectionError(
                f"{target.path} differs from {source.path} in {', '.join(bad)}: one of them was changed meanwhile; "
                "empty the copy and start again"
            )
        with target.write(durable=True) as connection:
            connection.execute(update(collections).values(name=func.substr(collections.c.name, len(UNFINISHED) + 1)))
        whole = hashlib.sha256("".join(f"{mine[1]:032x}" for mine, _ in compared.values()).encode()).hexdigest()
        counts = {table.name: mine[0] for table, (mine, _) in compared.items() if table is not band_masks}
    return CopySummary(counts, before, whole[:32])


def _same(one: Place, other: Place) -> bool:
    if isinstance(one, Path) and isinstance(other, Path):
        return one.exists() and other.exists() and one.samefile(other)
    return one == other


def _check_target(reader: Connection, origin: Place, target: Database) -> None:
    """Refuse a target that holds anything but an unfinished copy of what the original is now."""
    columns = (collections.c.name, collections.c.created, collections.c.generation)
    wanted = {(f"{UNFINISHED}{name}"[:200], *rest) for name, *rest in reader.execute(select(*columns))}
    with target.read() as connection:
        found = {tuple(row) for row in connection.execute(select(*columns))}
    if not any(name.startswith(UNFINISHED) for name, *_ in found) and found:
        raise CollectionError(f"{target.path} holds a collection already; give a new file, or an empty database")
    if not found <= wanted:
        raise CollectionError(
            f"{target.path} holds an unfinished copy of something else, or {origin} was changed since it was begun; "
            "delete it and start again"
        )


def _missing_rows(reader: Connection, table: Table, target: Database) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows that the target has not yet, chunk by chunk: those after its last key."""
    keys = list(table.primary_key.columns)
    with target.read() as connection:
        last = connection.execute(select(*keys).order_by(*(key.desc() for key in keys)).limit(1)).first()
    query = select(table).order_by(*keys)
    if last is not None:
        query = query.where(tuple_(*keys) > tuple_(*last) if len(keys) > 1 else keys[0] > last[0])
    size = FEW if table is encoders else CHUNK
    streamed = reader.execution_options(stream_results=True, yield_per=size).execute(query)
    for part in streamed.mappings().partitions(size):
        rows = [dict(row) for row in part]
        if table is collections:
            rows = [row | {"name": f"{UNFINISHED}{row['name']}"[:200]} for row in rows]
        yield rows


def _put(target: Database, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Write one chunk; after a lost connection it may be there already."""
    keys = list(table.primary_key.columns)
    first = tuple_(*keys) if len(keys) > 1 else keys[0]
    with target.write() as connection:
        last = tuple(rows[-1][key.name] for key in keys)
        there = first == (tuple_(*last) if len(keys) > 1 else last[0])
        if connection.execute(select(func.count()).select_from(table).where(there)).scalar_one():
            return
        target.insert_many(connection, table, rows)


def _finish(reader: Connection, target: Database, tell: Callable[[Progress], None]) -> None:
    """Copy what is small, deal the bits of the keys to bands as the original does, and write the rows of the bands."""
    with target.write(durable=True) as connection:
        for table in reversed(AT_ONCE):
            connection.execute(delete(table))
        for table in AT_ONCE:
            target.insert_many(connection, table, [dict(row) for row in reader.execute(select(table)).mappings()])
        for row in reader.execute(select(band_masks)).mappings():
            mine = (band_masks.c.encoder == row["encoder"]) & (band_masks.c.band == row["band"])
            connection.execute(update(band_masks).where(mine).values(mask=row["mask"], share=row["share"]))
        for encoder in reader.execute(select(encoders.c.id)).scalars().all():
            write_rows(connection, encoder, lambda band: tell(Progress("bands", band, 3)), deal_anew=False)
        target.count_on(connection)


def _checksums(reader: Connection, target: Database, table: Table) -> tuple[tuple[int, int], tuple[int, int]]:
    with target.read() as connection:
        return checksum(reader, table), checksum(connection, table)


def checksum(connection: Connection, table: Table) -> tuple[int, int]:
    """Return the number of rows of a table, and a sum of their hashes, which does not depend on their order."""
    count = total = 0
    streamed = connection.execution_options(stream_results=True, yield_per=CHUNK).execute(select(table))
    for row in streamed:
        values = tuple(row)
        if table is collections:
            values = (values[0], values[1].removeprefix(UNFINISHED), *values[2:])
        digest = hashlib.blake2b(repr(values).encode("utf-8", "surrogateescape"), digest_size=16)
        total = (total + int.from_bytes(digest.digest(), "big")) % (1 << 128)
        count += 1
    return count, total


def _count(connection: Connection, table: Table) -> int:
    return int(connection.execute(select(func.count()).select_from(table)).scalar_one())
