"""Files that are opened once more for a report: hashes of their pixels, thumbnails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from hashae.errors import ImageError
from hashae.images.decode import large_images_allowed, pixel_hash, read_bytes
from hashae.images.decode import thumbnail as make_thumbnail
from hashae.images.metadata import Metadata, read_metadata
from hashae.indexer.image_row import ImageRow
from hashae.indexer.summary import Progress


def hash_pixels(
    rows: Sequence[ImageRow], *, threads: int = 1, on_progress: Callable[[Progress], None] | None = None
) -> dict[int, bytes]:
    """Return pixel hashes by id; files that cannot be read are left out.

    Parameters
    ----------
    rows
        Images to read.
    threads
        That read and decode.
    on_progress
        Called from this thread, with the stage ``pixels``.
    """
    found = {}
    with large_images_allowed(), ThreadPoolExecutor(threads) as pool:
        for number, (row, value) in enumerate(zip(rows, pool.map(_pixel_hash, rows), strict=True), 1):
            if value is not None:
                found[row.id] = value
            if on_progress:
                on_progress(Progress("pixels", number, len(rows)))
    return found


def thumbnail(path: str, side: int = 192) -> bytes | None:
    """Return a JPEG of an image file of at most `side` pixels a side, or None if it cannot be read."""
    try:
        return make_thumbnail(read_bytes(path), path, side=side)
    except ImageError:
        return None


def file_pixel_hash(path: str) -> bytes:
    """Return the hash of the pixels of a file.

    Raises
    ------
    ImageError
        If it cannot be read.
    """
    with large_images_allowed():
        return pixel_hash(read_bytes(path), path)


def metadata_reader() -> Callable[[ImageRow], Metadata | None]:
    """Return a function that reads the metadata of an image, once; None if the file cannot be read."""
    known: dict[int, Metadata | None] = {}

    def read(row: ImageRow) -> Metadata | None:
        if row.id not in known:
            try:
                known[row.id] = read_metadata(row.path)
            except ImageError:
                known[row.id] = None
        return known[row.id]

    return read


def _pixel_hash(row: ImageRow) -> bytes | None:
    try:
        return pixel_hash(read_bytes(row.path), row.path)
    except ImageError:
        return None
