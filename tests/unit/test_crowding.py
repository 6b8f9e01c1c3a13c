"""Crowding, the rule made from it, and matches by that rule, against all pairs counted one by one."""

import numpy as np
import pytest

from hashae.calibration import COUNTED, SKIPPED, Tail, own_radii
from hashae.codes import hamming, pack
from hashae.indexer import HashIndex, crowding
from hashae.indexer.own_matches import matches_by_rule
from hashae.indexer.radius_rule import RadiusRule, choose_rule

TAIL = Tail(-2.0, 0.5)


@pytest.fixture(params=[0, 1, 2])
def codes(request):
    """160 codes of 64 bits: crowds, copies, equal ones and loners."""
    rng = np.random.default_rng(request.param)
    centres = rng.random((8, 64)) < 0.5
    crowds = centres[rng.integers(0, 8, 100)] ^ (rng.random((100, 64)) < 0.08)
    loners = rng.random((40, 64)) < 0.5
    copies = np.concatenate([crowds[:10], crowds[:5], loners[:5] ^ (rng.random((5, 64)) < 0.03)])
    return pack(np.concatenate([crowds, loners, copies]))


@pytest.fixture
def index(codes):
    built = HashIndex(64)
    built.add(np.arange(len(codes)) * 3 + 1, codes)
    return built


def slow_crowding(codes, reference=None):
    rows = range(len(codes)) if reference is None else reference
    every = hamming(codes, codes)
    return [
        np.mean(sorted(every[i, j] for j in rows if j != i)[SKIPPED : SKIPPED + COUNTED]) for i in range(len(codes))
    ]


def test_crowding_is_the_mean_distance_to_the_third_to_seventh_nearest_other_code(codes):
    assert crowding.crowding(codes).tolist() == pytest.approx(slow_crowding(codes), rel=1e-6)


def test_a_large_collection_is_measured_against_a_sample_of_itself(codes, monkeypatch):
    monkeypatch.setattr(crowding, "REFERENCE", 50)
    monkeypatch.setattr(crowding, "BLOCK", 33)
    told = []
    found = crowding.crowding(codes, on_progress=told.append)
    rows = crowding.reference_rows(len(codes))
    assert len(set(rows.tolist())) == 50
    assert found.tolist() == pytest.approx(slow_crowding(codes, rows), rel=1e-6)
    assert [(step.stage, step.done, step.total) for step in told] == [
        ("crowding", done, len(codes)) for done in (33, 66, 99, 132, len(codes))
    ]


def test_the_rule_is_one_radius_if_asked_for_or_if_there_are_too_few_images():
    assert choose_rule(5000, radius=9, fallback=3, tail=TAIL) == RadiusRule(9)
    assert choose_rule(99, radius=None, fallback=3, tail=TAIL) == RadiusRule(3)
    assert choose_rule(5000, radius=None, fallback=3, tail=None) == RadiusRule(3)
    own = choose_rule(100, radius=None, fallback=3, tail=TAIL)
    assert own == RadiusRule(3, TAIL.tau(100))
    assert choose_rule(5000, radius=None, fallback=3, tail=TAIL).tau < own.tau


def test_margins_are_those_of_own_radii(codes):
    crowded = crowding.crowding(codes)
    rule = choose_rule(len(codes), radius=None, fallback=3, tail=TAIL)
    assert rule.margins(crowded).tolist() == own_radii(crowded, TAIL).margins.tolist()


@pytest.mark.parametrize("tau", [-14.0, -6.0, -1.0, 3.0])
@pytest.mark.parametrize("known", [True, False])
def test_matches_of_a_code_in_the_collection_are_the_pairs_of_the_rule(codes, index, tau, known):
    rule = RadiusRule(3, tau)
    crowded = crowding.crowding(codes)
    margins = rule.margins(crowded).astype(np.float64)
    every = hamming(codes, codes)
    several = 0
    for row in range(0, len(codes), 7):
        found = matches_by_rule(index, codes[row], rule, crowding=crowded if known else None)
        allowed = (margins[row] + margins) / 2
        expected = sorted((int(every[row, j]), j * 3 + 1) for j in range(len(codes)) if every[row, j] <= allowed[j])
        assert [(match.distance, match.id) for match in found.matches] == expected
        assert found.allowed == [allowed[(id_ - 1) // 3] for _, id_ in expected]
        several += len(expected) > 1
    assert several  # not only itself


@pytest.mark.parametrize("tau", [-14.0, -6.0, 3.0])
@pytest.mark.parametrize("sampled", [False, True])
def test_matches_of_a_new_code_are_those_of_all_codes_compared(codes, index, tau, sampled, monkeypatch):
    if sampled:
        monkeypatch.setattr(crowding, "REFERENCE", 60)
    rule = RadiusRule(3, tau)
    margins = rule.margins(crowding.crowding(codes)).astype(np.float64)
    reference = codes[crowding.reference_rows(len(codes))]
    rng = np.random.default_rng(9)
    for row in range(0, len(codes), 5):
        code = codes[row] ^ pack(rng.random((1, 64)) < 0.04)[0]
        distances = hamming(codes, code[None])[:, 0]
        if not distances.min():
            continue
        near = np.sort(hamming(reference, code[None])[:, 0])[SKIPPED : SKIPPED + COUNTED].mean()
        mine = float(rule.margins(np.array([near], np.float32))[0])
        allowed = (mine + margins) / 2
        expected = sorted((int(d), j * 3 + 1) for j, d in enumerate(distances) if d <= allowed[j])
        found = matches_by_rule(index, code, rule)
        assert [(match.distance, match.id) for match in found.matches] == expected
        assert found.searched >= max((distance for distance, _ in expected), default=0)
        assert found.searched <= 40  # a bound that lets everything through would prove nothing


def test_one_radius_for_all_is_a_search_within_it(codes, index):
    found = matches_by_rule(index, codes[4], RadiusRule(6))
    assert found.matches == index.within(codes[4], 6)
    assert set(found.allowed) == {6.0}
    assert found.searched == 6
