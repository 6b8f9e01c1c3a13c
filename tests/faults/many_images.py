"""Make many small pictures, index them in a process of their own, and print its peak memory.

``python tests/faults/many_images.py COUNT [FOLDER]``: FOLDER must be empty or missing; it is left as it is. A million
pictures take 4 GB of disk, some minutes to make and some more to index. ``test_memory.py`` runs it with few.
"""

import io
import json
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

import numpy as np

INDEX = """
import json, sys, time
from hashae import pretrained
from hashae.indexer import Collection

def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) * 1024

from hashae.encoder import Encoder
encoder = Encoder.load(sys.argv[3], threads=1) if len(sys.argv) > 3 else pretrained.load("photo", threads=1)
with Collection.open(sys.argv[2], threads=1) as collection:
    collection.set_encoder(encoder)
    start, before = time.monotonic(), peak()
    first = collection.index(sys.argv[1])
    indexed, done = peak(), time.monotonic()
    again = collection.index(sys.argv[1])
    print(json.dumps({"images": first.images, "failed": len(first.failed), "unchanged": again.unchanged,
                      "start_bytes": before, "index_bytes": indexed, "again_bytes": peak(),
                      "index_seconds": done - start, "again_seconds": time.monotonic() - done}))
"""

IN_FOLDER = 1000


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def picture(rng):
    """A PNG of 16 x 16 greys, no two alike."""
    rows = rng.integers(0, 256, (16, 16), dtype=np.uint8)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", 16, 16, 8, 0, 0, 0, 0)
    data = io.BytesIO()
    data.write(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw, 0)) + chunk(b"IEND", b"")
    )
    return data.getvalue()


def make(folder, count):
    """Write `count` pictures, a thousand in a folder."""
    rng = np.random.default_rng(0)
    for number in range(count):
        part = folder / f"{number // IN_FOLDER:05d}"
        if number % IN_FOLDER == 0:
            part.mkdir(parents=True)
        (part / f"{number:07d}.png").write_bytes(picture(rng))


def measure(folder, count, *encoder):
    """Return what indexing `count` pictures in `folder` took."""
    make(folder / "pictures", count)
    command = [sys.executable, "-c", INDEX, folder / "pictures", folder / "photos.db", *encoder]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def main():
    count = int(sys.argv[1])
    place = sys.argv[2] if len(sys.argv) > 2 else tempfile.mkdtemp(prefix="hashae-many-")
    start = time.monotonic()
    found = measure(Path(place), count)
    sys.stdout.write(json.dumps(found | {"seconds": time.monotonic() - start}) + "\n")


if __name__ == "__main__":
    main()
