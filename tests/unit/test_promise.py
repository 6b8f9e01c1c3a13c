"""The promised precision: its definition against counting, the bound against exact binomial sums."""

from __future__ import annotations

import math

import pytest

from hashae.errors import ConfigError
from hashae.promise import Promise, upper_share


def exact_upper(seen, pairs, confidence):
    """The bound of Clopper and Pearson, by bisection over exact sums of the binomial distribution."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        at_most = sum(math.comb(pairs, k) * middle**k * (1 - middle) ** (pairs - k) for k in range(seen + 1))
        low, high = (middle, high) if at_most > 1 - confidence else (low, middle)
    return low


@pytest.mark.parametrize("pairs", [1, 10, 300])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.99])
def test_with_nothing_seen_the_bound_is_the_exact_one(pairs, confidence):
    assert float(upper_share(0, pairs, confidence)) == pytest.approx(exact_upper(0, pairs, confidence), rel=1e-9)


@pytest.mark.parametrize("pairs", [1000, 10**6, 10**9])
def test_with_nothing_seen_it_is_the_rule_of_three(pairs):
    assert float(upper_share(0, pairs, 0.95)) * pairs == pytest.approx(3, abs=0.01)


@pytest.mark.parametrize(("seen", "pairs"), [(1, 20), (3, 20), (19, 20), (2, 500), (60, 500)])
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_the_bound_is_never_below_the_exact_one_and_not_far_above(seen, pairs, confidence):
    bound, exact = float(upper_share(seen, pairs, confidence)), exact_upper(seen, pairs, confidence)
    assert exact <= bound <= 1
    # In standard deviations of the count: the price of a bound that holds for shares as well as for counts.
    assert (bound - exact) * pairs <= 1.2 * math.sqrt(pairs * bound) + 1


def test_it_holds_as_often_as_it_says(rng):
    share, pairs = 0.01, 400
    seen = rng.binomial(pairs, share, 4000)
    assert (upper_share(seen, pairs, 0.95) >= share).mean() >= 0.95


def test_shares_of_edits_count_as_parts_of_a_pair():
    between = [float(upper_share(seen, 100, 0.95)) for seen in (1, 1.5, 2)]
    assert between == sorted(between)
    assert len(set(between)) == 3


def test_all_false_and_no_pairs_leave_nothing_to_hope_for():
    assert float(upper_share(7, 7, 0.95)) == pytest.approx(1)
    assert upper_share([0, 3], 0, 0.95).tolist() == [1, 1]


def counted_precision(images, copied, recall, share):
    """Precision by going through all pairs of a collection and its copies, each matching with its probability."""
    pictures = [(picture, False) for picture in range(images)] + [(picture, True) for picture in range(copied)]
    right = wrong = 0.0
    for place, (picture, _) in enumerate(pictures):
        for other, _ in pictures[:place]:
            if picture == other:
                right += recall
            else:
                wrong += share
    return right / (right + wrong)


@pytest.mark.parametrize(("images", "copied"), [(10, 10), (20, 5), (3, 3), (50, 1)])
@pytest.mark.parametrize(("recall", "share"), [(0.9, 0.01), (0.5, 1e-4), (1.0, 0.3)])
def test_precision_is_the_share_of_right_pairs_among_those_reported(images, copied, recall, share):
    promise = Promise(copies=copied / images)
    found = float(promise.precision_at(images, recall, share))
    assert found == pytest.approx(counted_precision(images, copied, recall, share))


def test_where_nothing_is_reported_nothing_is_wrong():
    assert Promise().precision_at(100, [0.0, 0.0, 0.5], [0.0, 0.1, 0.0]).tolist() == [1, 0, 1]


def test_larger_collections_and_fewer_copies_are_harder():
    small, large = (float(Promise().precision_at(images, 0.9, 1e-5)) for images in (100, 10_000))
    rare = float(Promise(copies=0.1).precision_at(100, 0.9, 1e-5))
    assert small > large
    assert small > rare


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"precision": 1.0}, "precision is 1.0; expected a share between 0 and 1, for example 0.999"),
        ({"precision": 0}, "precision is 0; expected a share between 0 and 1, for example 0.999"),
        ({"copies": 0}, "copies is 0; expected a share of the images above 0, at most 1"),
        ({"copies": 1.5}, "copies is 1.5; expected a share of the images above 0, at most 1"),
        ({"confidence": 1.0}, "confidence is 1.0; expected 0.5 up to, not including, 1"),
        ({"confidence": 0.4}, "confidence is 0.4; expected 0.5 up to, not including, 1"),
        ({"precision": float("nan")}, "precision is nan; expected a share between 0 and 1, for example 0.999"),
    ],
)
def test_a_promise_says_what_is_wrong(settings, message):
    with pytest.raises(ConfigError) as refused:
        Promise(**settings)
    assert str(refused.value) == message
