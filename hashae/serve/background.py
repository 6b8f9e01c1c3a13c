"""The background process of a server of several: it runs jobs, holds the review, and makes the index."""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
from multiprocessing import get_context
from multiprocessing.context import SpawnProcess
from pathlib import Path

import uvicorn

from hashae.serve.process import UVICORN, WorkerApp
from hashae.serve.settings import ServeSettings

NICE = 5
"""By how much the background process comes after the workers, where both want a processor."""

AGAIN_SECONDS = 2.0
"""Least time between two starts of the background process: what fails at once must not take all processors."""

_spawn = get_context("spawn")
_log = logging.getLogger(__name__)


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
