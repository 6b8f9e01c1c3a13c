"""Decoding: every format, upright pixels, transparency on white, depth kept, and a reason for each kind of damage."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps, PngImagePlugin

from hashae.errors import ImageError
from hashae.images.decode import (
    FORMATS,
    MAX_BYTES,
    MAX_PIXELS,
    decode,
    large_images_allowed,
    pixel_hash,
    read_bytes,
    thumbnail,
)

SIDE = 16


def scene(width=64, height=48):
    """Return a smooth picture in which no two sides and no two channels are alike."""
    rows, columns = np.mgrid[0:height, 0:width]
    red = 40 + 150 * columns / width
    green = 200 - 160 * rows / height
    blue = 30 + 100 * (rows / height) * (columns / width)
    picture = np.stack([red, green, blue], axis=-1).astype(np.uint8)
    picture[: height // 4, : width // 4] = (250, 240, 230)
    return Image.fromarray(picture)


def encoded(image, format_, **options):
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def thumb(data, channels=1, side=SIDE):
    return decode(data, "picture", side=side, channels=channels).thumb


def boxed(image, mode="L", side=SIDE):
    pixels = np.asarray(image.convert(mode).resize((side, side), Image.Resampling.BOX))
    return pixels[None] if mode == "L" else pixels.transpose(2, 0, 1)


def difference(one, other):
    return int(np.abs(one.astype(np.int16) - other.astype(np.int16)).max())


def reason(data, name="picture.jpg"):
    """Return why `data` is refused, the same for each of the three ways to read it."""
    reasons = set()
    for read in (lambda: decode(data, name, side=SIDE), lambda: pixel_hash(data, name), lambda: thumbnail(data, name)):
        with large_images_allowed(), pytest.raises(ImageError) as caught:
            read()
        assert str(caught.value) == f"{name}: {caught.value.reason}"
        reasons.add(caught.value.reason)
    assert len(reasons) == 1, reasons
    return reasons.pop()


def writable(format_):
    Image.init()
    return format_ in Image.SAVE and format_ != "HEIF"  # HEIF comes from an optional library


WRITTEN = [name for name in FORMATS if writable(name)]
LOSSY = {"JPEG", "MPO", "WEBP", "AVIF"}


# Formats and modes


@pytest.mark.parametrize("format_", WRITTEN)
def test_every_format_that_pillow_writes_is_read(format_):
    image = scene(64, 64) if format_ == "ICO" else scene()
    data = encoded(image, format_)
    got = decode(data, "picture", side=SIDE, channels=3)
    assert (got.width, got.height) == image.size
    assert got.format in {format_, "BMP", "JPEG"}  # the name inside the file: a DIB may call itself BMP
    assert got.thumb.dtype == np.uint8
    assert got.thumb.shape == (3, SIDE, SIDE)
    assert got.thumb.flags.c_contiguous
    apart = np.abs(got.thumb.astype(int) - boxed(image, "RGB"))
    if format_ in LOSSY | {"GIF"}:  # of 256 colours
        assert apart.mean() <= 4
    else:
        assert apart.max() <= 1
    assert thumb(data).shape == (1, SIDE, SIDE)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB"])
def test_every_mode_shows_the_same_picture(mode):
    if mode == "LAB":
        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        transform = ImageCms.buildTransform(*profiles, "RGB", "LAB")
        image = ImageCms.applyTransform(scene(), transform)
    else:
        image = scene().convert(mode)
    data = encoded(image, "TIFF")
    # Two levels leave a dot pattern, which averages to the grey it stands for only over larger cells.
    if mode == "1":
        assert difference(thumb(data, side=4), boxed(scene(), side=4)) <= 24
    else:
        assert difference(thumb(data), boxed(scene())) <= 8
    assert len(pixel_hash(data, "picture")) == 16
    assert Image.open(io.BytesIO(thumbnail(data, "picture"))).format == "JPEG"


def test_cmyk_jpeg_is_read_in_colour():
    assert difference(thumb(encoded(scene().convert("CMYK"), "JPEG", quality=95), 3), boxed(scene(), "RGB")) <= 6


@pytest.mark.parametrize("channels", [1, 3])
def test_transparent_pixels_lie_on_white(channels):
    image = Image.new("RGBA", (32, 32), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 16, 32))
    half = np.zeros((channels, SIDE, SIDE), np.uint8)
    half[:, :, 8:] = 255
    for mode in ("RGBA", "LA", "PA"):
        assert np.array_equal(thumb(encoded(image.convert(mode), "TIFF"), channels), half), mode


def test_a_transparent_palette_entry_lies_on_white():
    image = Image.new("P", (32, 32), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    image.paste(0, (0, 0, 16, 32))
    for format_ in ("PNG", "GIF"):
        got = thumb(encoded(image, format_, transparency=0), 3)
        assert (got[:, :, :8] == 255).all()
        assert (got[:, :, 8:] == np.array([10, 20, 30])[:, None, None]).all()


def test_a_transparent_colour_of_a_png_lies_on_white():
    image = Image.new("RGB", (32, 32), (9, 9, 9))
    got = thumb(encoded(image, "PNG", transparency=(9, 9, 9)))
    assert (got == 255).all()


def test_sixteen_bit_grey_is_scaled_and_not_clipped_to_white():
    levels = np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64)
    expected = boxed(Image.fromarray((levels // 257).astype(np.uint8)))
    for format_ in ("PNG", "TIFF", "PPM"):
        got = thumb(encoded(Image.fromarray(levels), format_))
        assert difference(got, expected) <= 1, format_
        assert got.min() < 8
        assert got.max() > 247


def test_dark_sixteen_bit_grey_stays_dark():
    assert (thumb(encoded(Image.fromarray(np.full((32, 32), 257 * 3, np.uint16)), "PNG")) == 3).all()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.linspace(0, 1, 32), np.linspace(0, 255, 32)),
        (np.linspace(0, 255, 32), np.linspace(0, 255, 32)),
        (np.linspace(-5, 5, 32), np.linspace(0, 255, 32)),
        (np.linspace(-3e38, 3e38, 32), np.linspace(0, 255, 32)),
        (np.full(32, np.nan), np.zeros(32)),
        (np.full(32, np.inf), np.zeros(32)),
        (np.full(32, -7.0), np.zeros(32)),
    ],
    ids=["to one", "to 255", "both signs", "huge", "nan", "infinite", "constant"],
)
def test_float_greys_are_scaled_to_what_can_be_seen(values, expected):
    image = Image.fromarray(np.repeat(values.astype(np.float32)[None], 32, axis=0))
    assert np.abs(thumb(encoded(image, "TIFF"), side=32)[0] - expected).max() <= 1


def test_one_bit_pictures_keep_black_and_white():
    image = Image.new("1", (32, 32), 0)
    image.paste(1, (16, 0, 32, 32))
    got = thumb(encoded(image, "PNG"))
    assert (got[0, :, :8] == 0).all()
    assert (got[0, :, 8:] == 255).all()


def test_a_large_one_bit_picture_is_averaged():
    dots = np.indices((256, 256)).sum(axis=0) % 2
    got = thumb(encoded(Image.fromarray(dots.astype(bool)), "PNG"))
    assert np.abs(got.astype(int) - 127.5).max() <= 1


def test_the_first_frame_of_an_animation_counts():
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("black", "white", "red")]
    for format_ in ("GIF", "WEBP", "PNG"):
        data = encoded(frames[0], format_, save_all=True, append_images=frames[1:])
        assert thumb(data).max() <= 3, format_
        assert pixel_hash(data, "x") == pixel_hash(encoded(frames[0], "PNG"), "x"), format_


@pytest.mark.parametrize("size", [(1, 1), (1, 400), (400, 1), (3, 2)])
def test_tiny_and_narrow_pictures_are_read(size):
    data = encoded(Image.new("RGB", size, (10, 200, 30)), "PNG")
    got = decode(data, "picture", side=SIDE, channels=3)
    assert (got.width, got.height) == size
    assert (got.thumb == np.array([10, 200, 30])[:, None, None]).all()
    assert max(Image.open(io.BytesIO(thumbnail(data, "picture", side=40))).size) <= 40


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(1024, 768), (1600, 500), (333, 777)])
def test_the_cheap_way_through_a_jpeg_stays_close_to_the_full_decode(size, channels):
    data = encoded(scene(*size), "JPEG", quality=92)
    full = boxed(Image.open(io.BytesIO(data)), "L" if channels == 1 else "RGB")
    apart = np.abs(thumb(data, channels).astype(int) - full.astype(int))
    assert apart.mean() < 2
    assert np.percentile(apart, 90) <= 4  # the edges of the bright corner may move by a part of a cell


# Orientation


@pytest.mark.parametrize("format_", [name for name in ("JPEG", "MPO", "PNG", "TIFF", "WEBP", "AVIF") if writable(name)])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_upright(format_, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(scene(), format_, exif=exif, quality=95)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert upright.size == ((48, 64) if orientation >= 5 else (64, 48))
    got = decode(data, "picture", side=SIDE, channels=3)
    assert (got.width, got.height) == upright.size
    assert difference(got.thumb, boxed(upright, "RGB")) <= 2
    assert pixel_hash(data, "a") == pixel_hash(encoded(upright, "PNG", exif=b""), "b")
    small = Image.open(io.BytesIO(thumbnail(data, "picture", side=32)))
    assert small.size == ((24, 32) if orientation >= 5 else (32, 24))
    assert difference(boxed(small, side=8), boxed(upright, side=8)) <= 12


@pytest.mark.parametrize("format_", ["JPEG", "PNG"])
def test_an_orientation_in_xmp_counts(format_):
    note = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r xmlns:tiff="t" tiff:Orientation="6"/></x:xmpmeta>'
    if format_ == "JPEG":
        data = encoded(scene(), "JPEG", xmp=note, quality=95)
    else:
        told = PngImagePlugin.PngInfo()
        told.add_itxt("XML:com.adobe.xmp", note.decode())
        data = encoded(scene(), "PNG", pnginfo=told)
    got = decode(data, "picture", side=SIDE)
    assert (got.width, got.height) == (48, 64)
    turned = thumb(encoded(scene().transpose(Image.Transpose.ROTATE_270), "PNG"))
    assert difference(got.thumb, turned) <= 3


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_means_nothing_is_ignored(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(thumb(encoded(scene(), "PNG", exif=exif)), thumb(encoded(scene(), "PNG")))


def test_deep_greys_are_turned_upright_in_reports_too():
    exif = Image.Exif()
    exif[0x0112] = 6
    levels = np.linspace(0, 65535, 64 * 32).astype(np.uint16).reshape(32, 64)
    data = encoded(Image.fromarray(levels), "PNG", exif=exif)
    assert decode(data, "x", side=8).height == 64
    assert Image.open(io.BytesIO(thumbnail(data, "x", side=32))).size == (16, 32)


# Damage


def test_a_missing_file():
    with pytest.raises(ImageError, match=r"^/no/such/file\.jpg: no such file$"):
        read_bytes("/no/such/file.jpg")


def test_a_folder_in_place_of_a_file(tmp_path):
    with pytest.raises(ImageError) as caught:
        read_bytes(tmp_path)
    assert caught.value.reason == "is a folder, not an image"
    assert caught.value.path == tmp_path


def test_an_empty_file(tmp_path):
    (tmp_path / "a.jpg").touch()
    with pytest.raises(ImageError) as caught:
        read_bytes(tmp_path / "a.jpg")
    assert caught.value.reason == "empty file (0 bytes)"


def test_a_file_too_large_for_memory(tmp_path):
    with (tmp_path / "a.jpg").open("wb") as file:
        file.truncate(MAX_BYTES + 1)  # takes no room on disk
    with pytest.raises(ImageError) as caught:
        read_bytes(tmp_path / "a.jpg")
    assert caught.value.reason == "file of 1,073,741,825 bytes; the limit is 1,073,741,824"


def test_a_file_that_cannot_be_read(tmp_path, monkeypatch):
    def refusing(*_args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refusing)
    with pytest.raises(ImageError) as caught:
        read_bytes(tmp_path / "a.jpg")
    assert caught.value.reason == "cannot be read (Permission denied)"


def test_bytes_come_back_whole(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"\0\1\2")
    assert read_bytes(str(tmp_path / "a.jpg")) == b"\0\1\2"


@pytest.mark.parametrize("text", [b"hello, I am a note", b"<html>\xe9</html>", b'  {"a": "\xe9"}', b"<svg/>"])
def test_text_named_like_a_picture(text):
    assert reason(text) == "not an image (the file holds text)"


def test_a_file_of_zeros():
    assert reason(bytes(5000)) == "not an image (the file starts with zeros)"


def test_random_bytes(rng):
    assert reason(b"\xfe\x01\x02" + rng.bytes(3000)) == "not an image of a known format"


def test_a_heif_picture_without_its_library(monkeypatch):
    readable = tuple(name for name in FORMATS if name in Image.OPEN and name not in {"HEIF", "AVIF"})
    monkeypatch.setattr(sys.modules["hashae.images.decode"], "_readable", lambda: readable)
    for brand in (b"heic", b"avif"):
        head = b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0mif1" + bytes(100)
        assert reason(head) == "HEIF or AVIF image; run: pip install 'hashae[heif]'"


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.9])
@pytest.mark.parametrize("format_", ["JPEG", "PNG"])
def test_a_picture_cut_short(rng, format_, share):
    noise = Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    data = encoded(noise, format_)
    assert reason(data[: int(share * len(data))]) == "truncated image"


@pytest.mark.parametrize("length", [4, 12, 20, 30])
@pytest.mark.parametrize("format_", ["JPEG", "PNG"])
def test_a_picture_cut_within_its_header_is_named_too(format_, length):
    data = encoded(scene(), format_)[:length]
    assert reason(data) in {"truncated image", "not an image of a known format"} or "damaged image" in reason(data)


def test_a_picture_with_a_damaged_middle():
    data = bytearray(encoded(scene(), "PNG"))
    place = data.index(b"IDAT") + 10
    data[place : place + 20] = bytes(20)
    assert reason(bytes(data)).startswith(("damaged image (", "truncated image"))


def png_header(width, height):
    """Return a PNG of a few bytes that claims to be ``width x height``."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


