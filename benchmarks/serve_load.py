"""Offer `hashae serve` a fixed rate of look-ups, whatever it makes of them, while another process indexes real files.

Arrivals are drawn from a Poisson process and do not wait for answers (an open loop): a server that falls behind sees a
growing queue, and the latency of each look-up counts from when it was due. The collection holds made-up codes
(``made_collection.py``); the files that are indexed into it meanwhile are those of cifar10.zip (re-encoded JPEG).
Clients, server and indexing share the processors of this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from data import hashae, unpacked
from made_collection import drawn_picture, made_codes, make_collection
from measure import circumstances
from postgres_server import server as postgres

SEED = 0
KINDS = {"same code": "exact=true", "within radius 3": "radius=3", "24 nearest": "k=24"}


@dataclass
class Load:
    """What came of one load.

    Attributes
    ----------
    times
        Seconds from when each look-up was due to its whole answer.
    errors
        What went wrong, and how often.
    """

    times: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    def row(self) -> str:
        """Return median, 95 %, 99 %, most in milliseconds, and errors, as cells of a table."""
        if not self.times:
            return f"no answer | {sum(self.errors.values())}"
        ordered = sorted(self.times)
        late = [ordered[int(part * (len(ordered) - 1))] for part in (0.95, 0.99, 1.0)]
        cells = [f"{1e3 * value:.1f}" for value in (statistics.median(ordered), *late)]
        return f"{cells[0]} | {cells[1]} | {cells[2]} | {cells[3]} | {sum(self.errors.values())}"


class Connections:
    """Connections to the server that are kept; a new one is made where none is free."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self, path: str) -> int:
        """Return the status of an answer that was read to its end."""
        kept = bool(self._free)
        reader, writer = self._free.pop() if kept else await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()
            if kept:  # closed by the server while it was idle: every client asks such a question once more
                self._free.clear()
                return await self.ask(path)
            raise
        lines = head.lower().split(b"\r\n")
        length = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
        await reader.readexactly(length)
        if b"connection: close" in lines:
            writer.close()
        else:
            self._free.append((reader, writer))
        return int(head[9:12])


async def offer(port: int, paths: list[str], rate: float) -> Load:
    """Ask for paths, so many a second on average, and return what came of it."""
    load, connections, rng = Load(), Connections(port), np.random.default_rng(SEED)
    due = time.perf_counter() + np.cumsum(rng.exponential(1 / rate, len(paths)))

    async def ask(path: str, when: float) -> None:
        try:
            status = await asyncio.wait_for(connections.ask(path), 30)
        except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError) as error:
            load.errors[type(error).__name__] += 1
            return
        if status == 200:
            load.times.append(time.perf_counter() - when)
        else:
            load.errors[str(status)] += 1

    running = []
    for path, when in zip(paths, due.tolist(), strict=True):
        await asyncio.sleep(max(0.0, when - time.perf_counter()))
        running.append(asyncio.create_task(ask(path, when)))
    await asyncio.gather(*running)
    return load


def paths_of(query: str, codes: np.ndarray, count: int) -> list[str]:
    """Return addresses of questions about stored codes."""
    rng = np.random.default_rng(SEED)
    return [f"/api/v1/codes/{codes[row].tobytes().hex()}/matches?{query}" for row in rng.integers(0, len(codes), count)]


