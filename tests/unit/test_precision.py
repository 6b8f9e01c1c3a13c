"""Recall and precision of every threshold, against going through all pairs one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hashae.calibration import BETA, COPY_RATIO, different_pairs, fit_tail, own_radii
from hashae.codes import hamming
from hashae.indexer.crowding import crowding
from hashae.precision import CopyScores, precision_curve, radius_thresholds, tail_shares, tau_thresholds
from hashae.promise import Promise, upper_share
from hashae.strangers import GROUPS, crowding_among, draw_parts, match_scores, pretend_collections, strangers


def random_codes(rng, n, bits=64):
    return rng.integers(0, 256, (n, bits // 8), dtype=np.uint8)


def clustered_codes(rng, n, bits=64, flip=0.2):
    """Codes around a few centres: some pictures are much alike."""
    centres = rng.random((8, bits)) < 0.5
    return np.packbits(centres[rng.integers(0, 8, n)] ^ (rng.random((n, bits)) < flip), axis=1)


def strangers_among(codes, seed=0):
    crowding = crowding_among(hamming(codes, codes), themselves=True)
    return strangers(codes, crowding, draw_parts(len(codes), seed))


# --- scores -------------------------------------------------------------------------------------------------------


def test_crowding_is_that_of_the_duplicate_search(rng):
    codes = clustered_codes(rng, 60)
    assert crowding_among(hamming(codes, codes), themselves=True) == pytest.approx(crowding(codes))
    new = clustered_codes(rng, 5)
    ordered = np.sort(hamming(new, codes), axis=1)
    assert crowding_among(hamming(new, codes), themselves=False) == pytest.approx(ordered[:, 2:7].mean(axis=1))


def test_a_score_is_the_smallest_tau_at_which_the_rule_matches(rng):
    """The rule of the groups: the distance is at most the mean of the two margins, none of them below 0."""
    distances = rng.integers(0, 40, 500)
    a, b = rng.uniform(0, 60, (2, 500)).astype(np.float32)
    scores = match_scores(distances, a, b)
    for tau in rng.uniform(-60, 40, 40):
        margins = np.maximum(tau + BETA * a, 0) + np.maximum(tau + BETA * b, 0)
        clear = np.abs(scores - tau) > 1e-3
        assert ((distances <= margins / 2) == (scores <= tau))[clear].all()


def test_equal_codes_match_at_any_tau():
    assert match_scores(np.array([0]), np.zeros(1, np.float32), np.zeros(1, np.float32)).tolist() == [-np.inf]


def test_margins_of_the_duplicate_search_are_those_of_the_scores(rng):
    codes = clustered_codes(rng, 120)
    tail = fit_tail(different_pairs(codes).scores)
    crowded = crowding(codes)
    radii = own_radii(crowded, tail)
    assert np.maximum(radii.tau + BETA * crowded, 0) == pytest.approx(radii.margins)


# --- pairs of different pictures ----------------------------------------------------------------------------------


def test_strangers_are_all_pairs_but_suspected_copies(rng):
    codes = clustered_codes(rng, 50)
    codes[10] = codes[40]
    crowded = crowding_among(hamming(codes, codes), themselves=True)
    expected, suspected = [], 0
    for i in range(50):
        for j in range(i + 1, 50):
            distance = int(hamming(codes[i : i + 1], codes[j : j + 1])[0, 0])
            if distance <= COPY_RATIO * min(crowded[i], crowded[j]):
                suspected += 1
            else:
                expected.append(distance)
    found = strangers(codes, crowded, draw_parts(50, 0))
    assert found.distances.tolist() == expected
    assert found.suspected == suspected >= 1
    assert len(found) == len(expected) == found.groups.shape[1]


def test_strangers_leave_out_what_the_encoder_leaves_out_when_it_is_trained(rng):
    codes = clustered_codes(rng, 150, flip=0.1)
    found = strangers_among(codes)
    pairs = different_pairs(codes)
    assert found.distances.tolist() == pairs.distances.tolist()
    assert found.scores == pytest.approx(pairs.scores, abs=1e-3)


def test_every_picture_lies_in_one_part_and_parts_are_alike_in_size(rng):
    codes = random_codes(rng, 101)
    groups = strangers_among(codes, seed=3).groups
    first, second = np.triu_indices(101, 1)
    of = {}
    for picture, part in zip([*first, *second], groups.reshape(-1).tolist(), strict=True):
        assert of.setdefault(picture, part) == part
    assert max(np.bincount(list(of.values()), minlength=GROUPS)) == 6


def test_borrowed_codes_become_collections_of_the_size_of_the_borrower(rng):
    reference = random_codes(rng, 300)
    found = pretend_collections(reference, 100)
    expected = [strangers_among(reference[start : start + 100]) for start in (0, 100, 200)]
    assert found.distances.tolist() == np.concatenate([pairs.distances for pairs in expected]).tolist()
    assert found.scores == pytest.approx(np.concatenate([pairs.scores for pairs in expected]))
    # Smaller collections are less crowded, so scores are lower than among all codes.
    assert found.scores.mean() < strangers_among(reference).scores.mean()


def test_runs_overlap_where_the_size_does_not_divide_the_reference_and_all_codes_are_used(rng):
    reference = random_codes(rng, 100)
    found = pretend_collections(reference, 40, seed=5)
    parts = draw_parts(100, 5)
    expected = [strangers_among(reference[start : start + 40]) for start in (0, 30, 60)]
    assert found.distances.tolist() == np.concatenate([pairs.distances for pairs in expected]).tolist()
    # A code that lies in two runs lies in one part.
    first = np.triu_indices(40, 1)[0]
    assert found.groups[0].tolist() == [parts[start + row] for start in (0, 30, 60) for row in first]


def test_codes_that_lie_together_stay_together(rng):
    """A reference of folders of alike pictures is harder than the same codes shuffled."""
    folders = [clustered_codes(rng, 50, 128, flip=0.35) for _ in range(8)]
    reference = np.concatenate(folders)
    shuffled = reference[rng.permutation(len(reference))]
    assert pretend_collections(reference, 50).distances.mean() < pretend_collections(shuffled, 50).distances.mean()


def test_one_pretended_collection_is_all_of_the_reference(rng):
    reference = random_codes(rng, 60)
    found = pretend_collections(reference, 60)
    assert found.distances.tolist() == strangers_among(reference).distances.tolist()


# --- copies -------------------------------------------------------------------------------------------------------


def test_copies_and_others_are_counted_at_every_threshold(rng):
    thresholds = np.arange(-3, 4.0)
    tally = CopyScores(thresholds, 2)
    own, others = rng.integers(-4, 6, (5, 2)), rng.integers(-6, 9, (5, 2, 7))
    for picture in range(5):
        tally.add(own[picture], others[picture])
    for place, threshold in enumerate(thresholds):
        assert tally.recall_each[place] == pytest.approx((own <= threshold).mean(axis=0))
        assert tally.false[place] == (others <= threshold).sum()
    assert tally.pictures == 35


def test_equal_codes_are_found_at_every_threshold():
    tally = CopyScores(np.arange(2), 1)
    tally.add(np.array([-np.inf]), np.array([[-np.inf, 1.0]]))
    assert tally.recall_each.tolist() == [[1], [1]]
    assert tally.false.tolist() == [1, 2]


def test_thresholds_reach_from_equal_codes_to_one_stranger_in_two_hundred(rng):
    codes = random_codes(rng, 150)
    crowded = crowding_among(hamming(codes, codes), themselves=True)
    pairs = strangers(codes, crowded, draw_parts(150, 0))
    taus, radii = tau_thresholds(crowded, pairs.scores), radius_thresholds(pairs.distances)
    assert (BETA * crowded + taus[0] <= 0).all()
    assert (pairs.scores <= taus[-1]).mean() >= 0.005
    assert radii[0] == 0
    assert (pairs.distances <= radii[-1]).mean() >= 0.005


# --- the tail -----------------------------------------------------------------------------------------------------


def naive_tail_shares(scores, groups, thresholds):
    """The line and its jackknife error, with one full fit for each part."""
    lines = [fit_tail(scores.astype(np.float32))]
    lines += [fit_tail(scores[(groups != part).all(axis=0)].astype(np.float32)) for part in range(GROUPS)]
    logs = np.array([line.intercept + line.slope * thresholds for line in lines])
    spread = logs[1:]
    error = np.sqrt((GROUPS - 1) / GROUPS * ((spread - spread.mean(axis=0)) ** 2).sum(axis=0))
    return np.exp(logs[0]), np.exp(logs[0] + 1.6448536 * error)


@pytest.mark.parametrize("n", [40, 300])
def test_below_the_fitted_part_the_share_is_the_line_and_the_bound_its_jackknife(rng, n):
    codes = clustered_codes(rng, n, 128)
    pairs = strangers_among(codes)
    thresholds = np.linspace(pairs.scores.min() - 20, pairs.scores.min() - 1, 30)
    share, upper = tail_shares(pairs.scores, pairs.groups, thresholds, 0.95)
    expected, bound = naive_tail_shares(pairs.scores, pairs.groups, thresholds)
    assert share == pytest.approx(expected, rel=1e-4)
    assert upper == pytest.approx(np.minimum(bound, 1), rel=1e-3)
    assert (upper > share).all()


def test_above_the_fitted_part_pairs_are_counted(rng):
    codes = random_codes(rng, 200, 128)
    pairs = strangers_among(codes)
    thresholds = np.array([50, 56, 60])
    share, _ = tail_shares(pairs.distances, pairs.groups, thresholds, 0.95)
    assert share == pytest.approx([(pairs.distances <= radius).mean() for radius in thresholds])


def test_more_pictures_make_the_bound_closer(rng):
    widths = []
    for n in (60, 600):
        codes = random_codes(rng, n, 128)
        pairs = strangers_among(codes)
        share, upper = tail_shares(pairs.distances, pairs.groups, np.array([25]), 0.95)
        widths.append(float(upper[0] / share[0]))
    assert widths[1] < widths[0]


def test_the_bound_on_the_tail_covers_the_share_of_many_more_pictures(rng):
    """Random codes: the true share of pairs within a radius is known, and far below what 31,000 pairs can count."""
    bits, radius, held = 64, 14, 0
    true = sum(math.comb(bits, differing) for differing in range(radius + 1)) / 2**bits
    assert true < 1 / 31_000
    for _ in range(20):
        codes = random_codes(rng, 250, bits)
        pairs = strangers(codes, np.zeros(250, np.float32), draw_parts(250, 0))
        held += float(tail_shares(pairs.distances, pairs.groups, np.array([radius]), 0.95)[1][0]) >= true
    assert held >= 17


def test_a_tail_of_one_picture_alone_still_has_a_fit(rng):
    """All low scores are those of one hub: without its part of the pictures the fit needs what was put aside."""
    codes = random_codes(rng, 80, 128)
    pairs = strangers_among(codes)
    scores = pairs.scores.copy()
    hub = (pairs.groups == 0).any(axis=0)
    scores[hub] -= 200
    share, upper = tail_shares(scores, pairs.groups, np.array([-300.0, -200.0]), 0.95)
    assert (upper >= share).all()
    assert np.isfinite(upper).all()


# --- choosing -----------------------------------------------------------------------------------------------------


def measured(rng, n=120, edits=3, sample=40, flip=0.04, thresholds=None, bits=128):
    """A collection, copies of some of it, and both as the functions want them; copies differ in some bits."""
    codes = random_codes(rng, n, bits)
    pairs = strangers_among(codes)
    tally = CopyScores(radius_thresholds(pairs.distances) if thresholds is None else thresholds, edits)
    for row in range(sample):
        flips = rng.random((edits, bits)) < flip * np.arange(1, edits + 1)[:, None]
        copies = np.packbits(np.unpackbits(codes[row])[None] ^ flips, axis=1)
        distances = hamming(copies, codes)
        tally.add(distances[:, row], np.delete(distances, row, axis=1))
    return tally, pairs


@pytest.mark.parametrize("precision", [0.5, 0.9, 0.99, 0.999, 0.999999])
@pytest.mark.parametrize("copies", [0.05, 1.0])
def test_the_largest_threshold_that_keeps_the_promise_is_chosen(rng, precision, copies):
    promise = Promise(precision, copies)
    tally, pairs = measured(rng)
    curve = precision_curve(promise, 120, tally, pairs.distances, pairs)
    best = None
    share, upper = tail_shares(pairs.distances, pairs.groups, tally.thresholds, 0.95)
    for place in range(len(tally.thresholds)):
        recall = float(np.mean(tally.recall_each[place]))
        bounds = [float(upper[place]), float(upper_share(tally.false[place] / 3, tally.pictures, 0.95))]
        kept = [float(promise.precision_at(120, recall, bound)) >= precision for bound in bounds]
        assert curve.expected[place] == pytest.approx(float(promise.precision_at(120, recall, float(share[place]))))
        assert curve.counted[place] == kept[1]
        if any(kept):
            best = place
    assert curve.chosen == best


def test_a_stricter_promise_never_takes_a_larger_radius(rng):
    tally, pairs = measured(rng)
    places = [
        precision_curve(Promise(precision), 120, tally, pairs.distances, pairs).chosen
        for precision in (0.5, 0.8, 0.95, 0.99, 0.999, 0.9999)
    ]
    assert places == sorted(places, reverse=True)


def test_many_pictures_are_enough_to_count(rng):
    """Every pair of pictures counts once: with few edited pictures one pair in ten can be promised, with more, less."""
    thresholds = np.arange(20)  # far below what a stranger reaches
    few, pairs = measured(rng, sample=10, thresholds=thresholds)
    many, _ = measured(rng, sample=120, thresholds=thresholds)
    for tally, shown in ((few, False), (many, True)):
        curve = precision_curve(Promise(0.9), 120, tally, pairs.distances, pairs)
        assert curve.counted.any() == shown
        assert not tally.false.any()


def test_edits_of_one_picture_are_no_further_witnesses(rng):
    once, often = CopyScores(np.arange(9), 1), CopyScores(np.arange(9), 10)
    _, pairs = measured(rng)
    for _ in range(50):
        once.add(np.array([2]), np.full((1, 30), 100))
        often.add(np.full(10, 2), np.full((10, 30), 100))
    curves = [precision_curve(Promise(0.9), 31, tally, pairs.distances, pairs) for tally in (once, often)]
    assert curves[0].counted.tolist() == curves[1].counted.tolist()
    assert often.pictures == once.pictures


def test_where_nothing_keeps_the_promise_nothing_is_chosen(rng):
    """Equal codes of different pictures: even radius 0 is wrong too often."""
    _, pairs = measured(rng)
    tally = CopyScores(np.arange(3), 1)
    for _ in range(10):
        tally.add(np.array([0]), np.zeros((1, 20), np.int32))
    noisy = np.where(np.arange(len(pairs)) % 2, pairs.distances, 0)
    assert precision_curve(Promise(0.9), 120, tally, noisy, pairs).chosen is None
