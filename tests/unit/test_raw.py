"""Camera raw files: their preview is decoded, their sensor decides whether two are the same."""

import importlib.util
import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hashae.errors import ImageError
from hashae.images import raw
from hashae.images.decode import decode, opened, pixel_hash, thumbnail
from hashae.images.metadata import read_metadata
from hashae.images.scan import scan

spec = importlib.util.spec_from_file_location("dng", Path(__file__).with_name("dng.py"))
writer = importlib.util.module_from_spec(spec)
spec.loader.exec_module(writer)


@pytest.fixture(autouse=True)
def _library():
    pytest.importorskip("rawpy")


@pytest.fixture
def jpeg(picture):
    data = io.BytesIO()
    picture.resize((160, 120)).save(data, "JPEG", quality=95)
    return data.getvalue()


@pytest.fixture
def sensor(rng):
    return rng.integers(0, 65535, (240, 320)).astype(np.uint16)


@pytest.fixture
def make(jpeg, sensor):
    """Return a function that writes a DNG; what is given replaces what is usual."""

    def made(preview=jpeg, values=sensor, **settings):
        return writer.dng(preview, (160, 120), values, **settings)

    return made


def reason(call):
    with pytest.raises(ImageError) as refused:
        call()
    return refused.value.reason


def test_the_preview_is_what_is_seen_and_the_size_is_that_of_the_sensor(make, jpeg):
    found = decode(make(), "x.DNG", side=32)
    assert (found.width, found.height, found.format) == (320, 240, "RAW")
    assert found.thumb.tolist() == decode(jpeg, "x.jpg", side=32).thumb.tolist()
    assert thumbnail(make(), "x.dng") == thumbnail(jpeg, "x.jpg")


@pytest.mark.parametrize(("orientation", "turn"), [(3, 180), (6, -90), (8, 90)])
def test_a_turned_camera(make, jpeg, orientation, turn):
    found = decode(make(orientation=orientation), "x.dng", side=32)
    upright = np.asarray(Image.open(io.BytesIO(jpeg)).convert("L").rotate(turn, expand=True), np.float32)
    small = np.asarray(Image.fromarray(upright).resize((32, 32), Image.Resampling.BOX))
    assert (found.width, found.height) == ((320, 240) if turn == 180 else (240, 320))
    assert np.abs(found.thumb[0] - small).mean() < 4


def test_the_sensor_decides_and_never_the_preview(make, jpeg, sensor):
    """The camera's own JPEG has the pixels of the preview: neither may take the place of the other."""
    mine = pixel_hash(make(), "x.dng")
    assert mine != pixel_hash(jpeg, "x.jpg")
    assert mine == pixel_hash(make(note="another word"), "y.nef")
    assert mine != pixel_hash(make(values=sensor ^ 1), "x.dng")
    other = io.BytesIO()
    Image.new("RGB", (160, 120), "red").save(other, "JPEG")
    assert mine == pixel_hash(make(preview=other.getvalue()), "x.dng")


def test_metadata_and_pixels_of_the_preview_can_be_asked_for(make, tmp_path):
    path = tmp_path / "x.dng"
    path.write_bytes(make())
    assert read_metadata(path).fields >= 1
    with opened(make(), path) as image:
        assert (image.format, image.size) == ("RAW", (160, 120))


def test_damage_is_named_in_one_line(make):
    assert reason(lambda: decode(b"no raw file at all" * 100, "x.cr2", side=16)).startswith("damaged or unknown raw")
    assert reason(lambda: pixel_hash(b"II*\0" + bytes(500), "x.nef")).startswith("damaged or unknown raw")
    said = set()
    for cut in range(100, len(make()), 4001):
        for read in (lambda data: decode(data, "x.dng", side=16), lambda data: pixel_hash(data, "x.dng")):
            try:
                read(make()[:cut])
            except ImageError as error:
                said.add(str(error))
    assert said
    assert not [words for words in said if not words or "\n" in words]


def test_without_the_library_they_are_passed_over_and_named_when_asked_for(make, monkeypatch, tmp_path):
    (tmp_path / "x.dng").write_bytes(make())
    assert [file.relative for file in scan(tmp_path)] == ["x.dng"]
    monkeypatch.setitem(sys.modules, "rawpy", None)
    monkeypatch.setattr(sys.modules["hashae.images.scan"], "is_readable", lambda: False)
    assert list(scan(tmp_path)) == []
    assert reason(lambda: decode(make(), "x.dng", side=16)) == "camera raw file; run: pip install 'hashae[raw]'"
    assert raw.is_raw("a/B.NEF")
