"""Long work in the background: one job of each name at a time, its progress, its result or its error."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from time import monotonic
from typing import Any

from hashae.errors import ConfigError, HashaeError
from hashae.indexer.summary import Progress

_log = logging.getLogger(__name__)


@dataclass
class Job:
    """One run.

    Attributes
    ----------
    name
        What it does.
    state
        ``idle``, ``running``, ``done`` or ``failed``.
    stage, done, total
        Its progress; `total` is None while that is unknown.
    error
        Why it failed, in a sentence.
    result
        What it returned, ready for JSON.
    number
        Grows with each run of this name.
    """

    name: str
    state: str = "idle"
    stage: str = ""
    done: int = 0
    total: int | None = None
    error: str = ""
    result: Any = None
    number: int = 0
    started: float = field(default=0.0, repr=False)
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return everything, ready for JSON."""
        names = ("name", "state", "stage", "done", "total", "error", "result", "number")
        seconds = monotonic() - self.started if self.state == "running" else self.seconds
        return {name: getattr(self, name) for name in names} | {"seconds": round(seconds, 3)}


class Jobs:
    """The jobs of a server. They run one after the other: each may use all threads."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="hashae-job")
        self._lock = Lock()
        self._jobs: dict[str, Job] = {}

    def get(self, name: str) -> Job:
        """Return the newest job of a name; one that never ran is idle."""
        with self._lock:
            return self._jobs.get(name) or Job(name)

    @property
    def running(self) -> bool:
        """True while a job runs, or waits for another."""
        with self._lock:
            return any(job.state == "running" for job in self._jobs.values())

    def start(self, name: str, work: Callable[[Callable[[Progress], None]], Any]) -> Job:
        """Start a job.

        Parameters
        ----------
        name
            Of the job.
        work
            Is given a function to tell its progress to; what it returns is the result.

        Raises
        ------
        ConfigError
            If a job of that name is running.
        """
        with self._lock:
            before = self._jobs.get(name)
            if before is not None and before.state == "running":
                raise ConfigError(f"{name} is running already; wait until it has ended")
            number = 1 if before is None else before.number + 1
            job = self._jobs[name] = Job(name, "running", number=number, started=monotonic())
        self._pool.submit(self._run, job, work)
        return job

    def close(self) -> None:
        """Wait for the job that is running; those that wait are dropped."""
        self._pool.shutdown(cancel_futures=True)

    @staticmethod
    def _run(job: Job, work: Callable[[Callable[[Progress], None]], Any]) -> None:
        def tell(progress: Progress) -> None:
            job.stage, job.done, job.total = progress.stage, progress.done, progress.total

        try:
            job.result = work(tell)
        except (HashaeError, OSError) as error:
            job.error, state = " ".join(str(error).split()), "failed"
        except Exception:
            _log.exception("job %s failed", job.name)
            job.error, state = "an error of hashae itself; see the terminal", "failed"
        else:
            state = "done"
        job.seconds = monotonic() - job.started
        job.state = state
