"""Measure on one core what each step of a large collection costs, and write it down for `scale_simulation.py`.

    python benchmarks/scale_rates.py -o benchmarks/scale_rates.json      some minutes

Every rate is that of the code that does the work: the tasks of `hashae.indexer.cluster`, the writer of `hashae index`,
the grouping of `hashae dedup`. Seconds are those of the processor, but for handing work over to Ray (the clock). Codes
are real ones (cifar10.zip and mnist.npz by the shipped encoder); radii are those of that encoder for a collection
of a million images.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
from codes import make_codes, real_codes
from data import encoder_file, unpacked
from ingest import enlarged_photos, pictures_in
from measure import circumstances

from hashae import Encoder
from hashae.calibration import BETA, effective_bits, pair_distances
from hashae.encoder import Encoded
from hashae.images.decode import large_images_allowed
from hashae.indexer import Collection
from hashae.indexer.cluster.parts import Join as Shared
from hashae.indexer.cluster.parts import TablePart, _edges, join_part, values_of
from hashae.indexer.cluster.reading import PART, look
from hashae.indexer.compiled import loops
from hashae.indexer.components import Joiner
from hashae.indexer.crowding import crowding
from hashae.indexer.groups import find_groups
from hashae.indexer.ledger import Ledger
from hashae.indexer.pair_plan import JoinPlan, plan_join
from hashae.indexer.pivots import draw_pivots, nearest_pivots
from hashae.indexer.remote import Outcome, Wanted
from hashae.indexer.rule import MatchRule
from hashae.indexer.scan import as_rows

KEPT = 200
"""Most parts of a distribution that are written down."""

Rates = dict[str, Any]


class Nowhere:
    """Reads nothing and answers at once, with codes of no picture: what is left is scanning and storing."""

    def __init__(self, codes: Any) -> None:
        self._codes, self._at = codes, 0

    def read(self, folder: str, files: Sequence[Wanted]) -> Iterator[tuple[list[Outcome], Encoded | None]]:
        """Yield made-up outcomes."""
        for start in range(0, len(files), PART):
            count = len(files[start : start + PART])
            outcomes = [Outcome(os.urandom(16), (32, 32, "JPEG")) for _ in range(count)]
            codes, self._at = self._codes[self._at : self._at + count], self._at + count
            ones = np.ones(count, np.float32)
            yield outcomes, Encoded(codes, ones, 100 * ones)


def reading(rates: Rates, encoder: Encoder) -> None:
    """Measure reading, decoding and encoding, for each kind of file."""
    kinds = {
        "tiny": pictures_in(unpacked("cifar10.zip"))[:: 60_000 // 2048],
        "small": pictures_in(unpacked("photos-eval.zip"))[::2],
        "large": pictures_in(enlarged_photos(40, 0, 1)),
    }
    for name, files in kinds.items():
        for path in files:
            path.read_bytes()  # the disk is not what is measured
        times, thumbs = [], []
        with large_images_allowed():
            for path in files:
                start = process_time()
                _, thumb = look(str(path), None, encoder.form, None)
                times.append(process_time() - start)
                thumbs.append(np.frombuffer(thumb or b"", np.uint8))
        size = PART if len(files) > 500 else 1
        blocks = np.array(times)[: len(times) // size * size].reshape(-1, size).mean(axis=1)
        rates[f"decode_{name}"] = spread(blocks)
        rates[f"bytes_{name}"] = float(np.mean([path.stat().st_size for path in files]))
        if name == "small":
            form = encoder.form
            stack = np.stack(thumbs[: 8 * PART]).reshape(-1, form.channels, form.thumb, form.thumb)
            encoder.encode_thumbs(stack[:PART])
            parts = [stack[start : start + PART] for start in range(0, len(stack), PART)]
            times = [timed(lambda p=part: encoder.encode_thumbs(p)) for part in parts]  # type: ignore[misc]
            rates["encode"] = spread(np.array(times) / PART)
            rates["thumb_bytes"] = float(form.channels * form.thumb**2)


def writing(rates: Rates, encoder: Encoder, codes: Any) -> None:
    """Measure scanning and storing by the one writer, and what the next run keeps in memory."""
    from hashae.indexer import collection as module

    folder = unpacked("cifar10.zip")
    with tempfile.TemporaryDirectory() as scratch, Collection.open(Path(scratch) / "c.db", threads=1) as made:
        made.set_encoder(encoder)
        before, module._reader_on = module._reader_on, lambda *_: Nowhere(codes)  # type: ignore[assignment]
        try:
            start = process_time()
            count = made.index(folder).added
            rates["write"] = (process_time() - start) / count
            rates["unchanged"] = timed(lambda: made.index(folder)) / count
        finally:
            module._reader_on = before
        start = process_time()
        assert len(made.hash_index()) == count
        rates["read_codes"] = (process_time() - start) / count
        made._parts.database.look_up("PRAGMA wal_checkpoint(TRUNCATE)", ())
        fixed = len(encoder.data) + len(encoder.decoder_data or b"")
        rates["file_bytes"] = ((Path(scratch) / "c.db").stat().st_size - fixed) / count
        parts = made._parts
        source, _ = parts.sources.all()[0]
        tracemalloc.start()
        ledger = Ledger(parts.database, source.id, parts.shelf.default() or 0)
        known = ledger.load()
        rates["known_bytes"] = tracemalloc.get_traced_memory()[0] / len(known[0])
        tracemalloc.stop()


def joining(rates: Rates, encoder: Encoder, codes: Any) -> None:
    """Measure the pieces of a search for duplicates."""
    n, tail = len(codes), encoder.info.tail
    assert tail is not None
    start = process_time()
    near = crowding(codes, threads=1)
    rates["crowding"] = (process_time() - start) / n
    photos = encoder.encode(pictures_in(unpacked("photos-eval.zip")))
    own, rates["own_radii"] = crowding(photos, threads=1), {}
    for images in (1e4, 1e5, 1e6, 1e7, 3e7, 1e8, 3e8, 1e9):
        radii = np.maximum(tail.tau(int(images)) + BETA * own.astype(np.float64), 0)
        rates["own_radii"][f"{images:.0e}"] = [float(np.median(radii)), float(radii.max()), float((radii < 1).mean())]
    rates["tail"], rates["ordinary"] = [tail.intercept, tail.slope], BETA * float(np.median(own))
    margins = np.maximum(tail.tau(1_000_000) + BETA * near.astype(np.float64), 0)
    words = as_rows(codes)
    pivots = words[np.random.default_rng(0).choice(n, 4000, replace=False)]
    nearest_pivots(words[:256], pivots, 8, compiled=True)
    starts = range(0, 40_000, 2000)
    times = [timed(lambda s=s: nearest_pivots(words[s : s + 2000], pivots, 8, compiled=True)) for s in starts]  # type: ignore[misc]
    rates["pivot"] = spread(np.array(times) / 2000 / len(pivots))
    # lists of a large collection are dense: rows nearest to a pivot, a sixth of all
    rule, limit, times = MatchRule(0, margins), MatchRule(0, margins).largest(8 * codes.shape[1]), []
    plan, size = JoinPlan("compiled", None, 0.0, "lists"), 20_000
    joiner = Joiner(words, codes.shape[1], rule, limit, plan, 1, None)
    for number in range(9):
        apart = np.bitwise_count(words ^ pivots[number]).sum(axis=1)
        rows = np.sort(np.argsort(apart, kind="stable")[:size])
        forest = np.arange(n, dtype=np.int32)
        times.append(timed(lambda r=rows, f=forest: joiner.join_list(r, f)))  # type: ignore[misc]
    rates["pair"] = spread(np.array(times[1:]) / (size * size / 2))
    chosen, wanted = draw_pivots(words)
    sizes = np.bincount(nearest_pivots(words, chosen, wanted, compiled=True).ravel(), minlength=len(chosen))
    rates["list_sizes"] = spread(sizes / sizes.mean())  # dense regions have longer lists
    rates["edges"] = float(np.mean(forest != np.arange(n)))
    large, times = make_codes("real", 2_000_000, 256), []
    plain = MatchRule(3, np.zeros(len(large)))
    tables = plan_join(as_rows(large), 32, 3, engine="compiled")
    assert tables.blocks is not None
    for table in tables.blocks.tables * 2:
        shared = Shared(as_rows(large), 32, None, plain, 3, tables)
        times.append(timed(lambda t=table, s=shared: join_part(s, TablePart(t, 0, 1))))  # type: ignore[misc]
    rates["table_row"] = spread(np.array(times[1:]) / len(large))
    rates["tables"] = len(tables.blocks.tables)
    part = TablePart(tables.blocks.tables[0], 0, 64)
    rates["pack_row"] = timed(lambda: values_of(as_rows(large), part, tables.blocks.row_bits)) / len(large)
    rates["forest_row"] = timed(lambda: _edges(np.arange(len(large), dtype=np.int32))) / len(large)
    forest, compiled = np.arange(2_000_000, dtype=np.int32), loops("pair_kernels")
    a, b = np.random.default_rng(0).integers(0, len(forest), (2, 1_000_000))
    compiled.unite_all(forest[:10].copy(), a[:1] % 10, b[:1] % 10)  # type: ignore[union-attr]
    rates["merge"] = timed(lambda: compiled.unite_all(forest, a, b)) / len(a)  # type: ignore[union-attr]


def grouping(rates: Rates, encoder: Encoder, codes: Any) -> None:
    """Measure the whole approximate search in one process: time after the comparison, and memory."""
    tail = encoder.info.tail
    assert tail is not None
    margins = np.maximum(tail.tau(1_000_000) + BETA * crowding(codes, threads=2), 0)
    stages: dict[str, float] = {}
    start = process_time()
    tracemalloc.start()

    def note(stage: str, _done: int, _total: int) -> None:
        stages[stage] = process_time()

    find_groups(
        codes, np.arange(len(codes)), 0, margins=margins, method="approximate", threads=2, on_progress=note
    )  # fmt: skip
    rates["group"] = (process_time() - stages["compare"]) / len(codes)
    rates["approximate_2_threads"] = (process_time() - start) / len(codes)
    rates["group_bytes"] = tracemalloc.get_traced_memory()[1] / len(codes)
    tracemalloc.stop()


def handing_over(rates: Rates) -> None:
    """Measure Ray itself: starting, a task, handing codes over."""
    from hashae.indexer.cluster import Cluster

    start = perf_counter()
    with Cluster(workers=2) as cluster:
        rates["start"] = perf_counter() - start
        nothing = cluster.share(None)
        list(cluster.run(_nothing, nothing, range(8)))
        rates["task"] = elapsed(lambda: list(cluster.run(_nothing, nothing, range(1000)))) / 1000
        data = np.zeros(1 << 28, np.uint8)
        rates["share_byte"] = elapsed(lambda: cluster.share(data)) / data.nbytes


def _nothing(_shared: None, _part: int) -> None:
    pass


def buckets(rates: Rates) -> None:
    """Measure the entropy of the codes of CIFAR-10: how many images share a bucket."""
    codes = real_codes()[:60_000]
    some = codes[np.random.default_rng(0).choice(len(codes), 5000, replace=False)]
    rates["effective_bits"] = {
        str(bits): effective_bits(pair_distances(some[:, : bits // 8]), bits) for bits in (64, 128, 256)
    }
    bits, found = np.unpackbits(codes[:, :8], axis=1), {}
    n = len(codes)
    for width in (16, 21, 24, 28, 32, 40, 48, 64):
        shares = []
        for first in range(0, 64 - width + 1, max(1, (64 - width) // 4)):
            value = bits[:, first : first + width] @ (1 << np.arange(width, dtype=np.uint64)[::-1])
            runs = np.diff(np.flatnonzero(np.r_[True, np.diff(np.sort(value)) != 0, True])).astype(float)
            shares.append((runs * (runs - 1)).sum() / (n * (n - 1)))
        found[str(width)] = float(np.mean(shares))
    rates["shared_bits"] = found


def spread(values: Any) -> dict[str, Any]:
    """Return median, mean, and values to draw from."""
    kept = np.sort(np.random.default_rng(0).permutation(values)[:KEPT])
    return {
        "median": float(np.median(values)),
        "mean": float(values.mean()),
        "values": [float(f"{v:.4g}") for v in kept],
    }


def timed(work: Any) -> float:
    """Return seconds of processor that one call takes: those of neighbours on the machine do not count."""
    start = process_time()
    work()
    return process_time() - start


def elapsed(work: Any) -> float:
    """Return seconds on the clock that one call takes."""
    start = perf_counter()
    work()
    return perf_counter() - start


def main() -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    encoder = Encoder.load(encoder_file(None), threads=1)
    codes = real_codes()
    rates: Rates = {"circumstances": circumstances("ray", "numba", "numpy", "onnxruntime", seed=0)}
    steps = {
        "reading": lambda: reading(rates, encoder),
        "writing": lambda: writing(rates, encoder, codes),
        "joining": lambda: joining(rates, encoder, codes),
        "grouping": lambda: grouping(rates, encoder, make_codes("real", 400_000, 256)),
        "ray": lambda: handing_over(rates),
        "buckets": lambda: buckets(rates),
    }
    for name, step in steps.items():
        print(f"{name}: {elapsed(step):.0f} s", flush=True)
    options.output.write_text(json.dumps(rates, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
