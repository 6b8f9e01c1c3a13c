"""Retrieval measures against slow, plain versions of themselves; baselines; neighbours in pixel space."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashae.codes import hamming, pack
from hashae.errors import CodeError, ConfigError, UnknownName
from hashae.evaluation import (
    BASELINES,
    DistanceBlocks,
    average_precision,
    count_by_label,
    count_neighbours,
    create_baseline,
    evaluate_retrieval,
    nearest_in_pixels,
    precision_at,
    precision_within,
    recall_at,
    top_average_precision,
)


def plain_average_precision(relevant):
    """Of relevance in ranked order, as the textbook has it."""
    precisions = [sum(relevant[: rank + 1]) / (rank + 1) for rank, hit in enumerate(relevant) if hit]
    return sum(precisions) / len(precisions) if precisions else 0.0


def every_order(distances, relevant):
    """Yield relevance in each ranked order that is possible when equal distances may come in any order."""
    for order in permutations(range(len(distances))):
        ranked = [distances[i] for i in order]
        if ranked == sorted(ranked):
            yield [relevant[i] for i in order]


def blocks_of(distances, relevant, bits=8):
    items, hits = np.zeros((2, 1, bits + 1), np.int64)
    np.add.at(items[0], list(distances), 1)
    np.add.at(hits[0], list(distances), np.array(relevant, int))
    return DistanceBlocks(items, hits)


rankings = st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=7)


@given(rankings)
def test_average_precision_is_the_mean_over_every_order_of_ties(ranking):
    distances, relevant = zip(*ranking, strict=True)
    orders = list(every_order(distances, relevant))
    expected = np.mean([plain_average_precision(order) for order in orders])
    assert average_precision(blocks_of(distances, relevant))[0] == pytest.approx(expected, abs=1e-12)


@given(rankings, st.integers(1, 7))
def test_hits_among_the_first_are_the_mean_over_every_order_of_ties(ranking, k):
    distances, relevant = zip(*ranking, strict=True)
    k = min(k, len(ranking))
    hits = np.mean([sum(order[:k]) for order in every_order(distances, relevant)])
    blocks = blocks_of(distances, relevant)
    assert precision_at(blocks, k)[0] == pytest.approx(hits / k, abs=1e-12)
    assert recall_at(blocks, k)[0] == pytest.approx(hits / max(sum(relevant), 1), abs=1e-12)


@pytest.fixture
def coded(rng):
    """Codes of 8 bits, so that most distances are shared, and labels of four classes."""
    codes = rng.integers(0, 256, (340, 1), dtype=np.uint8)
    labels = codes[:, 0].astype(np.int64) // 64 ^ (rng.random(340) < 0.2)
    return codes[:40], codes[40:], labels[:40], labels[40:]


def test_average_precision_is_the_mean_over_random_orders_of_ties(coded, rng):
    queries, database, wanted, labels = coded
    got = average_precision(count_by_label(*coded))
    distances = hamming(queries, database)
    sampled = np.zeros((300, len(queries)))
    for row in sampled:
        order = np.lexsort((rng.random(distances.shape), distances))
        hit = np.take_along_axis(labels[None] == wanted[:, None], order, axis=1)
        precision = np.cumsum(hit, axis=1) / np.arange(1, len(database) + 1)
        row[:] = (precision * hit).sum(axis=1) / hit.sum(axis=1)
    spread = sampled.std(axis=0) / np.sqrt(len(sampled))
    assert (np.abs(sampled.mean(axis=0) - got) < 6 * spread + 1e-9).all()


def test_a_ranking_without_ties_has_the_textbook_value(rng):
    bits = 64
    flips = rng.permutation(bits + 1)
    database = pack(np.arange(bits)[None, :] < flips[:, None])
    labels = rng.integers(0, 2, bits + 1)
    blocks = count_by_label(np.zeros((1, 8), np.uint8), database, [1], labels)
    relevant = (labels == 1)[np.argsort(flips)].tolist()
    assert average_precision(blocks)[0] == pytest.approx(plain_average_precision(relevant))


def test_blocks_are_counted_alike_in_one_piece_and_in_many(coded, monkeypatch):
    whole = count_by_label(*coded)
    monkeypatch.setattr("hashae.evaluation.blocks.DISTANCES", 1000)
    parts = count_by_label(*coded)
    assert np.array_equal(whole.items, parts.items)
    assert np.array_equal(whole.relevant, parts.relevant)
    assert whole.items.sum(axis=1).tolist() == [300] * 40


def test_average_precision_of_the_literature(coded):
    queries, database, wanted, labels = coded
    got = top_average_precision(*coded, k=25)
    for row, distances in enumerate(hamming(queries, database)):
        first = np.argsort(distances, kind="stable")[:25]
        assert got[row] == pytest.approx(plain_average_precision((labels[first] == wanted[row]).tolist()))
    assert top_average_precision(queries, database, wanted + 9, labels, k=25).tolist() == [0.0] * 40


def test_precision_within_a_radius_counts_nothing_found_as_zero():
    queries = np.array([[0], [255]], np.uint8)
    database = np.array([[0], [1], [3], [7]], np.uint8)
    blocks = count_by_label(queries, database, [1, 1], [1, 0, 1, 1])
    precision, empty = precision_within(blocks, 2)
    assert precision.tolist() == [2 / 3, 0]
    assert empty.tolist() == [False, True]


def test_neighbours_are_found_again_by_codes_that_keep_their_order():
    database = pack(np.arange(8)[None, :] < np.arange(9)[:, None])
    blocks = count_neighbours(database[:2], database, [[0, 1], [1, 0]])
    assert recall_at(blocks, 2).tolist() == [1.0, 0.75]  # 0 and 2 are equally near to 1
    assert recall_at(blocks, 1).tolist() == [0.5, 0.5]


def test_a_result_holds_all_measures_and_what_they_were_measured_on(coded):
    queries, database, wanted, labels = coded
    neighbours = np.tile(np.arange(5), (40, 1))
    result = evaluate_retrieval(*coded, neighbours=neighbours, cutoff=1000, first=10, radius=1, recall_cutoff=30)
    blocks = count_by_label(*coded)
    assert (result.bits, result.queries, result.database, result.cutoff, result.first) == (8, 40, 300, 300, 10)
    assert result.map == average_precision(blocks).mean()
    assert result.map_top == top_average_precision(*coded, k=300).mean()
    assert result.precision == precision_at(blocks, 10).mean()
    assert result.precision_radius == precision_within(blocks, 1)[0].mean()
    assert result.empty == precision_within(blocks, 1)[1].mean()
    assert result.neighbour_recall == recall_at(count_neighbours(queries, database, neighbours), 30).mean()
    assert result.relevant == np.mean([(labels == label).sum() for label in wanted])
    assert result.to_dict()["neighbours"] == 5
    assert evaluate_retrieval(*coded).neighbour_recall is None


CODES = np.zeros((3, 2), np.uint8)


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: count_by_label(CODES, CODES[:, :1], [0] * 3, [0] * 3), CodeError, "expected 8 bits"),
        (lambda: count_by_label(CODES[:0], CODES, [], [0] * 3), CodeError, "0 queries and 3 codes in the database"),
        (
            lambda: count_by_label(CODES, CODES, [0] * 2, [0] * 3),
            CodeError,
            r"labels of the queries .* integers \(3,\)",
        ),
        (lambda: count_by_label(CODES, CODES, [0] * 3, [0.5] * 3), CodeError, "labels of the database are float64"),
        (lambda: count_neighbours(CODES, CODES, [[0]]), CodeError, r"expected integers \(3, k\)"),
        (lambda: count_neighbours(CODES, CODES, [[3]] * 3), CodeError, "the database has rows 0 to 2"),
        (lambda: precision_at(blocks_of([1, 2], [1, 0]), 3), ConfigError, "cut-off is 3; expected 1 to 2"),
        (lambda: recall_at(blocks_of([1, 2], [1, 0]), 0), ConfigError, "cut-off is 0; expected 1 to 2"),
        (lambda: top_average_precision(CODES, CODES, [0] * 3, [0] * 3, 4), ConfigError, "cut-off is 4"),
        (lambda: precision_within(blocks_of([1, 2], [1, 0]), 9), ConfigError, "radius is 9; expected 0 to 8"),
        (lambda: DistanceBlocks(np.ones((1, 9)), np.ones((1, 5))), ConfigError, r"expected \(queries, bits \+ 1\)"),
        (lambda: DistanceBlocks(np.ones((1, 9)), 2 * np.ones((1, 9))), ConfigError, "more relevant items than items"),
        (lambda: nearest_in_pixels(CODES, CODES[:, :1], 1), ConfigError, "expected one shape"),
        (lambda: nearest_in_pixels(CODES, CODES, 4), ConfigError, "4 neighbours asked for; expected 1 to 3"),
        (lambda: create_baseline("sh", 8), UnknownName, "known ones are lsh, pca, pca-rr, itq"),
        (lambda: create_baseline("lsh", 9), ConfigError, "expected a multiple of 8"),
        (lambda: create_baseline("pca", 8).fit(CODES), ConfigError, "use fewer bits, or lsh"),
        (lambda: create_baseline("lsh", 8).fit(CODES).encode(CODES[:, :1]), ConfigError, "fitted to 2"),
    ],
)
def test_errors_say_what_was_expected(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()


def test_neighbours_in_pixel_space_are_the_nearest(rng):
    images = rng.integers(0, 256, (60, 1, 5, 5), dtype=np.uint8)
    got = nearest_in_pixels(images[:7], images, 4)
    flat = images.reshape(60, -1).astype(np.int64)
    distances = ((flat[:7, None] - flat[None]) ** 2).sum(axis=2)
    assert np.take_along_axis(distances, got, axis=1).tolist() == np.sort(distances, axis=1)[:, :4].tolist()


@pytest.fixture(scope="module")
def cloud():
    """Points whose variance lies in few directions, away from the origin."""
    rng = np.random.default_rng(3)
    scale = np.array([9, 8, 7, 6, 5, 4, 3, 2] + [0.1] * 12)
    turn = np.linalg.qr(rng.normal(size=(20, 20)))[0]
    return (rng.normal(size=(400, 20)) * scale) @ turn + 50


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_are_seeded_and_balanced(name, cloud):
    fitted = create_baseline(name, 8, seed=1).fit(cloud)
    codes = fitted.encode(cloud)
    assert codes.shape == (400, 1)
    assert np.array_equal(codes, create_baseline(name, 8, seed=1).fit(cloud).encode(cloud))
    if name != "pca":
        assert not np.array_equal(codes, create_baseline(name, 8, seed=2).fit(cloud).encode(cloud))
    share = np.unpackbits(codes, axis=1).mean(axis=0)
    assert (np.abs(share - 0.5) < 0.15).all()
    assert fitted.encode(cloud[:0]).shape == (0, 1)


def test_principal_components_are_those_of_the_covariance(cloud):
    directions = create_baseline("pca", 8).fit(cloud).directions
    vectors = np.linalg.eigh(np.cov(cloud.T))[1][:, ::-1][:, :8]
    assert np.abs(np.sum(directions * vectors, axis=0)) == pytest.approx(np.ones(8), abs=1e-3)


def test_rotations_keep_the_subspace_and_itq_rounds_best(cloud):
    centred = cloud - cloud.mean(axis=0)

    def rounding_error(name):
        directions = create_baseline(name, 8).fit(cloud).directions
        assert directions.T @ directions == pytest.approx(np.eye(8), abs=1e-4)
        projected = centred @ directions
        return np.square(np.sign(projected) - projected).sum()

    errors = {name: rounding_error(name) for name in ("pca", "pca-rr", "itq")}
    assert errors["itq"] < min(errors["pca"], errors["pca-rr"])
