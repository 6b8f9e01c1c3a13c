"""Fetch files of an object store several at a time: each takes as long to begin to come as a small one to decode."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from hashae.images.decode import read_bytes
from hashae.object_store import is_address

AT_ONCE = 8
"""Files that are fetched at a time, or wait to be used."""


@contextmanager
def reading_ahead(paths: Sequence[str], read: Callable[[str], bytes] = read_bytes) -> Iterator[Callable[[str], bytes]]:
    """Return a function that reads files as `read` does.

    Parameters
    ----------
    paths
        Those that it will be asked for, in this order; some may be left out. Files of this machine are read when they
        are asked for.
    read
        Called from several threads if files lie in a store.

    Examples
    --------
    >>> with reading_ahead(["no file"]) as fetch:
    ...     fetch("no file")
    Traceback (most recent call last):
    hashae.errors.ImageError: no file: no such file
    """
    if not any(map(is_address, paths)):
        yield read
        return
    coming, fetched = iter(paths), deque[tuple[str, "Future[bytes]"]]()
    pool = ThreadPoolExecutor(min(AT_ONCE, len(paths)), thread_name_prefix="hashae-fetch")

    def fetch(path: str) -> bytes:
        while True:
            while len(fetched) < AT_ONCE and (following := next(coming, None)) is not None:
                fetched.append((following, pool.submit(read, following)))
            assert fetched, "asked for what was announced, in that order"
            name, future = fetched.popleft()
            if name == path:
                return future.result()

    try:
        yield fetch
    finally:
        pool.shutdown(cancel_futures=True)
