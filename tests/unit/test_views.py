"""Views: what a model is fed while it learns, whatever the corruptions of the day are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hashae.images.canonical import PRESETS, CanonicalForm, area_resize
from hashae.training.dataset import TrainingImages
from hashae.training.views import ViewMaker


@pytest.fixture(autouse=True)
def one_torch_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pictures(n=6, channels=1, side=64):
    """Return pictures of large soft shapes, each with bright and dark parts of its own."""
    rng = np.random.default_rng(5)
    coarse = rng.integers(0, 256, (n, channels, 5, 5)).astype(np.float32)
    fine = torch.nn.functional.interpolate(torch.from_numpy(coarse), size=(side, side), mode="bilinear")
    pixels = fine.round().to(torch.uint8).numpy()
    return TrainingImages(pixels, np.linspace(0.5, 2, n).astype(np.float32))


def seeded(seed=0):
    return np.random.default_rng(seed)


ROWS = np.array([4, 0, 5, 2])


@pytest.mark.parametrize("name", sorted(PRESETS))
@pytest.mark.parametrize("scale", [1, 2])
def test_views_are_canonical_images(name, scale):
    form = CanonicalForm.preset(name, 16)
    maker = ViewMaker(pictures(channels=form.channels, side=scale * form.thumb), form)
    batch = maker.batch(ROWS, seeded())
    for part in (batch.clean, batch.first, batch.second):
        assert part.shape == (4, *form.shape)
        assert part.dtype == torch.float32
        assert part.min() >= 0
        assert part.max() <= 1


def test_clean_images_are_what_an_encoder_sees():
    form = CanonicalForm.preset("photo", 16)
    same = pictures(side=32)
    assert np.array_equal(ViewMaker(same, form).clean(ROWS), form(same.pixels[ROWS]))
    double = pictures(side=64)
    thumbs = np.rint(area_resize(double.pixels[ROWS], 32)).astype(np.uint8)
    assert np.array_equal(ViewMaker(double, form).clean(ROWS), form(thumbs))


def test_one_seed_makes_one_batch_and_another_seed_another():
    maker = ViewMaker(pictures(), CanonicalForm.preset("photo", 16))
    one, again, other = (maker.batch(ROWS, seeded(seed)) for seed in (0, 0, 1))
    assert torch.equal(one.first, again.first)
    assert torch.equal(one.second, again.second)
    assert torch.equal(one.clean, other.clean)
    assert not torch.equal(one.first, other.first)


def test_the_two_views_of_a_picture_differ():
    batch = ViewMaker(pictures(), CanonicalForm.preset("photo", 16)).batch(ROWS, seeded())
    for row in range(len(ROWS)):
        assert not torch.equal(batch.first[row], batch.second[row])


def test_without_strength_views_are_the_clean_images():
    batch = ViewMaker(pictures(), CanonicalForm.preset("photo", 16), strength=0).batch(ROWS, seeded())
    assert torch.equal(batch.first, batch.clean)
    assert torch.equal(batch.second, batch.clean)


def test_more_strength_takes_views_further_away():
    form = CanonicalForm.preset("photo", 16)
    rows = np.tile(np.arange(6), 20)
    distances = []
    for strength in (0.1, 0.4, 1.0):
        maker = ViewMaker(pictures(), form, strength)
        batch = maker.batch(rows, seeded())
        distances.append(float((batch.first - batch.clean).abs().mean()))
    assert distances[0] < distances[1] < distances[2]


def test_a_view_still_shows_its_picture():
    rows = np.tile(np.arange(6), 10)
    batch = ViewMaker(pictures(), CanonicalForm.preset("photo", 16)).batch(rows, seeded())
    apart = (batch.first[:, None] - batch.clean[None, :6]).abs().mean(dim=(2, 3, 4))  # (views, pictures)
    assert float((apart.argmin(dim=1).numpy() == rows).mean()) > 0.7


def test_neither_the_images_nor_the_given_pixels_are_changed():
    images = pictures()
    before = images.pixels.copy()
    maker = ViewMaker(images, CanonicalForm.preset("photo", 16))
    pixels = maker.pixels(ROWS)
    given = pixels.clone()
    maker.corrupted(pixels, ROWS, seeded())
    maker.batch(ROWS, seeded())
    assert np.array_equal(images.pixels, before)
    assert torch.equal(pixels, given)


def test_views_may_be_mirrored_only_where_that_was_asked_for():
    form = CanonicalForm.preset("plain", 16)
    ramp = np.broadcast_to(np.linspace(40, 210, 64).astype(np.uint8), (1, 1, 64, 64)).copy()
    images = TrainingImages(ramp, np.ones(1, np.float32))
    rows = np.zeros(60, np.int64)

    def share_mirrored(mirror):
        first = ViewMaker(images, form, strength=0.2, mirror=mirror).batch(rows, seeded()).first
        return float((first[:, 0, 4:12, :4].mean(dim=(1, 2)) > first[:, 0, 4:12, -4:].mean(dim=(1, 2))).float().mean())

    assert share_mirrored(mirror=False) == 0
    assert 0.25 < share_mirrored(mirror=True) < 0.75


def test_pixels_are_floats_of_the_training_images():
    images = pictures()
    got = ViewMaker(images, CanonicalForm.preset("photo", 16)).pixels(ROWS)
    assert got.dtype == torch.float32
    assert np.array_equal(got.numpy(), images.pixels[ROWS])
