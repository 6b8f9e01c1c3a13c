"""A collection that another process writes to is waited for, with a word; then it is said who that is."""

import logging
import subprocess
import sys

import pytest

from hashae.db import holder, open_database, session
from hashae.errors import CollectionError

HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print(flush=True)
sys.stdin.read()
"""


@pytest.fixture
def database(tmp_path):
    opened = open_database(tmp_path / "photos.db")
    yield opened
    opened.close()


@pytest.fixture
def writer(database):
    """Another process that writes for as long as its standard input is open."""
    command = [sys.executable, "-c", HOLD, database.path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        yield process
        process.communicate(b"")


def someone(process):
    if not holder.LOCKS.exists():
        return "another process"
    return f"process {process.pid} ({sys.executable} -c "


def test_who_holds_a_collection_is_said_while_waiting_and_at_the_end(database, writer, monkeypatch, caplog):
    monkeypatch.setattr(session, "BUSY_SECONDS", 0.3)
    monkeypatch.setattr(session, "TOLD_SECONDS", 0.1)
    with pytest.raises(CollectionError) as refused, caplog.at_level(logging.WARNING), database.write():
        pass
    assert str(refused.value).startswith(f"{database.path} is in use by {someone(writer)}")
    assert str(refused.value).endswith("for more than 0.3 s; try again later")
    (line,) = caplog.messages
    assert line.startswith(f"{database.path} is in use by {someone(writer)}")
    assert line.endswith("; waiting up to 0.2 s")


def test_what_was_waited_for_is_written(database, writer, monkeypatch, caplog):
    monkeypatch.setattr(session, "TOLD_SECONDS", 0.05)
    real = session.holder

    def let_go(path):
        writer.communicate(b"")
        return real(path)

    monkeypatch.setattr(session, "holder", let_go)
    with caplog.at_level(logging.WARNING), database.write() as connection:
        connection.exec_driver_sql("INSERT INTO collections (name, created, generation) VALUES ('c', '', 0)")
    assert len(caplog.messages) == 1
    with database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM collections").scalar() == 1


def test_where_the_system_does_not_tell_it_is_another_process(database, writer, monkeypatch, tmp_path):
    monkeypatch.setattr(holder, "LOCKS", tmp_path / "none")
    assert holder.holder(database.path) == "another process"
    assert holder.holder(tmp_path / "none.db") == "another process"
