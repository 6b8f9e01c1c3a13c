"""Settings: what survives JSON, and one sentence for each value out of range."""

from __future__ import annotations

import dataclasses
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashae.config import NOISE_KINDS, TRUNKS, ModelConfig, TrainConfig, parse_setting
from hashae.errors import ConfigError


def raises_sentence(sentence):
    return pytest.raises(ConfigError, match=f"^{re.escape(sentence)}$")


model_configs = st.builds(
    ModelConfig,
    model=st.sampled_from(["binary", "plain"]),
    bits=st.integers(1, 64).map(lambda n: 8 * n),
    image_shape=st.tuples(st.integers(1, 3), st.integers(1, 64), st.integers(1, 64)),
    trunk=st.sampled_from(TRUNKS),
    width=st.integers(1, 99),
    noise=st.sampled_from(NOISE_KINDS),
)
positive = st.floats(1e-6, 1e6)
weights = st.floats(0, 1e6)
train_configs = st.builds(
    TrainConfig,
    steps=st.integers(1, 10**6),
    batch=st.integers(2, 4096),
    budget=st.none() | positive,
    learning_rate=positive,
    weight_decay=weights,
    seed=st.integers(0, 2**32),
    sigma=weights,
    temperature=positive,
    reconstruction=weights,
    agreement=weights,
    balance=weights,
    decorrelation=weights,
    views=weights,
    view_side=st.none() | st.integers(8, 512),
    mirror=st.booleans(),
    precision=st.sampled_from(["auto", "float32", "bfloat16"]),
    device=st.sampled_from(["auto", "cpu", "cuda"]),
    threads=st.none() | st.integers(1, 64),
)


@given(config=model_configs | train_configs)
def test_settings_survive_json(config):
    assert type(config).from_dict(json.loads(config.to_json())) == config


@given(config=model_configs)
def test_the_key_is_64_bits_or_all_of_a_shorter_code(config):
    assert config.key_bits == min(config.bits, 64)


@pytest.mark.parametrize("config", [ModelConfig(), TrainConfig()])
def test_settings_are_frozen(config):
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.seed = 1


def test_the_image_shape_of_a_list_is_a_tuple():
    assert ModelConfig(image_shape=[1, 8, 8]).image_shape == (1, 8, 8)
    assert hash(ModelConfig(image_shape=[1, 8, 8])) == hash(ModelConfig(image_shape=(1, 8, 8)))


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ({"bits": 12}, "bits is 12; expected a multiple of 8 from 8 to 512"),
        ({"bits": 520}, "bits is 520; expected a multiple of 8 from 8 to 512"),
        ({"image_shape": (32, 32)}, "image_shape is (32, 32); expected (channels, height, width), all positive"),
        ({"image_shape": (1, 0, 8)}, "image_shape is (1, 0, 8); expected (channels, height, width), all positive"),
        ({"trunk": "tree"}, "trunk is 'tree'; expected one of conv, pooled, dense, linear"),
        ({"noise": "loud"}, "noise is 'loud'; expected one of rising, constant, none, straight-through"),
        ({"width": 0}, "width is 0; expected at least 1"),
    ],
)
def test_model_settings_out_of_range(setting, sentence):
    with raises_sentence(sentence):
        ModelConfig(**setting)
    with raises_sentence(sentence):
        ModelConfig.from_dict(setting)


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        *(
            ({name: value}, f"{name} is {value}; expected a positive number")
            for name in ("steps", "learning_rate", "temperature", "checkpoint_every")
            for value in (0, -1, float("nan"))
        ),
        *(
            ({name: value}, f"{name} is {value}; expected 0 or more")
            for name in ("reconstruction", "agreement", "balance", "decorrelation", "sigma", "views", "weight_decay")
            for value in (-0.5, float("nan"))
        ),
        ({"batch": 1}, "batch is 1; expected at least 2, because images are told from each other"),
        ({"budget": 0}, "budget is 0 s; expected a positive number of seconds"),
        ({"budget": -5}, "budget is -5 s; expected a positive number of seconds"),
        ({"view_side": 7}, "view_side is 7; expected a whole number of at least 8 pixels, or None"),
        ({"view_side": 12.5}, "view_side is 12.5; expected a whole number of at least 8 pixels, or None"),
        ({"precision": "half"}, "precision is 'half'; expected auto, float32 or bfloat16"),
        ({"device": "tpu"}, "device is 'tpu'; expected auto, cpu or cuda"),
    ],
)
def test_training_settings_out_of_range(setting, sentence):
    with raises_sentence(sentence):
        TrainConfig(**setting)
    with raises_sentence(sentence):
        TrainConfig.from_dict(setting)


def test_unknown_settings_are_named_beside_the_known_ones():
    known = "batch_norm, bits, dropout, image_shape, model, noise, options, scaling, trunk, width"
    with raises_sentence(f"unknown setting colour, depth; known ones are {known}"):
        ModelConfig.from_dict({"depth": 3, "bits": 64, "colour": True})
    with pytest.raises(ConfigError, match=r"^unknown setting epochs; known ones are agreement, .*, weight_decay$"):
        TrainConfig.from_dict({"epochs": 3})


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("k=8", ("k", 8)),
        ("rho=0.1", ("rho", 0.1)),
        (" loss = mse ", ("loss", "mse")),
        ("batch_norm=False", ("batch_norm", False)),
    ],
)
def test_settings_as_people_write_them(text, setting):
    found = parse_setting(text)
    assert found == setting
    assert type(found[1]) is type(setting[1])


@pytest.mark.parametrize("text", ["k", "k=", "=8", ""])
def test_settings_without_a_name_or_a_value(text):
    with raises_sentence(f"setting {text!r} has no name or no value; expected for example width=16"):
        parse_setting(text)


def test_settings_of_one_model_stand_beside_those_of_all():
    config = ModelConfig.from_settings({"model": "sparse", "bits": 64, "k": 8, "options": {"rho": 0.2}})
    assert (config.bits, config.options) == (64, {"rho": 0.2, "k": 8})
