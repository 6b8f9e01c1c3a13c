"""Turn the bytes of a file into a small square picture, cheaply.

Everything after this works on a *thumb*: the whole picture squeezed into ``side x side`` pixels. A JPEG is decoded at
the smallest of its built-in scales (1, 1/2, 1/4, 1/8) that is still large enough, which makes a 12-megapixel photograph
as cheap as a small one.
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from hashae.errors import ImageError
from hashae.images.raw import is_raw, preview, sensor_hash
from hashae.images.shrink import TURNS, orientation_of, to_mode, to_picture, upright_strips
from hashae.object_store import is_address, read_stored

# Formats whose decoders are Pillow's own and start no other program (EPS would start Ghostscript).
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "DIB", "TIFF", "WEBP", "PPM", "TGA", "ICO", "JPEG2000", "MPO", "HEIF", "AVIF")

COMMON = ("JPEG", "PNG", "GIF", "BMP", "PPM")
"""Those that Pillow knows without loading all of its plugins; a JPEG with several pictures (MPO) is one of them."""

NO_SUCH_FILE = "no such file"
"""Reason of the error of a file that is missing."""

MAX_PIXELS = 178_956_970
"""Largest width x height that is decoded; Pillow's own limit against decompression bombs."""

MAX_BYTES = 1 << 30
"""Largest file that is read into memory."""

# What decoders are known to raise on damaged files; anything else is a fault of ours and must be seen.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    ArithmeticError,
    MemoryError,
    RuntimeError,  # the AVIF decoder
    struct.error,
    zlib.error,
)


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """A decoded picture.

    Attributes
    ----------
    thumb
        ``uint8 (channels, side, side)``, the whole picture, upright, 0 black to 255 white; 1 or 3 channels.
    width, height
        Pixels of the original, after EXIF orientation.
    format
        Pillow's name of the file format, for example ``JPEG``.
    """

    thumb: NDArray[np.uint8]
    width: int
    height: int
    format: str


def read_bytes(path: str | Path) -> bytes:
    """Read a whole file, or object of a store.

    Raises
    ------
    ImageError
        If it is missing, empty, unreadable or larger than `MAX_BYTES`.
    SourceError
        If its store does not answer.
    """
    if is_address(path):
        return read_stored(str(path), MAX_BYTES)
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_BYTES:
                raise ImageError(path, f"file of {size:,} bytes; the limit is {MAX_BYTES:,}")
            data = file.read()
    except FileNotFoundError as error:
        raise ImageError(path, NO_SUCH_FILE) from error
    except IsADirectoryError as error:
        raise ImageError(path, "is a folder, not an image") from error
    except ImageError:
        raise
    except OSError as error:
        raise ImageError(path, f"cannot be read ({error.strerror or error})") from error
    if not data:
        raise ImageError(path, "empty file (0 bytes)")
    return data


