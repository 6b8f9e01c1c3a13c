"""A process beside a server that makes the index of a large collection: in the server itself questions would wait.

Python runs one thread at a time. While one reads a hundred thousand codes, all others stand in line again and again.
"""

from __future__ import annotations

import os
import signal
from multiprocessing import connection, get_context, parent_process
from multiprocessing.context import SpawnProcess
from time import monotonic
from types import FrameType

from hashae.indexer.collection import Collection
from hashae.indexer.following import Follower
from hashae.place import Place

NICE = 5
"""By how much it comes after the server, where both want a processor."""

AGAIN = 30.0
"""Least seconds between two starts: what fails at once must not take all processors."""

LEAVING = 10.0
"""Seconds that it has to write an index to its end."""


def prepare(place: Place, *, threads: int = 2) -> None:
    """Open a collection once, before several processes do: its schema is up to date then, and a large index kept.

    Parameters
    ----------
    place
        Collection file, or URL of its database.
    threads
        CPU threads.

    Raises
    ------
    CollectionError
        If it cannot be opened.
    """
    with Collection.open(place, create=False, threads=threads) as collection:
        if collection.has_encoder and len(collection):
            collection._parts.table()


class Keeper:
    """Starts that process when it is first needed, and again when it was lost.

    Parameters
    ----------
    place
        Collection file, or URL of its database.
    threads
        CPU threads.
    """

    def __init__(self, place: Place, *, threads: int) -> None:
        self._place, self._threads = place, threads
        self._process: SpawnProcess | None = None
        self._started = -AGAIN

    def __call__(self) -> None:
        """See to it that the process runs; to be called from a thread that ignores Ctrl+C, as it then will."""
        if (self._process is None or not self._process.is_alive()) and monotonic() - self._started >= AGAIN:
            self._process = get_context("spawn").Process(
                target=_keep, args=(self._place, self._threads), name="hashae-index", daemon=True
            )
            self._process.start()
            self._started = monotonic()

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.terminate()
            self._process.join(LEAVING)


def _keep(place: Place, threads: int) -> None:
    """Keep the index of a collection current until the server is gone, or says so."""
    os.nice(NICE)
    signal.signal(signal.SIGTERM, _leave)
    parent = parent_process()
    with Collection.open(place, create=False, threads=threads) as collection:
        parts = collection._parts
        parts.table()
        follower = Follower(parts.tables, makes=True)
        try:
            connection.wait([parent.sentinel] if parent else [])
        finally:
            follower.close()


def _leave(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit
