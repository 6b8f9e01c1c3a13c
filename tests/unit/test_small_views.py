"""Views of digits and of tiny pictures: each corruption is there, seeded, and bounded."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hashae.config import AUGMENTS, TrainConfig
from hashae.errors import ConfigError
from hashae.images.canonical import CanonicalForm
from hashae.training.dataset import TrainingImages
from hashae.training.small_views import (
    VIEW_MAKERS,
    DigitViews,
    TinyViews,
    _colours,
    _curve,
    _largest,
    _pen,
    create_views,
)

ROWS = np.arange(32)


@pytest.fixture(autouse=True)
def one_torch_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def form_of(channels, size=28):
    name = "plain" if channels == 1 else "colour"
    return CanonicalForm(name=name, size=size, thumb=size, channels=channels, trim=False, rank=False)


def bars(n=32, channels=1, side=28):
    """Return bright upright bars, four pixels wide and not centred, on black."""
    pixels = np.zeros((n, channels, side, side), np.uint8)
    pixels[:, :, 4:-4, 8:12] = 255
    return TrainingImages.from_array(pixels)


def colours(n=32, side=28):
    pixels = np.random.default_rng(1).integers(0, 256, (n, 3, 4, 4)).repeat(side // 4, 2).repeat(side // 4, 3)
    return TrainingImages.from_array(pixels.astype(np.uint8))


def seeded(seed=0):
    return np.random.default_rng(seed)


def test_each_kind_has_its_maker():
    assert tuple(VIEW_MAKERS) == AUGMENTS
    for augment in AUGMENTS:
        views = create_views(bars(), form_of(1), TrainConfig(augment=augment, views=0.5, mirror=True))
        assert type(views) is VIEW_MAKERS[augment]
        assert (views.strength, views.mirror) == (0.5, True)


def test_digits_have_one_channel():
    with pytest.raises(ConfigError, match="augment is 'digits', but images have 3 channels; use 'tiny' or 'photo'"):
        create_views(colours(), form_of(3), TrainConfig(augment="digits"))


def test_tiny_views_have_the_side_asked_for_and_show_what_larger_ones_show():
    small, whole = (
        create_views(colours(), form_of(3), TrainConfig(augment="tiny", view_side=side)).batch(ROWS, seeded())
        for side in (14, None)
    )
    assert small.clean.shape == whole.clean.shape == whole.first.shape == (32, 3, 28, 28)
    assert small.first.shape == small.second.shape == (32, 3, 14, 14)
    halved = torch.nn.functional.avg_pool2d(whole.first, 2)
    assert (small.first - halved).abs().mean() < 0.2 * halved.std()


def test_only_tiny_views_have_another_side():
    with pytest.raises(ConfigError, match="view_side is 14 and augment 'digits'; use augment='tiny' with it"):
        create_views(bars(), form_of(1), TrainConfig(augment="digits", view_side=14))
    assert create_views(bars(), form_of(1), TrainConfig(augment="digits", view_side=28)).form.size == 28


@pytest.mark.parametrize(("kind", "channels"), [(DigitViews, 1), (TinyViews, 1), (TinyViews, 3)])
def test_views_are_canonical_images_seeded_and_different(kind, channels):
    maker = kind(colours() if channels == 3 else bars(), form_of(channels))
    first, again, other = (maker.batch(ROWS, seeded(seed)) for seed in (0, 0, 1))
    assert torch.equal(first.first, again.first)
    assert torch.equal(first.second, again.second)
    assert not torch.equal(first.first, other.first)
    assert not torch.equal(first.first, first.second)
    assert torch.equal(first.clean, torch.from_numpy(maker.clean(ROWS)))
    for part in (first.first, first.second):
        assert part.shape == first.clean.shape
        assert part.min() >= 0
        assert part.max() <= 1


@pytest.mark.parametrize("kind", [DigitViews, TinyViews])
def test_a_small_strength_changes_little(kind):
    images = bars()

    def change(strength):
        maker = kind(images, form_of(1), strength)
        return float((maker.batch(ROWS, seeded()).first - torch.from_numpy(maker.clean(ROWS))).abs().mean())

    assert 0 < change(0.05) < 0.4 * change(1.0)


def test_digits_are_moved_turned_and_stretched_but_stay_in_sight():
    seen = DigitViews(bars(), form_of(1)).corrupted(DigitViews(bars(), form_of(1)).pixels(ROWS), ROWS, seeded())[:, 0]
    place = np.arange(28)
    mass = seen.sum(axis=(1, 2))
    assert (mass > 0.25 * bars().pixels[0].sum() / 255).all()
    middle = (seen.sum(axis=1) @ place) / mass
    assert np.ptp(middle) > 3  # moved
    lean = [np.polyfit(place[rows], (image[rows] @ place) / image[rows].sum(axis=1), 1)[0]
            for image in seen for rows in [image.sum(axis=1) > 1]]  # fmt: skip
    assert min(lean) < -0.1 < 0.1 < max(lean)  # turned and sheared, both ways
    height = (seen.sum(axis=2) > 1).sum(axis=1)
    assert np.ptp(height) > 4  # stretched


def test_the_pen_thickens_and_thins():
    x = torch.from_numpy(bars().pixels).float()
    drawn = _pen(x, seeded(), 1.0)
    mass = drawn.sum(dim=(1, 2, 3)) / x.sum(dim=(1, 2, 3))
    assert mass.min() < 0.9
    assert mass.max() > 1.2
    assert drawn.min() >= 0
    assert drawn.max() <= 255
    assert torch.equal(_pen(x, seeded(), 0.0), x)


def test_the_quick_ways_give_what_torch_gives():
    x = torch.randn(3, 1, 11, 11, generator=torch.Generator().manual_seed(0))
    assert torch.equal(_largest(x), torch.nn.functional.max_pool2d(x, 3, 1, 1))
    field = x[..., :5, :5]
    wobble = torch.nn.functional.interpolate(field, (28, 28), mode="bicubic", align_corners=True)
    assert torch.allclose(_curve(28) @ field @ _curve(28).T, wobble, atol=1e-5)


def test_tiny_pictures_are_mirrored_only_if_asked():
    images = bars()
    left = {}
    for mirror in (False, True):
        maker = TinyViews(images, form_of(1), 0.2, mirror)
        seen = maker.corrupted(maker.pixels(ROWS), ROWS, seeded())[:, 0]
        left[mirror] = (seen[:, :, :14].sum(axis=(1, 2)) > seen[:, :, 14:].sum(axis=(1, 2))).mean()
    assert left[False] == 1
    assert 0.2 < left[True] < 0.8


def test_colours_change_and_some_pictures_become_grey():
    x = torch.from_numpy(colours(200).pixels).float()
    changed = _colours(x, seeded(), 1.0)
    spread = changed.amax(dim=1) - changed.amin(dim=1)
    grey = spread.amax(dim=(1, 2)) < 1
    assert 0.1 < grey.float().mean() < 0.3
    luminance = torch.tensor([0.299, 0.587, 0.114])
    before, after = (torch.einsum("nchw,c->nhw", part, luminance).mean(dim=(1, 2)) for part in (x, changed))
    ratio = after / before
    assert ratio.min() < 0.75
    assert ratio.max() > 1.3
    assert torch.allclose(_colours(x, seeded(), 0.0), x, atol=0.01)