def test_a_bomb_is_refused_by_its_header():
    data = png_header(30_000, 30_000)
    assert len(data) < 100
    assert reason(data) == "image has too many pixels; the limit is 178,956,970"
    assert f"{MAX_PIXELS:,}" == "178,956,970"


def test_the_limit_of_pixels_holds_if_pillow_has_none(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert reason(png_header(30_000, 30_000)) == "30000 x 30000 pixels; the limit is 178,956,970 in all"


def test_running_out_of_memory_is_the_fault_of_the_picture(monkeypatch):
    def full(*_args, **_options):
        raise MemoryError

    monkeypatch.setattr(Image.Image, "convert", full)
    assert reason(encoded(scene(), "PNG")) == "image does not fit into memory"


SEEDS = [
    encoded(scene(24, 16), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"),
    encoded(scene(24, 16), "PNG"),
    encoded(scene(24, 16).convert("P"), "GIF"),
    encoded(scene(24, 16), "BMP"),
    encoded(scene(24, 16), "TIFF"),
    encoded(scene(24, 16), "WEBP"),
    encoded(scene(24, 16), "PPM"),
    encoded(scene(24, 16), "TGA"),
    encoded(scene(24, 16), "JPEG2000"),
]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(
    data=st.sampled_from(SEEDS),
    edits=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=6),
    kept=st.one_of(st.just(1.0), st.floats(0, 1)),
)
def test_nothing_but_an_image_error_escapes(data, edits, kept):
    damaged = bytearray(data)
    for place, value in edits:
        damaged[int(place**3 * (len(damaged) - 1))] = value  # cubed: most of the edits hit the header
    damaged = bytes(damaged[: int(kept * len(damaged))])
    with large_images_allowed():
        for read in (lambda: decode(damaged, "x", side=8), lambda: pixel_hash(damaged, "x")):
            with suppress(ImageError):
                read()
        with suppress(ImageError):
            assert max(Image.open(io.BytesIO(thumbnail(damaged, "x", side=8))).size) <= 8


# Equal pixels


def test_equal_pixels_have_equal_hashes_in_any_lossless_format():
    hashes = {pixel_hash(encoded(scene(), name), "x") for name in ("PNG", "BMP", "TIFF", "PPM", "TGA")}
    assert len(hashes) == 1
    assert len(hashes.pop()) == 16


def test_one_changed_pixel_changes_the_hash():
    other = scene()
    red, green, blue = other.getpixel((13, 11))
    other.putpixel((13, 11), (red, green, blue ^ 1))
    assert pixel_hash(encoded(scene(), "PNG"), "x") != pixel_hash(encoded(other, "PNG"), "x")


def test_equal_bytes_in_another_shape_have_another_hash():
    levels = np.arange(32 * 8, dtype=np.uint8)
    wide, tall = (encoded(Image.fromarray(levels.reshape(shape)), "PNG") for shape in ((8, 32), (32, 8)))
    assert pixel_hash(wide, "x") != pixel_hash(tall, "x")


def test_deep_greys_are_told_apart_below_eight_bits():
    one = np.full((16, 16), 5000, np.uint16)
    other = one.copy()
    other[3, 3] += 1
    hashes = {pixel_hash(encoded(Image.fromarray(levels), "PNG"), "x") for levels in (one, other)}
    assert len(hashes) == 2


# Thumbnails


@pytest.mark.parametrize(("size", "expected"), [((640, 480), (64, 48)), ((480, 640), (48, 64)), ((30, 20), (30, 20))])
def test_thumbnails_are_bounded_and_keep_the_proportions(size, expected):
    for format_ in ("JPEG", "PNG"):
        small = Image.open(io.BytesIO(thumbnail(encoded(scene(*size), format_), "x", side=64)))
        assert small.format == "JPEG"
        assert small.mode == "RGB"
        assert small.size == expected


def test_thumbnails_show_transparency_as_white():
    small = Image.open(io.BytesIO(thumbnail(encoded(Image.new("RGBA", (40, 40), (0, 0, 0, 0)), "PNG"), "x")))
    assert np.asarray(small).min() >= 254


def test_thumbnails_of_deep_greys_are_not_clipped():
    levels = np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64)
    small = np.asarray(Image.open(io.BytesIO(thumbnail(encoded(Image.fromarray(levels), "PNG"), "x"))))
    assert 100 < small.mean() < 155
