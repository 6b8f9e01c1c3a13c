"""Train several variants at once, each in a process of its own.

A step of a small model is too short to be shared by several cores; another model is work enough for the next core.
"""

from __future__ import annotations

import multiprocessing
import queue
import signal
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

from hashae.comparison.copies import EditedCopies
from hashae.comparison.data import ComparisonData
from hashae.comparison.kept import Kept
from hashae.comparison.rows import Row
from hashae.comparison.train_row import Told, train_row
from hashae.comparison.variants import Variant
from hashae.config import TrainConfig

LOOKED = 0.2
"""Seconds between two looks at what the processes tell."""


@dataclass(frozen=True)
class Shared:
    """What is the same for all variants; see :func:`hashae.comparison.train_row.train_row`."""

    data: ComparisonData
    copies: EditedCopies
    settings: dict[str, Any]
    kept: Kept | None


_shared: Shared
_reports: Any


def train_apart(
    todo: Sequence[tuple[Variant, TrainConfig]], shared: Shared, jobs: int, on_progress: Told | None = None
) -> list[Row]:
    """Train each of the variants and return their rows in this order.

    Parameters
    ----------
    todo
        Variants, and how each is trained.
    shared
        Handed to each process once.
    jobs
        Processes. They are started anew, so a program of your own needs the usual ``if __name__ == "__main__"``.
    on_progress
        Called from this thread.
    """
    context = multiprocessing.get_context("spawn")
    reports = context.Queue()
    pool = ProcessPoolExecutor(min(jobs, len(todo)), context, _begin, (shared, reports))
    try:
        futures = [pool.submit(_train, variant, config) for variant, config in todo]
        left: set[Future[Row]] = set(futures)
        while left:
            left = wait(left, timeout=LOOKED).not_done
            _tell(reports, on_progress)
        return [_row(future, variant, config) for future, (variant, config) in zip(futures, todo, strict=True)]
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in multiprocessing.active_children():
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        reports.close()


def _row(future: Future[Row], variant: Variant, config: TrainConfig) -> Row:
    try:
        return future.result()
    except BrokenProcessPool:
        reason = "a process that trained came to a sudden end (out of memory?); try fewer jobs"
        return Row(variant.name, config.seed, None, reason)


def _tell(reports: Any, on_progress: Told | None) -> None:
    while True:
        try:
            name, report = reports.get_nowait()
        except queue.Empty:
            return
        if on_progress:
            on_progress(name, report)


def _begin(shared: Shared, reports: Any) -> None:
    """Set up a process: Ctrl-C is the business of the one that started it."""
    global _shared, _reports
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _shared, _reports = shared, reports


def _train(variant: Variant, config: TrainConfig) -> Row:
    def tell(name: str, report: Any) -> None:
        _reports.put((name, report))

    return train_row(variant, _shared.data, _shared.copies, config, _shared.settings, _shared.kept, tell)
