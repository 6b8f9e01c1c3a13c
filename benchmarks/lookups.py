"""Look-ups in the collection file, beside the bare statements of sqlite3 and the method that looks every flip up.

Tables: one code, and a thousand at once; everything within a radius; what a code costs in the file, in bytes and time
to write; and whole commands, process start included, on a collection of a million codes. The codes are made up (see
made_collection.py); of the queries half are stored codes with up to two flips. Nothing needs data or a network.
"""

from __future__ import annotations

import argparse
import json
import math
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from data import hashae
from made_collection import drawn_picture, fill_fake, made_codes, make_collection, near
from measure import alternating, circumstances
from numpy.typing import NDArray

from hashae.codes import Codes, keys
from hashae.db import open_database
from hashae.db.band_triggers import TRIGGERS
from hashae.db.session import MAPPED
from hashae.indexer.ledger import FileState, Ledger, ReadImage
from hashae.indexer.lookups import BY_KEYS, EXACT, find_code, find_codes
from hashae.indexer.stored_bands import StoredBands

BATCH = 1000
PARAMETERS = 32_000
"""Values in one IN list of the flips method; SQLite takes 32,766."""

Table = dict[str, Any]


def raw_connection(path: Path) -> sqlite3.Connection:
    """Open the file with sqlite3 alone, with the settings that hashae uses."""
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in ("synchronous = NORMAL", "cache_size = -65536", "temp_store = MEMORY", f"mmap_size = {MAPPED}"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def medians(works: Mapping[str, Callable[[int], object]], queries: int) -> dict[str, float]:
    """Return the median seconds of each work over the queries.

    The works take turns, each with another query: one must not find the pages in memory that the one before has read.
    """
    for work in works.values():
        work(0)
    times: dict[str, list[float]] = {name: [] for name in works}
    clock = time.perf_counter
    for number in range(queries):
        for turn, (name, work) in enumerate(works.items()):
            query = (number + turn * (queries // len(works))) % queries
            start = clock()
            work(query)
            times[name].append(clock() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def measure_exact(path: Path, codes: Codes, bits: int) -> list[Table]:
    """Time look-ups of one code and of a thousand."""
    database, raw = open_database(path), raw_connection(path)
    asked = near(codes, 4000, 1)
    blobs, at = [code.tobytes() for code in asked], keys(asked).tolist()
    bare = 'SELECT image FROM codes WHERE encoder = ? AND "key" = ?'
    one = medians(
        {
            "bare": lambda q: raw.execute(bare, (1, at[q])).fetchall(),
            "same answer": lambda q: raw.execute(EXACT, (1, at[q], blobs[q])).fetchall(),
            "hashae": lambda q: find_code(database, 1, blobs[q]),
        },
        len(asked),
    )
    for q in range(0, 200):
        assert [m.id for m in find_code(database, 1, blobs[q])] == [
            r[0] for r in raw.execute(EXACT, (1, at[q], blobs[q]))
        ]
    batches = [near(codes, BATCH, 1, seed) for seed in range(30)]
    listed = [keys(batch).tolist() for batch in batches]
    places = ",".join("?" * BATCH)
    bare_many = f'SELECT "key", image FROM codes WHERE encoder = ? AND "key" IN ({places})'
    same_many = BY_KEYS.format(places)
    many = medians(
        {
            "bare": lambda q: raw.execute(bare_many, (1, *listed[q])).fetchall(),
            "same answer": lambda q: raw.execute(same_many, (1, *listed[q])).fetchall(),
            "hashae": lambda q: find_codes(database, 1, batches[q]),
        },
        len(batches),
    )
    raw.close()
    database.close()
    size = {"codes": len(codes), "bits": bits}
    return [
        {**size, "look-up": name, "unit": unit, **{key: value * factor for key, value in times.items()}}
        | {"times bare": times["hashae"] / times["bare"], "times same": times["hashae"] / times["same answer"]}
        for name, unit, factor, times in (("one code", "µs", 1e6, one), (f"{BATCH:,} codes", "ms", 1e3, many))
    ]


def flip_masks(radius: int) -> NDArray[np.uint64]:
    """List all 64-bit numbers with at most `radius` ones."""
    places = [1 << place for place in range(64)]
    ones = [sum(chosen) for size in range(radius + 1) for chosen in combinations(places, size)]
    return np.array(ones, np.uint64)


def look_up_flips(raw: sqlite3.Connection, masks: NDArray[np.uint64], key: int) -> list[int]:
    """Look every flip of a 64-bit key up, by IN lists."""
    values = (masks ^ np.uint64(key % 2**64)).view(np.int64).tolist()
    found: list[int] = []
    for start in range(0, len(values), PARAMETERS):
        part = values[start : start + PARAMETERS]
        statement = f'SELECT image FROM codes WHERE encoder = 1 AND "key" IN ({",".join("?" * len(part))})'
        found += [row[0] for row in raw.execute(statement, part)]
    return found


def measure_radius(path: Path, codes: Codes, radii: Sequence[int]) -> list[Table]:
    """Time neighbourhoods, by bands and, up to radius 3 of 64 bits, by looking every flip up."""
    bits = codes.shape[1] * 8
    database, raw = open_database(path), raw_connection(path)
    bands, rows = StoredBands(database, 1, bits), []
    asked = near(codes, 2000, 2)
    blobs, at = [code.tobytes() for code in asked], keys(asked).tolist()
    for radius in radii:
        count = 2000 if radius <= 3 else 400 if radius <= 8 else 30
        works: dict[str, Callable[[int], Any]] = {"bands": lambda q, radius=radius: bands.within(blobs[q], radius)}
        times = medians(works, count)
        by_flips = float("nan")
        if bits == 64 and radius <= 3:
            masks = flip_masks(radius)
            flips = medians(
                {
                    "bands": works["bands"],
                    "flips": lambda q, masks=masks: look_up_flips(raw, masks, at[q]),
                },
                100 if radius < 3 else 30,
            )
            by_flips = flips["flips"]
            for q in range(20):
                found = {match.id for match in bands.within(blobs[q], radius)}
                assert found == set(look_up_flips(raw, masks, at[q])), "the two methods differ"
        read = [bands.measured(blobs[q], radius) for q in range(20)]
        rows.append(
            {"codes": len(codes), "bits": bits, "radius": radius, "bands µs": times["bands"] * 1e6}
            | {"flips µs": by_flips * 1e6, "ratio": by_flips / times["bands"], "look-ups": read[0].probes}
            | {"keys read": statistics.mean(answer.candidates for answer in read)}
        )
    raw.close()
    database.close()
    return rows


def measure_space(path: Path, codes: Codes) -> list[Table]:
    """Return the bytes of each table and index, for one image, whole pages counted."""
    raw, n = raw_connection(path), len(codes)
    paths = raw.execute("SELECT sum(length(CAST(path AS BLOB))) FROM images").fetchone()[0]
    sizes = dict(raw.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY name"))
    raw.close()
    shown = ("codes", "ix_codes_image", "bands", "images", "ix_images_content", "sqlite_autoindex_images_1")
    rows = [{"codes": n, "bits": codes.shape[1] * 8, "what": name, "bytes an image": sizes[name] / n} for name in shown]
    return [*rows, {"codes": n, "bits": codes.shape[1] * 8, "what": "of these, paths", "bytes an image": 2 * paths / n}]


def store(folder: Path, n: int, *, bands: bool) -> float:
    """Return the seconds in which ``Ledger.store`` writes `n` made-up rows, in batches as indexing does."""
    path = Path(tempfile.mkdtemp(dir=folder)) / "store.db"
    database, _ = fill_fake(path, np.empty((0, 32), np.uint8))
    if not bands:
        with database.write() as connection:
            for statement in TRIGGERS:
                connection.exec_driver_sql(f"DROP TRIGGER {statement.split()[2]}")
    codes, ledger = made_codes(n, 256), Ledger(database, 1, 1)
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
    seconds = time.perf_counter() - begun
    database.close()
    return seconds


def measure_commands(folder: Path, n: int, rounds: int) -> list[Table]:
    """Time whole commands on a collection of `n` codes."""
    path, picture = folder / f"cold-{n}.db", drawn_picture(folder / "picture.png")
    if not path.exists():
        make_collection(path, n, picture)
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "hashae query --exact": hashae("query", picture, "--exact", "--db", path),
        "hashae query --radius 4": hashae("query", picture, "--radius", "4", "--db", path),
        "hashae query --radius 8": hashae("query", picture, "--radius", "8", "--db", path),
        "hashae query --radius 12": hashae("query", picture, "--radius", "12", "--db", path),
        "hashae query --radius 16": hashae("query", picture, "--radius", "16", "--db", path),
        "hashae query --radius 20": hashae("query", picture, "--radius", "20", "--db", path),
    }
    said = {}
    for name, command in commands.items():
        done = subprocess.run(
            [*command, *(["--json", "--explain"] if "query" in command else [])],
            capture_output=True,
            text=True,
            check=True,
        )
        said[name] = json.loads(done.stdout) if done.stdout else {"matches": [], "explanation": {"method": ""}}
    run = partial(subprocess.run, capture_output=True, check=True)
    times = alternating({name: partial(run, command) for name, command in commands.items()}, rounds)
    return [
        {"command": name, "codes": n, "seconds": statistics.median(times[name]), "slowest": max(times[name])}
        | {"matches": len(said[name]["matches"]), "path": said[name]["explanation"]["method"]}
        for name in commands
    ]


def print_markdown(rows: Sequence[Table]) -> None:
    """Print rows as a Markdown table."""

    def cell(value: Any) -> str:
        if isinstance(value, float):
            return "" if math.isnan(value) else f"{value:,.3f}" if value < 1 else f"{value:,.1f}"
        return f"{value:,}" if isinstance(value, int) else str(value)

    print("| " + " | ".join(rows[0]) + " |")
    print("|" + "---|" * len(rows[0]))
    for row in rows:
        print("| " + " | ".join(map(cell, row.values())) + " |")
    print()


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="100000,1000000", help="numbers of codes (default: 100000,1000000)")
    parser.add_argument("--rounds", type=int, default=9, help="process starts of each command (default: 9)")
    parser.add_argument("--stored", type=int, default=60_000, help="rows written to measure storing (default: 60,000)")
    parser.add_argument("--only", choices=["table", "store", "commands"], help="measure one part alone")
    parser.add_argument("--work", type=Path, help="folder for the files; default: a temporary one")
    parser.add_argument("--json", type=Path, help="write all numbers to this file, too")
    options = parser.parse_args()
    sizes = [int(float(word)) for word in options.sizes.split(",")]
    result: dict[str, list[Table]] = {"exact": [], "radius": [], "space": [], "store": [], "commands": []}
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.work or Path(temporary)
        for n in sizes if options.only in {None, "table"} else []:
            for bits in (64, 256):
                codes, path = made_codes(n, bits), folder / f"lookups-{n}-{bits}.db"
                if not path.exists():
                    fill_fake(path, codes)[0].close()
                result["exact"] += measure_exact(path, codes, bits)
                result["radius"] += measure_radius(path, codes, (0, 1, 2, 3, 4, 6, 8) + ((12, 16) if bits > 64 else ()))
                result["space"] += measure_space(path, codes)
        if options.only in {None, "store"}:
            works = {
                name: partial(store, folder, options.stored, bands=bands)
                for name, bands in (("no bands", False), ("bands", True))
            }
            times = alternating(works, 5)
            result["store"] = [
                {"storing": name, "rows": options.stored, "seconds": statistics.median(values), "fastest": min(values)}
                for name, values in times.items()
            ]
        if options.only in {None, "commands"}:
            result["commands"] = measure_commands(folder, sizes[-1], options.rounds)
    print(circumstances("sqlalchemy", "numpy", seed=0) + f", SQLite {sqlite3.sqlite_version}\n")
    for rows in result.values():
        if rows:
            print_markdown(rows)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
