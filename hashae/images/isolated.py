"""Decoding in a process of its own, which may crash or hang: that costs one picture, not the run."""

from __future__ import annotations

import json
import os
import select
import signal
import struct
import subprocess
import sys
import time
from typing import Any

import numpy as np

from hashae.errors import ImageError
from hashae.images.decode import DecodedImage

SECONDS = 60.0
"""How long a picture may take; the largest that is decoded takes some seconds."""


class IsolatedDecoder:
    """Reads and decodes files in another process, which is started when it is first needed and again when it was lost.

    Use it from one thread.

    Parameters
    ----------
    seconds
        After which a picture is given up, in seconds.
    """

    def __init__(self, *, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None

    def read(self, path: str) -> bytes:
        """Read a file there, and return its SHA-256, 32 bytes.

        Raises
        ------
        ImageError
            As :func:`hashae.images.decode.read_bytes`, or if the process was lost.
        """
        about, _ = self._ask(path, {"read": path})
        return bytes.fromhex(about["sha256"])

    def decode(self, path: str, *, side: int, channels: int = 1) -> DecodedImage:
        """Decode the file that was read last; parameters as those of :func:`hashae.images.decode.decode`.

        Raises
        ------
        ImageError
            As there, or if the decoder crashed or did not come to an end.
        """
        about, data = self._ask(path, {"decode": path, "side": side, "channels": channels})
        thumb = np.frombuffer(data, np.uint8).reshape(about["shape"])
        return DecodedImage(thumb, about["width"], about["height"], about["format"])

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _ask(self, path: str, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        process = self._started()
        assert process.stdin is not None
        deadline = time.monotonic() + self._seconds
        try:
            process.stdin.write(json.dumps(request).encode("ascii") + b"\n")
            process.stdin.flush()
            about = json.loads(self._receive(process, self._length(process, deadline), deadline))
            data = self._receive(process, self._length(process, deadline), deadline)
        except TimeoutError as error:
            self.close()
            raise ImageError(path, f"the decoder did not finish within {self._seconds:g} s") from error.__cause__
        except (EOFError, BrokenPipeError):
            lost = self._lost(path)
            raise lost from lost.__cause__
        if "reason" in about:
            # A number of the system: the file may be readable the next time.
            raise ImageError(path, about["reason"]) from (OSError(5, about["reason"]) if about["again"] else None)
        return about, data

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            command = [sys.executable, "-P", "-m", "hashae.images.worker"]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return self._process

    def _length(self, process: subprocess.Popen[bytes], deadline: float) -> int:
        return int(struct.unpack("<I", self._receive(process, 4, deadline))[0])

    def _receive(self, process: subprocess.Popen[bytes], size: int, deadline: float) -> bytes:
        assert process.stdout is not None
        parts, number = list[bytes](), process.stdout.fileno()
        while size:
            ready, _, _ = select.select([number], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError
            part = os.read(number, size)
            if not part:
                raise EOFError
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _lost(self, path: str) -> ImageError:
        """Return the error for a process that has ended by itself."""
        assert self._process is not None
        status = self._process.wait()
        self.close()
        if status >= 0:
            return ImageError(path, f"the decoder ended by itself (status {status})")
        error = ImageError(path, f"the decoder crashed ({signal.Signals(-status).name})")
        if -status == signal.SIGKILL:  # by the system, for want of memory: the next time there may be more
            error.__cause__ = MemoryError()
        return error
