"""Hostile input: damaged pictures, encoders, plans and verdicts give the error that is meant for them, and no other.

Inputs are made from good ones by cutting, flipping, repeating and mixing bytes; hypothesis draws them from fixed seeds.
The long form tries a thousand times as many.
"""

import io
import json
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, features

from hashae.db.salvage import integrity, readable, salvage
from hashae.encoder import Encoder
from hashae.errors import DocumentError, EncoderFileError, HashaeError, ImageError
from hashae.images.decode import decode, large_images_allowed, pixel_hash, thumbnail
from hashae.images.scan import scan
from hashae.indexer import Collection
from hashae.indexer.plan import read_plan
from hashae.indexer.verdict_file import read_verdicts

FORMATS = {
    "PNG": {},
    "JPEG": {"quality": 80},
    "GIF": {},
    "BMP": {},
    "TIFF": {},
    "WEBP": {},
    "PPM": {},
    "TGA": {},
    "ICO": {},
    "JPEG2000": {},
    "AVIF": {},
}
if not features.check("avif"):
    del FORMATS["AVIF"]
if not features.check("jpg_2000"):
    del FORMATS["JPEG2000"]

QUICK = {"derandomize": True, "deadline": None, "suppress_health_check": list(HealthCheck), "database": None}
CHANGE = st.tuples(st.sampled_from("cut flip set repeat swap".split()), st.integers(0, 2**16), st.integers(0, 255))
CHANGES = st.lists(CHANGE, min_size=1, max_size=6)


def seed(name):
    picture = Image.fromarray((np.arange(20 * 24 * 3) % 251).astype(np.uint8).reshape(20, 24, 3))
    data = io.BytesIO()
    picture.save(data, name, **FORMATS[name])
    return data.getvalue()


SEEDS = {name: seed(name) for name in FORMATS}


def changed(data, changes):
    """Return bytes made from `data` by some changes."""
    made = bytearray(data)
    for kind, at, value in changes:
        if not made:
            break
        place = at % len(made)
        if kind == "cut":
            del made[place : place + value]
        elif kind == "flip":
            made[place] ^= 1 << value % 8
        elif kind == "set":
            made[place : place + 4] = bytes([value]) * 4
        elif kind == "repeat":
            made[place:place] = made[place : place + value]
        else:
            other = (place * 7 + value) % len(made)
            made[place], made[other] = made[other], made[place]
    return bytes(made)


def one_line(error):
    """A message that is missing or has lines would spoil the one that the command line prints."""
    assert str(error)
    assert "\n" not in str(error)


def only_image_errors(data):
    for act in (lambda: decode(data, "x", side=16), lambda: pixel_hash(data, "x"), lambda: thumbnail(data, "x")):
        try:
            act()
        except ImageError as error:
            one_line(error)


def tries(short, long):
    """Run a test that takes a number of examples in a short and in a long form."""
    return pytest.mark.parametrize("examples", [short, pytest.param(long, marks=pytest.mark.long)])


@tries(25, 8000)
@pytest.mark.parametrize("name", FORMATS)
def test_a_damaged_picture_gives_an_image_error_or_a_picture(name, examples):
    @settings(max_examples=examples, **QUICK)
    @given(CHANGES)
    def check(changes):
        with large_images_allowed():
            only_image_errors(changed(SEEDS[name], changes))

    check()


