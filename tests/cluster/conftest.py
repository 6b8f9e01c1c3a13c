"""One local cluster of two workers for all tests that need one: starting it takes seconds."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from hashae.indexer.cluster import Cluster


@pytest.fixture(scope="session")
def cluster():
    with Cluster(workers=2) as opened:
        yield opened


@pytest.fixture
def kill_worker():
    """Return a function that kills one process of the cluster that works at this moment, and tells whether it did."""

    def kill(*names):
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                title = (folder / "cmdline").read_bytes().split(b"\0")[0].decode("utf-8", "replace").strip()
            except OSError:
                continue
            if title.startswith("ray::") and any(name in title for name in names) and _is_mine(folder):
                os.kill(int(folder.name), signal.SIGKILL)
                return True
        return False

    return kill


def _is_mine(folder):
    """Tell whether a process descends from this one: a machine may run clusters of other people."""
    number = int(folder.name)
    while number > 1:
        if number == os.getpid():
            return True
        try:
            number = int(Path(f"/proc/{number}/stat").read_text("utf-8").rsplit(")", 1)[1].split()[1])
        except OSError:
            return False
    return False
