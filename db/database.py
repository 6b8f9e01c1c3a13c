"""What the rest of hashae knows of a database that holds collections, whichever engine it is.

The tables are the same and so is nearly all SQL. What differs lies in the two kinds: :mod:`hashae.db.session` opens a
file of SQLite, :mod:`hashae.db.server` a database of PostgreSQL. Statements of look-ups are written once, with ``?``
and ``?1`` for their parameters.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hashae.db import sql
from hashae.errors import CollectionError
from hashae.place import Place

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, Table

T = TypeVar("T")


class Database(ABC):
    """An open database with collections.

    Attributes
    ----------
    path
        Where it is: a file, or the URL of a server's database. As text it is what messages call it.
    beside
        Where files go that belong to it and to this machine (a kept index, notes of what is decoded): their names begin
        with this path.
    engine
        SQLAlchemy's; made when it is first used, for look-ups do without.
    is_server
        True if other machines may write to it as well.
    """

    path: Place
    beside: Path
    engine: Engine
    is_server: bool

    @abstractmethod
    def write(self, *, durable: bool = False) -> AbstractContextManager[Connection]:
        """Run one transaction that may write: all of it or nothing. Nobody else writes meanwhile.

        Parameters
        ----------
        durable
            Wait until it is on the disk, so that a power cut cannot take it back. Else it is safe from a crash of the
            program only, which costs less.

        Raises
        ------
        CollectionError
            If the database is locked, read-only, damaged or cannot be reached, or the disk is full.
        """

    @abstractmethod
    def read(self) -> AbstractContextManager[Connection]:
        """Run reads that see one state of the database."""

    @abstractmethod
    def look_up(self, statement: str, values: Sequence[Any]) -> list[Any]:
        """Run one SELECT on a connection that is kept open, and return its rows.

        The statement sees one state of the database and stays prepared. Through SQLAlchemy it would take several times
        as long as a look-up itself.

        Parameters
        ----------
        statement
            SQL, its parameters written as ``?`` or ``?1``.
        values
            Of its parameters.

        Raises
        ------
        CollectionError
            If the database is locked or damaged, or cannot be reached.
        """

    def row(self, statement: str, values: Sequence[Any]) -> Any:
        """Look one row up that every collection has.

        Raises
        ------
        CollectionError
            If it is not there, or as of :meth:`look_up`.
        """
        rows = self.look_up(statement, values)
        if not rows:
            raise CollectionError(
                f"{self.path} is damaged (a row is missing); restore a copy, or index the pictures into a new file"
            )
        return rows[0]

    @abstractmethod
    def stream(
        self, connection: Connection, statement: str, values: Sequence[Any], size: int
    ) -> Iterator[Sequence[tuple[Any, ...]]]:
        """Yield the rows of one SELECT, so many at a time; they are never all in memory.

        A row object of SQLAlchemy for each would take longer than all the rest.
        """

    @abstractmethod
    def alone(self) -> AbstractContextManager[None]:
        """Let no other process act on the files of the collections; the lock ends with the process, however it ends.

        Raises
        ------
        CollectionError
            If another process is acting.
        """

    @abstractmethod
    def size(self) -> int:
        """Return the bytes that tables and indexes take."""

    @abstractmethod
    def orphans(self, connection: Connection) -> int:
        """Return how many rows refer to rows that are not there."""

    @abstractmethod
    def delete_orphans(self, connection: Connection) -> None:
        """Delete rows that refer to rows that are not there."""

    @abstractmethod
    def close(self) -> None:
        """Close it."""

    def insert_many(self, connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows, all with the same columns."""
        if rows:
            connection.execute(sql.insert(table), rows)

    def count_on(self, connection: Connection) -> None:  # noqa: B027  nothing to do in a file
        """Give new rows numbers after the largest number there is, where rows were inserted with their numbers."""

    def again(self, work: Callable[[], T]) -> T:
        """Do something that can be done twice without harm, once more where a connection was lost meanwhile."""
        return work()
