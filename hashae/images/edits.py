"""Thirty-one edits of fixed strength that people and programs do to pictures.

`EDITS` maps a name to a function ``(picture, rng) -> picture or JPEG bytes``. The strengths stand in the table
and nowhere else. Everything random comes from `rng`, so one seed gives the same copies on every run.

A crop of p % takes p % of the width and of the height away in total, half of it on each side. Rotations keep the
size of the picture and leave black corners. `save_edit` writes what is not re-encoded as JPEG of quality 92.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

from hashae.errors import ConfigError

Edit: TypeAlias = Callable[[Image.Image, np.random.Generator], Image.Image | bytes]

JPEG_QUALITY = 92
"""Quality of saved copies whose edit is not the compression itself."""

CAPTIONS = (
    "Summer by the sea",
    "When the meeting could have been a mail",
    "Saved from a friend of a friend",
    "Lot 4711: hardly used",
    "This is my good side",
)


def re_encode(picture: Image.Image, rng: np.random.Generator, *, quality: int) -> bytes:
    """Compress to JPEG bytes."""
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def resize(picture: Image.Image, rng: np.random.Generator, *, factor: float) -> Image.Image:
    """Scale both sides."""
    return stretch(picture, rng, across=factor, down=factor)


def stretch(picture: Image.Image, rng: np.random.Generator, *, across: float, down: float = 1.0) -> Image.Image:
    """Scale each side by its own factor."""
    size = (max(1, round(picture.width * across)), max(1, round(picture.height * down)))
    return picture.resize(size, Image.Resampling.LANCZOS)


def crop(picture: Image.Image, rng: np.random.Generator, *, share: float) -> Image.Image:
    """Keep the centre: `share` of each dimension goes, half of it on each side."""
    across, down = round(picture.width * share / 2), round(picture.height * share / 2)
    return picture.crop((across, down, picture.width - across, picture.height - down))


def corner_crop(picture: Image.Image, rng: np.random.Generator, *, share: float) -> Image.Image:
    """Take `share` of each dimension away at the two sides that meet in a corner drawn from `rng`."""
    across, down = round(picture.width * share), round(picture.height * share)
    left, top = across * int(rng.integers(2)), down * int(rng.integers(2))
    return picture.crop((left, top, left + picture.width - across, top + picture.height - down))


def pad(picture: Image.Image, rng: np.random.Generator, *, share: float, grey: int) -> Image.Image:
    """Add a frame of one grey, `share` of each dimension on each side."""
    border = (round(picture.width * share), round(picture.height * share))
    return ImageOps.expand(picture, border, (grey, grey, grey))


def rotate(picture: Image.Image, rng: np.random.Generator, *, degrees: float) -> Image.Image:
    """Turn by `degrees`, left or right as drawn from `rng`; same size, black corners."""
    return picture.rotate(degrees * rng.choice((-1, 1)), Image.Resampling.BICUBIC, expand=False)


def mirror(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Swap left and right."""
    return ImageOps.mirror(picture)


def noise(picture: Image.Image, rng: np.random.Generator, *, sigma: float) -> Image.Image:
    """Add normal noise of `sigma` levels of 255 to each channel of each pixel."""
    levels = np.asarray(picture, np.float32)
    noisy = levels + rng.normal(0, sigma, levels.shape).astype(np.float32)
    return Image.fromarray(np.clip(np.rint(noisy), 0, 255).astype(np.uint8))


def blur(picture: Image.Image, rng: np.random.Generator, *, radius: float) -> Image.Image:
    """Blur with a Gaussian of `radius` pixels."""
    return picture.filter(ImageFilter.GaussianBlur(radius))


def gamma(picture: Image.Image, rng: np.random.Generator, *, exponent: float) -> Image.Image:
    """Raise each level, as a share of 255, to `exponent`: below 1 is lighter."""
    table = [round(255 * (level / 255) ** exponent) for level in range(256)]
    return picture.point(table * 3)