@contextmanager
def large_images_allowed() -> Iterator[None]:
    """Silence Pillow's warnings: between half of `MAX_PIXELS` and `MAX_PIXELS`, and of damaged metadata.

    Photographs of that size are ordinary today, and what damage keeps a picture from being read is an `ImageError`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
        yield


@contextmanager
def opened(data: bytes, path: str | Path) -> Iterator[Image.Image]:
    """Open an image file held in memory without decoding its pixels yet; what a decoder raises becomes an `ImageError`.

    Raises
    ------
    ImageError
        As :func:`decode`.
    """
    with _damage_named(data, path):
        raw = preview(data, path) if is_raw(path) else None
        with _open(data if raw is None else raw.data) as image:
            _check_pixels(image, path)
            if raw is not None:
                image.format = "RAW"
                image.info["raw"] = (raw.width, raw.height)
            yield image


def decode(data: bytes, path: str | Path, *, side: int, channels: int = 1) -> DecodedImage:
    """Decode an image file held in memory.

    Parameters
    ----------
    data
        The bytes of the file.
    path
        Named in errors; nothing is read from it.
    side
        Width and height of the thumb in pixels.
    channels
        1 for luminance (ITU-R 601), 3 for RGB.

    Raises
    ------
    ImageError
        If the bytes are no image, are damaged or truncated, or hold more than `MAX_PIXELS` pixels.
    """
    with opened(data, path) as image:
        width, height = image.info.get("raw", image.size)
        name = image.format or "unknown"
        # Twice the side: a JPEG's own scaling is coarser than the area resize after it, and codes can tell.
        image.draft("L" if channels == 1 else "RGB", (2 * side, 2 * side))
        image.load()
        orientation = orientation_of(image)  # after loading: a TIFF turns itself and drops the mark
        small = to_mode(image, "L" if channels == 1 else "RGB", side)
    if orientation in TURNS:
        small = small.transpose(TURNS[orientation])
        if orientation >= 5:
            width, height = height, width
    bands = (channels,) if channels > 1 else ()
    pixels = np.frombuffer(small.tobytes(), np.uint8).reshape(side, side, *bands)
    thumb = pixels[None] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))
    return DecodedImage(thumb, width, height, name)


def pixel_hash(data: bytes, path: str | Path) -> bytes:
    """Return 16 bytes that are equal for two files exactly if all their upright pixels are equal.

    Raises
    ------
    ImageError
        As :func:`decode`.
    """
    if is_raw(path):
        with _damage_named(data, path):
            return sensor_hash(data, path)
    with opened(data, path) as image:
        image.load()
        # Palettes and greys are compared by what they show; deep greys keep their depth.
        mode = image.mode if image.mode.startswith(("I", "F")) else "RGBA"
        turned = orientation_of(image) in {5, 6, 7, 8}
        digest = hashlib.sha256(f"{mode} {image.size[::-1] if turned else image.size}".encode())
        for strip in upright_strips(image):
            digest.update(strip.convert(mode).tobytes())
    return digest.digest()[:16]


def thumbnail(data: bytes, path: str | Path, *, side: int = 192) -> bytes:
    """Return a JPEG of at most `side` pixels a side, upright, for reports.

    Raises
    ------
    ImageError
        As :func:`decode`.
    """
    buffer = io.BytesIO()
    small_picture(data, path, side=side).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def small_picture(data: bytes, path: str | Path, *, side: int) -> Image.Image:
    """Return the picture in RGB, upright, at most `side` pixels a side, transparency laid on white.

    Raises
    ------
    ImageError
        As :func:`decode`.
    """
    with opened(data, path) as image:
        image.draft("RGB", (2 * side, 2 * side))
        image.load()
        orientation = orientation_of(image)
        small = to_picture(image, side)
    return small.transpose(TURNS[orientation]) if orientation in TURNS else small


def _open(data: bytes) -> Image.Image:
    """Open an image; the plugins of rare formats are loaded for the first file that needs them: they take a while."""
    try:
        return Image.open(io.BytesIO(data), formats=COMMON)
    except UnidentifiedImageError:
        return Image.open(io.BytesIO(data), formats=_readable())


@cache
def _readable() -> tuple[str, ...]:
    """Return those of `FORMATS` that Pillow can open here: it takes a name that it does not know for a fault."""
    with suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


@contextmanager
def _damage_named(data: bytes, path: str | Path) -> Iterator[None]:
    """Turn what decoders raise on bad files into one `ImageError` with a reason."""
    try:
        yield
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(path, _what_it_is(data)) from error
    except Image.DecompressionBombError as error:
        raise ImageError(path, f"image has too many pixels; the limit is {MAX_PIXELS:,}") from error
    except _DAMAGE as error:
        raise ImageError(path, _damage(error)) from error


def _check_pixels(image: Image.Image, path: str | Path) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise ImageError(path, f"{image.width} x {image.height} pixels; the limit is {MAX_PIXELS:,} in all")


def _what_it_is(data: bytes) -> str:
    head = data[:512]
    if head.lstrip()[:1] in {b"<", b"{"} or all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head):
        return "not an image (the file holds text)"
    if not any(head):
        return "not an image (the file starts with zeros)"
    if head[4:8] == b"ftyp" and head[8:12] in {b"heic", b"heix", b"mif1", b"avif", b"msf1", b"hevc"}:
        return "HEIF or AVIF image; run: pip install 'hashae[heif]'"
    return "not an image of a known format"


def _damage(error: BaseException) -> str:
    text = str(error).lower()
    if isinstance(error, MemoryError):
        return "image does not fit into memory"
    if "truncated" in text or "unexpected end" in text or isinstance(error, EOFError):
        return "truncated image"
    return f"damaged image ({str(error) or type(error).__name__})"
