"""Look-ups on a server, past psycopg's cursors: the same rows and the same errors."""

from __future__ import annotations

import os
import signal
from threading import Timer
from time import monotonic

import psycopg
import pytest

from hashae.db import prepared, server
from hashae.db.prepared import PreparedStatements
from hashae.place import place_of

VALUES = (
    "SELECT $1::bigint, $2::bytea, $3::text, $4::double precision, $5::boolean, $6::bigint",
    (-(2**63), b"\0\xff'\\", "Grüße, $1 ", 1.5, True, None),
)


@pytest.fixture
def connection(server_url):
    place = place_of(server_url)
    engine = server._engine(place)
    arguments, settings = engine.dialect.create_connect_args(engine.url)
    with psycopg.connect(*arguments, **settings, autocommit=True) as opened:
        yield opened
    engine.dispose()


def test_values_come_back_as_they_went(connection):
    statements = PreparedStatements(connection)
    statement, values = VALUES
    for _ in range(2):
        assert statements.rows(statement, values) == [values]
    assert statements.rows("SELECT 1 WHERE false", ()) == []
    assert statements.rows("SELECT * FROM generate_series(1, 3)", ()) == [(1,), (2,), (3,)]


def test_the_oldest_statements_go(connection, monkeypatch):
    monkeypatch.setattr(prepared, "MOST", 3)
    statements = PreparedStatements(connection)
    for number in [*range(6), 0, 5]:
        assert statements.rows(f"SELECT {number}", ()) == [(number,)]
    ((left,),) = connection.execute("SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'hashae%'").fetchall()
    assert left == 3


def test_errors_are_those_of_psycopg(connection):
    statements = PreparedStatements(connection)
    with pytest.raises(psycopg.errors.UndefinedTable):
        statements.rows("SELECT * FROM nowhere", ())
    with pytest.raises(psycopg.errors.DivisionByZero):
        statements.rows("SELECT 1 / $1::int", (0,))
    assert statements.rows("SELECT 7", ()) == [(7,)]


def test_a_connection_that_is_gone_is_told(connection):
    statements = PreparedStatements(connection)
    with pytest.raises(psycopg.OperationalError) as caught:
        statements.rows("SELECT pg_terminate_backend(pg_backend_pid())", ())
    assert "terminat" in str(caught.value) or "closed" in str(caught.value)
    with pytest.raises(psycopg.OperationalError):
        statements.rows("SELECT 1", ())


def test_a_wait_can_be_interrupted(connection):
    """Ctrl+C while the server is busy: heard at once, and no later statement takes the answer for its own."""
    statements = PreparedStatements(connection)
    Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    start = monotonic()
    with pytest.raises(KeyboardInterrupt):
        statements.rows("SELECT pg_sleep(30)", ())
    assert monotonic() - start < 15
    with pytest.raises(psycopg.OperationalError):
        statements.rows("SELECT 1", ())


def test_a_large_parameter_is_sent_whole(connection):
    numbers = list(range(400_000))
    text = "{" + ",".join(map(str, numbers)) + "}"
    rows = PreparedStatements(connection).rows("SELECT unnest($1::int[])", (text,))
    assert [row[0] for row in rows] == numbers
