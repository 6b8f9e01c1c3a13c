"""A server of several processes: workers that share one listening socket, and a background process beside them.

Uvicorn's supervisor starts the workers, replaces one that died or hangs, and on SIGHUP replaces them one after the
other, each when its successor answers. What cannot be in several processes at once (jobs, their results, the review of
duplicates) is in the background process, to which the workers forward it. That process also makes the index anew when
the collection has moved on; the workers map its file, so that all share the same pages in memory.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing import connection, get_context, parent_process
from multiprocessing.context import SpawnProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.supervisors import Multiprocess

from hashae.errors import ConfigError, HashaeError
from hashae.indexer.served import prepare
from hashae.serve.app import create_app
from hashae.serve.settings import ServeSettings

READY_SECONDS = 120
"""Time that a worker has to start in, and to say that it lives."""

LEAVING_SECONDS = 30
"""Time that answers which are under way have when a worker leaves: that of the longest upload."""

SWITCH_SECONDS = 0.0005
"""Time after which a thread lets others run Python: a question waits so long, several times, for one that reads codes.

A tenth of what Python takes itself.
"""

NICE = 5
"""By how much the background process comes after the workers, where both want a processor."""

AGAIN_SECONDS = 2.0
"""Least time between two starts of the background process: what fails at once must not take all processors."""

_spawn = get_context("spawn")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WorkerApp:
    """Makes the application of a worker, in that worker.

    Attributes
    ----------
    settings
        Of the server.
    """

    settings: ServeSettings

    def __call__(self) -> FastAPI:
        """Return the application, ready for its first question."""
        _end_with_parent()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a terminal sends it to all; the supervisor acts on it
        try:
            app = create_app(self.settings)
            for desk in app.state.desks:
                desk.warm()
            _settle()
        except HashaeError as error:
            _log.error("%s", " ".join(str(error).split()))
            sys.exit(1)
        return app


class Supervisor(Multiprocess):
    """Uvicorn's supervisor, with the background process and a word when the workers are ready.

    Parameters
    ----------
    config
        Of the workers.
    listener
        Bound and listening; all workers accept from it.
    background
        Beside the workers.
    on_ready
        Called once all workers answer.

    Attributes
    ----------
    failed
        True if a worker ended before it could answer: others would, too.
    """

    failed = False

    def __init__(
        self, config: uvicorn.Config, listener: socket.socket, background: Background, on_ready: Callable[[], None]
    ) -> None:
        super().__init__(config, sockets=[listener])
        self._background, self._on_ready = background, on_ready
        self._in_terminal = _is_terminal()

    def handle_hup(self) -> None:
        """Replace the workers; but end where the signal says that the terminal was closed, which nobody else would."""
        if self._in_terminal and not _is_terminal():
            self.should_exit.set()
        else:
            super().handle_hup()

    def init_processes(self) -> None:
        """Start all processes, and wait until they answer."""
        with _deaf_children():
            self._background.start()
            super().init_processes()
        for process in self.processes:
            while not process.wait_until_ready(0.5):
                self.handle_signals()
                self.failed = not process.process.is_alive()
                if self.failed or self.should_exit.is_set():
                    self.should_exit.set()
                    return
        self._on_ready()

    def keep_subprocess_alive(self) -> None:
        """Replace a process that died or hangs."""
        with _deaf_children():
            super().keep_subprocess_alive()
            if not self.should_exit.is_set():
                self._background.keep_alive()

    def restart_all(self) -> None:
        """Replace all workers one after the other; the background process, too, unless it holds what would be lost."""
        with _deaf_children():
            super().restart_all()
        self._background.reload()

    def terminate_all(self) -> None:
        """Let all processes end."""
        self._background.stop()
        super().terminate_all()

    def join_all(self) -> None:
        """Wait until all have ended."""
        super().join_all()
        self._background.join()


class Background:
    """The background process; its socket outlives it, so that whoever asks while it starts waits for it.

    Parameters
    ----------
    settings
        Of that process.
    path
        Of its Unix socket, in a folder that only this user can look into.
    """

    def __init__(self, settings: ServeSettings, path: Path) -> None:
        self._settings = settings
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(path))
        self._socket.listen(256)
        self._process = self._made()
        self._started = 0.0

    def start(self) -> None:
        """Start it."""
        self._process = self._made()
        self._process.start()
        self._started = time.monotonic()

    def keep_alive(self) -> None:
        """Start it again if it has ended."""
        if not self._process.is_alive() and time.monotonic() - self._started >= AGAIN_SECONDS:
            self._process.join()
            if self._process.exitcode:
                _log.warning("the background process ended (status %s); it is started again", self._process.exitcode)
            self.start()

    def reload(self) -> None:
        """Ask it to end, so that another follows; it does not while a job runs, or a review is open."""
        self._signal(signal.SIGHUP)

    def stop(self) -> None:
        """Ask it to end, when its job is done."""
        self._signal(signal.SIGTERM)

    def join(self) -> None:
        """Wait until it has ended."""
        self._process.join()
        self._socket.close()

    def _made(self) -> SpawnProcess:
        return _spawn.Process(target=_run_background, args=(self._settings, self._socket), name="hashae-background")

    def _signal(self, number: int) -> None:
        if self._process.is_alive() and self._process.pid is not None:
            os.kill(self._process.pid, number)


def serve_alone(settings: ServeSettings, listener: socket.socket, on_ready: Callable[[], None]) -> None:
    """Serve in this process until SIGINT or SIGTERM.

    Parameters
    ----------
    settings, listener
        As in :func:`serve_many`.
    on_ready
        Called once questions are answered at once.

    Raises
    ------
    CollectionError
        If a collection cannot be opened.
    """
    app = create_app(settings)
    for desk in app.state.desks:
        desk.warm()
    _settle()
    on_ready()
    config = uvicorn.Config(app, timeout_graceful_shutdown=5, **UVICORN)
    with suppress(KeyboardInterrupt):  # the way to stop it: everything is closed by now
        uvicorn.Server(config).run(sockets=[listener])


def serve_many(settings: ServeSettings, listener: socket.socket, on_ready: Callable[[], None]) -> None:
    """Serve with several workers until SIGINT or SIGTERM.

    Parameters
    ----------
    settings
        Of the server; `workers` of them answer.
    listener
        Bound and listening.
    on_ready
        Called once all workers answer.

    Raises
    ------
    CollectionError
        If a collection cannot be opened.
    ConfigError
        On Windows.
    """
    if not hasattr(signal, "SIGHUP"):
        raise ConfigError(
            f"{settings.workers} workers are asked for; this system has no Unix sockets: leave --workers out"
        )
    for place in settings.collections:  # the schema is brought up to date, and a large index made, once for all
        prepare(place, threads=settings.threads)
    with TemporaryDirectory(prefix="hashae-serve-") as folder:
        shared = replace(settings, folder=Path(folder))
        threads = max(1, settings.threads // settings.workers)
        config = uvicorn.Config(
            WorkerApp(replace(shared, threads=threads, forwards=True)),
            factory=True,
            workers=settings.workers,
            http="hashae.serve.draining:Draining",
            timeout_graceful_shutdown=LEAVING_SECONDS,
            timeout_worker_healthcheck=READY_SECONDS,
            **UVICORN,
        )
        supervisor = Supervisor(config, listener, Background(shared, shared.background), on_ready)
        supervisor.run()
    if supervisor.failed:
        raise ConfigError("a worker ended before it could answer; what it said stands above")


UVICORN: dict[str, Any] = {
    "log_level": "warning",
    "access_log": False,
    "server_header": False,
    "limit_concurrency": 256,
    "timeout_keep_alive": 20,
}
"""Settings of every process that answers."""


def _settle() -> None:
    """Prepare this process for many short answers, once everything is loaded."""
    sys.setswitchinterval(SWITCH_SECONDS)
    # What was loaded stays: the collector of garbage need not look through hundreds of thousands of objects again.
    gc.collect()
    gc.freeze()


def _run_background(settings: ServeSettings, listener: socket.socket) -> None:
    """Be the background process."""
    os.nice(NICE)
    app = WorkerApp(settings)()
    server = uvicorn.Server(uvicorn.Config(app, **UVICORN))

    def leave_if_idle(_number: int, _frame: object) -> None:
        if all(desk.is_idle for desk in app.state.desks):
            server.should_exit = True

    signal.signal(signal.SIGHUP, leave_if_idle)
    server.run(sockets=[listener])


def _end_with_parent() -> None:
    """End this process when its parent is gone, however that ended: nobody else would stop it."""
    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)

    Thread(target=watch, name="hashae-parent", daemon=True).start()


def _is_terminal() -> bool:
    """Tell whether there is a terminal to read what this process says."""
    try:
        return os.isatty(2)
    except OSError:
        return False


@contextmanager
def _deaf_children() -> Iterator[None]:
    """Start processes that Ctrl+C does not reach: a terminal sends it to all, and the parent tells each when to end."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
