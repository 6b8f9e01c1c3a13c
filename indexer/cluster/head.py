"""Notice that the head of a cluster is gone: Ray itself ends the whole program then, after a minute, without a word."""

from __future__ import annotations

import signal
import socket
import threading
import time

EVERY = 5.0
"""Seconds between two looks, and how long one may take."""

PATIENCE = 40.0
"""Seconds without an answer after which a head counts as gone: one that is started anew may be back before."""


class HeadWatch:
    """Looks after a head from a thread of its own, and interrupts the main thread when it is gone.

    It does nothing where an interrupt would not be an exception of the main thread: the program has other plans then.

    Parameters
    ----------
    address
        ``HOST:PORT`` of the head.
    """

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._place, self._over = (host.strip("[]"), int(port)), threading.Event()
        self.lost = False
        mine = threading.current_thread() is threading.main_thread()
        if mine and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            threading.Thread(target=self._look, name="hashae-head", daemon=True).start()

    def close(self) -> None:
        """Stop looking."""
        self._over.set()

    def _look(self) -> None:
        answered = time.monotonic()
        while not self._over.wait(EVERY):
            if self._answers():
                answered = time.monotonic()
            elif time.monotonic() - answered > PATIENCE:
                self.lost = True
                main = threading.main_thread().ident
                assert main is not None, "it has started"
                # To this thread, not to the program: it may be waiting where only a signal of its own wakes it.
                signal.pthread_kill(main, signal.SIGINT)
                return

    def _answers(self) -> bool:
        try:
            socket.create_connection(self._place, EVERY).close()
        except OSError:
            return False
        return True
