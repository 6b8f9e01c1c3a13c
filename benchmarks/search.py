"""Search in memory beside its peers: codes within a radius, and the nearest codes, in batches and one by one.

Every exact engine's answers are compared with ours in the same run; approximate ones get the share of answers that are
no farther than the true k-th. Times are those of rounds in which the engines take turns: fastest and median. On a
machine that is shared, compare the fastest.

    python benchmarks/search.py                                 the whole table; a quarter of an hour
    python benchmarks/search.py --sizes 1e5 --rounds 3          a look
    python benchmarks/search.py --planner                       is the planner's choice the best path?
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

import numpy as np
import search_peers as peers
from codes import KINDS, make_codes, make_queries
from measure import circumstances, seconds

from hashae.indexer import HashIndex
from hashae.indexer.planner import Plan

Builder = Callable[[peers.Codes], peers.Engine]
SINGLE = 50
"""Queries asked one by one for the median latency."""
SETTLED = 0.02
"""Seconds between two engines."""


def engines(n: int, kind: str, options: argparse.Namespace) -> dict[str, Builder]:
    """Return the engines for a size; those that would take minutes are left to smaller sizes."""
    own: dict[str, Any] = {"radius": options.radius, "k": options.k}
    two, threads = {**own, "threads": options.threads}, options.threads
    flips = [peers.faiss_multihash_nearest(**two, flips=flips) for flips in (1, 2)]
    found: dict[str, Builder] = {
        "hashae, auto": peers.hashae("auto", compiled=True, **two),
        "hashae, bands, numba, 1 thread": peers.hashae("bands", compiled=True, **own, threads=1),
        "hashae, bands, numba": peers.hashae("bands", compiled=True, **two),
        "hashae, bands, numpy": peers.hashae("bands", compiled=False, **own, threads=1),
        "hashae, scan, numba": peers.hashae("scan", compiled=True, **two),
        "hashae, faiss": peers.hashae("faiss", compiled=False, **two),
        "hashae, ivf": peers.hashae("ivf", compiled=False, **two),
        "faiss Flat": peers.faiss_flat(**two),
        "faiss Flat, 1 thread": peers.faiss_flat(**own, threads=1),
        "faiss MultiHash k-NN, 1 flip": flips[0],
        "faiss MultiHash k-NN, 2 flips": flips[1],
    }
    if options.bits > 64:
        found["hashae, key, numba"] = peers.hashae("key", compiled=True, **two)
    narrow = options.bits // (options.radius + 1)
    if narrow >= 10:  # with fewer bits a table, most codes share a bucket
        found["faiss MultiHash"] = peers.faiss_multihash(**two)
        found["faiss MultiHash, 1 thread"] = peers.faiss_multihash(**own, threads=1)
    if n <= 1_000_000 and options.radius <= 3:
        found["faiss Hash"] = peers.faiss_hash(**two, width=max(16, int(np.log2(n))))
    if n <= options.hnsw_up_to and (n <= 100_000 or kind == "clustered"):
        found["faiss HNSW, ef 64"] = peers.faiss_hnsw(**two, search=64)
        optional(found, "usearch HNSW, ef 64", lambda: peers.usearch_hnsw(threads, options.k, 64))
    if n <= 100_000 and options.bits == 64:
        optional(found, "BK-tree (pybktree)", lambda: peers.bk_tree(options.radius))
        optional(found, "imagededup search", lambda: peers.imagededup(options.radius))
    return found


def optional(found: dict[str, Builder], name: str, make: Callable[[], Builder]) -> None:
    """Add an engine if its package is installed; else say that it is left out."""
    try:
        found[name] = make()
    except ImportError as error:
        print(f"{name} is left out: {error}", file=sys.stderr)


def measure(kind: str, n: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Build and ask every engine on one collection of codes, with other queries in every round."""
    codes = make_codes(kind, n, options.bits)
    batches = [make_queries(codes, options.queries, seed) for seed in range(options.rounds)]
    truth = reference(codes, batches[0], options)
    makers = list(engines(n, kind, options).items())
    # Engines take turns, so that a neighbour's noise meets them alike. Many large ones would not fit into memory.
    size = len(makers) if n <= 2_000_000 else 1
    rows = []
    for first in range(0, len(makers), size):
        built = {}
        for name, build in makers[first : first + size]:
            gc.collect()
            start = perf_counter()
            engine = build(codes)
            built[name] = engine, perf_counter() - start
            print(f"{kind} {n:,} {name}: built in {built[name][1]:.2f} s", file=sys.stderr)
        for row in ask_in_turn(built, batches, truth, options):
            rows.append({"codes": kind, "n": n, "bits": options.bits, **row})
    return rows


