"""Weights to start from: what goes in comes out, the shipped ones fit the shipped encoder, errors name the cure."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from hashae.config import TrainConfig
from hashae.errors import CheckpointError, ConfigError
from hashae.images.canonical import CanonicalForm
from hashae.models import create_model
from hashae.training.recipe import learn_encoder
from hashae.training.weights import load_weights, save_weights

FORM = CanonicalForm.preset("photo", 16)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return create_model("binary", bits=64, image_shape=FORM.shape, width=4)


def test_weights_survive_as_half_precision(model, tmp_path):
    save_weights(model, FORM, tmp_path / "w.safetensors")
    read, form = load_weights(tmp_path / "w.safetensors")
    assert form == FORM
    assert read.config == model.config
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(read.state_dict()[name], value.half().float(), rtol=0, atol=0)
        else:
            assert torch.equal(read.state_dict()[name], value)


def test_a_training_starts_from_weights_and_writes_its_own(model, picture_folder, tmp_path):
    save_weights(model, FORM, tmp_path / "w.safetensors")
    encoder, _ = learn_encoder(
        picture_folder,
        start=tmp_path / "w.safetensors",
        weights=tmp_path / "after.safetensors",
        config=TrainConfig(batch=8, learning_rate=1e-9, weight_decay=0, threads=1, precision="float32"),
        steps=1,
    )
    after, form = load_weights(tmp_path / "after.safetensors")
    assert encoder.form == form == FORM
    assert encoder.bits == 64
    before = model.head.weight.detach()
    # The rate is next to nothing: what comes out is what was started from.
    torch.testing.assert_close(after.head.weight.detach(), before, rtol=2e-3, atol=1e-3)


def test_model_settings_beside_weights_are_refused(model, picture_folder, tmp_path):
    save_weights(model, FORM, tmp_path / "w.safetensors")
    with pytest.raises(ConfigError, match=re.escape("the weights bring their own")):
        learn_encoder(picture_folder, start=tmp_path / "w.safetensors", form=FORM)


def test_missing_weights(tmp_path):
    with pytest.raises(CheckpointError, match=re.escape("does not exist; expected the name of a shipped encoder")):
        load_weights(tmp_path / "none.safetensors")


def test_weights_of_somebody_else(tmp_path):
    save_file({"w": torch.zeros(2)}, tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match="holds no weights of hashae"):
        load_weights(tmp_path / "w.safetensors")


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
def test_damaged_weights(model, tmp_path, keep):
    path = tmp_path / "w.safetensors"
    save_weights(model, FORM, path)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep if keep >= 1 else keep * len(data))])
    with pytest.raises(CheckpointError, match="is damaged"):
        load_weights(path)


def test_weights_of_another_architecture(model, tmp_path):
    save_weights(model, FORM, tmp_path / "w.safetensors")
    from safetensors import safe_open

    with safe_open(str(tmp_path / "w.safetensors"), framework="pt") as file:
        metadata = file.metadata()
    save_file({"head.weight": torch.zeros(3)}, tmp_path / "w.safetensors", metadata)
    with pytest.raises(CheckpointError, match="is damaged"):
        load_weights(tmp_path / "w.safetensors")


def test_the_shipped_weights_are_those_of_the_shipped_encoder():
    """The file to fine-tune from gives the codes of the encoder, but for rounding."""
    from hashae.pretrained import load

    model, form = load_weights("photo")
    encoder = load("photo", threads=1)
    assert form == encoder.form
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (20, 1, 6, 6), dtype=np.uint8)
    thumbs = coarse.repeat(form.thumb // 6, axis=2).repeat(form.thumb // 6, axis=3)
    with torch.no_grad():
        logits = model.eval().encode(torch.from_numpy(form(thumbs))).numpy()
    differ = (logits > 0) != (encoder.logits(thumbs) > 0)
    assert differ.mean() < 0.05