def children(pid: int) -> set[int]:
    """Return the processes that a process has started (Linux)."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return set(map(int, " ".join(task.read_text() for task in tasks).split()))


def processor(pid: int) -> float:
    """Return the seconds of processor time that a process and its children have used (Linux)."""
    ticks = 0
    for member in (pid, *children(pid)):
        values = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
        ticks += int(values[11]) + int(values[12])
    return ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def serving(place: str, workers: int) -> Iterator[tuple[int, int]]:
    """Run the server; give its port and its process."""
    command = hashae("serve", "--db", place, "--port", "0", *(["--workers", str(workers)] if workers > 1 else []))
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    line = process.stderr.readline()
    if "http://127.0.0.1:" not in line:
        process.kill()
        raise SystemExit(f"the server did not start: {line}{process.stderr.read()}")
    try:
        yield int(line.split("http://127.0.0.1:")[1].split("/")[0]), process.pid
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


class Indexing:
    """Another process that indexes a folder, and how far it got."""

    def __init__(self, place: str, folder: Path, nice: int) -> None:
        command = [*(["nice", "-n", str(nice)] if nice else []), *hashae("index", folder, "--db", place)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self) -> bool:
        """End it; tell whether it was still at work."""
        working = self._process.poll() is None
        self._process.terminate()
        self._process.wait(60)
        return working


async def offer_and_reload(port: int, pid: int, paths: list[str], rate: float) -> Load:
    """Offer look-ups, and have the server replace its workers when a third of them was asked."""
    asyncio.get_running_loop().call_later(len(paths) / rate / 3, os.kill, pid, signal.SIGHUP)
    return await offer(port, paths, rate)


def images_of(place: str) -> int:
    """Return the number of images of a collection."""
    from hashae.indexer import Collection

    with Collection.open(place, create=False) as collection:
        return len(collection)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=100_000, help="codes in the collection (default: 100,000)")
    parser.add_argument("--rate", type=float, default=200, help="look-ups offered a second (default: 200)")
    parser.add_argument("--seconds", type=float, default=20, help="of each load (default: 20)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="processes that serve (default: 1 2)")
    parser.add_argument("--engines", nargs="+", default=["SQLite", "PostgreSQL"], help="default: both")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), help="look-ups (default: all)")
    parser.add_argument("--nice", type=int, nargs="+", default=[0], help="priorities of indexing; -1: none indexes")
    parser.add_argument("--reload", action="store_true", help="at the end, replace the workers while look-ups come in")
    options = parser.parse_args()
    folder = unpacked("cifar10.zip")
    print(circumstances("fastapi", "uvicorn", "onnxruntime", "faiss-cpu", seed=SEED))
    print(f"{options.size:,} made-up codes of 256 bits, {options.rate:g} look-ups offered a second")
    columns = ("collection", "workers", "meanwhile", "look-up", "median ms", "95 %", "99 %", "most", "errors")
    print(f"| {' | '.join((*columns, 'processor ms', 'indexed/s', 'load'))} |")
    print("|" + "---|" * 12)
    with ExitStack() as stack:
        temporary = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        os.environ["XDG_CACHE_HOME"] = str(temporary / "cache")
        made = temporary / "made.db"
        make_collection(made, options.size, drawn_picture(temporary / "picture.png"))
        running = stack.enter_context(postgres("shared_buffers=256MB")) if "PostgreSQL" in options.engines else None
        if running is not None:
            subprocess.run(hashae("copy", str(made), url := running.database()), check=True, capture_output=True)
            template = url.partition("?")[0].rpartition("/")[2]
        for engine in options.engines:
            for workers in options.workers:
                for nice in options.nice:
                    for kind in options.kinds:
                        if running is not None and engine == "PostgreSQL":
                            place = running.database(template)
                        else:
                            place = str(shutil.copy(made, temporary / f"{workers} {nice} {kind}.db"))
                        measure(engine, place, workers, nice, kind, folder, options)
            for workers in options.workers if options.reload else ():
                if workers > 1:
                    measure_reload(engine, place, workers, options)


def measure(
    engine: str, place: str, workers: int, nice: int, kind: str, folder: Path, options: argparse.Namespace
) -> None:
    """Print one row."""
    codes = made_codes(options.size, 256)
    with serving(place, workers) as (port, pid):
        asyncio.run(offer(port, paths_of(KINDS[kind], codes, 300), 100))  # what is made with the first questions
        indexing = None if nice < 0 else Indexing(place, folder, nice)
        if indexing is not None:
            before = images_of(place)
            while images_of(place) == before:  # listing the folder comes first
                time.sleep(0.2)
        before, used, start = images_of(place), processor(pid), time.monotonic()
        load = asyncio.run(offer(port, paths_of(KINDS[kind], codes, int(options.rate * options.seconds)), options.rate))
        used = (processor(pid) - used) / max(1, len(load.times))
        rate = (images_of(place) - before) / (time.monotonic() - start)
        if indexing is not None and not indexing.stop():
            load.errors["indexing ended too early"] += 1
    what = "nothing" if nice < 0 else "index" if nice == 0 else f"nice -n {nice} index"
    rest = f"{1e3 * used:.1f} | {rate:,.0f} | {os.getloadavg()[0]:.1f}"
    print(f"| {engine} | {workers} | {what} | {kind} | {load.row()} | {rest} |", flush=True)
    if load.errors:
        print(dict(load.errors), file=sys.stderr)


def measure_reload(engine: str, place: str, workers: int, options: argparse.Namespace) -> None:
    """Print one row: look-ups while the workers are replaced, and nothing else happens."""
    paths = paths_of(KINDS["same code"], made_codes(options.size, 256), int(options.rate * options.seconds))
    with serving(place, workers) as (port, pid):
        before = children(pid)
        load = asyncio.run(offer_and_reload(port, pid, paths, options.rate))
        replaced = len(before - children(pid))
    print(
        f"| {engine} | {workers} | SIGHUP: {replaced} processes replaced | same code | {load.row()} | | | |", flush=True
    )


if __name__ == "__main__":
    main()
