"""The radius of an encoder and the health of its codes, on codes whose statistics are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hashae.calibration import FALSE_PAIRS, different_pairs, fit_tail, health, pair_distances, tail_radius
from hashae.codes import hamming
from hashae.images.canonical import CanonicalForm
from hashae.models import create_model
from hashae.training.dataset import TrainingImages
from hashae.training.radius import Radii, choose_radii


@pytest.fixture(autouse=True)
def one_torch_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def exact_radius(bits, share):
    """Return the largest radius within which at most `share` of random pairs lie."""
    total = 0.0
    for radius in range(bits + 1):
        total += math.comb(bits, radius) / 2**bits
        if total > share:
            return radius - 1
    return bits


def random_codes(rng, n, bits):
    return rng.integers(0, 256, (n, bits // 8), dtype=np.uint8)


@pytest.mark.parametrize("bits", [64, 128, 256])
@pytest.mark.parametrize("share", [1e-4, 1e-5, 1e-6])
def test_the_tail_of_random_pairs_is_found_and_never_overstated(rng, bits, share):
    distances = rng.binomial(bits, 0.5, 500_000).astype(np.int32)
    radius = tail_radius(distances, share, bits)
    exact = exact_radius(bits, share)
    assert exact - max(3, 0.04 * bits) <= radius <= exact + 1


def test_a_smaller_share_gives_a_smaller_radius(rng):
    distances = rng.binomial(64, 0.5, 200_000).astype(np.int32)
    radii = [tail_radius(distances, share, 64) for share in (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)]
    assert radii == sorted(radii, reverse=True)
    assert radii[0] > radii[-1]


def test_a_few_true_copies_do_not_move_the_radius(rng):
    codes = random_codes(rng, 400, 256)
    without = tail_radius(pair_distances(codes), 1e-5, 256)
    codes[:5] = codes[200:205]
    assert abs(tail_radius(pair_distances(codes), 1e-5, 256) - without) <= 2


def test_no_pairs_allow_no_radius():
    assert tail_radius(np.empty(0, np.int32), 1e-4, 64) == 0


@pytest.mark.parametrize(
    ("distances", "expected"), [([20, 9, 30], 8), ([64], 8), ([3, 40], 2), ([1, 40], 0), ([0, 40], 0)]
)
def test_with_few_pairs_the_nearest_stands_in_up_to_an_eighth(distances, expected):
    if distances == [20, 9, 30]:
        assert tail_radius(np.array(distances, np.int32), 1e-3, 128) == expected
    else:
        assert tail_radius(np.array(distances, np.int32), 1e-3, 64) == expected


def test_the_radius_of_equal_distances_is_below_them():
    assert 0 <= tail_radius(np.full(10_000, 30, np.int32), 1e-5, 64) < 30
    assert tail_radius(np.zeros(10_000, np.int32), 1e-5, 64) == 0


def test_pairs_are_counted_once_each(rng):
    codes = random_codes(rng, 20, 64)
    expected = [int(hamming(codes[i : i + 1], codes[j : j + 1])[0, 0]) for i in range(20) for j in range(i + 1, 20)]
    assert pair_distances(codes).tolist() == expected


@pytest.mark.parametrize("bits", [32, 64, 256])
def test_random_codes_are_as_wide_as_they_look(rng, bits):
    found = health(random_codes(rng, 600, bits))
    assert found["effective_bits"] == pytest.approx(bits, rel=0.12)
    assert found["imbalance"] < 0.06
    assert found["distinct"] == 1.0


def test_copied_bits_do_not_count_twice(rng):
    once = random_codes(rng, 600, 32)
    assert health(np.tile(once, (1, 4)))["effective_bits"] == pytest.approx(32, rel=0.12)


def test_constant_codes_are_worth_nothing():
    assert health(np.full((50, 8), 255, np.uint8)) == {
        "imbalance": 1.0,
        "effective_bits": 0.0,
        "distinct": pytest.approx(1 / 50),
    }


def test_stuck_bits_are_seen(rng):
    codes = random_codes(rng, 600, 64)
    codes[:, :4] = 0
    found = health(codes)
    assert found["imbalance"] == pytest.approx(0.5, abs=0.05)


def test_two_codes_are_enough_to_be_judged():
    found = health(np.array([[0], [15]], np.uint8))
    assert found == {"imbalance": 0.5, "effective_bits": 0.0, "distinct": 1.0}


def chosen(n=150, bits=72, seed=0):
    form = CanonicalForm.preset("plain", 8)
    pixels = np.random.default_rng(1).integers(0, 256, (n, 1, 16, 16), dtype=np.uint8)
    torch.manual_seed(0)
    model = create_model("binary", bits=bits, image_shape=form.shape, trunk="dense", width=2).eval()
    return choose_radii(model, TrainingImages.from_array(pixels), form, seed)


def test_radii_are_chosen_for_the_code_and_for_its_key():
    radii = chosen()
    assert 0 <= radii.key <= radii.code <= 72
    assert set(radii.health) == {"imbalance", "effective_bits", "distinct"}
    assert chosen() == radii


def test_a_short_code_is_its_own_key():
    radii = chosen(bits=32)
    assert radii.key == radii.code


def test_a_handful_of_pictures_gets_a_careful_radius():
    assert chosen(n=3).code <= 72 // 8


def test_radii_hold_what_they_are_given():
    assert Radii(3, 1).health == {}
    assert 0 < FALSE_PAIRS < 1


@pytest.mark.parametrize("copies", [0, 40, 160])
def test_a_folder_full_of_copies_keeps_its_radius(rng, copies):
    """Up to two in five pictures of the folder are edited copies of others: the estimate looks past them."""
    codes = random_codes(rng, 400, 256)
    tail = fit_tail(different_pairs(codes).scores)
    copied = np.unpackbits(codes[200 : 200 + copies], axis=1) ^ (rng.random((copies, 256)) < 0.06)
    codes[:copies] = np.packbits(copied, axis=1)
    found = fit_tail(different_pairs(codes).scores)
    assert found.tau(400) == pytest.approx(tail.tau(400), abs=6)


def test_copies_are_no_different_pairs(rng):
    codes = random_codes(rng, 200, 256)
    codes[0] = codes[100]
    assert len(different_pairs(codes).distances) == 200 * 199 // 2 - 1


def test_few_codes_have_no_tail(rng):
    assert different_pairs(random_codes(rng, 99, 64)) is None


def test_a_larger_collection_is_stricter(rng):
    tail = fit_tail(different_pairs(random_codes(rng, 300, 128)).scores)
    assert tail.tau(100) > tail.tau(10_000) > tail.tau(1_000_000)
