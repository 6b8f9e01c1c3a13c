"""The hash of a file's bytes, by which the collection, verdicts, plans and the journal know a content."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from hashae.object_store import is_address, read_stored

CONTENT_BYTES = 16
"""Length of a content hash: SHA-256, cut to 128 bits."""

LARGEST_OBJECT = 1 << 30
"""Bytes of the largest object that is read into memory."""

_CHUNK = 1 << 20


def content_of(data: bytes) -> bytes:
    """Return the content hash of bytes held in memory.

    Examples
    --------
    >>> content_of(b"").hex()
    'e3b0c44298fc1c149afbf4c8996fb924'
    """
    return hashlib.sha256(data).digest()[:CONTENT_BYTES]


def content_hash(path: str | Path) -> bytes:
    """Return the content hash of a regular file; links are followed, and its bytes are never all in memory.

    Of an object of a store they are.

    Raises
    ------
    OSError
        If it cannot be read, or is no regular file: reading a FIFO would wait for ever.
    """
    if is_address(path):
        return content_of(read_stored(str(path), LARGEST_OBJECT))
    with open(path, "rb", buffering=0, opener=_without_waiting) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(f"{os.fspath(path)} is no regular file")
        digest = hashlib.sha256()
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.digest()[:CONTENT_BYTES]


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
