"""What every process of a server does: make its application, answer by the same settings, end with its parent."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from dataclasses import dataclass
from multiprocessing import connection, parent_process
from threading import Thread
from typing import Any

from fastapi import FastAPI

from hashae.errors import HashaeError
from hashae.serve.app import create_app
from hashae.serve.settings import ServeSettings

SWITCH_SECONDS = 0.0005
"""Time after which a thread lets others run Python: a question waits so long, several times, for one that reads codes.

A tenth of what Python takes itself.
"""

UVICORN: dict[str, Any] = {
    "log_level": "warning",
    "access_log": False,
    "server_header": False,
    "limit_concurrency": 256,
    "timeout_keep_alive": 20,
}
"""Settings of every process that answers."""


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
            settle()
        except HashaeError as error:
            _log.error("%s", " ".join(str(error).split()))
            sys.exit(1)
        return app


def settle() -> None:
    """Prepare this process for many short answers, once everything is loaded."""
    sys.setswitchinterval(SWITCH_SECONDS)
    # What was loaded stays: the collector of garbage need not look through hundreds of thousands of objects again.
    gc.collect()
    gc.freeze()


def _end_with_parent() -> None:
    """End this process when its parent is gone, however that ended: nobody else would stop it."""
    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)

    Thread(target=watch, name="hashae-parent", daemon=True).start()
