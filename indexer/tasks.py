"""Work cut into parts that share nothing, done by threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import TypeVar

Part = TypeVar("Part")
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


def in_units(count: int, on_step: Report | None) -> Report | None:
    """Return a report that tells work of any unit as a part of `count`, which people can read."""
    if on_step is None:
        return None
    return lambda done, total: on_step(done * count // max(total, 1), count)
