"""A cluster of a head and a second node on this machine, of which the second is killed in the middle of the work.

Run as a program: a process can be connected to one cluster only, and that of the tests may have another.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "RAY_worker_niceness": "0"}

SOON = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 4}
"""Two seconds instead of fifteen until a node that says nothing counts as dead."""


@contextmanager
def nodes():
    """Yield the address, and two functions of the second node: what its processes do now, and to kill it with them.

    What is left then is the head, with one core.
    """
    import psutil
    from ray.cluster_utils import Cluster

    settings = {"num_cpus": 1, "include_dashboard": False, "_system_config": SOON}
    cluster = Cluster(initialize_head=True, head_node_args=settings)
    try:
        second = cluster.add_node(num_cpus=2)
        raylet = psutil.Process(second.all_processes["raylet"][0].process.pid)

        def doing() -> str:
            return " ".join(" ".join(process.cmdline()) for process in raylet.children())

        yield cluster.address, doing, lambda: cluster.remove_node(second, allow_graceful=False)
    finally:
        cluster.shutdown()


def index(folder: Path, db: Path) -> None:
    """Index with the command itself; the node is killed when the first batch is stored."""
    with nodes() as (address, doing, kill):
        command = [sys.executable, "-m", "hashae.cli", "index", str(folder), "--db", str(db), "--no-calibrate"]
        running = subprocess.Popen([*command, f"--ray={address}"])
        while not stored(db) or "read_block" not in doing():
            assert running.poll() is None, "it ended before the node was killed"
            time.sleep(0.02)
        kill()
        sys.stdout.write(f"killed at {stored(db)}\n")
        assert running.wait(timeout=200) == 0


def stored(db: Path) -> int:
    """Return the number of images in a collection that may not be there yet."""
    try:
        with sqlite3.connect(f"file:{db}?mode=ro", uri=True) as connection:
            return int(connection.execute("SELECT count(*) FROM images").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


def join() -> None:
    """Compare codes; the node is killed while it does a part."""
    import numpy as np

    from hashae.indexer.cluster import Cluster
    from hashae.indexer.cluster import join as joining
    from hashae.indexer.components import connected
    from hashae.indexer.rule import MatchRule

    rng = np.random.default_rng(4)
    codes = rng.integers(0, 256, (15_000, 32), dtype=np.uint8)[rng.integers(0, 15_000, 60_000)]
    codes[np.arange(60_000), rng.integers(0, 32, 60_000)] ^= (1 << rng.integers(0, 8, 60_000)).astype(np.uint8)
    rule, killing = MatchRule(4, np.zeros(len(codes))), []
    joining.ROWS = 2000
    with nodes() as (address, doing, kill), Cluster(address) as cluster:

        def kill_once(done: int, total: int) -> None:
            if not killing and done < total and "ray::join_part" in doing():
                killing.append(done)
                kill()  # with what it was doing, and what was handed out to it

        found = joining.connected_on(cluster, codes, rule, on_step=kill_once)
    sys.stdout.write(f"killed at {killing}\n")
    assert killing
    assert np.array_equal(found, connected(codes, rule, threads=1))


if __name__ == "__main__":
    if sys.argv[1] == "index":
        index(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        join()
