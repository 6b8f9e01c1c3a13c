"""PostgreSQL beside SQLite in one run: look-ups, rate of storing and indexing, copying, and many clients at once.

A server of the run's own listens on a Unix socket. The codes are made up (see made_collection.py); half of the queries
are stored codes with up to three flips. Medians; works take turns, each with another query. *SELECT 1* is what any
statement costs. Only the table ``index`` needs data: it indexes ``photos-eval.zip`` into both.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from data import encoder_file, unpacked
from lookups import medians, print_markdown
from made_collection import fill_fake, made_codes, near
from measure import circumstances
from postgres_server import Server, server

from hashae.codes import Codes
from hashae.db import Database, open_database
from hashae.encoder import Encoder
from hashae.indexer import Collection
from hashae.indexer.copying import copy_collections
from hashae.indexer.ledger import FileState, Ledger, ReadImage
from hashae.indexer.lookups import find_code
from hashae.indexer.stored_bands import StoredBands
from hashae.place import place_of

SETTINGS = ("shared_buffers=512MB", "max_wal_size=4GB")
"""What is not as PostgreSQL comes: memory for pages, and room for its log."""

CLIENTS = 8
TABLES = ("store", "index", "look-ups", "clients", "copy")
Table = dict[str, Any]


def measure_look_ups(places: dict[str, Any], codes: Codes, queries: int) -> list[Table]:
    """Time one look-up by code, and within some radii; all must answer alike."""
    bits = codes.shape[1] * 8
    opened = {name: open_database(place) for name, place in places.items()}
    blobs = [code.tobytes() for code in near(codes, queries, 3)]
    bands = {name: StoredBands(database, 1, bits) for name, database in opened.items()}
    for query in blobs[:200]:
        answers = [
            [find_code(opened[name], 1, query), *(bands[name].within(query, r) for r in (1, 3))] for name in opened
        ]
        assert all(answer == answers[0] for answer in answers)
    rows = []
    exact = {name: lambda q, d=database: find_code(d, 1, blobs[q]) for name, database in opened.items()}
    nothing = {name: lambda q, d=database: d.look_up("SELECT 1", ()) for name, database in opened.items()}
    works = {"SELECT 1": nothing, "exact": exact} | {
        f"radius {radius}": {name: lambda q, b=b, r=radius: b.within(blobs[q], r) for name, b in bands.items()}
        for radius in (1, 2, 3, 4)
    }
    for what, some in works.items():
        found = medians(some, queries)
        rows.append(
            {"codes": len(codes), "bits": bits, "look-up": what}
            | {f"{name}, µs": value * 1e6 for name, value in found.items()}
            | {"ratio": found["PostgreSQL"] / found["SQLite"]}
        )
    for database in opened.values():
        database.close()
    return rows


def store(database: Database, n: int) -> float:
    """Return the rows a second that indexing writes, with their bands, in batches as it does."""
    codes, ledger = made_codes(n, 64), Ledger(database, 1, 1)
    batches = []
    for start in range(0, n, 512):
        rows = range(start, min(start + 512, n))
        read = [
            ReadImage(
                FileState(f"{row // 1000:03d}/{row:06d}.jpg", 1000 + row, row), row.to_bytes(16, "big"), 32, 32, "JPEG"
            )
            for row in rows
        ]
        batches.append((read, codes[start : start + 512], [0.8] * len(rows), [20.0] * len(rows)))
    begun = time.perf_counter()
    for read, part, confidence, detail in batches:
        ledger.store(read, part, confidence, detail, [], [])
    ledger.write_bands(lambda _band: None)
    return n / (time.perf_counter() - begun)


def measure_storing(running: Server, folder: Path, n: int, rounds: int) -> list[Table]:
    """Store made-up rows in a new file and in a new database, in turns."""
    rates: dict[str, list[float]] = {"SQLite": [], "PostgreSQL": []}
    for number in range(rounds):
        file, url = folder / f"store-{number}.db", running.database()
        made, _ = fill_fake(file, np.empty((0, 8), np.uint8))
        rates["SQLite"].append(store(made, n))
        made.close()
        empty = folder / f"empty-{number}.db"
        fill_fake(empty, np.empty((0, 8), np.uint8))[0].close()
        copy_collections(empty, url)
        database = open_database(url)
        rates["PostgreSQL"].append(store(database, n))
        database.close()
        running.drop(url)
    found = {name: statistics.median(values) for name, values in rates.items()}
    return [
        {"rows": n, "database": name, "rows/s": rate, "of SQLite": rate / found["SQLite"]}
        for name, rate in found.items()
    ]


def measure_indexing(running: Server, folder: Path, rounds: int) -> list[Table]:
    """Index the same photographs into a new file and into a new database, in turns."""
    photos, encoder = unpacked("photos-eval.zip"), Encoder.load(encoder_file(None))
    rates: dict[str, list[float]] = {"SQLite": [], "PostgreSQL": []}
    images = 0
    for number in range(rounds):
        url = running.database()
        for name, place in (("SQLite", folder / f"index-{number}.db"), ("PostgreSQL", place_of(url))):
            with Collection.open(place) as collection:
                collection.set_encoder(encoder)
                begun = time.perf_counter()
                images = collection.index(photos).images
                rates[name].append(images / (time.perf_counter() - begun))
        running.drop(url)
    found = {name: statistics.median(values) for name, values in rates.items()}
    return [
        {"photographs": images, "indexed into": name, "images/s": rate, "of SQLite": rate / found["SQLite"]}
        for name, rate in found.items()
    ]


def ask(place: str, blobs: list[bytes], bits: int, seconds: float, start: Any, out: Any) -> None:
    """Ask for everything within 3 bits for some seconds; tell how often and how long it took."""
    database = open_database(place_of(place))
    bands = StoredBands(database, 1, bits)
    bands.within(blobs[0], 3)
    start.wait()
    until, times, number = time.perf_counter() + seconds, [], 0
    while (now := time.perf_counter()) < until:
        bands.within(blobs[number % len(blobs)], 3)
        times.append(time.perf_counter() - now)
        number += 1
    database.close()
    out.put(times)


def measure_clients(url: str, codes: Codes, seconds: float) -> list[Table]:
    """Let 1, 2 and 8 processes ask at once."""
    context = multiprocessing.get_context("spawn")
    rows: list[Table] = []
    for clients in (1, 2, CLIENTS):
        start, out = context.Barrier(clients + 1), context.Queue()
        children = [
            context.Process(
                target=ask,
                args=(url, [c.tobytes() for c in near(codes, 2000, 3, seed)], codes.shape[1] * 8, seconds, start, out),
            )
            for seed in range(clients)
        ]
        for child in children:
            child.start()
        start.wait()
        times = [value for _ in children for value in out.get()]
        for child in children:
            child.join()
        rate = len(times) / seconds
        rows.append(
            {"clients": clients, "look-ups/s": rate, "median, µs": statistics.median(times) * 1e6}
            | {
                "99 %, µs": float(np.percentile(times, 99)) * 1e6,
                "of one": rate / rows[0]["look-ups/s"] if rows else 1.0,
            }
        )
    return rows


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1_000_000, help="number of codes (default: 1,000,000)")
    parser.add_argument("--bits", type=int, default=64)
    parser.add_argument("--queries", type=int, default=4000)
    parser.add_argument("--store", type=int, default=50_000, help="rows to store (default: 50,000)")
    parser.add_argument("--rounds", type=int, default=3, help="of storing (default: 3)")
    parser.add_argument("--seconds", type=float, default=5.0, help="that clients ask (default: 5)")
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=TABLES, help="only some of them")
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    show = print_markdown if options.markdown else lambda rows: print("\n".join(map(json.dumps, rows)))
    codes = made_codes(options.size, options.bits)
    with tempfile.TemporaryDirectory(prefix="hashae-") as name, server(*SETTINGS) as running:
        folder = Path(name)
        os.environ["XDG_CACHE_HOME"] = name
        version = running.execute("SHOW server_version")[0][0]
        print(f"{circumstances()}; PostgreSQL {version} with {', '.join(SETTINGS)}")
        if "store" in options.tables:
            show(measure_storing(running, folder, options.store, options.rounds))
        if "index" in options.tables:
            show(measure_indexing(running, folder, options.rounds))
        if not {"look-ups", "clients", "copy"} & set(options.tables):
            return
        file, url = folder / "made.db", running.database()
        fill_fake(file, codes)[0].close()
        start = time.perf_counter()
        copy_collections(file, url)
        seconds = time.perf_counter() - start
        show([{"copied": len(codes), "to": "PostgreSQL", "seconds": seconds, "rows/s": len(codes) / seconds}])
        running.execute("VACUUM ANALYZE", place_of(url).name)
        if "look-ups" in options.tables:
            show(measure_look_ups({"SQLite": file, "PostgreSQL": url}, codes, options.queries))
        if "clients" in options.tables:
            show(measure_clients(url, codes, options.seconds))
        if "copy" not in options.tables:
            return
        start = time.perf_counter()
        copy_collections(url, folder / "back.db")
        seconds = time.perf_counter() - start
        show([{"copied": len(codes), "to": "SQLite", "seconds": seconds, "rows/s": len(codes) / seconds}])
        sizes = {"SQLite": file.stat().st_size, "PostgreSQL": open_database(url).size()}
        show([{"database": which, "bytes an image": size / len(codes)} for which, size in sizes.items()])


if __name__ == "__main__":
    main()
