"""Eight-bit encoders: nearly the same code, one file complete in itself, clear refusals."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from hashae.config import TrainConfig
from hashae.encoder import Encoder
from hashae.errors import ConfigError
from hashae.images.canonical import CanonicalForm
from hashae.models import create_model
from hashae.training.export import export_encoder
from hashae.training.quantise import is_quantised, quantise
from hashae.training.radius import Radii
from hashae.training.recipe import learn_encoder

FORM = CanonicalForm.preset("photo", 16)


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    model = create_model("binary", bits=64, image_shape=FORM.shape, width=8)
    return export_encoder(model, FORM, name="tiny", radii=Radii(4, 2))


@pytest.fixture(scope="module")
def thumbs():
    coarse = np.random.default_rng(1).integers(0, 256, (200, 1, 4, 4), dtype=np.uint8)
    return coarse.repeat(8, axis=2).repeat(8, axis=3)


@pytest.fixture(scope="module")
def small(encoder, thumbs):
    return quantise(encoder, FORM(thumbs))


def test_few_bits_differ_and_only_unsure_ones(encoder, small, thumbs):
    exact, rounded = encoder.logits(thumbs), small.logits(thumbs)
    differ = (exact > 0) != (rounded > 0)
    assert 0 < differ.mean() < 0.03
    assert np.abs(exact[differ]).max() < 0.2 * np.abs(exact).max()


def test_it_is_smaller_and_says_what_it_is(encoder, small):
    assert is_quantised(small.data)
    assert not is_quantised(encoder.data)
    assert len(small.data) < len(encoder.data)
    assert small.info.made["quantised"] == "8 bits"
    assert (small.name, small.bits, small.form, small.info.radius) == ("tiny", 64, FORM, 4)
    assert small.fingerprint != encoder.fingerprint


def test_the_decoder_stays(encoder, small):
    assert small.decoder_data == encoder.decoder_data


def test_a_code_does_not_depend_on_threads_or_batch(small, thumbs):
    many = Encoder(small.data, threads=2)
    whole = small.encode(thumbs)
    assert np.array_equal(many.encode(thumbs), whole)
    assert np.array_equal(np.concatenate([small.encode(thumbs[i : i + 1]) for i in range(20)]), whole[:20])


def test_the_same_images_give_the_same_file(encoder, small, thumbs):
    assert quantise(encoder, FORM(thumbs)).data == small.data


def test_the_recipe_can_quantise(picture_folder):
    encoder, _ = learn_encoder(
        picture_folder, form=FORM, config=TrainConfig(batch=8, threads=1), steps=1, quantised=True
    )
    assert is_quantised(encoder.data)


def test_twice_is_refused(small, thumbs):
    with pytest.raises(ConfigError, match="is quantised already"):
        quantise(small, FORM(thumbs))


@pytest.mark.parametrize("images", [np.zeros((0, 1, 16, 16), np.float32), np.zeros((2, 1, 8, 8), np.float32)])
def test_images_of_another_shape_are_refused(encoder, images):
    with pytest.raises(ConfigError, match=re.escape("expected float32 (n, (1, 16, 16)), n at least 1")):
        quantise(encoder, images)
