"""Hostile input: damaged pictures, encoders, plans, verdicts and collections give the error that is meant for them.

Inputs are made from good ones and are numbered (``hostile.py``); each is tried in a process that may crash, hang or
take too much memory (``fuzzing.py``). Numbers that found a fault once are kept in `KEPT` and tried again.
"""

import io
import json
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hashae.errors import ImageError
from hashae.images.decode import decode, large_images_allowed, pixel_hash, thumbnail
from hashae.images.scan import scan

HERE = Path(__file__).parent
FUZZ = [sys.executable, "-P", str(HERE / "fuzzing.py")]
KEPT = [("collection", 28)]
"""Inputs that once were answered wrongly."""


def fuzz(*options):
    """Run the fuzzer; return what it says in the end, and fail with whatever it found."""
    done = subprocess.run([*FUZZ, *map(str, options)], capture_output=True, text=True, check=False)
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert [found for found in said if "wrong" in found] == []
    assert done.returncode == 0, done.stderr
    return said


@pytest.mark.parametrize(
    ("inputs", "minutes"), [(700, 10), pytest.param(100_000, 90, marks=pytest.mark.long)], ids=["short", "long"]
)
def test_damaged_input_of_every_kind_gives_an_answer_or_the_error_that_is_meant_for_it(inputs, minutes):
    said = fuzz("--inputs", inputs, "--minutes", minutes)
    tried = {found["target"]: found["tried"] for found in said}
    sys.stdout.write(f"{said}\n")  # shown with -rA: the figures of docs/reliability.md
    assert tried["all"] <= inputs + len(tried)  # fewer than asked for only if the time was over
    assert min(tried.values()) >= 1
    assert said[-1]["peak_mb"] < 1024
    # Damage that nothing survives, or that nothing notices, would try nothing.
    for found in said[:-1]:
        if found["tried"] >= 100 and found["target"] != "collection":
            assert 0 < found["taken"] < found["tried"], found


