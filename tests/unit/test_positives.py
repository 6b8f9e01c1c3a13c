"""Which images of a batch count as views of one another."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hashae.config import TrainConfig
from hashae.errors import ConfigError
from hashae.models import create_model
from hashae.models.binary import agreement
from hashae.training import train
from hashae.training.positives import REFRESHES, NeighbourPositives


@pytest.fixture(autouse=True)
def one_torch_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def clustered(rng):
    """Logits of 400 images in ten clusters of forty."""
    centres = rng.normal(size=(10, 32))
    return (centres[np.arange(400) % 10] + 0.3 * rng.normal(size=(400, 32))).astype(np.float32)


def test_pairs_are_mutual_neighbours(clustered):
    rows = np.arange(20, 60)
    pairs = NeighbourPositives(0.05, 0, lambda: clustered).pairs(rows, 0.5)
    unit = clustered / np.linalg.norm(clustered, axis=1, keepdims=True)
    similar = unit @ unit.T
    near = round(0.05 * 400)
    among = similar >= np.sort(similar, axis=1)[:, ::-1][:, near : near + 1] - 1e-6
    expected = (among & among.T)[np.ix_(rows, rows)] | np.eye(40, dtype=bool)
    assert np.array_equal(pairs, expected)
    assert pairs.sum() > 60
    kinds = rows % 10
    assert (kinds[:, None] == kinds[None, :])[pairs].all()


def test_no_pairs_without_a_share_or_before_the_warm_up(clustered):
    assert NeighbourPositives(0.0, 0, lambda: clustered).pairs(np.arange(9), 0.9) is None
    assert NeighbourPositives(0.1, 0, lambda: clustered, 0.2).pairs(np.arange(9), 0.19) is None
    assert NeighbourPositives(0.1, 0, lambda: clustered, 0.2).pairs(np.arange(9), 0.2) is not None


def test_images_are_encoded_once_a_period(clustered):
    calls = []
    friends = NeighbourPositives(0.1, 0, lambda: calls.append(1) or clustered, 0.6)
    steps = 10 * REFRESHES
    for step in range(steps):
        friends.pairs(np.arange(9), step / steps)
    assert len(calls) == round((1 - 0.6) * REFRESHES)


def test_agreement_with_pairs_is_the_mean_over_all_their_views():
    signs = torch.randn(8, 16, generator=torch.Generator().manual_seed(0))
    alike = torch.eye(4, dtype=torch.bool)
    assert agreement(signs, 0.5, alike) == pytest.approx(float(agreement(signs, 0.5)), abs=1e-6)
    alike[0, 2] = alike[2, 0] = True
    unit = F.normalize(signs, dim=1)
    expected = []
    for row in range(8):
        others = [column for column in range(8) if column != row]
        logits = torch.stack([unit[row] @ unit[column] / 0.5 for column in others])
        log_p = torch.log_softmax(logits, dim=0)
        chosen = [log_p[place] for place, column in enumerate(others) if alike[row % 4, column % 4]]
        expected.append(-torch.stack(chosen).mean())
    assert float(agreement(signs, 0.5, alike)) == pytest.approx(float(torch.stack(expected).mean()), abs=1e-6)


def test_positives_change_the_training(rng):
    pixels = rng.integers(0, 256, (64, 16, 16), dtype=np.uint8)

    def trained(share, start=0.2):
        torch.manual_seed(0)
        model = create_model("binary", bits=16, image_shape=(1, 16, 16), trunk="dense", width=2)
        config = TrainConfig(
            steps=10, batch=16, neighbours=1, augment="digits", positives=share, positives_from=start, threads=1
        )
        train(model, pixels, config)
        return model.head.weight.detach().clone()

    assert not torch.equal(trained(0.0), trained(0.2))
    assert torch.equal(trained(0.2), trained(0.2))
    assert torch.equal(trained(0.0), trained(0.2, start=1.0))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"positives": 1.0}, "positives is 1.0; expected a share from 0"),
        ({"positives": -0.1}, "positives is -0.1"),
        ({"positives_from": 1.5}, "positives_from is 1.5; expected a share from 0 to 1"),
        ({"augment": "paintings"}, "augment is 'paintings'; expected one of photo, digits, tiny"),
    ],
)
def test_settings_out_of_range(settings, sentence):
    with pytest.raises(ConfigError, match=sentence):
        TrainConfig(**settings)
