"""Open a database of a PostgreSQL server: connections, turns of writers, look-ups, version check.

Writers take turns by a lock of the server that ends with their transaction, as they do in a file. Readers see one state
and wait for nobody.
"""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Connection, Engine, Table, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from hashae.db.database import Database
from hashae.db.locks import ACTING, WRITING
from hashae.db.marks import APPLICATION_ID, SCHEMA_REVISION
from hashae.db.schema import metadata, tell_postgresql
from hashae.db.server_errors import is_lost, is_starting, translate
from hashae.db.spelling import for_look_up
from hashae.errors import CollectionError, ConnectionLost, MissingDependency
from hashae.place import ServerUrl

if TYPE_CHECKING:
    import psycopg

    from hashae.db.prepared import PreparedStatements

T = TypeVar("T")

BUSY_SECONDS = 300
"""How long a writer waits for others. Longer than in a file: many machines write, and each tells for whom it waits."""

TOLD_SECONDS = 2.0
"""How long it waits without a word."""

RETRY_SECONDS = 60.0
"""How long a server that is away is waited for: starting again, or another taking its place, is a matter of seconds."""

MARK = "hashae"
"""Comment on the table of the schema's version, by which other programs' databases are told apart."""

tell_postgresql()

_log = logging.getLogger(__name__)

# Look-ups ask for a few rows by an index, and their plan is made once, without looking at the values: the best plan for
# any is a walk down the index, never a scan, whatever the statistics of a table that has just grown say.
_LOOK_UP_SETTINGS = (
    *("enable_seqscan", "enable_hashjoin", "enable_mergejoin", "enable_bitmapscan", "enable_material", "jit"),
    "enable_memoize",
)


