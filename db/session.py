"""Open a collection file: engine, pragmas, version check, transactions."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, CursorResult, Engine, PoolProxiedConnection, create_engine, event
from sqlalchemy.exc import DBAPIError, NoResultFound

from hashae.db.holder import holder
from hashae.db.schema import APPLICATION_ID, SCHEMA_REVISION
from hashae.errors import CollectionError

BUSY_SECONDS = 30
"""How long a writer waits for another one."""

TOLD_SECONDS = 2.0
"""How long it waits without a word."""

MAPPED = 2_147_418_112
"""Bytes of the file that look-ups read without copying their pages: as many as SQLite allows."""

_log = logging.getLogger(__name__)

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
        self._held: PoolProxiedConnection | None = None
        self._execute: Callable[[str, Sequence[Any]], sqlite3.Cursor] = self._hold_and_execute

    @contextmanager
    def write(self, *, durable: bool = False) -> Iterator[Connection]:
        """Run one transaction that may write: all of it or nothing.

        Parameters
        ----------
        durable
            Wait until it is on the disk, so that a power cut cannot take it back. Else it is safe from a crash of the
            program only, which costs less.

        Raises
        ------
        CollectionError
            If the file is locked, read-only, damaged or the disk is full.
        """
        with self._translated(), self.engine.connect() as connection:
            if durable:
                connection.exec_driver_sql("PRAGMA synchronous = FULL")
            try:
                # Taking the write lock at once waits its turn here, instead of failing in the middle.
                self._take_turn(connection)
                try:
                    yield connection
                except BaseException:
                    connection.rollback()
                    raise
                connection.commit()
            finally:
                if durable:
                    connection.exec_driver_sql("PRAGMA synchronous = NORMAL")

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Run reads that see one state of the file."""
        with self._translated(), self.engine.connect() as connection:
            connection.exec_driver_sql("BEGIN")
            try:
                yield connection
            finally:
                connection.rollback()

    def look_up(self, statement: str, values: Sequence[Any]) -> list[Any]:
        """Run one SELECT on a connection that is kept open, and return its rows.

        The statement sees one state of the file and stays prepared. Through SQLAlchemy it would take several
        times as long as a look-up itself.

        Parameters
        ----------
        statement
            SQL.
        values
            Of its parameters.

        Raises
        ------
        CollectionError
            If the file is locked or damaged.
        """
        try:
            return self._execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise translate(self.path, error) from error

    def _hold_and_execute(self, statement: str, values: Sequence[Any]) -> sqlite3.Cursor:
        """Open the connection that is kept, and run the first statement on it."""
        self._held = self.engine.raw_connection()
        connection = self._held.driver_connection
        assert isinstance(connection, sqlite3.Connection)
        connection.execute(f"PRAGMA mmap_size = {MAPPED}")
        self._execute = connection.execute  # found once: to go through the pool's wrappers takes as long as a seek
        return self._execute(statement, values)

    def close(self) -> None:
        """Close the file; the write-ahead log is merged into it."""
        if self._held is not None:
            self._held.close()
            self._held, self._execute = None, self._hold_and_execute
        self.engine.dispose()

    def _take_turn(self, connection: Connection) -> None:
        """Begin to write; whoever has to wait longer than a moment is told for whom."""
        moment = min(TOLD_SECONDS, BUSY_SECONDS)
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {int(moment * 1000)}")
        try:
            try:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            except DBAPIError as error:
                if "locked" not in str(error.orig) or moment >= BUSY_SECONDS:
                    raise
                _log.warning(
                    "%s is in use by %s; waiting up to %g s", self.path, holder(self.path), BUSY_SECONDS - moment
                )
                connection.exec_driver_sql(f"PRAGMA busy_timeout = {int((BUSY_SECONDS - moment) * 1000)}")
                connection.exec_driver_sql("BEGIN IMMEDIATE")
        finally:
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise translate(self.path, error.orig or error) from error
        except sqlite3.Error as error:
            raise translate(self.path, error) from error
        except NoResultFound as error:  # a row that every collection has: its page was overwritten
            raise translate(self.path, sqlite3.DatabaseError("malformed: a row is missing")) from error


def inserted_id(result: CursorResult[Any]) -> int:
    """Return the row id that an INSERT of one row was given."""
    key = result.inserted_primary_key
    assert key is not None
    return int(key[0])


# The first entry of which a word is in SQLite's text decides; what follows the path of the collection file.
_SENTENCES = (
    (("locked", "busy"), "is in use by {holder} for more than {seconds} s; try again later"),
    (("full",), "cannot grow: the disk is full; free some space and run the command again"),
    (("readonly", "read-only"), "is read-only; allow writing, or copy it elsewhere and give --db"),
    (
        ("malformed", "not a database", "corrupt"),
        "is damaged ({text}); restore a copy, or index the pictures into a new file",
    ),
    (
        ("unable to open",),
        "cannot be opened ({text}); check that its folder can be written: SQLite keeps files beside it",
    ),
    (("disk I/O",), "cannot be read or written ({text}); check the disk and its free space"),
)


def translate(path: Path, error: BaseException) -> CollectionError:
    """Return the sentence for an error of SQLite."""
    text = str(error)
    for words, sentence in _SENTENCES:
        if any(word in text for word in words):
            return CollectionError(f"{path} {sentence.format(text=text, seconds=BUSY_SECONDS, holder=holder(path))}")
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
        newer hashae, or cannot be written, which a file of an older hashae must be, once.
    """
    path = check_collection_file(path, create=create)
    new = not path.exists() or path.stat().st_size == 0
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


def check_collection_file(path: str | Path, *, create: bool = False) -> Path:
    """Return the absolute path of a file that may be a collection; what is inside is not looked at yet.

    Parameters
    ----------
    path, create
        As in :func:`open_database`.

    Raises
    ------
    CollectionError
        If it is missing (and not to be created), or no SQLite file.
    """
    path = Path(os.path.abspath(path))
    if path.exists() and not path.is_file():
        what = "a folder" if path.is_dir() else "not a regular file"
        raise CollectionError(f"{path} is {what}; expected a collection file")
    new = not path.exists() or path.stat().st_size == 0
    if new and not create:
        raise CollectionError(f"there is no collection at {path}; make one: hashae index FOLDER --db {path}")
    if not path.parent.is_dir():
        raise CollectionError(f"{path.parent} does not exist; create the folder, or give another --db")
    if not new:
        _check_header(path)
    return path


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
        pragmas = ("foreign_keys = ON", "synchronous = NORMAL", "cache_size = -65536", "temp_store = MEMORY")
        # The log goes into the file every 64 MiB instead of every 4: a batch should not wait for the disk.
        for pragma in (*pragmas, "wal_autocheckpoint = 16384"):
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
    from hashae.db.migrate import known_revisions, upgrade

    if revision is not None and revision not in known_revisions():
        raise CollectionError(
            f"{path} was written by a newer hashae (schema {revision}; this one knows {SCHEMA_REVISION}); update hashae"
        )
    try:
        with database.engine.connect() as connection:
            # Write-ahead log: readers and one writer do not wait for each other, and kill -9 loses at most one batch.
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        upgrade(database.engine)
    except DBAPIError as error:
        if revision is not None and "readonly" in str(error.orig):
            raise CollectionError(
                f"{path} was written by an older hashae (schema {revision}; this one needs {SCHEMA_REVISION}) and is "
                f"read-only; allow writing once, so that it can be brought up to date, or copy it and give --db COPY"
            ) from error
        raise
