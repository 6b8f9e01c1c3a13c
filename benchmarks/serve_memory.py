"""What several workers of `hashae serve` take of memory, and how soon each answers with a picture that is new (Linux).

The collection holds made-up codes (``made_collection.py``). *Pss* counts a page that n processes share as one n-th of
it in each: what the index takes once, however many workers map its file, is the sum over all of them. A new picture is
indexed by another process; the time counts from the end of that process to the first answer of each worker that has
it as the nearest to its own code.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from data import hashae
from made_collection import drawn_picture, make_collection
from measure import circumstances
from PIL import Image
from postgres_server import server as postgres
from serve import Asker
from serve_load import serving

MIB = 1024


def workers_of(port: int, count: int) -> dict[int, Asker]:
    """Return a connection to each worker, by process."""
    found: dict[int, Asker] = {}
    while len(found) < count:
        asker = Asker(port)
        found.setdefault(json.loads(asker.get("/healthz")[1])["process"], asker)
    return found


def memory(pid: int, file: str = "") -> dict[str, float]:
    """Return MiB of a process by kind; with `file`, of the pages of that file alone."""
    if not file:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    else:
        parts = re.split(r"(?m)^(?=[0-9a-f]+-[0-9a-f]+ )", Path(f"/proc/{pid}/smaps").read_text())
        text = "".join(part for part in parts if file in part.partition("\n")[0])
    kinds = ("Rss", "Pss", "Shared_Clean", "Shared_Dirty", "Private_Clean", "Private_Dirty")
    return {kind: sum(map(int, re.findall(rf"(?m)^{kind}:\s+(\d+) kB", text))) / MIB for kind in kinds}


def show(name: str, found: dict[str, float]) -> None:
    """Print one row."""
    shared = found["Shared_Clean"] + found["Shared_Dirty"]
    private = found["Private_Clean"] + found["Private_Dirty"]
    print(f"| {name} | {found['Rss']:,.0f} | {found['Pss']:,.0f} | {shared:,.0f} | {private:,.0f} |", flush=True)


def new_picture(folder: Path, number: int) -> None:
    """Draw a picture that is like no other."""
    noise = np.random.default_rng(number).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    folder.mkdir(exist_ok=True)
    Image.fromarray(noise).resize((320, 240), Image.Resampling.BICUBIC).save(folder / f"{number}.png")


def seconds_until_all(askers: dict[int, Asker], id_: int) -> list[float]:
    """Return for each worker when it first answered with an image, in seconds from now."""
    start, code = time.monotonic(), ""
    waiting, seconds = dict(askers), []
    while waiting:
        for pid, asker in list(waiting.items()):
            code = code or json.loads(asker.get(f"/api/v1/images/{id_}")[1])["code"]
            found = json.loads(asker.get(f"/api/v1/codes/{code}/matches?k=1")[1])["matches"]
            if found[0]["id"] == id_:
                seconds.append(time.monotonic() - start)
                del waiting[pid]
        time.sleep(0.02)
    return seconds


def measure(engine: str, place: str, workers: int, folder: Path, cache: str) -> None:
    """Print rows for one number of workers."""
    with serving(place, workers) as (port, pid):
        askers = workers_of(port, workers)
        for number in range(1, 101):
            for asker in askers.values():
                for question in ("k=24", "radius=3", "radius=12"):
                    assert asker.get(f"/api/v1/images/{number * 7}/matches?{question}")[0] == 200
        about = f"{engine}, {workers} worker{'s' if workers > 1 else ''}"
        for number, worker in enumerate(askers, 1):
            show(f"{about}: worker {number}", memory(worker))
            show(f"{about}: worker {number}, its mapped index", memory(worker, cache))
        others = [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split() if int(p) not in askers]
        for other in others:
            if b"spawn_main" in Path(f"/proc/{other}/cmdline").read_bytes():
                show(f"{about}: background process", memory(other))
        if workers > 1:
            show(f"{about}: supervisor", memory(pid))
        times = []
        for number in range(3):
            new_picture(folder, 100 * workers + number)
            before = json.loads(next(iter(askers.values())).get("/api/v1/stats")[1])["images"]
            command = hashae("index", folder, "--no-calibrate", "--db", place)
            indexing = subprocess.Popen(command, stderr=subprocess.DEVNULL)
            while indexing.poll() is None:
                for asker in askers.values():
                    asker.get("/healthz")  # a connection that is idle for long is closed
                time.sleep(0.1)
            times += seconds_until_all(askers, before + 1)
        print(
            f"{about}: a new picture is found by each worker after {', '.join(f'{t:.1f}' for t in times)} s", flush=True
        )


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1_000_000, help="codes in the collection (default: 1,000,000)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="processes that serve (default: 1 2)")
    parser.add_argument("--engines", nargs="+", default=["SQLite"], help="SQLite, PostgreSQL (default: SQLite)")
    options = parser.parse_args()
    print(circumstances("uvicorn", "faiss-cpu", "numba"))
    print(f"{options.size:,} made-up codes of 256 bits")
    print("| MiB | resident | Pss | shared with others | private |")
    print("|---|---|---|---|---|")
    with ExitStack() as stack:
        temporary = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        os.environ["XDG_CACHE_HOME"] = str(temporary / "cache")
        made = temporary / "made.db"
        make_collection(made, options.size, drawn_picture(temporary / "picture.png"))
        for engine in options.engines:
            place = str(made)
            if engine == "PostgreSQL":
                place = stack.enter_context(postgres("shared_buffers=256MB")).database()
                subprocess.run(hashae("copy", str(made), place), check=True, capture_output=True)
            for workers in options.workers:
                measure(engine, place, workers, temporary / f"new {engine} {workers}", ".index-1")


if __name__ == "__main__":
    main()
