"""Which process holds the write lock of a collection file, as far as the system tells (Linux does)."""

from __future__ import annotations

import os
from pathlib import Path

WRITE_LOCK = 120
"""Byte of the ``-shm`` file that a writer locks: see "WAL-mode File Format" in SQLite's documentation."""

LOCKS = Path("/proc/locks")


def holder(path: Path) -> str:
    """Return ``process 123 (its command)`` for the process that writes to a collection, else ``another process``."""
    try:
        status = os.stat(f"{path}-shm")
        lines = LOCKS.read_text("ascii").splitlines()
    except (OSError, ValueError):
        return "another process"
    here = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    for line in lines:
        fields = line.split()
        if len(fields) < 8 or fields[1] == "->" or fields[3] != "WRITE" or fields[5] != here:
            continue
        number, first, last = int(fields[4]), int(fields[6]), fields[7]
        if first <= WRITE_LOCK and (last == "EOF" or int(last) >= WRITE_LOCK) and number not in {-1, 0, os.getpid()}:
            return f"process {number}{_command(number)}"
    return "another process"


def _command(number: int) -> str:
    try:
        words = Path(f"/proc/{number}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    shown = " ".join(word.decode("utf-8", "backslashreplace") for word in words if word)
    return f" ({shown[:80]})" if shown else ""
