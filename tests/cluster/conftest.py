"""One local cluster of two workers for all tests that need one: starting it takes seconds."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from hashae.indexer.cluster import Cluster

BAD_DECODER = """
import ctypes
from PIL import PpmImagePlugin

real = PpmImagePlugin.PpmImageFile.load

def load(self):
    if hasattr(self.fp, "getvalue") and self.fp.getvalue()[-5:] == b"crash":
        ctypes.string_at(0)
    return real(self)

PpmImagePlugin.PpmImageFile.load = load
"""
"""A decoder of Pillow that crashes if the last bytes of a file say so; loaded by every process of the cluster."""


@pytest.fixture(scope="session")
def cluster(tmp_path_factory, aws_config):  # whose environment the processes of the cluster take over
    folder = tmp_path_factory.mktemp("site")
    (folder / "sitecustomize.py").write_text(BAD_DECODER)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        patch.setenv("RAY_worker_niceness", "0")  # beside busy neighbours, workers that stand back take minutes
        opened = Cluster(workers=2)
    with opened:
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
