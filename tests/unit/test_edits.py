"""The edits: sizes, determinism, and that each of them can be seen."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageChops

from hashae.errors import ConfigError
from hashae.images import edits

WIDTH, HEIGHT = 200, 120

SIZES = {
    "resize 50 %": (100, 60),
    "resize 25 %": (50, 30),
    "stretch 1.3": (260, 120),
    "crop 5 %": (190, 114),
    "crop 10 %": (180, 108),
    "crop 20 %": (160, 96),
    "crop 30 %": (140, 84),
    "corner crop 15 %": (170, 102),
    "pad 10 % black": (240, 144),
    "pad 20 % white": (280, 168),
    "caption bar": (200, 138),
    "screenshot": (216, 150),
}


@pytest.fixture
def photo(picture):
    return picture.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)


def apply(name, photo, seed=0):
    edited = edits.EDITS[name](photo, np.random.default_rng(seed))
    return Image.open(BytesIO(edited)) if isinstance(edited, bytes) else edited


def test_there_are_thirty_edits_and_the_half_size():
    assert len(edits.EDITS) == 31
    assert set(SIZES) < set(edits.EDITS)


@pytest.mark.parametrize("name", edits.EDITS)
def test_size_and_mode(name, photo):
    edited = apply(name, photo)
    assert edited.size == SIZES.get(name, (WIDTH, HEIGHT))
    assert edited.mode == "RGB"


@pytest.mark.parametrize("name", edits.EDITS)
def test_same_seed_same_copy(name, photo):
    assert apply(name, photo, seed=3).tobytes() == apply(name, photo, seed=3).tobytes()


@pytest.mark.parametrize("name", edits.EDITS)
def test_the_change_can_be_seen_and_the_original_is_left_alone(name, photo):
    before = photo.tobytes()
    edited = apply(name, photo)
    assert photo.tobytes() == before
    if edited.size == photo.size:
        difference = np.asarray(ImageChops.difference(edited, photo))
        assert difference.max() >= 8


@pytest.mark.parametrize("name", ["corner crop 15 %", "rotate 4", "noise 20", "logo", "caption bar"])
def test_another_seed_another_copy(name, photo):
    assert len({apply(name, photo, seed).tobytes() for seed in range(8)}) > 1


def test_crop_keeps_the_centre(photo):
    assert apply("crop 20 %", photo).tobytes() == photo.crop((20, 12, 180, 108)).tobytes()


def test_padding_is_on_every_side(photo):
    levels = np.asarray(apply("pad 10 % black", photo))
    assert not levels[:12].any()
    assert not levels[-12:].any()
    assert not levels[:, :20].any()
    assert np.array_equal(levels[12:-12, 20:-20], np.asarray(photo))


def test_gamma_and_brightness_have_the_stated_direction(photo):
    mean = np.asarray(photo).mean()
    assert np.asarray(apply("gamma 0.5", photo)).mean() > mean
    assert np.asarray(apply("gamma 2", photo)).mean() < mean
    assert np.asarray(apply("brightness 1.4", photo)).mean() > mean


@pytest.mark.parametrize("name", edits.EDITS)
def test_small_pictures_survive(name, photo):
    assert min(apply(name, photo.resize((32, 24))).size) >= 6


def test_saved_copies(photo, tmp_path):
    rng = np.random.default_rng(0)
    edits.save_edit(photo, "re-encode q30", tmp_path / "a" / "small.jpg", rng)
    edits.save_edit(photo, "crop 10 %", tmp_path / "a" / "crop.png", rng)
    with Image.open(tmp_path / "a" / "small.jpg") as copy:
        assert copy.format == "JPEG"
    with Image.open(tmp_path / "a" / "crop.png") as copy:
        assert (copy.format, copy.size) == ("PNG", (180, 108))


def test_saving_says_what_is_wrong(photo, tmp_path):
    rng = np.random.default_rng(0)
    with pytest.raises(
        ConfigError, match=r"the suffix is \.png; expected \.jpg: the edit 're-encode q30' makes JPEG bytes"
    ):
        edits.save_edit(photo, "re-encode q30", tmp_path / "small.png", rng)
    with pytest.raises(ConfigError, match="the picture has mode L; expected RGB: convert it first"):
        edits.save_edit(photo.convert("L"), "grey", tmp_path / "grey.jpg", rng)
