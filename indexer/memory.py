"""How much memory there is for another array."""

from __future__ import annotations

import os
from pathlib import Path

from hashae.errors import CollectionError

KEPT_FREE = 64 * 2**20
"""Bytes left to everything else."""


class TooLittleMemory(CollectionError):
    """The codes of a collection do not fit into memory."""


def memory_left(meminfo: Path = Path("/proc/meminfo")) -> int | None:
    """Return the bytes that this process may still allocate, or None where the system does not say.

    The smallest of what the kernel calls available, and what the limit on the address space leaves.
    """
    known = [_available(meminfo), _below_limit()]
    left = [value for value in known if value is not None]
    return max(0, min(left) - KEPT_FREE) if left else None


def _available(meminfo: Path) -> int | None:
    try:
        for line in meminfo.read_text("ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:  # free pages only: an estimate from below
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _below_limit() -> int | None:
    """Return what a limit on the address space (``ulimit -v``) leaves; None if there is no limit."""
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft == resource.RLIM_INFINITY:
        return None
    try:
        used = int(Path("/proc/self/statm").read_text("ascii").split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        used = 0
    return max(0, soft - used)
