"""The codes that a server holds in memory follow their collection in the background: no question waits for that.

An index of a large collection takes seconds to make, and a program that indexes moves the collection on several times a
second. So a server answers from the codes it has until newer ones are ready. One process makes them and keeps them in
the file beside the collection; the others map that file, so that all share its pages in memory.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from threading import Event, Thread
from time import monotonic

from hashae.errors import HashaeError
from hashae.indexer.code_table import CodeTables

POLL = 1.0
"""Seconds between two looks at the generation of the collection."""

PAUSE = 4.0
"""Pause after the codes were read anew, in times of what that took: a fifth of one processor at most goes into it."""

PATIENCE = 600.0
"""Seconds that a process waits for another to make the index before it makes its own: that one may be gone."""

_log = logging.getLogger(__name__)


class Follower:
    """A thread that keeps the codes of a collection current until it is closed.

    Parameters
    ----------
    tables
        Of the collection; they are told that somebody follows.
    makes
        Make the index where the file beside the collection is older. Else another process does, and only its file is
        looked at, for `PATIENCE` seconds.
    on_behind
        Called whenever the collection is found to have moved on: whoever makes the index can be called for.
    """

    def __init__(self, tables: CodeTables, *, makes: bool, on_behind: Callable[[], None] = lambda: None) -> None:
        self._tables, self._makes, self._on_behind = tables, makes, on_behind
        self._closing = Event()
        self._thread = Thread(target=self._run, name="hashae-follower", daemon=True)
        tables.followed = True
        self._thread.start()

    def close(self) -> None:
        """Stop following; an index that is being made is waited for."""
        self._closing.set()
        self._thread.join()
        self._tables.followed = False

    def _run(self) -> None:
        if hasattr(signal, "pthread_sigmask"):  # processes that are started here do not end by Ctrl+C: they are told
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        pause, behind_since, told = POLL, monotonic(), False
        while not self._closing.wait(pause):
            start, pause = monotonic(), POLL
            try:
                if not self._tables.behind():
                    behind_since = start
                    continue
                self._on_behind()
                if self._tables.catch_up(makes=self._makes or start - behind_since > PATIENCE):
                    behind_since = monotonic()
                    pause = max(POLL, PAUSE * (behind_since - start))
            except HashaeError as error:  # a server that is away, a file that is locked: tried again
                _log.log(logging.DEBUG if told else logging.WARNING, "%s; older codes answer meanwhile", error)
                told = True
            else:
                told = False
