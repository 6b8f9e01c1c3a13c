"""Camera raw files (extra ``raw``, rawpy): the preview that the camera put into them, and the values of the sensor.

The preview is what a person sees of such a file, so codes and thumbnails come from it. Whether two files show the same
pixels is decided by the values of the sensor: the preview is often the very picture that lies beside it as JPEG, and
that must never make the raw file a copy of it.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import Image

from hashae.errors import ImageError
from hashae.images.shrink import TURNS

ENDINGS = frozenset(".3fr .arw .cr2 .cr3 .dng .iiq .nef .nrw .orf .pef .raf .rw2 .rwl .srw".split())
"""File name endings, lower case. Most raw files are TIFF files inside, so that only the name tells them apart."""

_FLIPS = {3: 3, 5: 8, 6: 6}  # LibRaw's number of a turn -> EXIF's


@dataclass(frozen=True, slots=True)
class Preview:
    """The picture inside a raw file.

    Attributes
    ----------
    data
        A JPEG or PNG file; EXIF in it says how to turn it.
    width, height
        Pixels of the raw picture itself, before it is turned.
    """

    data: bytes
    width: int
    height: int


def is_raw(path: str | Path) -> bool:
    """Tell whether a file name is that of a raw file."""
    return os.path.splitext(path)[1].lower() in ENDINGS


@cache
def is_readable() -> bool:
    """Tell whether raw files can be read here."""
    return find_spec("rawpy") is not None


def preview(data: bytes, path: str | Path) -> Preview:
    """Return the largest preview in a raw file.

    Raises
    ------
    ImageError
        If the library is missing, the file is damaged or none that it knows, or holds no preview.
    """
    with _opened(data, path) as (rawpy, raw):
        sizes = raw.sizes
        found = raw.extract_thumb()
        if found.format == rawpy.ThumbFormat.JPEG:
            return Preview(bytes(found.data), sizes.width, sizes.height)
        if found.format != rawpy.ThumbFormat.BITMAP:
            raise ImageError(path, f"raw file with a preview of an unknown kind ({found.format})")
        exif, buffer = Image.Exif(), io.BytesIO()
        exif[0x0112] = _FLIPS.get(sizes.flip, 1)
        assert set(_FLIPS.values()) <= set(TURNS), "EXIF knows these turns"
        Image.fromarray(found.data).save(buffer, "PNG", exif=exif, compress_level=1)
        return Preview(buffer.getvalue(), sizes.width, sizes.height)


def sensor_hash(data: bytes, path: str | Path) -> bytes:
    """Return 16 bytes that are equal for two raw files exactly if the sensor saw the same, whatever else is in them.

    Raises
    ------
    ImageError
        As :func:`preview`.
    """
    with _opened(data, path) as (_, raw):
        values = raw.raw_image
        if values is None:  # a format that is decoded to colours at once
            return hashlib.sha256(data).digest()[:16]
        digest = hashlib.sha256(f"raw {values.shape} {raw.sizes.flip}".encode())
        for row in values:  # a view of the sensor: its rows lie apart
            digest.update(row.tobytes())
    return digest.digest()[:16]


@contextmanager
def _opened(data: bytes, path: str | Path) -> Iterator[tuple[Any, Any]]:
    try:
        import rawpy
    except ImportError as error:
        raise ImageError(path, "camera raw file; run: pip install 'hashae[raw]'") from error
    try:
        with rawpy.imread(io.BytesIO(data)) as raw:
            yield rawpy, raw
    except rawpy.LibRawNoThumbnailError as error:
        raise ImageError(path, "raw file without a preview") from error
    except rawpy.LibRawError as error:
        text = " ".join(str(part.decode() if isinstance(part, bytes) else part) for part in error.args)
        raise ImageError(path, f"damaged or unknown raw file ({text or type(error).__name__})") from error
