"""A server of several processes: workers that share one listening socket, and a background process beside them.

Uvicorn's supervisor starts the workers, replaces one that died or hangs, and on SIGHUP replaces them one after the
other, each when its successor answers. What cannot be in several processes at once (jobs, their results, the review of
duplicates) is in the background process, to which the workers forward it. That process also makes the index anew when
the collection has moved on; the workers map its file, so that all share the same pages in memory.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import uvicorn
from uvicorn.supervisors import Multiprocess

from hashae.errors import ConfigError
from hashae.indexer.keeping import prepare
from hashae.serve.app import create_app
from hashae.serve.background import Background
from hashae.serve.process import UVICORN, WorkerApp, settle
from hashae.serve.settings import ServeSettings

READY_SECONDS = 120
"""Time that a worker has to start in, and to say that it lives."""

LEAVING_SECONDS = 30
"""Time that answers which are under way have when a worker leaves: that of the longest upload."""


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
    settle()
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
