"""The health of codes: every number against a slower way to it, and a sentence for each thing that can be wrong."""

import math
from itertools import combinations

import numpy as np
import pytest

from hashae import health as health_module
from hashae.calibration import health as trained_health
from hashae.codes import hamming, pack
from hashae.health import code_health, diagnose


def random_codes(count=300, bits=64, seed=0):
    return pack(np.random.default_rng(seed).random((count, bits)) < 0.5)


@pytest.mark.parametrize("bits", [8, 24, 64, 128])
def test_numbers_are_those_of_loops(bits):
    rng = np.random.default_rng(bits)
    values = rng.random((40, bits)) < rng.uniform(0.2, 0.8, bits)
    values[:, 3] = True
    values[30:] = values[rng.integers(0, 5, 10)]
    codes = pack(values)
    found = code_health(codes)
    pairs = list(combinations(range(40), 2))
    apart = [int((values[a] != values[b]).sum()) for a, b in pairs]
    assert (found.count, found.sample, found.bits) == (40, 40, bits)
    assert found.means.tolist() == pytest.approx(values.mean(axis=0).tolist())
    assert found.imbalance == pytest.approx(np.mean([abs(2 * mean - 1) for mean in values.mean(axis=0)]))
    assert found.distances.tolist() == [apart.count(distance) for distance in range(bits + 1)]
    assert found.dead_bits == [bit for bit in range(bits) if not 0.02 <= values[:, bit].mean() <= 0.98]
    for a, b in [(0, 1), (0, 2), (5, 7)]:
        assert found.correlation[a, b] == pytest.approx(np.corrcoef(values[:, a], values[:, b])[0, 1])
    assert found.correlation[3].tolist() == [float(bit == 3) for bit in range(bits)]  # a constant bit
    others = [abs(found.correlation[a, b]) for a in range(bits) for b in range(bits) if a != b]
    assert found.mean_correlation == pytest.approx(np.mean(others))
    for buckets, width in ((found.code, bits), (found.key, min(bits, 64))):
        prefix = [tuple(row) for row in values[:, :width].tolist()]
        distances = np.array([sum(x != y for x, y in zip(prefix[a], prefix[b], strict=True)) for a, b in pairs])
        assert buckets.bits == width
        assert buckets.used == len(set(prefix)) / 40
        assert buckets.largest == max(prefix.count(code) for code in prefix)
        assert buckets.collisions == sum(prefix[a] == prefix[b] for a, b in pairs)
        effective = distances.mean() * (width - distances.mean()) / distances.var()
        assert buckets.effective_bits == pytest.approx(effective)
        assert buckets.expected == pytest.approx(len(pairs) / 2**effective)


def test_random_codes_have_all_their_bits_and_as_many_collisions_as_expected():
    found = code_health(random_codes(2000, bits=16))
    assert found.code.effective_bits == pytest.approx(16, rel=0.05)
    assert found.code.collisions == pytest.approx(found.code.expected, rel=0.3)
    assert found.mean_correlation == pytest.approx(math.sqrt(2 / (math.pi * 2000)), rel=0.2)
    assert diagnose(found, trained_health(random_codes(2000, bits=16, seed=1))) == []


def test_it_agrees_with_what_an_encoder_knows_of_its_training_images():
    codes = random_codes()
    found = code_health(codes)
    expected = {"imbalance": found.imbalance, "effective_bits": found.code.effective_bits, "distinct": found.code.used}
    assert trained_health(codes) == pytest.approx(expected)


def test_many_codes_are_sampled_for_pairs_only(monkeypatch):
    monkeypatch.setattr(health_module, "SAMPLE", 50)
    monkeypatch.setattr(health_module, "BLOCK", 64)
    codes = random_codes()
    found = code_health(codes)
    assert (found.count, found.sample, found.distances.sum()) == (300, 50, 50 * 49 // 2)
    assert found.means.tolist() == code_health(codes[::-1]).means.tolist()
    assert code_health(codes).distances.tolist() == found.distances.tolist()
    assert code_health(codes, seed=1).distances.tolist() != found.distances.tolist()


def test_equal_codes_are_one_bucket():
    found = code_health(np.repeat(random_codes(1), 20, axis=0))
    assert (found.code.used, found.code.largest, found.code.collisions) == (0.05, 20, 190)
    assert (found.code.effective_bits, found.code.expected) == (0.0, 190.0)
    assert found.mean_correlation == 0


def test_few_codes_are_not_judged():
    codes = np.zeros((99, 8), np.uint8)
    assert diagnose(code_health(codes)) == ["99 images are too few to judge the codes by; 100 or more are needed"]


def test_dead_bits_are_named():
    values = np.random.default_rng(0).random((200, 64)) < 0.5
    values[:, 5] = np.arange(200) < 3
    assert diagnose(code_health(pack(values))) == [
        "1 of 64 bits is dead, on or off for fewer than 2 % of the images: 5; a dead bit takes room and tells next to "
        "nothing"
    ]
    values[:, 20:30] = True
    assert diagnose(code_health(pack(values)))[0].startswith(
        "11 of 64 bits are dead, on or off for fewer than 2 % of the images: 5, 20, 21, 22, 23, 24, 25, 26 and others;"
    )


@pytest.mark.parametrize(("count", "copies", "hot"), [(300, 9, False), (300, 10, True), (2000, 19, False)])
def test_a_code_that_many_images_have_is_hot(count, copies, hot):
    codes = random_codes(count)
    codes[:copies] = codes[0]
    found = diagnose(code_health(codes))
    assert found == (
        [
            "one code is hot: 10 of 300 images have it; they are copies, or show next to nothing (see: hashae dedup "
            "--radius 0)"
        ]
        if hot
        else []
    )


def test_a_hot_key_is_told_where_no_code_is_hot():
    codes = random_codes(300, bits=128)
    codes[:20, :8] = codes[0, :8]
    (found,) = diagnose(code_health(codes))
    assert found.startswith("one key (the first 64 bits) is hot: 20 of 300 images have it;")


def test_bits_that_repeat_one_another_are_told():
    values = np.repeat(np.random.default_rng(0).random((400, 4)) < 0.5, 16, axis=1)
    found = diagnose(code_health(pack(values ^ (np.random.default_rng(1).random((400, 64)) < 0.02))))[-1]
    assert found.startswith("the bits repeat one another: their mean correlation is 0.2")
    assert found.endswith("so the 64 bits are worth 5")


def test_images_unlike_the_training_images_are_told():
    rng = np.random.default_rng(0)
    codes = pack(rng.random((300, 64)) < rng.choice([0.1, 0.9], 64))
    found = code_health(codes)
    assert diagnose(found) == []
    near = {"imbalance": found.imbalance - 0.29, "effective_bits": found.code.effective_bits * 2.4}
    assert diagnose(found, near) == []
    (told,) = diagnose(found, {"imbalance": 0.03, "effective_bits": 500})
    assert told == (
        f"the images are unlike those the encoder learned from ({found.code.effective_bits:.0f} effective bits instead "
        f"of 500 and an imbalance of {found.imbalance:.2f} instead of 0.03): near matches are less certain; an encoder "
        "learned from them may do better: hashae index FOLDER --encoder train"
    )
    assert "imbalance" not in diagnose(found, {"imbalance": 0.7, "effective_bits": 500})[0]


def test_hamming_distances_of_the_histogram_are_those_of_the_codes():
    codes = random_codes(60)
    every = hamming(codes, codes)[np.triu_indices(60, 1)]
    assert code_health(codes).distances.tolist() == np.bincount(every, minlength=65).tolist()
