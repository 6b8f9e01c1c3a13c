"""The program behind :mod:`hashae.images.isolated`: reads and decodes files one by one, in a process that may be lost.

Requests come as JSON lines on standard input: ``{"read": path}``, then, if it is wanted, ``{"decode": path, "side": n,
"channels": c}`` of the same file. An answer is JSON and the bytes of a thumb, each after its length in four bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import struct
import sys
from contextlib import suppress
from typing import Any, BinaryIO

from hashae.errors import ImageError
from hashae.images.decode import decode, large_images_allowed, read_bytes

MEMORY = 4 << 30
"""Bytes of address space of the process: the largest picture that is decoded takes 0.7 GB, and a copy as much again."""


def main() -> None:
    """Answer requests until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program that asks; it ends our input
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a decoder prints is no answer
    data = b""
    with large_images_allowed():
        for line in sys.stdin.buffer:
            request = json.loads(line)
            try:
                if "read" in request:
                    data = read_bytes(request["read"])
                    _answer(answers, {"sha256": hashlib.sha256(data).hexdigest()})
                    continue
                image = decode(data, request["decode"], side=request["side"], channels=request["channels"])
            except ImageError as error:
                cause = error.__cause__
                again = isinstance(cause, MemoryError) or (isinstance(cause, OSError) and cause.errno is not None)
                _answer(answers, {"reason": error.reason, "again": again})
                continue
            about = {"width": image.width, "height": image.height, "format": image.format, "shape": image.thumb.shape}
            _answer(answers, about, image.thumb.tobytes())


def _answer(stream: BinaryIO, about: dict[str, Any], data: bytes = b"") -> None:
    text = json.dumps(about).encode("ascii")
    stream.write(struct.pack("<I", len(text)) + text + struct.pack("<I", len(data)) + data)
    stream.flush()


if __name__ == "__main__":
    main()
