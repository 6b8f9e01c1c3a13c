"""Pictures are converted strip by strip: to the bit, what comes out is what converting them as a whole would give."""

import io

import numpy as np
import pytest
from PIL import Image

from hashae.images import shrink
from hashae.images.decode import decode, pixel_hash, small_picture

FORMS = {
    "palette": lambda rgba: (rgba.convert("RGB").quantize(40), "PNG"),
    "transparent": lambda rgba: (rgba, "PNG"),
    "grey and alpha": lambda rgba: (rgba.convert("LA"), "PNG"),
    "16 bits": lambda rgba: (Image.fromarray(np.asarray(rgba.convert("L")).astype(np.uint16) * 200), "PNG"),
    "32 bits": lambda rgba: (Image.fromarray(np.asarray(rgba.convert("L")).astype(np.int32) * -3), "TIFF"),
    "float": lambda rgba: (Image.fromarray(np.asarray(rgba.convert("L")).astype(np.float32) * 3 - 100), "TIFF"),
    "colours": lambda rgba: (rgba.convert("RGB"), "JPEG"),
}


@pytest.fixture(params=FORMS)
def make(request, rng):
    """Return a function that writes a picture of a form and size, turned by EXIF."""

    def made(width, height, orientation):
        levels = np.kron(rng.integers(0, 256, (height // 7 + 1, width // 7 + 1, 4)), np.ones((7, 7, 1)))
        picture, format_ = FORMS[request.param](Image.fromarray(levels[:height, :width].astype(np.uint8)))
        exif, data = Image.Exif(), io.BytesIO()
        exif[0x0112] = orientation
        picture.save(data, format_, exif=exif)
        return data.getvalue()

    return made


@pytest.mark.parametrize(("size", "orientation"), [((301, 211), o) for o in range(1, 9)] + [((1200, 90), 6)])
def test_strips_change_no_bit_of_code_and_hash(make, monkeypatch, size, orientation):
    data = make(*size, orientation)
    results = []
    for strip in (1 << 22, 4000):
        monkeypatch.setattr(shrink, "STRIP", strip)
        thumbs = [decode(data, "x", side=side, channels=channels).thumb for side, channels in ((16, 1), (64, 3))]
        results.append(([thumb.tolist() for thumb in thumbs], pixel_hash(data, "x")))
    assert results[0] == results[1]


def test_a_small_picture_made_in_strips_is_nearly_the_same(make, monkeypatch):
    data = make(301, 211, 6)
    whole = small_picture(data, "x", side=48)
    monkeypatch.setattr(shrink, "STRIP", 4000)
    strips = small_picture(data, "x", side=48)
    assert strips.size == whole.size == (34, 48)
    assert np.abs(np.asarray(strips, np.int16) - np.asarray(whole, np.int16)).mean() < 6
