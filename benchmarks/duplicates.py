"""Duplicate search beside its peers: pairs within a radius joined into components, own radii, codes that make trouble.

Every method runs in a process of its own, on distinct codes that are read from a file, so that its peak memory can be
told; what it finds is reduced to components, whose hash has to be that of all others. np.sort of the same codes is the
yardstick: the least that any method based on sorting could take.

    python benchmarks/duplicates.py                                everything; a quarter of an hour
    python benchmarks/duplicates.py --sizes 1e5 --rounds 3         a look
    python benchmarks/duplicates.py --tables join --codes random   one table, one kind of codes
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
from codes import KINDS, make_codes
from data import encoder_file
from measure import circumstances

Row = dict[str, Any]
Find = Callable[[Any], Any]
"""Codes ``uint8 (n, bytes)`` -> components, or pairs of rows, or nothing."""

TABLES = ("join", "wide", "trouble")
OWN = "hashae, numba, 2 threads"
UP_TO = {
    ("numpy brute force", "random"): 100_000,
    ("numpy brute force", "clustered"): 100_000,
    ("numpy brute force", "real"): 100_000,
    ("FAISS MultiHash", "random"): 1_000_000,
    ("FAISS MultiHash", "clustered"): 1_000_000,
    ("FAISS MultiHash", "real"): 100_000,
    ("DuckDB, same blocks", "real"): 100_000,
    ("hashae, numpy", "real"): 1_000_000,
}
"""Sizes above which a method is left out: it would take many minutes, or lists of pairs that no memory holds."""
REAL_UP_TO = 1_000_000
"""Real codes above are 77 near copies of each picture, and tell nothing new."""


# --- methods: each returns the component of every row, a pair of arrays of rows, or None ---------------------------


def hashae(engine: str, threads: int) -> Callable[[int], Find]:
    """Return hashae's join: pairs straight into a union-find."""

    def made(radius: int) -> Find:
        from hashae.indexer.components import connected
        from hashae.indexer.rule import MatchRule

        return lambda codes: connected(
            codes, MatchRule(radius, np.zeros(len(codes))), threads=threads, engine=engine
        )  # fmt: skip

    return made


def hashae_groups(radius: int) -> Find:
    """Return hashae's whole search: equal codes, join, groups around medoids, as Python objects."""
    from hashae.indexer.groups import find_groups

    def find(codes: Any) -> None:
        find_groups(codes, np.arange(len(codes)), radius, threads=2)

    return find


def sort(_radius: int) -> Find:
    """Return the yardstick."""
    return lambda codes: np.sort(codes.view(np.uint64).ravel()) is None or None


def duckdb_blocks(radius: int) -> Find:
    """Return a self-join in DuckDB with the block keys that hashae takes for the same codes."""
    import duckdb

    from hashae.indexer.block_tables import choose_blocks, permute
    from hashae.indexer.pair_plan import COSTS
    from hashae.indexer.scan import as_rows

    def find(codes: Any) -> Any:
        words = as_rows(codes)
        plan = choose_blocks(words, codes.shape[1], radius, COSTS["compiled"], repeats=True)
        seen = words if plan.order is None else permute(words, plan.order)
        masks = plan.masks(1)[:, 0]
        database = duckdb.connect(config={"threads": 2})
        value = seen[:, 0].view(np.int64)
        row = np.arange(len(codes), dtype=np.int64)
        database.register("given", {"id": row, "code": value})
        database.execute("create table codes as select * from given")
        found = []
        for table in plan.tables:
            mask = np.bitwise_or.reduce(masks[table.chosen]).view(np.int64)
            query = (
                f"with keyed as (select id, code, code & ({int(mask)}) as key from codes) "
                "select a.id as a, b.id as b from keyed a join keyed b on a.key = b.key and a.id < b.id "
                f"where bit_count(xor(a.code, b.code)) <= {radius}"
            )
            part = database.execute(query).fetchnumpy()
            found.append((np.asarray(part["a"]), np.asarray(part["b"])))
        return tuple(np.concatenate(side) for side in zip(*found, strict=True))

    return find


