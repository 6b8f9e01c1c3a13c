"""What a hundred million, or a thousand million, images take: a simulation from the rates that were measured.

    python benchmarks/scale_simulation.py                           the tables of docs/scale.md
    python benchmarks/scale_simulation.py --images 3e8 --kind large --machines 8 --cores 32
    python benchmarks/scale_simulation.py --check                   a small run, simulated and then done; minutes

The rates are those of `scale_rates.json` (`scale_rates.py` measures them anew). Work is cut into the pieces that
`hashae.indexer.cluster` makes; a piece takes a time drawn from those measured. Some pieces straggle, machines are lost,
and what was lost is done again. One process scans, writes, merges and forms groups, as it does in hashae. Prices are
assumptions, given in the call: rates of machines and clouds are not measured here.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from answers import print_table

RATES = Path(__file__).with_name("scale_rates.json")
BLOCK = 512
"""Files of a block, as in `hashae.indexer.cluster.reading`."""
WINDOW = 4
"""Blocks for each core that may wait for the writer."""
RADII = (0, 8, 16)
"""Of the searches for duplicates that are simulated."""
PARTS, ROWS = 4, 1 << 27
"""As in `hashae.indexer.cluster.join`."""
DOUBLES = 0.2
"""Share of images that are a copy of another: an assumption, and all copies are found in every table."""


@dataclass(frozen=True)
class Cluster:
    """Machines and what may happen to them.

    Attributes
    ----------
    machines, cores
        Number of machines, and cores of each.
    straggle, slow
        Share of pieces that straggle, and how many times longer they take.
    lost_after
        Mean hours after which a machine is lost.
    back
        Seconds until another one takes its place.
    network
        Bytes a second into a machine.
    """

    machines: int = 1
    cores: int = 2
    straggle: float = 0.01
    slow: float = 4.0
    lost_after: float = 500.0
    back: float = 300.0
    network: float = 1.25e9


class Pool:
    """The cores of a cluster; pieces are done by whichever core is free first.

    Parameters
    ----------
    cluster
        What there is.
    rng
        Of everything that happens by chance.
    """

    def __init__(self, cluster: Cluster, rng: np.random.Generator) -> None:
        self._cluster, self._rng = cluster, rng
        self._free = [(0.0, machine) for machine in range(cluster.machines) for _ in range(cluster.cores)]
        heapq.heapify(self._free)
        hours = rng.exponential(cluster.lost_after, cluster.machines)
        self._loss = (3600 * hours).tolist()
        self.lost_pieces = 0
        self.busy = 0.0

    def do(self, seconds: float, not_before: float = 0.0) -> float:
        """Do one piece, again if its machine is lost meanwhile, and return when it is done."""
        if self._rng.random() < self._cluster.straggle:
            seconds *= self._cluster.slow
        while True:
            at, machine = heapq.heappop(self._free)
            start = max(at, not_before)
            while start >= self._loss[machine] + self._cluster.back:  # it was lost while it waited
                self._loss[machine] += self._cluster.back + 3600 * self._rng.exponential(self._cluster.lost_after)
            loss = self._loss[machine]
            if start < loss and start + seconds <= loss:
                heapq.heappush(self._free, (start + seconds, machine))
                self.busy += seconds
                return start + seconds
            heapq.heappush(self._free, (loss + self._cluster.back, machine))
            self.lost_pieces += start < loss
            not_before = max(not_before, loss if start < loss else 0.0)


def draw(rates: dict[str, Any], rng: np.random.Generator, count: int) -> Any:
    """Return `count` values drawn from a measured distribution."""
    return rng.choice(np.array(rates["values"]), count)


def index(rates: dict[str, Any], images: int, kind: str, cluster: Cluster, seed: int) -> dict[str, float]:
    """Simulate a first run of ``hashae index --ray``: seconds, and what limits it."""
    rng = np.random.default_rng(seed)
    pool, blocks = Pool(cluster, rng), -(-images // BLOCK)
    sizes = np.full(blocks, BLOCK)
    sizes[-1] = images - BLOCK * (blocks - 1)
    work = sizes * (draw(rates[f"decode_{kind}"], rng, blocks) + draw(rates["encode"], rng, blocks)) + rates["task"]
    window = WINDOW * cluster.machines * cluster.cores
    written = np.zeros(blocks)
    latest = writer = 0.0
    for number, seconds in enumerate(work.tolist()):
        free = float(written[number - window]) if number >= window else 0.0
        latest = max(latest, pool.do(seconds, free))
        writer = max(writer, latest) + float(sizes[number]) * rates["write"]
        written[number] = writer
    return {
        "seconds": rates["start"] + writer,
        "readers": pool.busy / (cluster.machines * cluster.cores),
        "writer": images * rates["write"],
        "lost": pool.lost_pieces,
    }


def dedup(
    rates: dict[str, Any], images: int, radius: int, cluster: Cluster, seed: int, plan: tuple[int, float] | None = None
) -> dict[str, float]:
    """Simulate ``hashae dedup --ray`` at one radius for all: seconds of each stage, and of all cores for the tables.

    Without a plan (tables, and pairs to compare in all of them) there are ``radius + 1`` tables of equal blocks.
    """
    rng = np.random.default_rng(seed)
    cores = cluster.machines * cluster.cores
    stages = {"read codes": images * rates["read_codes"]}
    width = 40 * images  # words and margins
    stages["hand out"] = width * rates["share_byte"] + width * (cluster.machines - 1) / cluster.network
    tables = radius + 1 if plan is None else plan[0]
    cut = min(-(-PARTS * cores // tables), -(-images // 1_000_000)) if tables < cores else 1
    parts = max(cut, -(-images // ROWS))
    rows = images / parts
    pairs = images**2 / 2 * shared(rates, min(64 - images.bit_length(), 256 // tables)) / parts
    if plan is not None:
        pairs = plan[1] / tables / parts
    fixed = images * (rates["pack_row"] + rates["forest_row"]) + rates["task"]
    work = (
        fixed + rows * draw(rates["table_row"], rng, tables * parts) + pairs * draw(rates["pair"], rng, tables * parts)
    )
    pool = Pool(cluster, rng)
    stages["tables"] = max(pool.do(seconds) for seconds in work.tolist())
    stages["merge"] = tables * images * DOUBLES * rates["merge"]
    stages["groups"] = images * rates["group"]
    return stages


def shared(rates: dict[str, Any], bits: int) -> float:
    """Return the share of pairs of images that agree in a block of so many bits, between the measured widths."""
    widths = [int(width) for width in rates["shared_bits"]]
    return float(2 ** np.interp(bits, widths, np.log2(list(rates["shared_bits"].values()))))


def wrong_pairs(rates: dict[str, Any], images: float, radius: int) -> float:
    """Return how many pairs of different pictures are expected within one radius, from the encoder's own tail.

    The tail is that of distances less crowding; a picture of ordinary crowding stands for all.
    """
    intercept, slope = rates["tail"]
    return float(images**2 / 2 * np.exp(intercept + slope * (radius - rates["ordinary"])))


def sizes_of(rates: dict[str, Any], images: int, kind: str) -> dict[str, float]:
    """Return bytes: pictures, collection file, memory of the first process in each step, memory of a worker."""
    return {
        "pictures": images * rates[f"bytes_{kind}"],
        "collection file": images * rates["file_bytes"],
        "next run, memory": images * rates["known_bytes"],
        "dedup, memory": images * rates["group_bytes"],
        "a machine, memory": 40.0 * images,
    }


def bucket_table(rates: dict[str, Any], images: Iterable[float]) -> list[list[str]]:
    """Return how many images share a bucket of so many bits of the key, at each size."""
    rows = [["bits of the key", "as good as", *(f"in a bucket at {n:.0e}" for n in images)]]
    for width, share in rates["shared_bits"].items():
        rows.append([width, f"{-np.log2(share):.1f} bits", *(f"{1 + n * share:,.1f}" for n in images)])
    return rows


def machine_table(
    rates: dict[str, Any], images: int, kind: str, clusters: list[Cluster], seeds: int, price: float
) -> None:
    """Print times and costs for one size on several clusters."""
    rows = [
        [
            "machines x cores",
            "index, h",
            "limit",
            *(f"dedup r={r}, h" for r in RADII),
            "lost pieces",
            "core hours",
            "cost",
        ]
    ]
    for cluster in clusters:
        runs = [index(rates, images, kind, cluster, seed) for seed in range(seeds)]
        hours = [float(np.median([run["seconds"] for run in runs])) / 3600]
        for radius in RADII:
            joins = [dedup(rates, images, radius, cluster, seed) for seed in range(seeds)]
            hours.append(float(np.median([sum(stages.values()) for stages in joins])) / 3600)
        limit = "writer" if runs[0]["writer"] > runs[0]["readers"] else "readers"
        lost = float(np.mean([run["lost"] for run in runs]))
        spent = (hours[0] + hours[-1]) * cluster.machines * cluster.cores
        row = [f"{cluster.machines} x {cluster.cores}", f"{hours[0]:.1f}", limit, *(f"{h:.2f}" for h in hours[1:])]
        rows.append([*row, f"{lost:.0f}", f"{spent:,.0f}", f"{spent * price:,.0f}"])
    print(f"\n{images:,} images, files as {kind!r}, medians of {seeds} seeds, {price} a core hour\n")
    print_table(rows)


def check(rates: dict[str, Any], count: int) -> None:
    """Do a small run on a local cluster of two workers and compare it with its simulation."""
    import tempfile

    from codes import make_codes
    from data import encoder_file, unpacked

    from hashae import Encoder
    from hashae.indexer import Collection
    from hashae.indexer.cluster import Cluster as Real
    from hashae.indexer.cluster.join import connected_on
    from hashae.indexer.pair_plan import plan_join
    from hashae.indexer.rule import MatchRule
    from hashae.indexer.scan import as_rows

    calm = Cluster(1, 2, straggle=0.0, lost_after=1e9)
    codes = make_codes("real", count, 256)
    rows = [["run", "simulated, s of processor", "done, s of processor", "done / simulated", "on the clock"]]

    def done(name: str, expected: float, work: Callable[[], object]) -> None:
        before, start = processor_seconds(), perf_counter()
        work()
        took, clock = processor_seconds() - before, perf_counter() - start
        rows.append([name, f"{expected:.1f}", f"{took:.1f}", f"{took / expected:.2f}", f"{clock:.1f}"])

    with Real(workers=2) as cluster, tempfile.TemporaryDirectory() as scratch:
        for radius in (3, 8):
            rule = MatchRule(radius, np.zeros(count))
            connected_on(cluster, codes[: count // 4], rule.of(np.arange(count // 4)))  # loads the loops
            blocks = plan_join(as_rows(codes), 32, radius, engine="compiled", repeats=True).blocks
            assert blocks is not None
            plan = len(blocks.tables), blocks.candidates
            stages = dedup(rates, count, radius, calm, 0, plan)
            expected = stages["hand out"] + 2 * stages["tables"] + stages["merge"]
            name = f"components of {count:,} codes, radius {radius}, {plan[0]} tables"
            done(name, expected, lambda r=rule: connected_on(cluster, codes, r))  # type: ignore[misc]
        folder = unpacked("cifar10.zip") / "test"
        with Collection.open(Path(scratch) / "c.db") as collection:
            collection.set_encoder(Encoder.load(encoder_file(None)))
            expected = 10_000 * (rates["decode_tiny"]["mean"] + rates["encode"]["mean"] + rates["write"])
            done("index of 10,000 files", expected, lambda: collection.index(folder, cluster=cluster))
    print_table(rows)


def processor_seconds() -> float:
    """Return the seconds of processor of this process and all that descend from it, those that ended included."""
    ticks, parents = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = path.read_text("utf-8").rsplit(")", 1)[1].split()
            ticks[int(path.parent.name)] = sum(map(int, fields[11:15]))
            parents[int(path.parent.name)] = int(fields[1])
    total = 0
    for number, spent in ticks.items():
        above = number
        while above > 1 and above != os.getpid():
            above = parents.get(above, 0)
        total += spent if above == os.getpid() else 0
    return total / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", type=Path, default=RATES)
    parser.add_argument("--images", type=float, nargs="+", default=[1e8, 3e8, 1e9])
    parser.add_argument("--kind", choices=["tiny", "small", "large"], default="large", help="files (default: large)")
    parser.add_argument("--machines", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--cores", type=int, default=32, help="of each machine (default: 32)")
    parser.add_argument("--price", type=float, default=0.05, help="of a core hour, an assumption (default: 0.05)")
    parser.add_argument("--lost-after", type=float, default=500, help="mean hours until a machine is lost")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    rates = json.loads(options.rates.read_text("utf-8"))
    print(f"rates of one core: {rates['circumstances']}")
    if options.check:
        check(rates, 2_000_000)
        return
    rows = [["images", *sizes_of(rates, 1, options.kind)]]
    rows += [
        [f"{n:,.0f}", *(f"{v / 1e9:,.0f} GB" for v in sizes_of(rates, int(n), options.kind).values())]
        for n in options.images
    ]
    print_table(rows)
    for images in options.images:
        clusters = [Cluster(m, options.cores, lost_after=options.lost_after) for m in options.machines]
        machine_table(rates, int(images), options.kind, clusters, options.seeds, options.price)
    print(f"\neffective bits of 64, 128, 256: {', '.join(f'{b:.0f}' for b in rates['effective_bits'].values())}\n")
    own = [["images", "own radius, median", "largest", "below 1 bit", *(f"wrong pairs at r={r}" for r in (*RADII, 24))]]
    for images, (median, largest, none) in rates["own_radii"].items():
        expected = (f"{wrong_pairs(rates, float(images), r):,.1g}" for r in (*RADII, 24))
        own.append([images, f"{median:.0f}", f"{largest:.0f}", f"{100 * none:.0f} %", *expected])
    print_table(own)
    print()
    print_table(bucket_table(rates, options.images))


if __name__ == "__main__":
    main()