def brightness(picture: Image.Image, rng: np.random.Generator, *, factor: float) -> Image.Image:
    """Multiply all levels; what leaves the range is clipped."""
    return ImageEnhance.Brightness(picture).enhance(factor)


def contrast(picture: Image.Image, rng: np.random.Generator, *, factor: float) -> Image.Image:
    """Multiply the distances to the mean grey."""
    return ImageEnhance.Contrast(picture).enhance(factor)


def grey(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Drop the colours."""
    return picture.convert("L").convert("RGB")


def watermark(
    picture: Image.Image, rng: np.random.Generator, *, text: str, opacity: float, height: float
) -> Image.Image:
    """Lay half-transparent white text across the middle, turned by 20 degrees.

    `height` is the size of the letters as a share of the short side.
    """
    stamp = Image.new("L", picture.size, 0)
    font = ImageFont.load_default(size=max(8, min(picture.size) * height))
    centre = (picture.width / 2, picture.height / 2)
    ImageDraw.Draw(stamp).text(centre, text, fill=round(255 * opacity), font=font, anchor="mm")
    stamp = stamp.rotate(20, Image.Resampling.BICUBIC)
    return Image.composite(Image.new("RGB", picture.size, "white"), picture, stamp)


def caption(picture: Image.Image, rng: np.random.Generator, *, share: float) -> Image.Image:
    """Add a white bar with a line of black text above; `share` is its height as a share of the picture's."""
    bar = max(12, round(picture.height * share))
    canvas = Image.new("RGB", (picture.width, picture.height + bar), "white")
    canvas.paste(picture, (0, bar))
    text = CAPTIONS[int(rng.integers(len(CAPTIONS)))]
    pen = ImageDraw.Draw(canvas)
    size = bar * 0.6
    while size > 6 and pen.textlength(text, font=ImageFont.load_default(size=size)) > picture.width * 0.96:
        size *= 0.9
    pen.text((picture.width / 2, bar / 2), text, fill="black", font=ImageFont.load_default(size=size), anchor="mm")
    return canvas


def logo(picture: Image.Image, rng: np.random.Generator, *, share: float) -> Image.Image:
    """Put an opaque round logo on a corner drawn from `rng`; `share` is its width as a share of the short side."""
    size = max(8, round(min(picture.size) * share))
    margin = max(1, size // 8)
    left = margin if rng.integers(2) else picture.width - size - margin
    top = margin if rng.integers(2) else picture.height - size - margin
    edited = picture.copy()
    pen = ImageDraw.Draw(edited)
    pen.ellipse((left, top, left + size, top + size), fill=(206, 32, 41), outline="white", width=max(1, size // 12))
    font = ImageFont.load_default(size=size * 0.55)
    pen.text((left + size / 2, top + size / 2), "ae", fill="white", font=font, anchor="mm")
    return edited


def vignette(picture: Image.Image, rng: np.random.Generator, *, strength: float) -> Image.Image:
    """Darken towards the corners, where `strength` of the light is gone."""
    rows = np.linspace(-1, 1, picture.height)[:, None]
    columns = np.linspace(-1, 1, picture.width)[None, :]
    light = 1 - strength * (rows**2 + columns**2) / 2
    return Image.fromarray((np.asarray(picture, np.float32) * light[:, :, None]).astype(np.uint8))


def screenshot(picture: Image.Image, rng: np.random.Generator, *, bar: float, margin: float) -> Image.Image:
    """Show the picture as a telephone does: status bar and address line above, buttons below, grey margins.

    `bar` is the height of each bar as a share of the picture's height, `margin` that of the side margins in width.
    """
    bar_height, side = max(8, round(picture.height * bar)), round(picture.width * margin)
    width, height = picture.width + 2 * side, picture.height + 3 * bar_height
    screen = Image.new("RGB", (width, height), (242, 242, 246))
    screen.paste(picture, (side, 2 * bar_height))
    pen = ImageDraw.Draw(screen)
    font = ImageFont.load_default(size=bar_height * 0.55)
    clock = f"{int(rng.integers(24)):02d}:{int(rng.integers(60)):02d}"
    pen.text((bar_height / 2, bar_height / 2), clock, fill="black", font=font, anchor="lm")
    pen.rectangle(
        (width - bar_height * 1.6, bar_height * 0.3, width - bar_height * 0.6, bar_height * 0.7), fill=(52, 199, 89)
    )
    pen.rounded_rectangle(
        (bar_height / 2, bar_height * 1.1, width - bar_height / 2, bar_height * 1.9), bar_height * 0.3, fill="white"
    )
    pen.text((width / 2, bar_height * 1.5), "pictures", fill=(90, 90, 90), font=font, anchor="mm")
    for button in range(4):
        centre = (width * (button + 0.5) / 4, height - bar_height / 2)
        pen.circle(centre, bar_height * 0.25, fill=(0, 122, 255))
    return screen


EDITS: dict[str, Edit] = {
    "re-encode q90": partial(re_encode, quality=90),
    "re-encode q30": partial(re_encode, quality=30),
    "re-encode q10": partial(re_encode, quality=10),
    "resize 50 %": partial(resize, factor=0.5),
    "resize 25 %": partial(resize, factor=0.25),
    "stretch 1.3": partial(stretch, across=1.3),
    "crop 5 %": partial(crop, share=0.05),
    "crop 10 %": partial(crop, share=0.10),
    "crop 20 %": partial(crop, share=0.20),
    "crop 30 %": partial(crop, share=0.30),
    "corner crop 15 %": partial(corner_crop, share=0.15),
    "pad 10 % black": partial(pad, share=0.10, grey=0),
    "pad 20 % white": partial(pad, share=0.20, grey=255),
    "rotate 2": partial(rotate, degrees=2),
    "rotate 4": partial(rotate, degrees=4),
    "rotate 10": partial(rotate, degrees=10),
    "mirror": mirror,
    "noise 20": partial(noise, sigma=20),
    "noise 50": partial(noise, sigma=50),
    "blur 2": partial(blur, radius=2),
    "blur 6": partial(blur, radius=6),
    "gamma 0.5": partial(gamma, exponent=0.5),
    "gamma 2": partial(gamma, exponent=2),
    "brightness 1.4": partial(brightness, factor=1.4),
    "contrast 0.6": partial(contrast, factor=0.6),
    "grey": grey,
    "watermark text": partial(watermark, text="© hashae", opacity=0.5, height=0.2),
    "caption bar": partial(caption, share=0.15),
    "logo": partial(logo, share=0.25),
    "vignette": partial(vignette, strength=0.8),
    "screenshot": partial(screenshot, bar=0.08, margin=0.04),
}


def edited_bytes(picture: Image.Image, edit: str, suffix: str, rng: np.random.Generator) -> bytes:
    """Return the file content of an edited copy.

    Parameters
    ----------
    picture
        RGB image.
    edit
        A name in `EDITS`.
    suffix
        ``.jpg``, ``.png`` and so on: the format of the copy. Re-encoded copies are JPEG files.
    rng
        Source of everything random in the edit.

    Raises
    ------
    ConfigError
        If a re-encoded copy is to be no JPEG file, or the picture is not RGB.
    """
    if picture.mode != "RGB":
        raise ConfigError(f"the picture has mode {picture.mode}; expected RGB: convert it first")
    kind = Image.registered_extensions()[suffix.lower()]
    edited = EDITS[edit](picture, rng)
    if isinstance(edited, bytes):
        if kind != "JPEG":
            raise ConfigError(f"the suffix is {suffix}; expected .jpg: the edit {edit!r} makes JPEG bytes")
        return edited
    buffer = BytesIO()
    edited.save(buffer, kind, quality=JPEG_QUALITY)
    return buffer.getvalue()


def save_edit(picture: Image.Image, edit: str, path: Path, rng: np.random.Generator) -> None:
    """Write the edited copy of `picture` to `path`, whose suffix chooses the format; see `edited_bytes`."""
    content = edited_bytes(picture, edit, path.suffix, rng)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
