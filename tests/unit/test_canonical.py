"""The canonical form: area averages, borders cut, ranks instead of levels, and the sentences of its errors."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hashae.errors import ConfigError
from hashae.images.canonical import PRESETS, CanonicalForm, area_resize, area_weights, rank_normalise, trim_boxes

PHOTO = CanonicalForm.preset("photo")


def raises_sentence(sentence):
    return pytest.raises(ConfigError, match=f"^{re.escape(sentence)}$")


def busy(rng, n=1, side=64, channels=1):
    """Return pictures in which every row and column differs strongly."""
    return rng.integers(0, 256, (n, channels, side, side), dtype=np.uint8)


def framed(content, side, top, left, level):
    """Return a thumb of one level with `content` in it."""
    thumb = np.full((1, 1, side, side), level, np.uint8)
    thumb[0, 0, top : top + content.shape[0], left : left + content.shape[1]] = content
    return thumb


# Area resize


def naive_resize(image, size, box):
    """Average ``image (side, side)`` into cells by adding up the share of every source pixel, one by one."""
    top, bottom, left, right = box
    out = np.zeros((size, size))
    for i in range(size):
        for j in range(size):
            y0, y1 = (top + (bottom - top) * edge / size for edge in (i, i + 1))
            x0, x1 = (left + (right - left) * edge / size for edge in (j, j + 1))
            total = weight = 0.0
            for y in range(len(image)):
                for x in range(len(image)):
                    share = max(0, min(y1, y + 1) - max(y0, y)) * max(0, min(x1, x + 1) - max(x0, x))
                    total += share * image[y, x]
                    weight += share
            out[i, j] = total / weight
    return out


@pytest.mark.parametrize("box", [(0, 12, 0, 12), (1, 12, 0, 7), (3, 9, 2, 11), (5, 6, 4, 6)])
@pytest.mark.parametrize("size", [3, 5, 8])
def test_area_resize_is_the_average_of_what_a_cell_covers(rng, size, box):
    image = busy(rng, side=12)
    expected = naive_resize(image[0, 0], size, box)
    assert np.allclose(area_resize(image, size, np.array([box]))[0, 0], expected, atol=1e-3)


def test_area_resize_without_a_box_takes_the_whole(rng):
    images = busy(rng, n=2, side=8, channels=3)
    got = area_resize(images, 4)
    assert got.dtype == np.float32
    assert np.allclose(got, images.reshape(2, 3, 4, 2, 4, 2).mean(axis=(3, 5)), atol=1e-3)


def test_area_resize_of_one_level_is_that_level():
    image = np.full((1, 1, 13, 13), 77, np.uint8)
    assert np.allclose(area_resize(image, 5), 77, atol=1e-4)


def test_weights_of_each_cell_sum_to_one():
    weights = area_weights(np.array([0, 3]), np.array([11, 7]), 11, 4)
    assert np.allclose(weights.sum(axis=2), 1)
    assert (weights[1, :, :3] == 0).all()
    assert (weights[1, :, 7:] == 0).all()


# Ranks


@given(
    levels=hnp.arrays(np.uint8, (1, 1, 6, 6), elements=st.integers(0, 60)),
    steps=hnp.arrays(np.int64, 61, elements=st.integers(1, 4)),
)
@settings(max_examples=60, deadline=None)
def test_ranks_do_not_see_a_monotone_change_of_levels(levels, steps):
    table = np.cumsum(steps) - steps[0]  # any strictly rising map of 0..60 into 0..240
    one = rank_normalise(levels.astype(np.float32), smoothing=0)
    other = rank_normalise(table[levels].astype(np.float32), smoothing=0)
    assert np.array_equal(one, other)


@pytest.mark.parametrize("gamma", [0.6, 0.8, 1.25, 1.6])
def test_ranks_hardly_see_a_gamma_change_with_smoothing(rng, gamma):
    small = area_resize(np.sort(busy(rng, n=4, side=64).reshape(4, 1, -1), axis=2).reshape(4, 1, 64, 64), 32)
    table = 255 * (np.arange(256) / 255) ** gamma
    changed = table[np.rint(small).astype(int)].astype(np.float32)
    assert np.abs(rank_normalise(small) - rank_normalise(changed)).max() < 0.03


def test_ranks_do_not_see_brightness_and_contrast_at_all_while_levels_keep_their_steps(rng):
    levels = rng.integers(40, 140, (2, 1, 16, 16)).astype(np.float32)
    assert np.array_equal(rank_normalise(levels), rank_normalise(levels + 37))


def test_ranks_keep_the_order_and_spread_evenly():
    levels = np.arange(256, dtype=np.float32).reshape(1, 1, 16, 16)
    got = rank_normalise(levels).reshape(-1)
    assert (np.diff(got) > 0).all()
    assert np.abs(got - (np.arange(256) + 0.5) / 256).max() < 0.01


def test_equal_levels_share_the_middle_of_their_ranks():
    levels = np.array([0, 0, 0, 100, 200, 200, 200, 200], np.float32).reshape(1, 1, 2, 4)
    expected = np.array([1.5, 1.5, 1.5, 3.5, 6, 6, 6, 6]) / 8
    assert np.allclose(rank_normalise(levels, smoothing=0).reshape(-1), expected)
    assert np.allclose(rank_normalise(levels).reshape(-1)[3], 3.5 / 8)  # far from others, smoothing changes nothing


@pytest.mark.parametrize("level", [0, 1, 2, 100, 253, 254, 255])
def test_a_uniform_picture_becomes_one_half(level):
    images = np.full((1, 1, 8, 8), level, np.float32)
    assert np.allclose(rank_normalise(images), 0.5)
    assert np.allclose(rank_normalise(images, smoothing=0), 0.5)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_uniform_thumb_keeps_its_place(name):
    form = CanonicalForm.preset(name, 16)
    got = form(np.full((1, form.channels, 32, 32), 51, np.uint8))
    assert np.allclose(got, 0.5 if name == "photo" else 0.2, atol=1e-6)


def test_faint_noise_is_not_blown_up_into_full_contrast(rng):
    faint = (100 + rng.integers(0, 2, (1, 1, 16, 16))).astype(np.float32)
    assert np.ptp(rank_normalise(faint)) < 0.3
    assert np.ptp(rank_normalise(faint, smoothing=0)) > 0.45


def test_channels_are_ranked_apart(rng):
    images = rng.integers(0, 256, (1, 3, 8, 8)).astype(np.float32)
    got = rank_normalise(images)
    for channel in range(3):
        assert np.array_equal(got[:, [channel]], rank_normalise(images[:, [channel]]))


# Borders


@pytest.mark.parametrize("level", [0, 128, 255])
def test_padding_is_cut_off(rng, level):
    content = busy(rng, side=48)[0, 0]
    padded = framed(content, 64, 8, 8, level)
    assert trim_boxes(padded, PHOTO.tolerance).tolist() == [[8, 56, 8, 56]]
    expected = rank_normalise(area_resize(padded, 32, np.array([[8, 56, 8, 56]])))
    assert np.array_equal(PHOTO(padded), expected)


def test_each_side_is_judged_alone(rng):
    content = busy(rng, side=40)[0, 0]
    assert trim_boxes(framed(content, 64, 0, 20, 0), PHOTO.tolerance).tolist() == [[0, 40, 20, 60]]
    letterbox = framed(busy(rng)[0, 0, :40], 64, 12, 0, 0)
    assert trim_boxes(letterbox, PHOTO.tolerance).tolist() == [[12, 52, 0, 64]]


def test_a_black_frame_around_a_white_margin_goes_with_the_margin(rng):
    thumb = np.zeros((1, 1, 64, 64), np.uint8)
    thumb[0, 0, 4:60, 4:60] = 255
    thumb[0, 0, 12:52, 16:48] = busy(rng)[0, 0, :40, :32]
    assert trim_boxes(thumb, PHOTO.tolerance).tolist() == [[12, 52, 16, 48]]


def test_padding_of_a_colour_picture_is_cut_off(rng):
    thumb = np.zeros((1, 3, 64, 64), np.uint8)
    thumb[:, :, 10:50, 10:50] = busy(rng, side=40, channels=3)
    assert trim_boxes(thumb, PHOTO.tolerance).tolist() == [[10, 50, 10, 50]]


@pytest.mark.parametrize("level", [0, 90, 255])
def test_a_uniform_picture_is_left_alone(level):
    assert trim_boxes(np.full((1, 1, 64, 64), level, np.uint8), PHOTO.tolerance).tolist() == [[0, 64, 0, 64]]


def test_a_picture_that_is_uniform_almost_everywhere_is_left_alone(rng):
    speck = framed(busy(rng, side=10)[0, 0], 64, 20, 30, 255)
    assert trim_boxes(speck, PHOTO.tolerance).tolist() == [[0, 64, 0, 64]]


def test_the_white_around_a_shape_belongs_to_the_picture(rng):
    rows, columns = np.mgrid[0:64, 0:64]
    disc = (rows - 32) ** 2 + (columns - 30) ** 2 < 20**2
    shoe = np.where(disc, busy(rng)[0, 0], 255).astype(np.uint8)[None, None]
    assert trim_boxes(shoe, PHOTO.tolerance).tolist() == [[0, 64, 0, 64]]


def test_a_busy_picture_keeps_all_its_sides(rng):
    assert (trim_boxes(busy(rng, n=5), PHOTO.tolerance) == [0, 64, 0, 64]).all()


def test_trimming_can_be_switched_off(rng):
    padded = framed(busy(rng, side=44)[0, 0], 64, 10, 10, 0)
    kept = CanonicalForm(trim=False)(padded)
    assert np.array_equal(kept, rank_normalise(area_resize(padded, 32)))
    assert not np.array_equal(kept, PHOTO(padded))


# The whole form


@pytest.mark.parametrize("name", sorted(PRESETS))
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_a_picture_has_one_canonical_form_in_every_batch(name, data):
    form = CanonicalForm.preset(name, 8)
    shape = (data.draw(st.integers(1, 4)), form.channels, 16, 16)
    thumbs = data.draw(hnp.arrays(np.uint8, shape, fill=st.integers(0, 255)))
    together = form(thumbs)
    assert together.shape == (shape[0], *form.shape)
    assert together.dtype == np.float32
    assert together.min() >= 0
    assert together.max() <= 1
    for row in range(len(thumbs)):
        assert np.allclose(form(thumbs[row : row + 1])[0], together[row], atol=1e-6)
    assert np.array_equal(form(thumbs[::-1])[::-1], together)


def test_an_empty_batch_stays_empty():
    assert PHOTO(np.empty((0, 1, 64, 64), np.uint8)).shape == (0, 1, 32, 32)


def test_thumbs_are_not_changed(rng):
    thumbs = busy(rng)
    before = thumbs.copy()
    PHOTO(thumbs)
    assert np.array_equal(thumbs, before)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("photo", {"channels": 1, "trim": True, "rank": True}),
        ("plain", {"channels": 1, "trim": False, "rank": False}),
        ("colour", {"channels": 3, "trim": False, "rank": False}),
    ],
)
def test_presets(name, expected):
    form = CanonicalForm.preset(name, 24)
    settings_ = form.to_dict()
    assert {key: settings_[key] for key in expected} == expected
    assert (form.name, form.size, form.thumb) == (name, 24, 48)
    assert form.shape == (expected["channels"], 24, 24)


def test_plain_and_colour_keep_the_levels(rng):
    for name in ("plain", "colour"):
        form = CanonicalForm.preset(name, 16)
        thumbs = busy(rng, n=2, side=32, channels=form.channels)
        assert np.allclose(form(thumbs), area_resize(thumbs, 16) / 255, atol=1e-6)


def test_settings_survive_json():
    form = CanonicalForm.preset("colour", 28)
    assert CanonicalForm(**json.loads(json.dumps(form.to_dict()))) == form


@pytest.mark.parametrize(
    "thumbs",
    [
        np.zeros((2, 1, 64, 64), np.float32),
        np.zeros((2, 3, 64, 64), np.uint8),
        np.zeros((2, 1, 32, 32), np.uint8),
        np.zeros((1, 64, 64), np.uint8),
    ],
)
def test_thumbs_of_another_kind(thumbs):
    with raises_sentence(f"thumbs are {thumbs.dtype} {thumbs.shape}; expected uint8 (n, 1, 64, 64)"):
        PHOTO(thumbs)


def test_an_unknown_form_is_named():
    with raises_sentence("canonical form is 'sepia'; expected one of colour, photo, plain"):
        CanonicalForm.preset("sepia")
    with raises_sentence("canonical form is 'sepia'; expected one of colour, photo, plain"):
        CanonicalForm(name="sepia")


@pytest.mark.parametrize(("size", "thumb"), [(4, 64), (64, 32), (32, 1024)])
def test_sizes_out_of_range(size, thumb):
    with raises_sentence(f"canonical size {size} from thumbs of {thumb}; expected 8 <= size <= thumb <= 512"):
        CanonicalForm(size=size, thumb=thumb)


def test_channels_out_of_range():
    with raises_sentence("canonical form has 4 channels; expected 1 or 3"):
        CanonicalForm(channels=4)


@pytest.mark.parametrize("turned", [lambda t: t.swapaxes(2, 3), np.asfortranarray, lambda t: t[:, :, ::-1, ::-1]])
def test_the_order_in_memory_makes_no_difference(turned):
    thumbs = turned(np.random.default_rng(0).integers(0, 256, (3, 1, 32, 32), dtype=np.uint8))
    assert np.array_equal(area_resize(thumbs, 16), area_resize(np.ascontiguousarray(thumbs), 16))
