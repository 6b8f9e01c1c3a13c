"""Codes whose prefixes are codes: which lengths the loss looks at."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from hashae.config import TrainConfig
from hashae.errors import ConfigError
from hashae.models import LossWeights, Views, create_model
from hashae.models.binary import agreement
from hashae.training import train


def terms(bits, prefixes):
    torch.manual_seed(0)
    model = create_model("binary", bits=bits, image_shape=(1, 16, 16), trunk="dense", width=2)
    images = torch.rand(8, 1, 16, 16)
    losses = model.loss(Views(images, images, images.flip(3)), LossWeights(prefixes=prefixes))
    signs = (2 * torch.sigmoid(model.encode(torch.cat([images, images.flip(3)]))) - 1).detach()
    return losses.terms["agreement"].detach(), [agreement(signs[:, :p], 0.07) for p in (16, 32, 64, 96)]


@pytest.mark.parametrize(
    ("bits", "prefixes", "used"),
    [(96, (), (2, 3)), (96, (16, 32), (0, 1, 3)), (96, (96,), (3,)), (32, (), (1,)), (64, (16, 64), (0, 2))],
)
def test_the_loss_is_the_mean_over_the_prefixes_and_the_whole(bits, prefixes, used):
    got, parts = terms(bits, prefixes)
    assert float(got) == pytest.approx(float(torch.stack([parts[place] for place in used]).mean()), rel=1e-5)


def test_prefixes_travel_as_json():
    config = TrainConfig(prefixes=(16, 32))
    assert TrainConfig.from_dict(json.loads(config.to_json())) == config


def test_prefixes_are_legal_and_within_the_code():
    with pytest.raises(ConfigError, match="bits is 12; expected a multiple of 8"):
        TrainConfig(prefixes=(16, 12))
    model = create_model("binary", bits=16, image_shape=(1, 16, 16), trunk="dense", width=2)
    with pytest.raises(ConfigError, match=r"prefixes are \(16, 32\); expected at most the 16 bits of the code"):
        train(model, np.zeros((8, 16, 16), np.uint8), TrainConfig(prefixes=(16, 32)))
