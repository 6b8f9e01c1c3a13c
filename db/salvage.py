"""A damaged collection file: what SQLite finds wrong with it, and a new file made of all rows that can still be read.

The damaged file is never written to. Codes can be computed again from the pictures, bands from the codes; verdicts, the
journal of actions and the encoders cannot, so each row that can be read counts.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from hashae.db.session import open_database, translate
from hashae.errors import CollectionError

TABLES = (
    *("collections", "sources", "images", "encoders", "codes"),
    *("failures", "verdicts", "verdict_contents", "runs", "journal"),
)
"""What is copied, parents first; bands are written anew from the codes."""

ORDERED = {"codes": 'encoder, "key", image'}
"""Tables without rowid: the columns that order them."""

SHOWN = 20
"""Most sentences of SQLite that are asked for."""

_EMPTY_VERDICTS = """DELETE FROM verdicts WHERE (SELECT count(*) FROM verdict_contents WHERE verdict = verdicts.id)
    < CASE kind WHEN 'keep' THEN 1 ELSE 2 END"""

GAP = 100_000
"""Most row ids between two readable ends of a table that are tried one by one."""

CHUNK = 1000
"""Rows written in one statement."""


def integrity(path: Path) -> list[str]:
    """Return what SQLite finds wrong with a file; an empty list if it is sound.

    Raises
    ------
    CollectionError
        If it is in use, or cannot be opened.
    """
    try:
        with closing(_connect(path)) as connection:
            rows = connection.execute(f"PRAGMA integrity_check({SHOWN})").fetchall()
    except sqlite3.DatabaseError as error:
        if any(word in str(error) for word in ("locked", "busy", "unable to open")):
            raise translate(path, error) from error
        return [str(error)]
    return [line for (text,) in rows for line in str(text).splitlines() if line != "ok"]


def readable(path: Path) -> dict[str, int]:
    """Return how many rows of each table can be read; empty if not even the list of tables can."""
    with closing(_connect(path)) as connection:
        return {table: sum(1 for _ in _rows(connection, table)) for table in _tables(connection)}


def salvage(path: Path) -> tuple[Path, dict[str, int]]:
    """Put a new file in the place of a damaged one, with every row that can be read and makes sense.

    Parameters
    ----------
    path
        Of the damaged file.

    Returns
    -------
    tuple
        Where the damaged file is kept now, and how many rows of each table were saved.

    Raises
    ------
    CollectionError
        If nothing can be read, the file is in use, or there is no room for a new one.
    """
    new = path.with_name(f"{path.name}.salvaged")
    for part in _family(new):
        part.unlink(missing_ok=True)
    with closing(_connect(path)) as old:
        _refuse_busy(old, path)
        tables = _tables(old)
        if "images" not in tables:
            raise CollectionError(
                f"{path} is damaged so that not even its list of tables can be read: nothing can be saved; restore a "
                "copy, or index the pictures into a new file"
            )
        open_database(new).close()
        try:
            with closing(sqlite3.connect(new, isolation_level=None)) as target:
                target.execute("PRAGMA foreign_keys = ON")
                target.execute("BEGIN IMMEDIATE")
                saved = {table: _copy_whole(old, target, table) for table in tables}
                if "verdicts" in tables:
                    target.execute(_EMPTY_VERDICTS)
                for name in ("encoder", "next_encoder"):
                    target.execute(
                        f"UPDATE collections SET {name} = NULL WHERE {name} NOT IN (SELECT id FROM encoders)"
                    )
                target.execute("COMMIT")
        except sqlite3.Error as error:
            for part in _family(new):
                part.unlink(missing_ok=True)
            raise translate(new, error) from error
    return _swap(path, new), saved


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=5, isolation_level=None)
    connection.execute("PRAGMA cell_size_check = ON")
    return connection


def _family(path: Path) -> list[Path]:
    return [path, *(path.with_name(path.name + ending) for ending in ("-wal", "-shm", "-journal"))]


def _refuse_busy(connection: sqlite3.Connection, path: Path) -> None:
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except sqlite3.DatabaseError as error:
        if "locked" in str(error) or "busy" in str(error):
            raise translate(path, error) from error


def _tables(connection: sqlite3.Connection) -> list[str]:
    try:
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.DatabaseError:
        return []
    return [table for table in TABLES if table in names]


def _rows(connection: sqlite3.Connection, table: str) -> Iterator[tuple[Any, ...]]:
    """Yield the rows that can be read: from the front, from the back, and what lies between, one by one."""
    order = ORDERED.get(table)
    if order is not None:
        yield from _both_ends(connection, table, order)
        return
    last, whole = 0, False
    try:
        for rowid, *row in connection.execute(f"SELECT rowid, * FROM {table} ORDER BY rowid"):
            last = max(last, rowid)
            yield tuple(row)
        whole = True
    except sqlite3.DatabaseError:
        pass
    if whole:
        return
    first = None
    try:
        for rowid, *row in connection.execute(
            f"SELECT rowid, * FROM {table} WHERE rowid > ? ORDER BY rowid DESC", (last,)
        ):
            first = rowid
            yield tuple(row)
    except sqlite3.DatabaseError:
        pass  # the rest may lie between
    for rowid in range(last + 1, min(last + GAP, first or last + GAP)):
        try:
            yield from connection.execute(f"SELECT * FROM {table} WHERE rowid = ?", (rowid,)).fetchall()
        except sqlite3.DatabaseError:
            continue


def _both_ends(connection: sqlite3.Connection, table: str, order: str) -> Iterator[tuple[Any, ...]]:
    backwards = ", ".join(f"{column.strip()} DESC" for column in order.split(","))
    seen, whole = set(), False
    try:
        for row in connection.execute(f"SELECT * FROM {table} ORDER BY {order}"):
            seen.add(row[:3])
            yield row
        whole = True
    except sqlite3.DatabaseError:
        pass
    if whole:
        return
    with suppress(sqlite3.DatabaseError):
        for row in connection.execute(f"SELECT * FROM {table} ORDER BY {backwards}"):
            if row[:3] in seen:
                return
            yield row


def _copy_whole(old: sqlite3.Connection, new: sqlite3.Connection, table: str) -> int:
    """Copy a table; without the row of a collection nothing else would have a place."""
    count = _copy(old, new, table)
    if table == "collections" and not count:
        new.execute("INSERT INTO collections (id, name, created, generation) VALUES (1, 'default', '', 0)")
    return count


def _copy(old: sqlite3.Connection, new: sqlite3.Connection, table: str) -> int:
    """Copy the readable rows of a table; what makes no sense is left out. Return how many there are."""
    names = [row[1] for row in old.execute(f"PRAGMA table_info({table})")]
    known = {row[1] for row in new.execute(f"PRAGMA table_info({table})")}
    kept = [number for number, name in enumerate(names) if name in known]
    columns = ", ".join(f'"{names[number]}"' for number in kept)
    statement = f"INSERT INTO {table} ({columns}) VALUES ({', '.join('?' * len(kept))})"
    place = {name: number for number, name in enumerate(names)}
    widths = dict(new.execute("SELECT id, bits / 8 FROM encoders").fetchall())
    count, chunk = 0, list[tuple[Any, ...]]()
    for row in _rows(old, table):
        if _makes_sense(table, row, place, widths):
            chunk.append(tuple(row[number] for number in kept))
        if len(chunk) == CHUNK:
            count, chunk = count + _insert(new, statement, chunk), []
    return count + _insert(new, statement, chunk)


def _makes_sense(table: str, row: tuple[Any, ...], place: dict[str, int], widths: dict[int, int]) -> bool:
    if table == "images":
        content = row[place["content"]]
        return isinstance(content, bytes) and len(content) == 16
    if table == "encoders":
        weights = row[place["weights"]]
        return isinstance(weights, bytes) and hashlib.sha256(weights).hexdigest() == row[place["fingerprint"]]
    if table == "codes":
        code, key = row[place["code"]], row[place["key"]]
        if not isinstance(code, bytes) or len(code) != widths.get(row[place["encoder"]]):
            return False
        return bool(key == int.from_bytes(code[:8].rjust(8, b"\0"), "big", signed=len(code) >= 8))
    return True


def _insert(connection: sqlite3.Connection, statement: str, rows: list[tuple[Any, ...]]) -> int:
    """Insert rows; those that contradict others, or belong to nothing, are left out. Return how many went in."""
    connection.execute("SAVEPOINT chunk")
    try:
        connection.executemany(statement, rows)
        return len(rows)
    except sqlite3.IntegrityError:
        connection.execute("ROLLBACK TO chunk")
        count = 0
        for row in rows:
            try:
                connection.execute(statement, row)
                count += 1
            except sqlite3.IntegrityError:
                continue
        return count
    finally:
        connection.execute("RELEASE chunk")


def _swap(path: Path, new: Path) -> Path:
    """Put the new file in the place of the damaged one, which gets another name beside it."""
    number, kept = 1, path.with_name(f"{path.name}.damaged")
    while kept.exists():
        number += 1
        kept = path.with_name(f"{path.name}.damaged-{number}")
    try:
        os.link(path, kept)  # so that there is a file of that name at every moment
    except OSError:
        os.replace(path, kept)
    for part in _family(path)[1:]:
        if part.exists():
            os.replace(part, kept.with_name(kept.name + part.name[len(path.name) :]))
    os.replace(new, path)
    return kept
