"""What is featureless and what is not, from files as people have them."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from hashae.images.canonical import CanonicalForm
from hashae.images.decode import decode
from hashae.images.detail import DEGREE, FEATURELESS, _median, detail

FORM = CanonicalForm.preset("photo", 48)


def noisy(level, sigma, size=(900, 700)):
    values = np.random.default_rng(1).normal(level, sigma, size)
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def gradient(function, amplitude=255):
    rows, columns = np.mgrid[0:600, 0:800]
    return Image.fromarray((function(rows / 600, columns / 800) * amplitude).astype(np.uint8))


def drawn(background, draw, *, size=(1600, 1200), blur=0):
    picture = Image.new("L", size, background)
    draw(ImageDraw.Draw(picture))
    return picture.filter(ImageFilter.GaussianBlur(blur)) if blur else picture


def text(pen):
    for number in range(40):
        pen.text((60, 40 + 28 * number), "It was a dark and stormy night " * 4, fill=0, font=ImageFont.load_default(22))


def lamps(pen):
    rng = np.random.default_rng(3)
    for x, y in zip(rng.integers(0, 1580, 12).tolist(), rng.integers(500, 900, 12).tolist(), strict=True):
        pen.ellipse((x, y, x + 14, y + 14), fill=255)


def strokes(pen):
    rng = np.random.default_rng(2)
    for _ in range(3):
        pen.line([tuple(point) for point in rng.integers(0, 1200, (3, 2)).tolist()], fill=0, width=2)


def photo(sigma=6):
    """Smooth random shapes, as a photograph out of focus has them."""
    blobs = np.random.default_rng(5).normal(0, 1, (30, 40))
    levels = np.clip(128 + 60 * blobs, 0, 255).astype(np.uint8)
    return Image.fromarray(levels).resize((800, 600), Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(sigma))


def measured(picture, form=FORM, format="PNG", **settings):
    buffer = io.BytesIO()
    picture.save(buffer, format, **settings)
    thumb = decode(buffer.getvalue(), "x", side=form.thumb, channels=form.channels).thumb
    return float(detail(form.levels(thumb[None]))[0])


BLANK = {
    "white page": (Image.new("L", (1000, 1400), 255), {}),
    "white page with scanner noise": (noisy(245, 5), {}),
    "strong noise": (noisy(128, 20), {}),
    "black frame": (Image.new("RGB", (640, 480)), {}),
    "black frame as JPEG": (Image.new("RGB", (640, 480)), {"format": "JPEG", "quality": 30}),
    "black frame with noise as JPEG": (noisy(0, 10), {"format": "JPEG", "quality": 30}),
    "gradient": (gradient(lambda y, x: x), {}),
    "slanting gradient as JPEG": (gradient(lambda y, x: (x + y) / 2), {"format": "JPEG", "quality": 50}),
    "soft gradient": (gradient(lambda y, x: 3 * y**2 - 2 * y**3), {}),
    "page darker in the corners": (gradient(lambda y, x: 1 - ((x - 0.5) ** 2 + (y - 0.5) ** 2) ** 2 * 2), {}),
    "page with its number": (
        drawn(255, lambda pen: pen.text((780, 1150), "17", fill=0, font=ImageFont.load_default(22))),
        {},
    ),
}

SEEN = {
    "photograph out of focus": (photo(), {}),
    "dull photograph": (Image.eval(photo(), lambda level: 100 + level // 8), {}),
    "night with lamps": (drawn(3, lamps, blur=6), {}),
    "moon": (drawn(2, lambda pen: pen.ellipse((780, 300, 840, 360), fill=240)), {}),
    "page of text": (drawn(255, text), {}),
    "page of text as JPEG": (drawn(255, text), {"format": "JPEG", "quality": 40}),
    "three thin strokes": (drawn(255, strokes), {}),
    "circle": (drawn(255, lambda pen: pen.ellipse((400, 300, 1100, 900), outline=0, width=4)), {}),
    "logo": (drawn(255, lambda pen: pen.rectangle((750, 560, 850, 640), fill=60)), {}),
    "horizon": (drawn(200, lambda pen: pen.rectangle((0, 700, 1600, 1200), fill=90)), {}),
}


@pytest.mark.parametrize("name", BLANK)
def test_what_shows_nothing_is_featureless(name):
    picture, settings = BLANK[name]
    assert measured(picture, **settings) < FEATURELESS


@pytest.mark.parametrize("name", SEEN)
def test_what_shows_something_is_not(name):
    picture, settings = SEEN[name]
    assert measured(picture, **settings) > FEATURELESS


@pytest.mark.parametrize("name", ["plain", "colour"])
def test_every_canonical_form_can_be_measured(name, draw):
    form = CanonicalForm.preset(name, 24)
    assert measured(draw(3), form) > FEATURELESS > measured(Image.new("RGB", (50, 40), "navy"), form)


def test_a_colour_picture_has_the_detail_of_its_richest_channel(rng):
    levels = rng.uniform(0, 255, (4, 3, 16, 16)).astype(np.float32)
    apart = np.stack([detail(levels[:, [channel]]) for channel in range(3)])
    assert detail(levels).tolist() == apart.max(axis=0).tolist()


def slow_detail(image):
    """The definition, in loops over one channel."""
    size = len(image)
    line = np.linspace(-1, 1, size)
    terms = [
        np.outer(line**j, line**i).ravel() for i in range(DEGREE + 1) for j in range(DEGREE + 1) if i + j <= DEGREE
    ]
    surface = np.stack(terms, axis=1)
    weights = np.linalg.lstsq(surface, image.ravel().astype(np.float64), rcond=None)[0]
    rest = (image.ravel() - surface @ weights).reshape(size, size)
    across = np.mean([rest[y, x] * rest[y, x + 1] for y in range(size) for x in range(size - 1)])
    down = np.mean([rest[y, x] * rest[y + 1, x] for y in range(size - 1) for x in range(size)])
    steps = [abs(rest[y, x + 1] - rest[y, x]) for y in range(0, size, 2) for x in range(size - 1)]
    steps += [abs(rest[y + 1, x] - rest[y, x]) for y in range(0, size - 1, 2) for x in range(size)]
    noise = (np.median(steps) / 0.6745) ** 2 / 2
    return max(across, down, (rest**2).mean() - 2 * noise, 0) ** 0.5


def test_detail_is_what_its_definition_says(rng):
    images = [
        rng.uniform(0, 255, (20, 20)),
        np.kron(rng.uniform(0, 255, (5, 5)), np.ones((4, 4))),
        (rng.random((20, 20)) < 0.02) * 200.0,
        np.full((20, 20), 77.0),
    ]
    found = detail(np.stack(images)[:, None].astype(np.float32))
    assert found.tolist() == pytest.approx([slow_detail(image) for image in images], rel=1e-3, abs=1e-3)
    assert found[2] > 20  # sparse structure: neither row nor column alone would tell it from noise
    assert found.dtype == np.float32


def test_no_image_has_no_detail():
    assert detail(np.empty((0, 1, 8, 8), np.float32)).shape == (0,)


@pytest.mark.parametrize("width", [1, 2, 7, 64])
def test_medians_are_those_of_numpy(width):
    values = np.random.default_rng(width).normal(0, 9, (50, width)).astype(np.float32)
    assert np.array_equal(_median(values), np.median(values, axis=1))