@pytest.mark.parametrize(("target", "number"), KEPT)
def test_what_was_found_once_is_tried_again(target, number):
    done = subprocess.run([*FUZZ, target, str(number)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_input_is_the_same_whenever_it_is_made_and_a_fault_is_told_with_its_number(tmp_path):
    script = f"""
import sys
sys.path.insert(0, {str(HERE)!r})
import hostile, fuzzing
def use(data, folder):
    if data[0] == 3: raise KeyError("three")
    if data[0] == 5: import os; os.abort()
    return True
hostile.TARGETS = {{"x": hostile.Target(lambda rng, folder: bytes([rng.randrange(8)]), use, 1.0)}}
if sys.argv[1:2] == ["--child"]:
    fuzzing.child(fuzzing.Path(sys.argv[2]))
else:
    fuzzing.__file__ = __file__
    said = []
    faults = [number for _, number, _ in fuzzing.fuzz(["x"], 12, 60, 0, said.append)]
    import random
    made = [random.Random(f"x {{number}}").randrange(8) for number in range(12)]
    assert faults == [number for number in range(12) if made[number] in (3, 5)], faults
    assert said[-1]["tried"] == 12, said
"""
    path = tmp_path / "script.py"
    path.write_text(script)
    done = subprocess.run([sys.executable, "-P", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def picture(name):
    data = io.BytesIO()
    Image.fromarray((np.arange(20 * 24 * 3) % 251).astype(np.uint8).reshape(20, 24, 3)).save(data, name)
    return data.getvalue()


@pytest.mark.parametrize("every", [23, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "TGA", "ICO"])
def test_a_picture_cut_off_anywhere_gives_an_image_error_or_a_picture(name, every):
    whole, words = picture(name), set()
    with large_images_allowed():
        for length in range(1, len(whole), every):
            for read in (lambda data: decode(data, "x", side=16), lambda data: pixel_hash(data, "x")):
                try:
                    read(whole[:length])
                except ImageError as error:
                    words.add(str(error))
    assert words
    assert all(word and "\n" not in word for word in words)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


HUGE = {
    "PNG": b"\x89PNG\r\n\x1a\n"
    + chunk(b"IHDR", struct.pack(">IIBBBBB", 65535, 65535, 8, 2, 0, 0, 0))
    + chunk(b"IDAT", zlib.compress(bytes(100))),
    "JPEG": b"\xff\xd8\xff\xe0\x00\x10JFIF\0\1\1\0\0\1\0\1\0\0\xff\xc0\x00\x0b\x08\xff\xff\xff\xff\x01\x01\x11\x00",
    "GIF": b"GIF89a\xff\xff\xff\xff\x00\x00\x00,\0\0\0\0\xff\xff\xff\xff\0\x02\x02D\x01\0;",
    "BMP": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 100, 0, 0, 54, 40, 65535, 65535, 1, 24, 0, 0, 0, 0, 0, 0),
    "PPM": b"P6 65535 65535 255\n" + bytes(100),
}


@pytest.mark.parametrize("name", HUGE)
def test_a_header_of_65535_by_65535_pixels_is_refused_before_memory_is_taken(name):
    for act in (lambda data: decode(data, "x", side=16), lambda data: pixel_hash(data, "x")):
        with large_images_allowed(), pytest.raises(ImageError):
            act(HUGE[name])
    status = Path("/proc/self/status")
    if status.exists():
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        assert int(peak.split()[1]) < 4_000_000  # kB; the pixels alone would be twice to four times that


LARGEST = """
import io, resource, sys, zlib, struct
from hashae.images.decode import decode, large_images_allowed, pixel_hash, thumbnail
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
data = open(sys.argv[1], "rb").read()
with large_images_allowed():
    for read in (lambda: decode(data, "x", side=64), lambda: pixel_hash(data, "x"), lambda: thumbnail(data, "x")):
        read()
print(peak())
"""


@pytest.mark.long
@pytest.mark.parametrize(("kind", "depth"), [(3, 8), (0, 16), (4, 8), (6, 8)], ids=["palette", "deep", "LA", "RGBA"])
def test_the_largest_picture_that_is_decoded_takes_less_than_a_gigabyte(tmp_path, kind, depth):
    """A file of some hundred kilobytes; converted as a whole it took two to three gigabytes."""
    side = 13_370
    row = side * depth * {0: 1, 3: 1, 4: 2, 6: 4}[kind] // 8 + 1
    packer = zlib.compressobj(1)
    rows = b"".join(packer.compress(bytes(row)) for _ in range(side)) + packer.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, depth, kind, 0, 0, 0))
    palette = chunk(b"PLTE", bytes(6)) + chunk(b"tRNS", b"\0") if kind == 3 else b""
    path = tmp_path / "large.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + palette + chunk(b"IDAT", rows) + chunk(b"IEND", b""))
    done = subprocess.run([sys.executable, "-P", "-c", LARGEST, path], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1 << 30


def test_two_formats_in_one_file_and_wrong_endings_are_what_their_first_bytes_say():
    """A picture with an archive, a script or another picture behind it is that picture."""
    jpeg = picture("JPEG")
    plain = decode(jpeg, "x", side=16)
    for more in (b"PK\x03\x04" + bytes(50), b"<script>alert(1)</script>", picture("PNG"), picture("GIF")):
        both = decode(jpeg + more, "x.png", side=16)
        assert (both.format, both.thumb.tolist()) == ("JPEG", plain.thumb.tolist())
        assert thumbnail(jpeg + more, "x.png") == thumbnail(jpeg, "x.jpg")
    for data in (
        b"%PDF-1.4\n",
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"#!/bin/sh\n",
    ):
        with pytest.raises(ImageError):
            decode(data + jpeg, "x.jpg", side=16)


def test_devices_and_pipes_in_a_folder_are_named_and_never_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "picture.png").write_bytes(picture("PNG"))
    problems = []
    assert [file.relative for file in scan(tmp_path, problems.append)] == ["picture.png"]
    assert {(problem.relative, problem.reason) for problem in problems} == {
        ("pipe.jpg", "not a regular file (a pipe, socket or device)"),
        ("zero.png", "not a regular file (a pipe, socket or device)"),
    }
