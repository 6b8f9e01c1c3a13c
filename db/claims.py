"""Who is at which file: several programs, on several machines, index into one database without doing work twice.

A file is claimed before it is read and given back when it is stored. A claim is a row of a table that is written
without a log, so it costs next to nothing; it counts only while its owner lives, which shows in a lock of the server
that ends with the owner's session, however that ends. What a dead owner claimed is free for all.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from hashae.db.database import Database
from hashae.db.locks import CLAIMING
from hashae.db.marks import APPLICATION_ID

if TYPE_CHECKING:
    import psycopg

    from hashae.db.server import ServerDatabase

T = TypeVar("T")

_TABLE = """CREATE UNLOGGED TABLE IF NOT EXISTS claims (
    source INTEGER NOT NULL, path BYTEA NOT NULL, owner INTEGER NOT NULL,
    CONSTRAINT pk_claims PRIMARY KEY (source, path)
)"""
_TAKE = """INSERT INTO claims (source, path, owner) SELECT %s, unnest(%s::bytea[]), %s
ON CONFLICT DO NOTHING RETURNING path"""
_GIVE_BACK = "DELETE FROM claims WHERE source = %s AND owner = %s AND path = ANY (%s::bytea[])"
_DEAD = f"""DELETE FROM claims WHERE owner NOT IN (SELECT objid::bigint FROM pg_locks
    WHERE locktype = 'advisory' AND classid = {APPLICATION_ID + CLAIMING}
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"""


class Claims:
    """The files of one source that this program is at.

    Parameters
    ----------
    database
        Of a server.
    source
        Row id of the source.
    """

    def __init__(self, database: ServerDatabase, source: int) -> None:
        self._database, self._source = database, source
        self._open = ExitStack()
        self._connection: psycopg.Connection[Any] | None = None
        self._owner = 0
        with database.write() as connection:
            connection.exec_driver_sql(_TABLE)

    @classmethod
    def of(cls, database: Database, source: int) -> Claims | None:
        """Return the claims of a source; None in a file, which one machine has for itself."""
        if not database.is_server:
            return None
        from hashae.db.server import ServerDatabase

        assert isinstance(database, ServerDatabase)
        return cls(database, source)

    def __enter__(self) -> Claims:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the session: whatever is still claimed is free."""
        self._open.close()

    def take(self, paths: Iterable[str]) -> set[str]:
        """Claim files, by path below the source, and return those that nobody else is at."""
        listed = [os.fsencode(path) for path in paths]
        rows = self._again(lambda c: c.execute(_TAKE, (self._source, listed, self._owner)).fetchall())
        return {os.fsdecode(row[0]) for row in rows}

    def give_back(self, paths: Iterable[str]) -> None:
        """Give files back: they are stored."""
        listed = [os.fsencode(path) for path in paths]
        self._again(lambda c: c.execute(_GIVE_BACK, (self._source, self._owner, listed)))

    def free_the_dead(self) -> None:
        """Free what programs claimed that are gone."""
        self._again(lambda c: c.execute(_DEAD))

    def _again(self, work: Callable[[psycopg.Connection[Any]], T]) -> T:
        """Do something in the session; in a new one, under a new name, where that was lost."""
        import psycopg

        from hashae.db.server_errors import is_lost

        def attempt() -> T:
            if self._connection is None:
                self._connection = self._open.enter_context(self._database.session())
                self._owner = secrets.randbelow(1 << 31)
                locked = self._database.try_lock(self._connection, CLAIMING, self._owner)
                assert locked, "two programs drew the same number of two thousand million"
            return work(self._connection)

        def translated() -> T:
            try:
                return attempt()
            except psycopg.Error as error:
                if is_lost(error):
                    self._connection = None
                raise self._database.translated(error) from error

        return self._database.again(translated)
