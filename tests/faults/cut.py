"""Act on files, and before every step put aside what the disks hold at that moment: what a power cut would leave.

``cut.py REQUEST`` with a JSON object: ``db``, ``plan``, ``action``, ``to``, the image files of the ``disks``, a folder
for their ``copies``, take ``every`` so-and-so-many-th step, and ``written``, disks that write all they have before each
copy. The others write what they are asked to, and nothing else. Prints the number of copies. ``test_power_cut.py``
starts it.
"""

import ctypes
import json
import os
import shutil
import sys
from pathlib import Path

from hashae.db import open_database
from hashae.indexer.executor import Executor
from hashae.indexer.plan import read_plan

sys.path.insert(0, str(Path(__file__).parent))
from killed import at_every_step, do


class Camera:
    """Copies the disks at every so-and-so-many-th call."""

    def __init__(self, request):
        self._request, self._library = request, ctypes.CDLL(None, use_errno=True)
        self._busy, self._calls, self.taken = False, 0, 0

    def __call__(self):
        if self._busy:  # its own steps
            return
        if self._calls % self._request["every"] == 0:
            self.take()
        self._calls += 1

    def take(self):
        self._busy = True
        for place in self._request["written"]:
            self._write_all(place)
        for number, disk in enumerate(self._request["disks"]):
            while True:
                before = os.stat(disk).st_mtime_ns
                shutil.copyfile(disk, Path(self._request["copies"]) / f"{self.taken}-{number}")
                if os.stat(disk).st_mtime_ns == before:  # else the system wrote while it was copied
                    break
        self.taken += 1
        self._busy = False

    def _write_all(self, place):
        descriptor = os.open(place, os.O_RDONLY)
        try:
            assert self._library.syncfs(descriptor) == 0, os.strerror(ctypes.get_errno())
        finally:
            os.close(descriptor)


def main():
    request = json.loads(sys.argv[1])
    database = open_database(request["db"])
    executor = Executor(database, 1, lambda path: b"")
    plan = read_plan(Path(request["plan"]))
    camera = Camera(request)
    at_every_step(camera)
    do(executor, plan, request)
    camera.take()  # all is done, and not all of it is on the disks
    sys.stdout.write(f"{camera.taken}\n")
    sys.stdout.flush()
    os._exit(0)  # without closing the file, which would write


if __name__ == "__main__":
    main()
