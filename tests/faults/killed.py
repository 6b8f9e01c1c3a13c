"""A process that acts on files and is killed at a given step, over and over; ``test_interrupted.py`` starts it.

It reads one JSON line a run, forks a child for it, and answers how that ended. It has no threads: a child forked from
the process of the tests could wait for ever for a lock that a thread held there.
"""

import json
import os
import signal
import sys
from pathlib import Path

from hashae.db import open_database
from hashae.indexer.executor import Executor
from hashae.indexer.journal import Journal
from hashae.indexer.plan import read_plan

STEPS = ("os.", "ctypes.call_function", "shutil.", "fcntl.ioctl", "ours.")
"""Audit events at which a run is killed: all that changes a folder, and both sides of every entry of the journal."""

QUIET = {"os.listdir", "os.scandir", "os.kill"}


def at_every_step(call):
    """Call a function right before every step of this process, from now on."""

    def step(event, _arguments):
        if event.startswith(STEPS) and event not in QUIET:
            call()

    for name in ("intend", "settle", "begin"):
        wrapped = getattr(Journal, name)

        def audited(self, *arguments, wrapped=wrapped, **options):
            sys.audit("ours.before")
            found = wrapped(self, *arguments, **options)
            sys.audit("ours.after")
            return found

        setattr(Journal, name, audited)
    sys.addaudithook(step)


def die_at(steps_left):
    """Kill this process right before the given step."""

    def count():
        nonlocal steps_left
        steps_left -= 1
        if steps_left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    at_every_step(count)


def act(request):
    executor = Executor(open_database(request["db"]), 1, lambda path: b"")
    plan = read_plan(Path(request["plan"]))
    die_at(request["at"])
    do(executor, plan, request)


def do(executor, plan, request):
    if request["action"] == "undo":
        executor.undo()
    else:
        executor.apply(plan, request["action"], to=request["to"])


def main():
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.environ.update(request["environment"])
                act(request)
                status = 0
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
