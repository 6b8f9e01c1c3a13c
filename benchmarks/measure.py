"""Times, medians and the circumstances of a measurement."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

MIB = 2**20


def circumstances(*libraries: str, seed: int | None = None) -> str:
    """Return one line with versions, processors and seed, to stand above a table."""
    parts = [f"Python {platform.python_version()}"]
    for name in ("hashae", *libraries):
        try:
            parts.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            parts.append(f"{name} not installed")
    parts.append(f"{os.cpu_count()} processors")
    if seed is not None:
        parts.append(f"seed {seed}")
    return ", ".join(parts)


def seconds(work: Callable[[], object]) -> float:
    """Return how long one call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def alternating(works: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Time each work `rounds` times, one after the other in each round.

    A machine that is shared slows down and speeds up; alternating lets each work have its part of both.
    """
    times: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds):
        for name, work in works.items():
            times[name].append(seconds(work))
            print(f"round {number + 1} of {rounds}: {name} {times[name][-1]:.2f} s", file=sys.stderr)
    return times


def median_and_range(times: Sequence[float]) -> tuple[str, str]:
    """Return the median and the range of some times in seconds, as text."""
    return f"{statistics.median(times):.3f}", f"{min(times):.3f} to {max(times):.3f}"


def run_measured(command: Sequence[str | Path]) -> tuple[float, float]:
    """Run a program to its end.

    Returns
    -------
    tuple of float
        Seconds, and the peak of its resident memory in MiB (``ru_maxrss``, as the kernel reports it for the process
        itself and for those of its children that it has waited for, whichever is largest).

    Raises
    ------
    subprocess.CalledProcessError
        If it ends with another status than 0.
    """
    start = time.perf_counter()
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL)
    try:
        _, status, usage = os.wait4(process.pid, 0)
    except BaseException:
        process.kill()
        process.wait()
        raise
    elapsed = time.perf_counter() - start
    # The process is already waited for; without its status the Popen object would look for it once more.
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, list(command))
    unit = 1 if sys.platform == "darwin" else 1024
    return elapsed, usage.ru_maxrss * unit / MIB