@pytest.mark.parametrize("every", [23, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", FORMATS)
def test_a_picture_cut_off_anywhere_gives_an_image_error_or_a_picture(name, every):
    with large_images_allowed():
        for length in range(1, len(SEEDS[name]), every):
            only_image_errors(SEEDS[name][:length])


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


def test_two_formats_in_one_file_and_wrong_endings_are_what_their_first_bytes_say():
    """A picture with an archive, a script or another picture behind it is that picture."""
    plain = decode(SEEDS["JPEG"], "x", side=16)
    for more in (b"PK\x03\x04" + bytes(50), b"<script>alert(1)</script>", SEEDS["PNG"], SEEDS["GIF"]):
        both = decode(SEEDS["JPEG"] + more, "x.png", side=16)
        assert (both.format, both.thumb.tolist()) == ("JPEG", plain.thumb.tolist())
    for data in (
        b"%PDF-1.4\n",
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"#!/bin/sh\n",
    ):
        with pytest.raises(ImageError):
            decode(data + SEEDS["JPEG"], "x.jpg", side=16)


def test_devices_and_pipes_in_a_folder_are_named_and_never_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "picture.png").write_bytes(SEEDS["PNG"])
    problems = []
    assert [file.relative for file in scan(tmp_path, problems.append)] == ["picture.png"]
    assert {(problem.relative, problem.reason) for problem in problems} == {
        ("pipe.jpg", "not a regular file (a pipe, socket or device)"),
        ("zero.png", "not a regular file (a pipe, socket or device)"),
    }


@tries(40, 4000)
def test_a_damaged_encoder_is_refused_or_works(encoder, examples):
    @settings(max_examples=examples, **QUICK)
    @given(CHANGES)
    def check(changes):
        data = changed(encoder.data, changes)
        try:
            opened = Encoder(data, threads=1)
        except EncoderFileError as error:
            one_line(error)
            return
        assert 8 <= opened.bits <= 512
        assert opened.form.thumb <= 2048

    check()


def documents(kind):
    """Anything JSON can say, and what is nearly a plan or a list of verdicts."""
    leaf = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8)
    names = st.sampled_from(
        "format kind version hashae collection made actions verdicts contents path keeper content size "
        "group tier reason keeper_content id rules".split()
    )
    values = st.recursive(leaf, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=6))
    return st.dictionaries(names, values, max_size=8).map(lambda found: {**found, **kind}) | values


@tries(60, 5000)
@pytest.mark.parametrize("read", [read_plan, read_verdicts], ids=["plan", "verdicts"])
def test_any_json_is_a_document_or_refused(tmp_path, read, examples):
    path = tmp_path / "document.json"

    @settings(max_examples=examples, **QUICK)
    @given(documents({"format": 1}), CHANGES | st.just([]))
    def check(value, changes):
        path.write_bytes(changed(json.dumps(value).encode(), changes))
        try:
            read(path)
        except DocumentError as error:
            one_line(error)

    check()


@tries(12, 3000)
def test_a_damaged_collection_says_so_or_answers(tmp_path, encoder, fill, examples):
    """Whatever is wrong with the file, and whatever is asked, the error is one of ours; and repairing never crashes."""
    folder, whole, path = fill(tmp_path / "photos", range(8)), tmp_path / "whole.db", tmp_path / "photos.db"
    with Collection.open(whole) as collection:
        collection.set_encoder(encoder)
        collection.index(folder)
        collection.verdicts.judge("distinct", sorted(folder.iterdir())[:2])
    data = whole.read_bytes()
    place = st.tuples(st.integers(100, len(data) - 1), st.integers(1, 300), st.integers(0, 255))

    @settings(max_examples=examples, **QUICK)
    @given(st.lists(place, min_size=1, max_size=4), st.integers(0, len(data)) | st.none())
    def check(places, end):
        made = bytearray(data)
        for at, length, value in places:
            made[at : at + length] = bytes([value]) * len(made[at : at + length])
        for old in tmp_path.glob("photos.db*"):
            old.unlink()
        path.write_bytes(made[:end])
        for ask in (ask_everything, repair_everything):
            try:
                ask(path, folder)
            except HashaeError as error:
                one_line(error)

    check()


def ask_everything(path, folder):
    with Collection.open(path, create=False, threads=1) as collection:
        collection.stats()
        collection.query(folder / "1.png", k=3)
        collection.verdicts.all()
        collection.dedup(radius=1)
        collection.verify(sample=2)


def repair_everything(path, _folder):
    if integrity(path):
        readable(path)
        salvage(path)
    with Collection.open(path, create=False, threads=1) as collection:
        collection.repair(collection.verify(sample=2))