class ServerDatabase(Database):
    """An open database of a PostgreSQL server.

    Parameters
    ----------
    url
        Of the database.
    engine
        SQLAlchemy engine on it; :func:`open_server` makes it.
    """

    is_server = True

    def __init__(self, url: ServerUrl, engine: Engine) -> None:
        self.path = self._url = url
        self.engine = engine
        self.beside = _beside(url)
        self._held: psycopg.Connection[Any] | None = None
        self._prepared: PreparedStatements | None = None
        self._lock = RLock()
        self._space: int | None = None

    @contextmanager
    def write(self, *, durable: bool = False) -> Iterator[Connection]:
        """Run one transaction that may write; see the base class."""
        with self._translated(), self._connected() as connection:
            # Every commit waits for the log of the server, durable or not: else a server that crashes would forget what
            # a program on another machine takes for stored.
            self._take_turn(connection)
            try:
                yield connection
            except BaseException:
                with suppress(DBAPIError):
                    connection.rollback()
                raise
            connection.commit()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Run reads that see one state of the database."""
        with self._translated(), self._connected() as connection:
            state = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            try:
                yield state
            finally:
                with suppress(DBAPIError):
                    connection.rollback()

    def look_up(self, statement: str, values: Sequence[Any]) -> list[Any]:
        """Run one SELECT on a connection that is kept open, and return its rows; see the base class."""
        import psycopg

        spelt = for_look_up(statement)
        with self._lock:
            try:
                return self._look_up(spelt, values)
            except psycopg.Error as error:
                if not is_lost(error):
                    raise translate(self._url, error) from error
                self._let_go()
            return self._patiently(lambda: self._look_up(spelt, values))

    def stream(
        self, connection: Connection, statement: str, values: Sequence[Any], size: int
    ) -> Iterator[Sequence[tuple[Any, ...]]]:
        """Yield the rows of one SELECT, so many at a time, by a cursor of the server."""
        driver: Any = connection.connection.driver_connection
        with driver.cursor("hashae_stream", binary=True) as cursor:
            cursor.execute(re.sub(r"\$\d+", "%s", for_look_up(statement).replace("%", "%%")), values)
            while block := cursor.fetchmany(size):
                yield block

    def insert_many(self, connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows, all with the same columns, by COPY: one statement for all."""
        if not rows:
            return
        columns = [table.c[name] for name in rows[0]]
        types = [column.type.dialect_impl(connection.dialect) for column in columns]
        convert = [type_.bind_processor(connection.dialect) for type_ in types]
        names = ", ".join(f'"{column.name}"' for column in columns)
        driver: Any = connection.connection.driver_connection
        with (
            driver.cursor() as cursor,
            cursor.copy(f'COPY "{table.name}" ({names}) FROM STDIN (FORMAT BINARY)') as copy,
        ):
            copy.set_types([_binary_type(type_.compile(connection.dialect)) for type_ in types])
            for row in rows:
                copy.write_row(
                    [
                        value if process is None or value is None else process(value)
                        for process, value in zip(convert, row.values(), strict=True)
                    ]
                )

    def count_on(self, connection: Connection) -> None:
        """Give new rows numbers after the largest number there is, where rows were inserted with their numbers."""
        for table in metadata.tables.values():
            if "id" in table.c:
                connection.exec_driver_sql(
                    f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), coalesce(max(id), 0) + 1, false) "
                    f"FROM {table.name}"
                )

    def again(self, work: Callable[[], T]) -> T:
        """Do something that can be done twice without harm, once more where a connection was lost meanwhile."""
        until = time.monotonic() + RETRY_SECONDS
        while True:
            try:
                return work()
            except ConnectionLost as error:
                if time.monotonic() >= until:
                    raise
                _log.warning("%s; it is done once more", error)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let no other process act on the files of the collections; see the base class."""
        with self.session() as connection:
            if not self.try_lock(connection, ACTING, self._tables(connection)):
                raise CollectionError(f"another hashae is acting on files of {self._url}; wait until it has ended")
            yield

    @contextmanager
    def session(self) -> Iterator[psycopg.Connection[Any]]:
        """Open a connection of its own, outside of transactions: locks that it takes end with it."""
        import psycopg

        connection = self._patiently(self._connect)
        try:
            yield connection
        finally:
            with suppress(psycopg.Error):
                connection.close()

    @staticmethod
    def try_lock(connection: psycopg.Connection[Any], kind: int, number: int) -> bool:
        """Take a lock of the server for as long as a session lasts, unless somebody has it."""
        found = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", (APPLICATION_ID + kind, number)).fetchone()
        return bool(found and found[0])

    def size(self) -> int:
        """Return the bytes that tables and indexes take."""
        query = (
            "SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class "
            "WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace"
        )
        return int(self.look_up(query, ())[0][0])

    def orphans(self, connection: Connection) -> int:
        """Return 0: the server lets nobody write such rows."""
        return 0

    def delete_orphans(self, connection: Connection) -> None:
        """Do nothing: there are none."""

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            self._let_go()
        self.engine.dispose()

    def _look_up(self, statement: str, values: Sequence[Any]) -> list[Any]:
        if self._prepared is None:
            from hashae.db.prepared import PreparedStatements

            self._held = self._connect()
            for name in _LOOK_UP_SETTINGS:
                self._held.execute(f"SET {name} = off")
            self._held.execute("SET plan_cache_mode = force_generic_plan")
            self._held.execute("SET max_parallel_workers_per_gather = 0")
            self._prepared = PreparedStatements(self._held)
        return self._prepared.rows(statement, values)

    def _let_go(self) -> None:
        import psycopg

        if self._held is not None:
            with suppress(psycopg.Error):
                self._held.close()
        self._held = self._prepared = None

    def _connect(self) -> psycopg.Connection[Any]:
        arguments, settings = self.engine.dialect.create_connect_args(self.engine.url)
        import psycopg

        return psycopg.connect(*arguments, **{**_SETTINGS, **settings}, autocommit=True)

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        with self._patiently(self.engine.connect) as connection:
            yield connection

    def _patiently(self, work: Callable[[], T]) -> T:
        """Do something that needs a new connection; wait for a server that is away for a moment."""
        return patiently(self._url, work)

    def _take_turn(self, connection: Connection) -> None:
        """Begin to write; whoever has to wait longer than a moment is told for whom."""
        mine = {"kind": APPLICATION_ID + WRITING, "tables": self._tables(connection)}
        lock = "SELECT {}(%(kind)s, %(tables)s)"
        if connection.exec_driver_sql(lock.format("pg_try_advisory_xact_lock"), mine).scalar():
            return
        for seconds in (min(TOLD_SECONDS, BUSY_SECONDS), max(0.0, BUSY_SECONDS - TOLD_SECONDS)):
            if not seconds:
                break
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = {int(seconds * 1000)}")
            try:
                connection.exec_driver_sql(lock.format("pg_advisory_xact_lock"), mine)
            except DBAPIError as error:
                if getattr(error.orig, "sqlstate", None) != "55P03":
                    raise
                connection.rollback()
                last = seconds != min(TOLD_SECONDS, BUSY_SECONDS) or BUSY_SECONDS <= TOLD_SECONDS
                who = self._writer(connection, mine)
                if last:
                    raise CollectionError(
                        f"{self._url} is in use by {who} for more than {BUSY_SECONDS:g} s; try again later"
                    ) from error
                _log.warning("%s is in use by %s; waiting up to %g s", self._url, who, BUSY_SECONDS - TOLD_SECONDS)
            else:
                connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
                return

    def _writer(self, connection: Connection, lock: Mapping[str, int]) -> str:
        """Return who holds the lock of writers: machine and program, as far as the server knows."""
        query = (
            "SELECT coalesce(host(client_addr), 'this machine'), application_name, pid FROM pg_locks "
            "JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory' AND granted "
            "AND classid = %(kind)s AND objid = (%(tables)s::bigint & 4294967295)::oid"
        )
        found = connection.exec_driver_sql(query, lock).first()
        connection.rollback()
        return "another process" if found is None else f"{found[1] or 'a program'} on {found[0]} (session {found[2]})"

    def _tables(self, connection: Any) -> int:
        """Return a number for the schema that the tables lie in: one database may hold several."""
        if self._space is None:
            run = getattr(connection, "exec_driver_sql", connection.execute)
            found = run("SELECT hashtext(current_schema())").fetchone()
            self._space = int(found[0]) if found else 0
        return self._space

    def translated(self, error: BaseException) -> CollectionError:
        """Return the sentence for an error of the driver."""
        return translate(self._url, error)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        import psycopg

        try:
            yield
        except DBAPIError as error:
            raise translate(self._url, error.orig or error) from error
        except psycopg.Error as error:
            raise translate(self._url, error) from error


def patiently(url: ServerUrl, work: Callable[[], T]) -> T:
    """Do something that needs a new connection; wait for a server that is away, or starting, for a moment.

    Raises
    ------
    CollectionError
        If it does not come back, or never was there.
    """
    import psycopg

    until, wait, told = time.monotonic() + RETRY_SECONDS, 0.05, False
    while True:
        try:
            return work()
        except (DBAPIError, psycopg.Error) as problem:
            error: BaseException = (problem.orig or problem) if isinstance(problem, DBAPIError) else problem
            if not (is_lost(error) or is_starting(error)) or time.monotonic() + wait > until:
                raise translate(url, error) from problem
            if not told:
                told = True
                _log.warning("%s cannot be reached; trying again for up to %g s", url, RETRY_SECONDS)
        time.sleep(wait)
        wait = min(2 * wait, 2.0)


_SETTINGS: dict[str, Any] = {
    "application_name": "hashae",
    "connect_timeout": 10,
    # A machine that went away without a word is noticed within a minute.
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "options": "-c client_encoding=UTF8",
}


def _binary_type(name: str) -> str:
    """Return the name by which psycopg knows a column's type."""
    return {"SERIAL": "int4", "INTEGER": "int4", "BIGINT": "int8", "BYTEA": "bytea", "BOOLEAN": "bool"}.get(
        name, "float8" if name in {"FLOAT", "DOUBLE PRECISION"} else "text"
    )


