"""Work cut into parts that share nothing, done by threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from itertools import count
from threading import Event
from typing import TypeVar

Part = TypeVar("Part")
Found = TypeVar("Found")
Report = Callable[[int, int], None]
"""Called with the work done and the work in all, in any unit."""


def run_all(
    task: Callable[[Part], float], parts: Iterable[Part], threads: int, total: float, on_step: Report | None
) -> None:
    """Run `task` over `parts`; it returns the work it has done. An interruption leaves no thread behind."""
    done = 0.0

    def tell(work: float) -> None:
        nonlocal done
        done += work
        if on_step:
            on_step(int(done), int(total))

    if threads == 1:
        for part in parts:
            tell(task(part))
        return
    stop = Event()

    def unless_stopped(part: Part) -> float:
        return 0.0 if stop.is_set() else task(part)

    with ThreadPoolExecutor(threads) as pool:
        futures: list[Future[float]] = [pool.submit(unless_stopped, part) for part in parts]
        try:
            for future in futures:
                tell(future.result())
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


def in_parts(search: Callable[[slice], Found], queries: int, threads: int) -> list[Found]:
    """Run `search` over slices of a batch, on threads if there are several, keeping the order.

    A batch may be answered in a millisecond, and a thread takes a good part of that to wake. So this thread begins at
    once, the others take what is left when they come, and they are kept for the next batch.
    """
    if threads == 1 or queries == 1:
        return [search(slice(0, queries))]
    step = -(-queries // (4 * threads))
    parts = [slice(start, min(start + step, queries)) for start in range(0, queries, step)]
    found: dict[int, Found] = {}
    numbers, stop = count(), Event()

    def work() -> None:
        while not stop.is_set() and (number := next(numbers)) < len(parts):
            found[number] = search(parts[number])

    helpers = [_helpers(threads - 1).submit(work) for _ in range(threads - 1)]
    try:
        work()
        for helper in helpers:
            if not helper.cancel():  # one that has not begun has nothing left to do
                helper.result()
    finally:
        stop.set()
    return [found[number] for number in range(len(parts))]


@lru_cache(maxsize=1)
def _helpers(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="hashae-search")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_helpers.cache_clear)  # a child has none of the threads


def in_units(count: int, on_step: Report | None) -> Report | None:
    """Return a report that tells work of any unit as a part of `count`, which people can read."""
    if on_step is None:
        return None
    return lambda done, total: on_step(done * count // max(total, 1), count)
