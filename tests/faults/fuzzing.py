"""Try many hostile inputs, each in a process that may crash, hang or take too much memory: that is what is looked for.

``python tests/faults/fuzzing.py [--inputs N] [--minutes M] [--seed S] [TARGET ...]`` prints a table, and is 1 if
anything was found. ``python tests/faults/fuzzing.py TARGET NUMBER`` tries one input again, in this process.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

SECONDS = 30
"""Of processor time, after which an input is taken for one that does not end."""

WAITING = 900
"""Seconds on the clock, after which it is taken for one that waits for ever, however busy the machine is."""

MEMORY = 1 << 30
"""Bytes of resident memory that are too many."""

CHUNK = 200
"""Inputs that a child is asked to try before it answers."""


def child(folder):
    """Try what standard input says, a JSON list [target, first, last] a line; answer each with one line."""
    import hostile

    with open(folder / "number", "r+b") as file:
        note = mmap.mmap(file.fileno(), 8)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        name, first, last = json.loads(line)
        target, taken, wrong = hostile.TARGETS[name], 0, None
        number = first
        for number in range(first, last):
            note[:] = number.to_bytes(8, "little")
            data = target.input(name, number, folder)
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            signal.alarm(WAITING)
            try:
                taken += target.use(data, folder)
            except Exception:
                wrong = traceback.format_exc()
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.alarm(0)
            if peak() > MEMORY:
                wrong = f"{peak() >> 20} MB of memory"
            if wrong:
                break
        answers.write(json.dumps({"tried": number + 1 - first, "taken": taken, "wrong": wrong, "peak": peak()}) + "\n")
        answers.flush()
        if wrong:
            break


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Child:
    """A process that tries inputs, started anew when it was lost."""

    def __init__(self):
        self._folder = Path(tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
        self._process = None

    def attempt(self, name, first, last):
        """Try inputs; return how many were tried and taken, the peak of memory, and what went wrong with the last."""
        if self._process is None:
            for place in self._folder.iterdir():
                shutil.rmtree(place) if place.is_dir() else place.unlink()
            (self._folder / "number").write_bytes(bytes(8))
            command = [sys.executable, "-P", __file__, "--child", str(self._folder)]
            with (self._folder / "errors").open("w") as errors:
                options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": errors, "text": True}
                self._process = subprocess.Popen(command, **options)
        self._process.stdin.write(json.dumps([name, first, last]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if line:
            found = json.loads(line)
            if found["wrong"]:
                self.close(keep=True)
            return found
        status = self._process.wait()
        number = int.from_bytes((self._folder / "number").read_bytes(), "little")
        errors = (self._folder / "errors").read_text(errors="replace")
        self.close(keep=True)
        hangs = {-signal.SIGPROF: f"took more than {SECONDS} s", -signal.SIGALRM: f"waited for {WAITING} s"}
        wrong = hangs.get(status, f"ended with status {status}: {errors[-2000:]}")
        return {"tried": max(number, first) + 1 - first, "taken": 0, "wrong": wrong, "peak": 0}

    def close(self, *, keep=False):
        if self._process is not None:
            self._process.stdin.close()
            self._process.wait()
            self._process.stdout.close()
            self._process = None
        if not keep:
            shutil.rmtree(self._folder)


def fuzz(names, inputs, minutes, seed, say):
    """Try `inputs` inputs of all targets together, as far as the time goes; yield each that something is wrong with.

    `say` is called with one dict a target when all is over.
    """
    import hostile

    until = time.monotonic() + minutes * 60
    shares = {name: hostile.TARGETS[name].share for name in names}
    left = {name: max(round(inputs * share / sum(shares.values())), 1) for name, share in shares.items()}
    # Numbers of another seed begin elsewhere, so that two runs try different inputs.
    at = dict.fromkeys(names, seed * 10**9)
    tried, taken, seconds, highest = Counter(), Counter(), Counter(), Counter()
    process, told = Child(), time.monotonic()
    try:
        while any(left.values()) and time.monotonic() < until:
            # The target that is farthest from its share: a run that ends early has tried something of all.
            name = max(left, key=lambda name: left[name] / shares[name])
            count = min(left[name], CHUNK, max(round(CHUNK * shares[name] * 10), 1))
            start = time.monotonic()
            found = process.attempt(name, at[name], at[name] + count)
            seconds[name] += time.monotonic() - start
            tried[name] += found["tried"]
            taken[name] += found["taken"]
            highest[name] = max(highest[name], found["peak"])
            at[name] += found["tried"]
            left[name] -= found["tried"]
            if found["wrong"]:
                yield name, at[name] - 1, found["wrong"]
            if time.monotonic() - told > 60:
                told = time.monotonic()
                sys.stderr.write(f"{sum(tried.values()):,} tried: {dict(tried)}\n")
    finally:
        process.close()
    for name in names:
        if tried[name]:
            say({"target": name, "tried": tried[name], "taken": taken[name], "seconds": round(seconds[name], 1)})
    say({"target": "all", "tried": sum(tried.values()), "peak_mb": max(highest.values(), default=0) // 10**6})


def again(name, number):
    """Try one input in this process."""
    import hostile

    folder = Path(tempfile.mkdtemp())
    data = hostile.TARGETS[name].input(name, number, folder)
    (folder / "input").write_bytes(data)
    sys.stderr.write(f"{len(data)} bytes, kept in {folder / 'input'}\n")
    sys.stdout.write(f"{hostile.TARGETS[name].use(data, folder)}, {peak() >> 20} MB\n")


def main():
    sys.path.insert(0, str(Path(__file__).parent))
    if sys.argv[1:2] == ["--child"]:
        child(Path(sys.argv[2]))
        return
    if len(sys.argv) == 3 and sys.argv[2].isdigit():
        again(sys.argv[1], int(sys.argv[2]))
        return
    import hostile

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("targets", nargs="*", choices=[[], *hostile.TARGETS], default=[])
    given = parser.parse_args()
    wrong = 0
    names = given.targets or list(hostile.TARGETS)
    for name, number, reason in fuzz(names, given.inputs, given.minutes, given.seed, _say):
        wrong += 1
        _say({"target": name, "number": number, "wrong": reason})
    sys.exit(wrong > 0)


def _say(found):
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