def ask_in_turn(
    built: dict[str, tuple[peers.Engine, float]],
    batches: list[peers.Codes],
    truth: dict[str, Any],
    options: argparse.Namespace,
) -> list[dict[str, Any]]:
    """Time the engines on every batch, and check their answers to the first one."""
    asked: dict[tuple[str, str], peers.Codes] = {}
    for question in ("within", "nearest"):
        for name, (engine, _) in built.items():
            ask = getattr(engine, question)
            if ask is None:
                continue
            ask(batches[0][:2])  # compiles, starts threads, trains
            once = seconds(lambda ask=ask: ask(batches[0][:20]))
            # an engine that would take long is asked fewer, spread over near and random queries
            fits = min(engine.most, options.queries, max(20, int(20 * options.seconds / max(once, 1e-9))))
            asked[question, name] = np.linspace(0, options.queries - 1, fits).astype(int)
    times: dict[tuple[str, str], list[float]] = {key: [] for key in asked}
    for batch in batches:
        for (question, name), chosen in asked.items():
            some = batch[chosen]
            sleep(SETTLED)  # threads of OpenMP go on spinning for a while, and take the cores of whoever is next
            times[question, name].append(seconds(lambda q=question, n=name, s=some: getattr(built[n][0], q)(s)))
    rows = []
    for (question, name), taken in times.items():
        engine, build_time = built[name]
        ask, chosen = getattr(engine, question), asked[question, name]
        single = batches[-1][chosen[:: max(1, len(chosen) // SINGLE)]]
        rows.append(
            {
                "question": question,
                "engine": name,
                "build_s": build_time,
                "queries": len(chosen),
                "us_per_query": min(taken) / len(chosen) * 1e6,
                "median_us": statistics.median(taken) / len(chosen) * 1e6,
                "single_us": statistics.median(seconds(lambda q=query, ask=ask: ask(q[None])) for query in single)
                * 1e6,
                "right": check(question, engine, batches[0][chosen], chosen, truth),
            }
        )
    return rows


def reference(codes: peers.Codes, queries: peers.Codes, options: argparse.Namespace) -> dict[str, Any]:
    """Return the true answers: ours for all queries, after comparing them with FAISS Flat on some."""
    index = HashIndex(options.bits, threads=options.threads, compiled=True)
    index.add(np.arange(len(codes)), codes)
    within = index.within_arrays(queries, options.radius, method="scan")
    nearest = index.nearest_arrays(queries, options.k, method="scan")[1]
    few = np.linspace(0, len(queries) - 1, 20).astype(int)
    flat = peers.faiss_flat(options.threads, options.radius, options.k)(codes)
    assert flat.within is not None
    assert flat.nearest is not None
    assert pairs(flat.within(queries[few])) == [pairs(within)[query] for query in few], "FAISS Flat finds other codes"
    assert np.array_equal(flat.nearest(queries[few]), nearest[few]), "FAISS Flat finds other distances"
    return {"within": pairs(within), "nearest": nearest}


def pairs(found: peers.Found) -> list[list[tuple[int, int]]]:
    """Return the answers of each query as sorted pairs of distance and id."""
    limits, ids, distances = found
    flat = list(zip(distances.tolist(), ids.tolist(), strict=True))
    return [sorted(flat[start:stop]) for start, stop in zip(limits[:-1].tolist(), limits[1:].tolist(), strict=True)]


def check(question: str, engine: peers.Engine, some: peers.Codes, numbers: np.ndarray, truth: dict[str, Any]) -> str:
    """Compare an engine's answers with the true ones: "equal", or the recall by distance of an approximate one."""
    if question == "within":
        assert engine.within is not None
        found, whole = pairs(engine.within(some)), [truth["within"][number] for number in numbers]
        if engine.exact:
            return "equal" if found == whole else "WRONG"
        right = sum(len(set(mine) & set(true)) for mine, true in zip(found, whole, strict=True))
        return f"{right / max(1, sum(map(len, whole))):.3f}"
    assert engine.nearest is not None
    mine, true = engine.nearest(some), truth["nearest"][numbers]
    if engine.exact:
        return "equal" if np.array_equal(mine, true) else "WRONG"
    return f"{(mine <= true[:, -1:]).mean():.3f}"


def grid(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Time every path on a grid and compare the planner's choice with the best."""
    rows = []
    for bits in (64, 256):
        for n in options.sizes:
            codes = make_codes("random", n, bits)
            for count in (1, 100):
                queries = make_queries(codes, count)
                for compiled in (False, True):
                    index = HashIndex(bits, threads=1, compiled=compiled)
                    index.add(np.arange(n), codes)
                    engines_of = index._ready()
                    engines_of.bands()
                    for radius in (0, 2, 4, 8, 12, 16, 20) if bits == 64 else (0, 4, 13, 26, 33, 50, 70):
                        rows.append(choice(engines_of, queries, n, bits, radius, compiled))
    return rows


def choice(engines_of: Any, queries: peers.Codes, n: int, bits: int, radius: int, compiled: bool) -> dict[str, Any]:
    """Time all paths of one search that promise to end soon, and the planned one."""
    ready = ["scan", "bands", "faiss"]
    for name in ready:  # makes what the path needs, so that the plan is the one of an index in use
        if name != "bands":
            engines_of.within(queries[:1], radius, Plan(name, "", compiled and name != "faiss"))
    plan = engines_of.plan_within(len(queries), radius)
    times = {}
    for name in ready:
        expected = {plan.method: plan.seconds, **plan.alternatives}
        known = min((s for path, s in expected.items() if path.split()[0] == name), default=0)
        if known > 1 or known > max(0.02, 30 * plan.seconds):  # cannot be the best, and would take long
            continue
        path = engines_of.plan_within(len(queries), radius, name)
        engines_of.within(queries, radius, path)
        times[name] = statistics.median(
            seconds(lambda path=path: engines_of.within(queries, radius, path)) for _ in range(5 if known < 0.01 else 1)
        )
    best = min(times, key=times.__getitem__)
    chosen = times.get(plan.method)
    if chosen is None:  # flips: looking every code up
        chosen = statistics.median(seconds(lambda: engines_of.within(queries, radius, plan)) for _ in range(5))
    return {
        "bits": bits,
        "n": n,
        "queries": len(queries),
        "radius": radius,
        "loops": "numba" if compiled else "numpy",
        "planned": plan.method,
        "best": best,
        "planned_ms": chosen * 1e3,
        "best_ms": min(times[best], chosen) * 1e3,
        "ratio": chosen / min(times[best], chosen),
        "expected_ms": plan.seconds * 1e3,
    }


def print_rows(rows: list[dict[str, Any]], columns: dict[str, str]) -> None:
    """Print rows as a Markdown table; `columns` maps keys to headings."""
    print("| " + " | ".join(columns.values()) + " |")
    print("|" + "---|" * len(columns))
    for row in rows:
        print("| " + " | ".join(written(row[key]) for key in columns) + " |")
    print(flush=True)


def written(value: Any) -> str:
    """Write a number with three digits that matter."""
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def report(rows: list[dict[str, Any]]) -> None:
    """Print a table for each kind, question and size, fastest first, beside the peer it is to be held against."""
    for kind, question, n in dict.fromkeys((row["codes"], row["question"], row["n"]) for row in rows):
        part = [row for row in rows if (row["codes"], row["question"], row["n"]) == (kind, question, n)]
        multihash = question == "within" and any(row["engine"] == "faiss MultiHash" for row in part)
        yardstick = "faiss MultiHash" if multihash else "faiss Flat"
        peer = next(row["us_per_query"] for row in part if row["engine"] == yardstick)
        for row in part:
            row["times"] = f"{peer / row['us_per_query']:.2f}"
        print(f"**{question}**, {kind} codes, n = {n:,}, {part[0]['bits']} bits\n")
        columns = {
            "engine": "engine",
            "build_s": "build s",
            "us_per_query": "µs a query, batch, fastest",
            "median_us": "median",
            "times": f"times {yardstick}",
            "single_us": "µs, one query",
            "right": "answers",
        }
        print_rows(sorted(part, key=lambda row: row["us_per_query"]), columns)


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw time against size, one line an engine, one field a question and kind."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    kinds = list(dict.fromkeys(row["codes"] for row in rows))
    figure, axes = plt.subplots(2, len(kinds), figsize=(6 * len(kinds), 9), squeeze=False, sharex=True)
    for line, question in enumerate(("within", "nearest")):
        for column, kind in enumerate(kinds):
            axis = axes[line][column]
            part = [row for row in rows if row["codes"] == kind and row["question"] == question]
            for name in dict.fromkeys(row["engine"] for row in part):
                points = sorted((row["n"], row["us_per_query"]) for row in part if row["engine"] == name)
                style = "-" if name.startswith("hashae") else "--"
                axis.plot(*zip(*points, strict=True), style, marker="o", markersize=3, label=name)
            axis.set(xscale="log", yscale="log", title=f"{question}, {kind}", xlabel="codes", ylabel="µs a query")
            axis.grid(visible=True, alpha=0.3)
            axis.legend(fontsize=6)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--sizes", type=lambda text: int(float(text)), nargs="+", default=[100_000, 1_000_000, 10_000_000]
    )
    parser.add_argument("--codes", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--bits", type=int, default=64, help="code length (default: 64)")
    parser.add_argument("--radius", type=int, default=3, help="of the neighbourhood search (default: 3)")
    parser.add_argument("-k", type=int, default=10, help="nearest codes (default: 10)")
    parser.add_argument("--queries", type=int, default=1000, help="queries in a batch (default: 1000)")
    parser.add_argument("--threads", type=int, default=2, help="threads of engines that share a batch (default: 2)")
    parser.add_argument("--rounds", type=int, default=5, help="times every engine is asked (default: 5)")
    parser.add_argument("--seconds", type=float, default=1.0, help="about how long a batch may take (default: 1)")
    parser.add_argument("--hnsw-up-to", type=int, default=100_000, help="codes up to which graphs are built")
    parser.add_argument("--planner", action="store_true", help="time all paths on a grid and check the planner")
    parser.add_argument("--json", type=Path, help="write all rows to this file")
    parser.add_argument("--plot", type=Path, help="draw time against size into this PNG file")
    options = parser.parse_args()

    print(circumstances("numpy", "numba", "faiss-cpu", "usearch", seed=0))
    print(f"{options.threads} threads, {options.rounds} rounds in turn; batches of up to {options.queries:,} queries\n")
    if options.planner:
        rows = grid(options)
        print_rows(sorted(rows, key=lambda row: -row["ratio"]), {key: key for key in rows[0]})
        print(f"worst: {max(row['ratio'] for row in rows):.2f} times the best path")
    else:
        rows = []
        for kind in options.codes:
            for n in options.sizes:
                rows += (part := measure(kind, n, options))
                report(part)
        if options.plot:
            plot(rows, options.plot)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
