"""Views of a query: what they show, beside Pillow's own turning and cutting."""

import numpy as np
import pytest
from PIL import Image

from hashae.images.canonical import CanonicalForm
from hashae.images.query_views import QUERY_VIEWS, QueryView, _reflected, view_levels

FORM = CanonicalForm.preset("photo", 48)


def smooth(seed=0, side=96):
    """A thumb with some large shapes and no border."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (7, 7), dtype=np.uint8))
    return np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC))[None]


def alike(a, b):
    return np.corrcoef(a.ravel(), b.ravel())[0, 1]


def test_a_view_of_the_picture_as_it_is_changes_nothing():
    thumbs = np.stack([smooth(seed) for seed in range(3)])
    for form in (FORM, CanonicalForm(name="plain", size=40, thumb=96, channels=1, trim=False, rank=False)):
        assert np.allclose(view_levels(thumbs, form, QueryView("as it is")), form.levels(thumbs), atol=1e-3)


@pytest.mark.parametrize("angle", [5, -5, 10, -10])
def test_a_turned_view_undoes_a_turn(angle):
    large = np.pad(smooth(1, 160)[0], 40, mode="reflect")
    upright, turned = (
        np.asarray(Image.fromarray(large).rotate(a, Image.Resampling.BICUBIC).crop((72, 72, 168, 168)))[None, None]
        for a in (0, angle)
    )
    wanted = FORM.levels(upright)
    there, back = (view_levels(turned, FORM, QueryView("turned", angle=a)) for a in (angle, -angle))
    middle = np.s_[..., 8:40, 8:40]
    best, worst = sorted([alike(there[middle], wanted[middle]), alike(back[middle], wanted[middle])])[::-1]
    assert best > 0.98 > alike(FORM.levels(turned)[middle], wanted[middle]) > worst


@pytest.mark.parametrize(("zoom", "across", "down"), [(1.25, 0, 0), (1.17, 0.17, -0.17)])
def test_a_wider_view_holds_the_picture_where_it_was_cut_from(zoom, across, down):
    whole = smooth(2, 400)[0]
    side = 400 / zoom
    left, top = (max(0.0, (400 - side) / 2 - shift * side / 2) for shift in (across, down))
    cut = Image.fromarray(whole).resize(
        (96, 96), Image.Resampling.BOX, (left, top, min(left + side, 400), min(top + side, 400))
    )
    seen = view_levels(np.asarray(cut)[None, None], FORM, QueryView("wider", zoom, 0, across, down))
    wanted = FORM.levels(np.asarray(Image.fromarray(whole).resize((96, 96), Image.Resampling.BOX))[None, None])
    first, last = (int(np.ceil(edge / 400 * 48)) + 1 for edge in (left, left + side - 24))
    upper, lower = (int(np.ceil(edge / 400 * 48)) + 1 for edge in (top, top + side - 24))
    inside = np.s_[..., upper:lower, first:last]
    assert alike(seen[inside], wanted[inside]) > 0.995
    assert np.abs(seen[inside] - wanted[inside]).mean() < 6


def test_edges_reflect():
    assert _reflected(np.arange(-5.0, 9.0), 4).tolist() == [3, 3, 2, 1, 0, 0, 1, 2, 3, 3, 2, 1, 0, 0]


def test_views_differ_and_fit_the_encoder():
    seen = [view_levels(smooth()[None], FORM, view) for view in QUERY_VIEWS]
    assert all(levels.shape == (1, 1, 48, 48) and levels.dtype == np.float32 for levels in seen)
    assert all(levels.min() >= 0 and levels.max() <= 255.001 for levels in seen)
    assert len({levels.tobytes() for levels in seen}) == len(QUERY_VIEWS)
