"""A local Ray cluster of two workers beside one process on the same two cores: the same answers, and what they cost.

* ``join``: connected components of codes that are in memory. The cluster is started once; its first call, in which the
  workers load their libraries, is told apart. Components have to be equal.
* ``pictures``: ``hashae index`` and then ``hashae dedup --no-calibrate`` over all 60,000 files of cifar10.zip, as whole
  commands, with and without ``--ray``. Every row of images, codes and failures, and every group, has to be equal.

    python benchmarks/cluster.py                     both; some minutes
    python benchmarks/cluster.py join --codes 1e5    a look
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sqlite3
import statistics
import subprocess
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
from answers import print_table
from codes import make_codes
from data import encoder_file, hashae, unpacked
from measure import circumstances, seconds

from hashae.indexer.components import connected
from hashae.indexer.rule import MatchRule

WORKERS = 2
os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's workers stand back behind others; here both are to be equal
TABLES = {
    "images": "SELECT * FROM images ORDER BY id",
    "codes": "SELECT image, code, confidence, detail FROM codes ORDER BY image",
    "failures": "SELECT path, size, mtime_ns, reason FROM failures ORDER BY path",
}


def join(count: int, rounds: int) -> None:
    """Compare the search for components and print the table."""
    from hashae.indexer.cluster import Cluster
    from hashae.indexer.cluster.join import connected_on

    few = max(1000, count // 8)
    cases = {
        f"random, 64 bits, radius 4, {count:,}": (make_codes("random", count, 64), 4),
        f"clustered, 64 bits, radius 4, {count:,}": (make_codes("clustered", count, 64), 4),
        f"clustered, 256 bits, radius 3, {count:,}": (make_codes("clustered", count, 256), 3),
        f"real, 256 bits, radius 24 (all pairs), {few:,}": (make_codes("real", few, 256), 24),
    }
    start = perf_counter()
    with Cluster(workers=WORKERS) as cluster:
        started = perf_counter() - start
        rows = [["codes", "one process, s", "cluster, s", "ratio", "its first call, s"]]
        for name, (codes, radius) in cases.items():
            rule = MatchRule(radius, np.zeros(len(codes)))
            one = connected(codes, rule, threads=WORKERS)  # loads the compiled loops
            first = seconds(lambda c=codes, r=rule: connected_on(cluster, c, r))  # type: ignore[misc]
            times: dict[str, list[float]] = {"one": [], "many": []}
            for _ in range(rounds):
                times["one"].append(seconds(lambda c=codes, r=rule: connected(c, r, threads=WORKERS)))  # type: ignore[misc]
                begin = perf_counter()
                many = connected_on(cluster, codes, rule)
                times["many"].append(perf_counter() - begin)
            if not np.array_equal(one, many):
                raise SystemExit(f"{name}: the components differ")
            alone, spread = statistics.median(times["one"]), statistics.median(times["many"])
            rows.append([name, f"{alone:.2f}", f"{spread:.2f}", f"{spread / alone:.2f}", f"{first:.2f}"])
    print(f"\nComponents of codes in memory, {WORKERS} cores, medians of {rounds} alternating rounds; all equal.")
    print(f"Starting the cluster: {started:.1f} s.\n")
    print_table(rows)


def pictures() -> None:
    """Index and deduplicate CIFAR-10 both ways and print the table."""
    folder = unpacked("cifar10.zip")
    rows = [["command", "one process, s", "--ray, s", "ratio"]]
    with tempfile.TemporaryDirectory() as scratch:
        found, took = {}, {}
        for name, more in (("one", ()), ("many", ("--ray",))):
            database = Path(scratch) / f"{name}.db"
            shared = ("--db", database, "--encoder", encoder_file(None), "--workers", str(WORKERS), "--no-calibrate")
            index, told = _command(hashae("index", folder, *shared, *more))
            dedup, report = _command(hashae("dedup", *shared, *more, "--json"))
            took[name] = (index, dedup)
            found[name] = (_digest(database), json.loads(report)["groups"])
            print(told.strip())
        if found["one"] != found["many"]:
            raise SystemExit("the answers differ")
    for at, command in enumerate(("index, 60,000 files", "dedup, own radii")):
        one, many = took["one"][at], took["many"][at]
        rows.append([command, f"{one:.1f}", f"{many:.1f}", f"{many / one:.2f}"])
    groups = len(found["one"][1])
    print(
        f"\nAll files of cifar10.zip (re-encoded JPEG), whole commands; {groups:,} groups, all rows and groups equal.\n"
    )
    print_table(rows)


def _command(words: list[str]) -> tuple[float, str]:
    start = perf_counter()
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return perf_counter() - start, done.stdout or done.stderr.splitlines()[-1]


def _digest(database: Path) -> str:
    """Return a hash of all rows that indexing wrote."""
    digest = hashlib.sha256()
    with sqlite3.connect(database) as connection:
        for query in TABLES.values():
            for row in connection.execute(query):
                digest.update(repr(row).encode())
    return digest.hexdigest()


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", choices=["join", "pictures", []], help="default: both")
    parser.add_argument("--codes", type=float, default=1e6, help="codes of the join (default: 1e6)")
    parser.add_argument("--rounds", type=int, default=3, help="of the join (default: 3)")
    options = parser.parse_args()
    print(circumstances("ray", "numba", "numpy", "onnxruntime"))
    what = options.what or ["join", "pictures"]
    if "join" in what:
        join(int(options.codes), options.rounds)
    if "pictures" in what:
        pictures()


if __name__ == "__main__":
    main()