def _beside(url: ServerUrl) -> Path:
    """Return where this machine keeps files of a server's database: in the user's folder of caches."""
    import platformdirs

    known = make_url(url.url)
    text = "\0".join(
        map(str, (known.host, known.port, known.database, known.query.get("host"), known.query.get("options")))
    )
    folder = platformdirs.user_cache_path("hashae", ensure_exists=True)
    return folder / f"postgresql-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def open_server(url: ServerUrl, *, create: bool = True) -> ServerDatabase:
    """Open a database of a PostgreSQL server and bring its schema up to date.

    Parameters
    ----------
    url
        Of the database, which must exist.
    create
        Make the tables if it is empty.

    Raises
    ------
    CollectionError
        If the server cannot be reached, the database is missing, holds no collection (and none is to be made), belongs
        to another program, or was written by a newer hashae.
    MissingDependency
        If the driver is not installed.
    """
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise MissingDependency(f"{url} (psycopg is missing)", "postgres") from error
    database = ServerDatabase(url, _engine(url))
    try:
        with database._translated():
            _upgrade(database, create=create)
    except BaseException:
        database.close()
        raise
    return database


def _engine(url: ServerUrl) -> Engine:
    known = make_url(url.url)
    # What stands in the URL wins over what is set here.
    settings = {name: value for name, value in _SETTINGS.items() if name not in known.query}
    engine = create_engine(known, connect_args=settings, pool_pre_ping=True, pool_size=4, max_overflow=16)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.prepare_threshold = 2

    return engine


