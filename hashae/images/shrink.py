"""Turn decoded pixels into a small picture, or into bytes to hash, without a second copy of a large one.

A picture of `MAX_PIXELS` takes 0.7 GB decoded, and a GIF or PNG of that size may be a file of 100 kB. So whatever
converts pixels does so strip by strip, some whole rows at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

STRIP = 1 << 22
"""Pixels in a strip, about: 16 MB where a pixel takes four bytes."""

ORIENTATION = 0x0112
"""Number of the EXIF entry that says how to turn a picture."""

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> what makes the picture upright; from 5 on, width and height change places."""

_FROM_THE_END = {3, 4, 7, 8}
_TRANSPARENT = {"P", "PA", "LA", "RGBA", "La", "RGBa"}


def to_mode(image: Image.Image, mode: str, side: int) -> Image.Image:
    """Return `image` area-resized to ``side x side`` in `mode`, transparency laid on white.

    Parameters
    ----------
    image
        Of any mode, decoded.
    mode
        ``L`` or ``RGB``.
    side
        Pixels.
    """
    factor = max(min(image.width, image.height) // (2 * side), 1)
    convert = _converter(image)
    if convert is not None:
        image = _reduced(image, convert, factor, mode)
    elif factor > 1 and image.mode != "1":
        image = image.reduce(factor)
    if image.mode != mode:
        image = image.convert(mode)
    return image.resize((side, side), Image.Resampling.BOX)


def to_picture(image: Image.Image, side: int) -> Image.Image:
    """Return `image` in RGB, as upright as it is, at most `side` pixels a side, transparency laid on white."""
    small = image
    convert = _converter(image)
    factor = max(image.width, image.height) // (2 * side)
    if convert is not None and image.width * image.height > STRIP and factor > 1:
        longest = max(image.size)
        size = tuple(max(round(length * side / longest), 1) for length in image.size)
        box = (0, 0, image.width / factor, image.height / factor)  # a cell at the edge may not be a whole one
        return _reduced(image, convert, factor, "RGB").convert("RGB").resize((size[0], size[1]), box=box)
    if image.mode.startswith(("I", "F")):
        assert convert is not None, "deep greys are converted"
        small = convert(image)
    elif convert is not None or image.mode not in {"L", "RGB"}:
        small = image.convert("RGBA")
    small.thumbnail((side, side))
    if small.mode == "RGBA":
        small = Image.alpha_composite(Image.new("RGBA", small.size, "white"), small)
    return small.convert("RGB")


def orientation_of(image: Image.Image) -> int:
    """Return the EXIF orientation of an opened picture, 1 (upright) if it has none."""
    # Asking Pillow takes a tenth of the time of decoding a small picture, and most files have nothing to say.
    if image.format == "JPEG" and not {"exif", "xmp"} & image.info.keys():
        return 1
    found: int = image.getexif().get(ORIENTATION, 1)
    return found


def upright_strips(image: Image.Image) -> Iterator[Image.Image]:
    """Yield a decoded picture from top to bottom as it is looked at, some rows at a time, in its own mode."""
    orientation = orientation_of(image)
    turned = orientation in TURNS and orientation >= 5
    width, height = image.size
    rows, across = (width, height) if turned else (height, width)
    step = max(STRIP // across, 1)
    for top in range(0, rows, step):
        bottom = min(top + step, rows)
        first, last = (rows - bottom, rows - top) if orientation in _FROM_THE_END else (top, bottom)
        strip = image.crop((first, 0, last, height) if turned else (0, first, width, last))
        yield strip.transpose(TURNS[orientation]) if orientation in TURNS else strip


def _reduced(image: Image.Image, convert: Callable[[Image.Image], Image.Image], factor: int, mode: str) -> Image.Image:
    """Return ``convert(image).reduce(factor)``, made strip by strip; in `mode` already if nothing is reduced."""
    whole = None
    step = max(STRIP // image.width // factor, 1) * factor
    for top in range(0, image.height, step):
        strip = convert(image.crop((0, top, image.width, min(top + step, image.height))))
        strip = strip.reduce(factor) if factor > 1 else strip.convert(mode)
        if step >= image.height:
            return strip
        if whole is None:
            whole = Image.new(strip.mode, (strip.width, -(-image.height // factor)))
        whole.paste(strip, (0, top // factor))
    assert whole is not None, "a picture has rows"
    return whole


def _converter(image: Image.Image) -> Callable[[Image.Image], Image.Image] | None:
    """Return what makes a strip of `image` one of 8-bit greys or colours; None where it is one already."""
    if image.mode.startswith(("I", "F")):
        return _to_eight_bits(image)
    if image.mode in _TRANSPARENT or "transparency" in image.info:
        return _on_white
    if image.mode == "LAB":
        return lambda strip: strip.convert("RGB")  # Pillow knows no other way out of it
    return None


def _on_white(strip: Image.Image) -> Image.Image:
    strip = strip.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", strip.size, "white"), strip)


def _to_eight_bits(image: Image.Image) -> Callable[[Image.Image], Image.Image]:
    """Return what scales 16-bit, 32-bit and float greys to 0..255; ``convert`` would clip them to white."""
    low, high = 0.0, 65535.0
    if not image.mode.startswith("I;16"):
        step = max(STRIP // image.width, 1)
        strips = (
            _values(image.crop((0, top, image.width, min(top + step, image.height))))
            for top in range(0, image.height, step)
        )
        ends = [(float(values.min()), float(values.max())) for values in strips]
        low, high = min(end[0] for end in ends), max(end[1] for end in ends)

    def scaled(strip: Image.Image) -> Image.Image:
        values = _values(strip)
        if low >= 0 and 255 < high <= 65535:
            values /= np.float32(257)
        elif low >= 0 and high <= 255:
            values *= np.float32(255 if high <= 1 else 1)
        else:  # the range itself may be too large for float32
            values = ((values.astype(np.float64) - low) * (255 / max(high - low, 1e-12))).astype(np.float32)
        return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))

    return scaled


def _values(strip: Image.Image) -> NDArray[np.float32]:
    values: NDArray[np.float32] = np.nan_to_num(np.asarray(strip, np.float32), posinf=0, neginf=0)
    return values
