"""What a picture says of itself beside its pixels: when it was taken, where, and what a person thought of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from hashae.images.decode import opened, read_bytes

_EXIF, _GPS, _RATING = 0x8769, 0x8825, 0x4746
_TAKEN = (0x9003, 0x9004)  # DateTimeOriginal, DateTimeDigitized; DateTime is when a program last wrote the file
_POSITION = {1, 2, 3, 4}  # latitude and longitude, and their hemispheres
_STRUCTURE = {_EXIF, _GPS, 0xA005, 0x0112, 0x927C}  # pointers, orientation, maker note: they tell a person nothing
_XMP_RATING = re.compile(rb"""\bxmp:Rating\s*(?:=\s*["']|>)\s*(-?\d{1,2})\b""")


@dataclass(frozen=True, slots=True)
class Metadata:
    """Metadata of one file.

    Attributes
    ----------
    fields
        Number of EXIF fields with a value, those of the position included.
    gps
        True if latitude and longitude are given.
    rating
        Stars, 1 to 5, from EXIF or XMP; 0 if nobody gave any.
    taken
        When the shutter opened, local time as the camera's clock had it, ``YYYY-MM-DDTHH:MM:SS``; empty if not told.
    """

    fields: int = 0
    gps: bool = False
    rating: int = 0
    taken: str = ""


def read_metadata(path: str | Path) -> Metadata:
    """Read the metadata of a file; its pixels are not decoded.

    Raises
    ------
    ImageError
        If the file cannot be read as an image.
    """
    data = read_bytes(path)
    with opened(data, path) as image:
        exif = image.getexif()
        main, camera, position = dict(exif), exif.get_ifd(_EXIF), exif.get_ifd(_GPS)
        xmp = image.info.get("xmp", b"")
    told = [{tag for tag, value in part.items() if _says(value)} - _STRUCTURE for part in (main, camera, position)]
    dates = (_date(camera.get(tag)) for tag in _TAKEN)
    return Metadata(
        fields=sum(map(len, told)),
        gps=told[2] >= _POSITION,
        rating=_rating(main.get(_RATING), xmp),
        taken=next(filter(None, dates), ""),
    )


def _says(value: Any) -> bool:
    """Tell whether a field holds more than blanks."""
    if isinstance(value, (str, bytes)):
        blanks = " \0" if isinstance(value, str) else b" \0"
        return bool(value.strip(blanks))  # type: ignore[arg-type]
    return value is not None


def _date(value: Any) -> str:
    if not isinstance(value, str):
        return ""
    try:
        return datetime.strptime(value.strip(" \0"), "%Y:%m:%d %H:%M:%S").isoformat()
    except ValueError:  # cameras without a clock write blanks or zeros
        return ""


def _rating(exif: Any, xmp: Any) -> int:
    """Return 1 to 5 stars; 0 stands for none, and so does -1, which XMP takes for `rejected`."""
    found = _XMP_RATING.search(xmp) if isinstance(xmp, bytes) else None
    value = exif if isinstance(exif, int) and exif else int(found[1]) if found else 0
    return value if 1 <= value <= 5 else 0
