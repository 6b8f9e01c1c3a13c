"""Which files are being decoded at this moment, written where a crash cannot take it back.

A decoder that crashes ends the whole program, and nothing of that can be caught. What was being decoded stands in a
small file beside the collection, mapped into memory: writing to it costs a microsecond, and it outlives the program.
The next run finds it and decodes just these files in a process of their own.
"""

from __future__ import annotations

import mmap
import os
import signal
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

SLOT = 8192
"""Bytes of a slot: the length of a path, and the path."""

GUARDED = "HASHAE_GUARDED"
"""Set in the environment where another process waits, and runs the command again if this one is lost."""

ISOLATING = "isolating"
"""Value of `GUARDED` where that happened too often: every picture is decoded in a process of its own."""


class InFlight:
    """Notes what this program decodes, and finds what others were decoding when they came to a sudden end.

    Parameters
    ----------
    collection
        The collection file; of a server's database, what the names of this machine's files begin with.
    workers
        Most files that are decoded at once.
    """

    def __init__(self, collection: Path, workers: int) -> None:
        self._dead: list[Path] = []
        self.suspects = frozenset(self._find(collection))
        self._path = collection.with_name(f"{collection.name}.decoding-{os.getpid()}")
        self._slots: list[int] = []
        self._since: dict[int, float] = {}
        self._file: BinaryIO | None = None
        with suppress(OSError):  # a folder that cannot be written: indexing will say so
            self._file = self._path.open("w+b")
            _lock(self._file)
            self._file.truncate(SLOT * workers)
            self._map = mmap.mmap(self._file.fileno(), SLOT * workers)
            self._slots = [SLOT * number for number in range(workers)]

    @contextmanager
    def note(self, path: str) -> Iterator[None]:
        """Note that a file is decoded while the block runs; from any thread."""
        try:
            at = self._slots.pop()
        except IndexError:
            yield
            return
        name = os.fsencode(path)[: SLOT - 4]
        self._map[at + 4 : at + 4 + len(name)] = name
        self._map[at : at + 4] = struct.pack("<I", len(name))
        self._since[at] = time.monotonic()
        try:
            yield
        finally:
            del self._since[at]
            self._map[at : at + 4] = bytes(4)
            self._slots.append(at)

    def end_if_hung(self, seconds: float) -> None:
        """End this program if it has decoded one file for longer than that, and another process is there to go on."""
        started = min(list(self._since.values()), default=None)
        if started is not None and time.monotonic() - started > seconds and GUARDED in os.environ:
            os.kill(os.getpid(), signal.SIGABRT)

    def settle(self) -> None:
        """Forget what was suspected: it was looked at."""
        for path in self._dead:
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Take the notes of this program away: nothing is decoded any more."""
        if self._file is not None:
            self._map.close()
            self._path.unlink(missing_ok=True)
            self._file.close()
            self._file = None

    def _find(self, collection: Path) -> Iterator[str]:
        for path in sorted(collection.parent.glob(f"{_escaped(collection.name)}.decoding-*")):
            with suppress(OSError), path.open("r+b") as file:
                if not _lock(file):
                    continue  # its program is alive
                data = file.read()
                self._dead.append(path)
                for at in range(0, len(data) - 3, SLOT):
                    (length,) = struct.unpack_from("<I", data, at)
                    if 0 < length <= SLOT - 4:
                        yield os.fsdecode(data[at + 4 : at + 4 + length])


def _escaped(name: str) -> str:
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in name)


def _lock(file: BinaryIO) -> bool:
    """Lock a file for as long as this program lives; False if another one has it."""
    try:
        import fcntl
    except ImportError:  # no such locks here: every file is taken for that of a dead program
        return True
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