def faiss_multihash(radius: int) -> Find:
    """Return ``IndexBinaryMultiHash`` with a table for each of radius + 1 bands, asked for every code."""
    import faiss

    def find(codes: Any) -> Any:
        faiss.omp_set_num_threads(2)
        bits = codes.shape[1] * 8
        index = faiss.IndexBinaryMultiHash(bits, radius + 1, bits // (radius + 1))
        index.add(codes)
        found = []
        for start in range(0, len(codes), 100_000):
            limits, _, labels = index.range_search(codes[start : start + 100_000], radius + 1)
            rows = np.repeat(np.arange(len(limits) - 1), np.diff(limits.astype(np.int64))) + start
            labels = labels.astype(np.int64)
            found.append((rows[rows < labels], labels[rows < labels]))
        return tuple(np.concatenate(side) for side in zip(*found, strict=True))

    return find


def brute_force(radius: int) -> Find:
    """Return what many tools do: each code against all others, one row at a time, in numpy."""

    def find(codes: Any) -> Any:
        words, found = codes.view(np.uint64).ravel(), []
        for row in range(len(words) - 1):
            near = np.flatnonzero(np.bitwise_count(words[row + 1 :] ^ words[row]) <= radius)
            found.append((np.full(len(near), row), near + row + 1))
        return tuple(np.concatenate(side) for side in zip(*found, strict=True))

    return find


METHODS: dict[str, Callable[[int], Find]] = {
    OWN: hashae("compiled", 2),
    "hashae, numba, 1 thread": hashae("compiled", 1),
    "hashae, numpy, 2 threads": hashae("numpy", 2),
    "hashae, numpy": hashae("numpy", 1),
    "hashae, groups as objects": hashae_groups,
    "DuckDB, same blocks": duckdb_blocks,
    "FAISS MultiHash": faiss_multihash,
    "numpy brute force": brute_force,
    "np.sort": sort,
}


def digest(answer: Any, n: int) -> str | None:
    """Return a hash of the components: the smallest row of each row's component."""
    if answer is None:
        return None
    if isinstance(answer, tuple):
        from scipy.sparse import coo_matrix
        from scipy.sparse.csgraph import connected_components

        a, b = answer
        _, label = connected_components(coo_matrix((np.ones(len(a), np.int8), (a, b)), shape=(n, n)), directed=False)
        first = np.full(n, n)
        np.minimum.at(first, label, np.arange(n))
        answer = first[label]
    return hashlib.sha256(np.ascontiguousarray(answer, np.int64).tobytes()).hexdigest()[:12]


def child(method: str, file: Path, radius: int, rounds: int, budget: float) -> None:
    """Measure one method in this process, and print what came out as JSON."""
    codes, find = np.load(file), METHODS[method](radius)
    find(np.ascontiguousarray(codes[:20_000]))  # loads and compiles what it needs
    unit = 1 if sys.platform == "darwin" else 1024
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    times: list[float] = []
    processor: list[float] = []
    while not times or (len(times) < rounds and sum(times) + times[-1] < budget):
        start, used = perf_counter(), process_time()
        answer = find(codes)
        times.append(perf_counter() - start)
        processor.append(process_time() - used)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit - before
    found = digest(answer, len(codes))
    told = {"seconds": statistics.median(times), "cpu": statistics.median(processor), "rounds": len(times)}
    print(json.dumps({**told, "bytes": peak, "found": found}))


def join_table(options: argparse.Namespace, folder: Path) -> list[Row]:
    """Measure the join of every method, size and kind."""
    rows: list[Row] = []
    for kind in options.codes:
        for n in [size for size in options.sizes if kind != "real" or size <= REAL_UP_TO]:
            words = np.sort(make_codes(kind, n, 64).view(np.uint64).ravel())
            words = words[np.r_[True, words[1:] != words[:-1]]]
            file = folder / f"{kind}-{n}.npy"
            shuffled = np.random.default_rng(0).permutation(words)
            np.save(file, shuffled[:, None].view(np.uint8))
            del words, shuffled
            for method in options.methods:
                if n > UP_TO.get((method, kind), n):
                    continue
                command = [sys.executable, __file__, "--child", method, str(file)]
                command += ["--radius", str(options.radius), "--rounds", str(options.rounds)]
                command += ["--budget", str(options.budget)]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    print(f"{method}, {kind}, {n:,}: {done.stderr[-300:]}", file=sys.stderr)
                    continue
                result = json.loads(done.stdout)
                rows.append({"codes": kind, "n": n, "method": method, **result})
                print(f"{kind} {n:,} {method}: {result['seconds']:.3f} s", file=sys.stderr)
            file.unlink()
    for row in rows:
        peers = [other for other in rows if (other["codes"], other["n"]) == (row["codes"], row["n"])]
        yardstick = next((other["seconds"] for other in peers if other["method"] == "np.sort"), math.nan)
        own = next((other for other in peers if other["method"] == OWN), row)
        row["sorts"] = row["seconds"] / yardstick
        row["of_own"] = row["seconds"] / own["seconds"]
        row["bytes_a_row"] = row["bytes"] / row["n"]
        row["same"] = None if row["found"] is None else row["found"] == own["found"]
    return rows


def print_join(rows: list[Row], radius: int) -> None:
    """Print the join as Markdown tables, and how the time grows."""
    for kind in dict.fromkeys(row["codes"] for row in rows):
        for n in sorted({row["n"] for row in rows if row["codes"] == kind}):
            part = [row for row in rows if (row["codes"], row["n"]) == (kind, n)]
            print(f"\nPairs within radius {radius} of {n:,} {kind} codes of 64 bits, as components\n")
            print("| method | seconds | processor | times ours | np.sorts | bytes a row above input | same answer |")
            print("|---|---|---|---|---|---|---|")
            for row in sorted(part, key=lambda row: row["seconds"]):
                same = {True: "yes", False: "**NO**", None: ""}[row["same"]]
                times = f"{row['seconds']:.3f} | {row['cpu']:.3f} | {row['of_own']:.2f} | {row['sorts']:.1f}"
                print(f"| {row['method']} | {times} | {row['bytes_a_row']:.0f} | {same} |")
    print(
        "\n| growth exponent, smallest to largest size | "
        + " | ".join(kinds := dict.fromkeys(r["codes"] for r in rows))
    )
    print("|---" * (len(kinds) + 1) + "|")
    for method in METHODS:
        shown = []
        for kind in kinds:
            points = sorted(
                (row["n"], row["seconds"]) for row in rows if (row["codes"], row["method"]) == (kind, method)
            )
            (n0, t0), (n1, t1) = (points[0], points[-1]) if points else ((0, 0.0), (0, 0.0))
            shown.append(f"{math.log(t1 / t0) / math.log(n1 / n0):.2f}" if n1 > n0 else "")
        print(f"| {method} | " + " | ".join(shown) + " |")


# --- own radii on wide codes -----------------------------------------------------------------------------------------


def popcount_rate(threads: int) -> float:
    """Return how many pairs of 256-bit codes a second this machine compares when nothing is done with the distances."""
    from numba import njit

    from hashae.indexer.kernels import popcount

    @njit(nogil=True)
    def least(columns: Any, rows: Any) -> Any:
        a, b, c, d = columns[0], columns[1], columns[2], columns[3]
        best = np.uint64(1000)
        for i in range(len(rows)):
            q0, q1, q2, q3 = rows[i, 0], rows[i, 1], rows[i, 2], rows[i, 3]
            for j in range(len(a)):
                best = min(best, popcount(a[j] ^ q0) + popcount(b[j] ^ q1) + popcount(c[j] ^ q2) + popcount(d[j] ^ q3))
        return best

    rng = np.random.default_rng(0)
    columns, rows = (
        rng.integers(0, 2**63, (4, 1024)).astype(np.uint64),
        rng.integers(0, 2**63, (200_000, 4)).astype(np.uint64),
    )
    least(columns, rows[:10])
    best = 0.0
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(5):
            start = perf_counter()
            list(pool.map(lambda _: least(columns, rows), range(threads)))
            best = max(best, threads * 1024 * len(rows) / (perf_counter() - start))
    return best


def faiss_rate(codes: Any, radius: int) -> float:
    """Return how many pairs of codes a second FAISS compares, one thread, in batches of 2,000 queries."""
    from hashae.indexer.nearest import FlatIndex

    index = FlatIndex(codes)
    start = perf_counter()
    index.within(codes[:2000], radius)
    return 2000 * len(codes) / (perf_counter() - start)


def wide_table(options: argparse.Namespace) -> list[Row]:
    """Measure groups by own radii on 256-bit codes: exact, approximate, and what the machine could do."""
    from hashae import Encoder
    from hashae.indexer.components import connected
    from hashae.indexer.crowding import crowding
    from hashae.indexer.groups import find_groups
    from hashae.indexer.radius_rule import choose_rule
    from hashae.indexer.rule import MatchRule

    info, rows = Encoder.load(encoder_file(None)).info, []
    rate = popcount_rate(2)
    for n in [size for size in options.sizes if size <= 1_000_000]:
        codes = make_codes("real", n, 256)
        start = perf_counter()
        rule = choose_rule(n, radius=None, fallback=info.radius, tail=info.tail)
        margins = rule.margins(crowding(codes, threads=2)).astype(np.float64)
        crowded = perf_counter() - start
        matching = MatchRule(0, margins)
        connected(codes[:5000], MatchRule(0, margins[:5000]), engine="compiled")
        start = perf_counter()
        exact = connected(codes, matching, threads=2, engine="compiled")
        seconds = perf_counter() - start
        row: Row = {
            "n": n,
            "crowding_s": crowded,
            "exact_s": seconds,
            "pairs_per_s": n * n / 2 / seconds,
            "floor": rate,
        }
        row["share_of_floor"] = row["pairs_per_s"] / rate
        row["margins"] = [float(value) for value in np.percentile(margins, [0, 50, 99, 100])]
        row["components"] = int((np.bincount(exact) > 1).sum())
        row["faiss_s_extrapolated"] = n * n / 2 / faiss_rate(codes, matching.largest(256)) if n <= 1_000_000 else None
        told: list[Any] = []
        start = perf_counter()
        found = connected(codes, matching, threads=2, engine="compiled", method="approximate", on_recall=told.append)
        row["approximate_s"] = perf_counter() - start
        row["recall"], row["sample_pairs"] = told[0].recall, told[0].answers
        row["components_approximate"] = int((np.bincount(found) > 1).sum())
        row["groups_s"] = None
        if n <= 100_000:
            start = perf_counter()
            row["groups"] = len(find_groups(codes, np.arange(n), 0, margins=margins, threads=2))
            row["groups_s"] = perf_counter() - start
        rows.append(row)
        print(row, file=sys.stderr)
    return rows


def print_wide(rows: list[Row]) -> None:
    """Print own radii as a Markdown table."""
    print("\nOwn radii on real codes of 256 bits, 2 threads\n")
    print("| codes | margins: least, median, 99 %, most | exact | pairs/s | of popcount | with groups | approximate |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        margins = ", ".join(f"{value:.0f}" for value in row["margins"])
        groups = "" if row["groups_s"] is None else f"{row['groups_s']:.2f} s"
        recall = "no pair" if row["recall"] is None else f"recall {row['recall']:.2%} of {row['sample_pairs']:,} pairs"
        print(
            f"| {row['n']:,} | {margins} bits | {row['exact_s']:.2f} s | {row['pairs_per_s'] / 1e9:.1f} G "
            f"| {row['share_of_floor']:.0%} | {groups} | {row['approximate_s']:.2f} s, {recall} |"
        )
        print(
            f"| | FAISS Flat, 1 thread, extrapolated | {row['faiss_s_extrapolated']:,.0f} s | | | crowding before: "
            f"{row['crowding_s']:.1f} s | |"
        )


# --- codes that make trouble -----------------------------------------------------------------------------------------


def trouble_table(options: argparse.Namespace) -> list[Row]:
    """Measure whole searches, groups included, on codes that wreck simple methods."""
    from hashae.indexer.groups import find_groups
    from hashae.indexer.linkage import LINKAGES

    rng = np.random.default_rng(0)
    n = 1_000_000
    healthy = rng.integers(0, 256, (n, 8), dtype=np.uint8)
    dead = healthy.copy()
    dead[:, 2:5] = 0x5A
    hot = healthy.copy()
    hot[rng.choice(n, 100_000, replace=False)] = 7
    some = healthy.copy()
    some[rng.choice(n, 100_000, replace=False), 2:7] = 0x5A
    ball = np.zeros((100_000, 32), np.uint8)
    for _ in range(12):
        at = rng.integers(0, 256, len(ball))
        ball[np.arange(len(ball)), at // 8] ^= (1 << (7 - at % 8)).astype(np.uint8)
    cases: list[tuple[str, Any, int, str]] = [
        ("a million healthy codes", healthy, 4, "star"),
        ("24 of 64 bits dead", dead, 4, "star"),
        ("40 of 64 bits dead in every tenth code", some, 4, "star"),
        ("100,000 equal codes among a million", hot, 4, "star"),
        *((f"100,000 codes in one ball of 256 bits, {name}", ball, 16, name) for name in LINKAGES),
        ("100,000 codes in one ball of 256 bits, all match", ball, 24, "star"),
    ]  # fmt: skip
    rows = []
    for engine in ("compiled", "numpy"):
        for name, codes, radius, linkage in cases:
            if engine == "numpy" and "ball" in name:
                continue
            settings: dict[str, Any] = {"engine": engine, "linkage": linkage, "threads": 2}
            find_groups(codes[:20_000], np.arange(20_000), radius, **settings)
            times = []
            for _ in range(options.rounds if "ball" not in name else 1):
                start = perf_counter()
                groups = find_groups(codes, np.arange(len(codes)), radius, **settings)
                times.append(perf_counter() - start)
            rows.append(
                {
                    "case": name,
                    "engine": engine,
                    "radius": radius,
                    "seconds": statistics.median(times),
                    "groups": len(groups),
                }
            )
            print(rows[-1], file=sys.stderr)
    return rows


def print_trouble(rows: list[Row]) -> None:
    """Print it as a Markdown table."""
    print("\nWhole searches, equal codes and groups included\n")
    print("| codes | radius | engine | seconds | of healthy codes | groups |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        healthy = next(other["seconds"] for other in rows if other["engine"] == row["engine"])
        print(
            f"| {row['case']} | {row['radius']} | {row['engine']} | {row['seconds']:.2f} "
            f"| {row['seconds'] / healthy:.1f} | {row['groups']:,} |"
        )


def plot(rows: list[Row], path: Path) -> None:
    """Draw time against size, one line a method, one field a kind of codes."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    kinds = list(dict.fromkeys(row["codes"] for row in rows))
    figure, axes = plt.subplots(1, len(kinds), figsize=(6 * len(kinds), 5), squeeze=False, sharey=True)
    for axis, kind in zip(axes[0], kinds, strict=True):
        for method in METHODS:
            points = sorted(
                (row["n"], row["seconds"]) for row in rows if (row["codes"], row["method"]) == (kind, method)
            )
            if points:
                style = "-" if method.startswith("hashae") else "--"
                axis.plot(*zip(*points, strict=True), style, marker="o", markersize=3, label=method)
        axis.set(xscale="log", yscale="log", title=kind, xlabel="codes", ylabel="seconds")
        axis.grid(visible=True, alpha=0.3)
        axis.legend(fontsize=6)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = [100_000, 1_000_000, 10_000_000]
    parser.add_argument("--sizes", type=lambda text: int(float(text)), nargs="+", default=sizes)
    parser.add_argument("--codes", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS), help="of the join")
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--radius", type=int, default=4, help="of the join (default: 4)")
    parser.add_argument("--rounds", type=int, default=3, help="most times a method runs (default: 3)")
    parser.add_argument("--budget", type=float, default=20.0, help="seconds after which it runs no more (default: 20)")
    parser.add_argument("--json", type=Path, help="write all rows to this file")
    parser.add_argument("--plot", type=Path, help="draw the join's time against size into this PNG file")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child[0], Path(options.child[1]), options.radius, options.rounds, options.budget)
        return
    print(circumstances("numpy", "numba", "faiss-cpu", "duckdb", seed=0))
    found: dict[str, list[Row]] = {}
    with tempfile.TemporaryDirectory() as folder:
        if "join" in options.tables:
            found["join"] = join_table(options, Path(folder))
            print_join(found["join"], options.radius)
            if options.plot:
                plot(found["join"], options.plot)
    if "wide" in options.tables:
        print_wide(found.setdefault("wide", wide_table(options)))
    if "trouble" in options.tables:
        print_trouble(found.setdefault("trouble", trouble_table(options)))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
