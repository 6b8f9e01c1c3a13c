"""Counters of a server of several processes: each keeps its own in a file, and whoever is asked adds them all up."""

from __future__ import annotations

import fcntl
import os
import secrets
from contextlib import suppress
from pathlib import Path

from hashae.serve.metrics import Counts, Metrics

ENDED = "metrics-ended.json"
"""Counts of the processes that have left: a counter never goes down."""


class SharedMetrics(Metrics):
    """Counters of one process of several.

    Parameters
    ----------
    folder
        Of the server; only its processes write there.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder, self._path = folder, folder / f"metrics-{secrets.token_hex(8)}.json"
        self._kept = ""

    def total(self) -> Counts:
        """Return what all processes have counted; of the others, what they knew a second ago."""
        total = super().total()
        for path in sorted(self._folder.glob("metrics-*.json")):
            if path != self._path:
                with suppress(FileNotFoundError):  # it has just left: what it counted is in the file of those that did
                    total.add(Counts.from_json(path.read_text("utf-8")))
        return total

    def keep(self) -> None:
        """Write what was counted here, where others read it."""
        text = super().total().to_json()
        if text != self._kept:
            _write(self._path, text)
            self._kept = text

    def close(self) -> None:
        """Add what was counted here to what processes counted that have left."""
        with (self._folder / "metrics.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            left = super().total()
            with suppress(FileNotFoundError):
                left.add(Counts.from_json((self._folder / ENDED).read_text("utf-8")))
            # First out, then in: for a moment some are missing, but none is counted twice.
            self._path.unlink(missing_ok=True)
            _write(self._folder / ENDED, left.to_json())


def _write(path: Path, text: str) -> None:
    temporary = path.with_suffix(".new")
    temporary.write_text(text, "utf-8")
    os.replace(temporary, path)
