"""Open a collection file: engine, pragmas, version check, transactions."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, CursorResult, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError

from hashae.db.schema import APPLICATION_ID, SCHEMA_REVISION
from hashae.errors import CollectionError

BUSY_SECONDS = 30
"""How long a writer waits for another one."""

_HEADER = b"SQLite format 3\x00"


class Database:
    """An open collection file.

    Parameters
    ----------
    path
        Of the file.
    engine
        SQLAlchemy engine on it; :func:`open_database` makes it.
    """

    def __init__(self, path: Path, engine: Engine) -> None:
        self.path, self.engine = path, engine

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Run one transaction that may write: all of it or nothing.

        Raises
        ------
        CollectionError
            If the file is locked, read-only, damaged or the disk is full.
        """
        with self._translated(), self.engine.connect() as connection:
            # Taking the write lock at once waits its turn here, instead of failing in the middle.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.rollback()
                raise
            connection.commit()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Run reads that see one state of the file."""
        with self._translated(), self.engine.connect() as connection:
            connection.exec_driver_sql("BEGIN")
            try:
                yield connection
            finally:
                connection.rollback()

    def close(self) -> None:
        """Close the file; the write-ahead log is merged into it."""
        self.engine.dispose()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise translate(self.path, error.orig or error) from error
        except sqlite3.Error as error:
            raise translate(self.path, error) from error


def inserted_id(result: CursorResult[Any]) -> int:
    """Return the row id that an INSERT of one row was given."""
    key = result.inserted_primary_key
    assert key is not None
    return int(key[0])


def translate(path: Path, error: BaseException) -> CollectionError:
    """Return the sentence for an error of SQLite."""
    text = str(error)
    if "locked" in text or "busy" in text:
        return CollectionError(f"{path} is in use by another process for more than {BUSY_SECONDS} s; try again later")
    if "full" in text:
        return CollectionError(f"{path} cannot grow: the disk is full; free some space and run the command again")
    if "readonly" in text or "read-only" in text:
        return CollectionError(f"{path} is read-only; allow writing, or copy it elsewhere and give --db")
    if "malformed" in text or "not a database" in text or "corrupt" in text:
        return CollectionError(f"{path} is damaged ({text}); restore a copy, or index the pictures into a new file")
    if "disk I/O" in text:
        return CollectionError(f"{path} cannot be read or written ({text}); check the disk and its free space")
    return CollectionError(f"{path}: {text}")


def open_database(path: str | Path, *, create: bool = True) -> Database:
    """Open a collection file and bring its schema up to date.

    Parameters
    ----------
    path
        File; its folder must exist.
    create
        Make the file if it is missing or empty.

    Raises
    ------
    CollectionError
        If the file is missing (and not to be created), is no SQLite file, belongs to another program, was written by a
        newer hashae, or cannot be written.
    """
    path = Path(os.path.abspath(path))
    new = not path.exists() or path.stat().st_size == 0
    if new and not create:
        raise CollectionError(f"there is no collection at {path}; make one: hashae index FOLDER --db {path}")
    if not path.parent.is_dir():
        raise CollectionError(f"{path.parent} does not exist; create the folder, or give another --db")
    if not new:
        _check_header(path)
    database = Database(path, _engine(path))
    try:
        _upgrade(database, new=new)
    except DBAPIError as error:
        database.close()
        raise translate(path, error.orig or error) from error
    except BaseException:
        database.close()
        raise
    return database


def _check_header(path: Path) -> None:
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise CollectionError(f"{path} cannot be read ({error.strerror or error})") from error
    if head != _HEADER:
        raise CollectionError(f"{path} is not a collection (no SQLite file); give another file with --db")


def _engine(path: Path) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        # Transactions are begun by hand: the sqlite3 module would begin them late and commit them early.
        connection.isolation_level = None
        for pragma in ("foreign_keys = ON", "synchronous = NORMAL", "cache_size = -65536", "temp_store = MEMORY"):
            connection.execute(f"PRAGMA {pragma}")

    return engine


def _upgrade(database: Database, *, new: bool) -> None:
    path = database.path
    with database.engine.connect() as connection:
        found = connection.exec_driver_sql("PRAGMA application_id").scalar_one()
        if not new and found != APPLICATION_ID:
            tables = connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one()
            if tables:
                raise CollectionError(f"{path} is a database of another program; give another file with --db")
        revision = None
        if (
            not new
            and connection.exec_driver_sql(
                "SELECT count(*) FROM sqlite_master WHERE name = 'alembic_version'"
            ).scalar_one()
        ):
            revision = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
        if revision == SCHEMA_REVISION:
            return
        # Write-ahead log: readers and one writer do not wait for each other, and kill -9 loses at most one batch.
        connection.exec_driver_sql("PRAGMA journal_mode = WAL")
    from hashae.db.migrate import known_revisions, upgrade

    if revision is not None and revision not in known_revisions():
        raise CollectionError(
            f"{path} was written by a newer hashae (schema {revision}; this one knows {SCHEMA_REVISION}); update hashae"
        )
    upgrade(database.engine)
