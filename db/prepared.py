"""Prepared statements of PostgreSQL, past psycopg's cursors.

A look-up takes the server some 10 microseconds. A cursor of psycopg goes through several layers of Python around that,
which take longer than the answer; here the client library is called directly. psycopg's loaders convert the values.
"""

from __future__ import annotations

from collections.abc import Sequence
from select import POLLIN, POLLOUT, poll
from typing import Any

import psycopg
from psycopg.adapt import Transformer
from psycopg.pq import ConnStatus, ExecStatus, Format

MOST = 200
"""Statements that stay prepared; the oldest goes first."""


class PreparedStatements:
    """Runs SELECT statements on one connection.

    Parameters
    ----------
    connection
        Open, in autocommit mode; for nothing else at the same time.
    """

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._server, self._loaders = connection.pgconn, Transformer(connection)
        self._names: dict[str, bytes] = {}
        self._made = 0
        self._poller = poll()
        self._poller.register(self._server.socket, POLLIN)

    def rows(self, statement: str, values: Sequence[Any]) -> list[Any]:
        """Run a statement and return its rows, as tuples.

        Parameters
        ----------
        statement
            SQL, its parameters written as ``$1``; the server infers their types.
        values
            Of its parameters: numbers, text, bytes or None.

        Raises
        ------
        psycopg.Error
            As of any cursor of psycopg.
        """
        name = self._names.get(statement) or self._prepare(statement)
        sent: list[Any] = [_spelled(value) for value in values]
        formats = [Format.BINARY if isinstance(value, bytes) else Format.TEXT for value in values]
        result = self._checked(lambda: self._answer(name, sent, formats))
        self._loaders.set_pgresult(result, format=Format.BINARY)
        return self._loaders.load_rows(0, result.ntuples, tuple)

    def _answer(self, name: bytes, sent: list[Any], formats: list[Format]) -> psycopg.pq.abc.PGresult | None:
        """Send a statement and wait for its answer; an interruption ends the wait, and the connection with it."""
        server = self._server
        server.send_query_prepared(name, sent, formats, Format.BINARY)
        try:
            while server.flush():
                self._poll(POLLIN | POLLOUT)
                server.consume_input()
            while server.is_busy():
                self._poll(POLLIN)
                server.consume_input()
            result = last = server.get_result()
            while last is not None:
                last = server.get_result()
        except (KeyboardInterrupt, SystemExit):
            server.finish()  # an answer that nobody waits for would be taken for that of the next statement
            raise
        return result

    def _poll(self, events: int) -> None:
        self._poller.modify(self._server.socket, events)
        self._poller.poll()

    def _prepare(self, statement: str) -> bytes:
        if len(self._names) >= MOST:
            oldest = next(iter(self._names))
            name = self._names.pop(oldest)
            self._checked(lambda: self._server.exec_(b"DEALLOCATE " + name))
        self._made += 1
        name = b"hashae_%d" % self._made
        self._checked(lambda: self._server.prepare(name, statement.encode()))
        self._names[statement] = name
        return name

    def _checked(self, work: Any) -> psycopg.pq.abc.PGresult:
        """Return the result of a call of the client library, if it says that all went well."""
        try:
            result: psycopg.pq.abc.PGresult | None = work()
        except MemoryError:  # so a call without any result is told, on a connection that is gone as well
            result = None
        if result is not None and result.status in {ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK}:
            return result
        if result is None or self._server.status == ConnStatus.BAD:
            text = self._server.get_error_message().strip()
            raise psycopg.OperationalError(text or "the connection is closed")
        raise psycopg.errors.error_from_result(result)


def _spelled(value: Any) -> bytes | None:
    """Return a value as it is sent."""
    if value is None or isinstance(value, bytes):
        return value
    return value.encode() if isinstance(value, str) else str(value).encode()
