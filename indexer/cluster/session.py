"""A connection to a Ray cluster: one that is there, or one of this machine's own that ends with the connection."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from types import TracebackType
from typing import Any, TypeVar

from hashae.errors import ConfigError, HashaeError, MissingDependency
from hashae.indexer.cluster.address import check_address, nobody_at
from hashae.indexer.cluster.head import HeadWatch

Part = TypeVar("Part")
Result = TypeVar("Result")

LOCAL = "local"
"""Address of a cluster that is started here and ends with the connection."""

TRIES = 10
"""How often a piece of work is begun again whose process or machine was lost."""

STARTS = 3
"""How often a local cluster is started that does not come up: a busy machine may take longer than Ray waits."""

AHEAD = 4
"""Pieces of work per core that are handed out before the first of them is done."""


class Cluster:
    """An open connection to Ray. Use it as a context manager.

    Parameters
    ----------
    address
        ``"local"``: start a cluster on this machine that ends with the connection; ``"auto"`` or ``"HOST:PORT"``: one
        that runs, of which this machine is a node. A connection that the program has already is used and left open.
    workers
        Processes of a local cluster; default: the cores that this process may use.

    Raises
    ------
    MissingDependency
        If the extra ``ray`` is not installed.
    ConfigError
        If there is no cluster at the address, or a node of it has another version of hashae.
    """

    def __init__(self, address: str = LOCAL, *, workers: int | None = None) -> None:
        self._ray, self._address = _import_ray(), address
        self._own = not self._ray.is_initialized()
        self._head: HeadWatch | None = None
        if self._own:
            self._connect(workers)
            self._head = HeadWatch(self._ray.get_runtime_context().gcs_address)
        try:
            self.cores = max(1, int(self._ray.cluster_resources().get("CPU", 1)))
            self._check_nodes()
        except BaseException:
            self.close()
            raise

    def _connect(self, workers: int | None) -> None:
        settings: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if self._address == LOCAL:
            settings |= {"num_cpus": workers, "include_dashboard": False}
        place = self._address if self._address == LOCAL else check_address(self._address)
        for tries_left in reversed(range(STARTS if self._address == LOCAL else 1)):
            try:
                self._ray.init(address=place, **settings)
            except Exception as error:  # Ray has no class for a start that takes longer than it allows, 30 s
                self._ray.shutdown()
                if tries_left:
                    continue
                raise nobody_at(self._address, error) from error
            else:
                return

    def __enter__(self) -> Cluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and self._head is not None and self._head.lost:
            # Nobody is left who could be told that this connection is over.
            raise HashaeError(
                f"the head of the Ray cluster at {self._address} does not answer any more; start the cluster and run "
                "the same command again: what is stored is not done twice"
            ) from error
        self.close()

    def __repr__(self) -> str:
        return f"Cluster({self._address!r}): {self.cores} cores"

    def close(self) -> None:
        """End the connection, and the cluster if it was started here."""
        if self._head is not None:
            self._head.close()
        if self._own and self._ray.is_initialized():
            self._ray.shutdown()

    def share(self, value: Any) -> Any:
        """Put a value where all processes can read it, once a machine; give what is returned to :meth:`run`."""
        return self._ray.put(value)

    def run(
        self, task: Callable[[Any, Part], Result], shared: Any, parts: Iterable[Part], *, memory: int = 0
    ) -> Iterator[Result]:
        """Yield the results of ``task(shared, part)``, in the order in which they are done.

        Parameters
        ----------
        task
            Function of a module; its results depend on its arguments only, for it may run twice.
        shared
            What :meth:`share` returned.
        parts
            Read no further ahead than is needed.
        memory
            Bytes that a task takes: no more of them run on a machine than it has room for.

        Raises
        ------
        HashaeError
            As the task raises, or if the processes of one part were lost `TRIES` times.
        ConfigError
            If no machine has so much memory: Ray would wait for one that has.
        """
        largest = max(node["Resources"].get("memory", 0) for node in self._ray.nodes() if node["Alive"])
        if memory > largest:
            raise ConfigError(
                f"one piece of the work takes {memory / 1e9:,.1f} GB, and no machine of the cluster offers more than "
                f"{largest / 1e9:,.1f} GB; add one that does, or divide the collection"
            )
        errors = self._ray.exceptions
        settings = {"max_retries": TRIES, "num_cpus": 1, **({"memory": memory} if memory else {})}
        remote = self._ray.remote(**settings)(task)
        waiting: list[Any] = []
        coming = iter(parts)
        try:
            while True:
                room = AHEAD * self.cores - len(waiting)
                waiting += [remote.remote(shared, part) for part in islice(coming, room)]
                if not waiting:
                    return
                done, waiting = self._ray.wait(waiting, num_returns=1, fetch_local=True)
                yield self._ray.get(done[0])
        except errors.RayTaskError as error:
            raise getattr(error, "cause", None) or error from error
        except (
            errors.WorkerCrashedError,
            errors.OutOfMemoryError,
            errors.ObjectLostError,
            errors.NodeDiedError,
        ) as error:
            raise HashaeError(lost_too_often(str(error))) from error
        finally:
            for reference in waiting:
                self._ray.cancel(reference, force=False)

    def _check_nodes(self) -> None:
        """Refuse a cluster with a node that has no hashae, or another one: its answers could be others."""
        ray, mine = self._ray, _version()
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        nodes = [node for node in ray.nodes() if node["Alive"]]
        if len(nodes) == 1:
            return  # this machine
        asked = {
            node["NodeManagerAddress"]: ray.remote(num_cpus=0)(_version_there)
            .options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False))
            .remote()
            for node in nodes
        }
        for name, reference in asked.items():
            try:
                theirs = ray.get(reference)
            except ray.exceptions.RayError as error:
                raise ConfigError(
                    f"node {name} cannot import hashae; install there what is installed here: pip install "
                    f"'hashae[ray]=={mine}'"
                ) from error
            if theirs != mine:
                raise ConfigError(f"node {name} has hashae {theirs}, this machine {mine}; install one version on all")


def lost_too_often(what: str) -> str:
    """Return the message for a piece of work that was lost too often."""
    text = " ".join(what.split())[:300]
    return (
        f"the processes of one piece of work were lost {TRIES + 1} times ({text}); give the nodes more memory, or "
        "start fewer processes (--workers), and run the same command again: what is stored is not done twice"
    )


def _import_ray() -> Any:
    # Ray asks for neither of these, and its defaults report to its makers.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # Ray Data makes its actors in a way of which Ray warns on standard error, whoever uses it.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        import ray
        import ray.exceptions
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.split(".")[0] == "hashae":
            raise
        raise MissingDependency("work on a Ray cluster", "ray") from error
    return ray


def _version() -> str:
    from importlib.metadata import version

    return version("hashae")


def _version_there() -> str:
    return _version()
