"""Bring an old collection file up to date and be killed before or after a given statement, over and over.

``python migrating.py OLD FOLDER STEP``: for every STEP-th moment a copy of OLD is opened by a child that is killed
there; then by one that is not. Prints how often a child was killed, or what is wrong. It has no threads.
"""

import os
import shutil
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from sqlalchemy import event
from sqlalchemy.engine import Engine

from hashae.db import open_database
from hashae.db.migrate import head_revision, known_revisions

DATA = (
    "SELECT images.path, images.content, hex(code) FROM images LEFT JOIN codes ON image = images.id ORDER BY images.id"
)


def content(path):
    """Return the revision of a file and its rows; it must be sound."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)], "the file is damaged"
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == [], "rows belong to nothing"
        return connection.execute("SELECT version_num FROM alembic_version").fetchone()[0], connection.execute(
            DATA
        ).fetchall()


def upgrade(path, at):
    """Open a file in a child that is killed at moment `at`: before or after a statement; return whether it was."""
    child = os.fork()
    if child == 0:
        left = at

        def count(*_arguments):
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

        event.listen(Engine, "before_cursor_execute", count)
        event.listen(Engine, "after_cursor_execute", count)
        event.listen(Engine, "commit", count)
        try:
            open_database(path, create=False)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def main():
    old, folder, step = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    first, rows = content(old)
    head_revision(), known_revisions()  # what the children import is imported once
    kills = 0
    for at in range(0, 10_000, step):
        path = Path(shutil.copy(old, folder / f"{at}.db"))
        killed = upgrade(path, at)
        kills += killed
        revision, kept = content(path)
        assert kept == rows, f"rows were lost at moment {at}"
        assert revision in {first, head_revision()}, f"half-way at {revision} after moment {at}"
        open_database(path, create=False).close()
        assert content(path) == (head_revision(), rows), f"the next run did not finish what ended at moment {at}"
        path.unlink()
        if not killed:
            break
    sys.stdout.write(f"{kills}\n")


if __name__ == "__main__":
    main()