def _upgrade(database: ServerDatabase, *, create: bool) -> None:
    url = database._url
    with database._connected() as connection:
        revision, found, mark = _state(connection)
        is_replica = bool(connection.exec_driver_sql("SELECT pg_is_in_recovery()").scalar())
        connection.rollback()
    if revision is None and not found and is_replica:
        raise CollectionError(f"there is no collection in {url}; it is a replica: make one on its primary")
    if revision is None and not found and not create:
        raise CollectionError(f"there is no collection in {url}; make one: hashae index FOLDER --db {url}")
    if mark != MARK and found:
        raise CollectionError(f"{url} holds tables of another program; give an empty database with --db")
    if revision == SCHEMA_REVISION:
        return
    from hashae.db.migrate import known_revisions, upgrade_connection

    if revision is not None and revision not in known_revisions():
        raise CollectionError(
            f"{url} was written by a newer hashae (schema {revision}; this one knows {SCHEMA_REVISION}); update hashae"
        )
    if is_replica:
        raise CollectionError(
            f"{url} was written by an older hashae (schema {revision}; this one needs {SCHEMA_REVISION}) and is a "
            f"replica; open its primary once, which brings both up to date: hashae stats --db URL"
        )
    with database.write(durable=True) as connection:
        if _state(connection)[0] == SCHEMA_REVISION:  # by another process, while this one waited
            return
        upgrade_connection(connection)
        connection.exec_driver_sql(f"COMMENT ON TABLE alembic_version IS '{MARK}'")


def _state(connection: Connection) -> tuple[str | None, int, str | None]:
    """Return the revision of the schema, the number of tables, and the mark of hashae."""
    count = "SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = to_regnamespace({})"
    schema = connection.exec_driver_sql("SELECT current_schema()").scalar()
    if schema is None:
        raise CollectionError(
            "the schema that search_path names does not exist; make it: CREATE SCHEMA, or leave options out of the URL"
        )
    found = connection.exec_driver_sql(count.format("current_schema()")).scalar_one()
    known = connection.exec_driver_sql("SELECT to_regclass(current_schema() || '.alembic_version')::text").scalar()
    if known is None:
        return None, found, None
    revision = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    mark = connection.exec_driver_sql("SELECT obj_description('alembic_version'::regclass, 'pg_class')").scalar()
    return revision, found, mark
