"""Open a collection: a file of SQLite here, with engine, pragmas, version check, transactions; a server elsewhere."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hashae.db import sql
from hashae.db.database import Database
from hashae.db.holder import holder
from hashae.db.marks import APPLICATION_ID, SCHEMA_REVISION
from hashae.errors import CollectionError
from hashae.place import ServerUrl, place_of

if TYPE_CHECKING:  # loading SQLAlchemy takes longer than a look-up from a cold start
    from sqlalchemy import Connection, CursorResult, Engine, Table

BUSY_SECONDS = 30
"""How long a writer waits for another one."""

TOLD_SECONDS = 2.0
"""How long it waits without a word."""

MAPPED = 2_147_418_112
"""Bytes of the file that look-ups read without copying their pages: as many as SQLite allows."""

_log = logging.getLogger(__name__)

_HEADER = b"SQLite format 3\x00"


class FileDatabase(Database):
    """An open collection file.

    Parameters
    ----------
    path
        Of the file.
    """

    is_server = False

    def __init__(self, path: Path) -> None:
        self.path = self.beside = self._file = path
        self._held: sqlite3.Connection | None = None
        self._execute: Callable[[str, Sequence[Any]], sqlite3.Cursor] = self._hold_and_execute

    @cached_property
    def engine(self) -> Engine:  # type: ignore[override]
        """SQLAlchemy's engine; made when it is first used, for look-ups do without."""
        from sqlalchemy import URL

        return sql.create_engine(URL.create("sqlite", database=str(self._file)), creator=lambda: _connect(self._file))

    @contextmanager
    def write(self, *, durable: bool = False) -> Iterator[Connection]:
        """Run one transaction that may write; see the base class."""
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
        """Run one SELECT on a connection that is kept open, and return its rows; see the base class."""
        try:
            return self._execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise translate(self._file, error) from error

    def _hold_and_execute(self, statement: str, values: Sequence[Any]) -> sqlite3.Cursor:
        """Open the connection that is kept, and run the first statement on it."""
        self._held = _connect(self._file)
        self._held.execute(f"PRAGMA mmap_size = {MAPPED}")
        self._execute = self._held.execute
        return self._execute(statement, values)

    def stream(
        self, connection: Connection, statement: str, values: Sequence[Any], size: int
    ) -> Iterator[Sequence[tuple[Any, ...]]]:
        """Yield the rows of one SELECT, so many at a time."""
        cursor = connection.connection.cursor()
        cursor.execute(statement, values)
        while block := cursor.fetchmany(size):
            yield block

    def insert_many(self, connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows, all with the same columns, past what SQLAlchemy does for every value."""
        if not rows:
            return
        types = [table.c[name].type.dialect_impl(connection.dialect) for name in rows[0]]
        convert = [type_.bind_processor(connection.dialect) for type_ in types]
        values = [
            tuple(
                value if process is None or value is None else process(value)
                for process, value in zip(convert, row.values(), strict=True)
            )
            for row in rows
        ]
        names, places = ", ".join(f'"{name}"' for name in rows[0]), ", ".join("?" * len(types))
        connection.exec_driver_sql(f'INSERT INTO "{table.name}" ({names}) VALUES ({places})', values)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let no other process act on the files of the collections; see the base class."""
        try:
            import fcntl
        except ImportError:  # no such lock here; SQLite still keeps the journal whole
            yield
            return
        # Not the collection file itself: closing it would drop the locks that SQLite holds on it.
        path = f"{self._file}.lock"
        while True:
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
            except OSError as error:
                raise CollectionError(
                    f"{path} cannot be made ({error.strerror}); allow writing in its folder"
                ) from error
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                held = os.path.samestat(os.fstat(descriptor), os.stat(path))
            except FileNotFoundError:
                held = False  # its last owner took it away between our two steps
            except BlockingIOError as error:
                os.close(descriptor)
                raise CollectionError(
                    f"another hashae is acting on files of {self._file}; wait until it has ended"
                ) from error
            if held:
                break
            os.close(descriptor)
        try:
            yield
        finally:
            os.unlink(path)
            os.close(descriptor)

    def size(self) -> int:
        """Return the bytes of the file."""
        return self._file.stat().st_size

    def orphans(self, connection: Connection) -> int:
        """Return how many rows refer to rows that are not there: another program may have deleted those."""
        return len(connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall())

    def delete_orphans(self, connection: Connection) -> None:
        """Delete rows that refer to rows that are not there."""
        while rows := connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall():
            before = len(rows)
            for table, rowid, *_ in rows:
                if rowid is not None:
                    connection.exec_driver_sql(f"DELETE FROM {table} WHERE rowid = ?", (rowid,))
                else:
                    connection.exec_driver_sql(f"DELETE FROM {table} WHERE encoder NOT IN (SELECT id FROM encoders)")
            if len(connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()) >= before:
                return

    def close(self) -> None:
        """Close the file; the write-ahead log is merged into it."""
        if self._held is not None:
            self._held.close()
            self._held, self._execute = None, self._hold_and_execute
        if "engine" in self.__dict__:
            self.engine.dispose()

    def _take_turn(self, connection: Connection) -> None:
        """Begin to write; whoever has to wait longer than a moment is told for whom."""
        from sqlalchemy.exc import DBAPIError

        moment = min(TOLD_SECONDS, BUSY_SECONDS)
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {int(moment * 1000)}")
        try:
            try:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            except DBAPIError as error:
                if "locked" not in str(error.orig) or moment >= BUSY_SECONDS:
                    raise
                _log.warning(
                    "%s is in use by %s; waiting up to %g s", self._file, holder(self._file), BUSY_SECONDS - moment
                )
                connection.exec_driver_sql(f"PRAGMA busy_timeout = {int((BUSY_SECONDS - moment) * 1000)}")
                connection.exec_driver_sql("BEGIN IMMEDIATE")
        finally:
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        from sqlalchemy.exc import DBAPIError, NoResultFound

        try:
            yield
        except DBAPIError as error:
            raise translate(self._file, error.orig or error) from error
        except sqlite3.Error as error:
            raise translate(self._file, error) from error
        except NoResultFound as error:  # a row that every collection has: its page was overwritten
            raise translate(self._file, sqlite3.DatabaseError("malformed: a row is missing")) from error


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


def open_database(path: str | Path | ServerUrl, *, create: bool = True) -> Database:
    """Open a collection file, or a database of a PostgreSQL server, and bring its schema up to date.

    Parameters
    ----------
    path
        File, whose folder must exist; or the URL of a database, which must exist.
    create
        Make the file if it is missing or empty; make the tables in an empty database.

    Raises
    ------
    CollectionError
        If the file is missing (and not to be created), is no SQLite file, belongs to another program, was written by a
        newer hashae, or cannot be written, which a file of an older hashae must be, once. The same for a database; also
        if the server cannot be reached.
    ConfigError
        If it is a URL, but not of PostgreSQL.
    """
    place = place_of(path)
    if isinstance(place, ServerUrl):
        from hashae.db.server import open_server

        return open_server(place, create=create)
    path = check_collection_file(place, create=create)
    new = not path.exists() or path.stat().st_size == 0
    database = FileDatabase(path)
    try:
        _upgrade(database, new=new)
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


def _connect(path: Path) -> sqlite3.Connection:
    """Open a connection, and set it up."""
    # Transactions are begun by hand: the sqlite3 module would begin them late and commit them early.
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, check_same_thread=False, isolation_level=None)
    pragmas = ("foreign_keys = ON", "synchronous = NORMAL", "cache_size = -65536", "temp_store = MEMORY")
    # The log goes into the file every 64 MiB instead of every 4: a batch should not wait for the disk.
    for pragma in (*pragmas, "wal_autocheckpoint = 16384"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _upgrade(database: FileDatabase, *, new: bool) -> None:
    path, revision = database.beside, None
    ((found,),) = database.look_up("PRAGMA application_id", ())
    if not new:
        names = {name for (name,) in database.look_up("SELECT name FROM sqlite_master", ())}
        if found != APPLICATION_ID and names:
            raise CollectionError(f"{path} is a database of another program; give another file with --db")
        if "alembic_version" in names:
            revision = next((row[0] for row in database.look_up("SELECT version_num FROM alembic_version", ())), None)
    if revision == SCHEMA_REVISION:
        return
    from sqlalchemy.exc import DBAPIError

    from hashae.db.migrate import known_revisions, upgrade

    if revision is not None and revision not in known_revisions():
        raise CollectionError(
            f"{path} was written by a newer hashae (schema {revision}; this one knows {SCHEMA_REVISION}); update hashae"
        )
    database.close()  # the journal's mode changes only while no other connection is open
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
        raise translate(path, error.orig or error) from error
