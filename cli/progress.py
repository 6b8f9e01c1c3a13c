"""Progress: a live bar with rate and time left on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

from hashae.cli.output import say

PLAIN_EVERY = 10.0
"""Seconds between plain lines."""


class ProgressLine:
    """Progress of one command, on standard error; use it as a context manager.

    Parameters
    ----------
    quiet
        Show nothing.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._bar: Any = None
        self._task: Any = None
        self._stage = ""
        self._started = self._told = time.monotonic()

    def __enter__(self) -> ProgressLine:
        if not self._quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                SpinnerColumn,
                TextColumn,
                TimeRemainingColumn,
            )

            self._bar = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[note]}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, stage: str, done: int, total: int | None, note: str = "") -> None:
        """Show that `done` of `total` (None: unknown) are done in a stage; `note` replaces the rate."""
        now = time.monotonic()
        if stage != self._stage:
            self._stage, self._started, self._told = stage, now, now
            if self._bar is not None:
                if self._task is not None:
                    self._bar.remove_task(self._task)
                self._task = self._bar.add_task(stage, total=total, note="")
        rate = done / (now - self._started) if now > self._started else 0.0
        note = note or (f"{rate:,.0f}/s" if done else "")
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total, note=note)
        elif not self._quiet and now - self._told >= PLAIN_EVERY:
            self._told = now
            left = f", {(total - done) / rate:,.0f} s left" if total and rate else ""
            say(f"{stage}: {done:,}{f' of {total:,}' if total else ''} ({note}{left})")
