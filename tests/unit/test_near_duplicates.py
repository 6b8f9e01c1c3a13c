"""Thresholds of the near-duplicate benchmark: against loops over all pairs, with ties and pairs that do not count."""

from __future__ import annotations

import importlib.util
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


def load_script(name):
    """Import a script of benchmarks/, which is no package and not on the import path."""
    spec = importlib.util.spec_from_file_location(f"benchmarks_{name}", ROOT / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


thresholds = load_script("thresholds")
BITS, EDITS, QUERIES, ORIGINALS = 16, 3, 6, 11


class Case:
    """Random distances of queries to originals; copies tend to be near theirs, and many distances are equal."""

    def __init__(self, seed, beta=0.0):
        rng = np.random.default_rng(seed)
        self.own = rng.permutation(ORIGINALS)[:QUERIES]
        self.ignored = thresholds.ignored_pairs(self.own.tolist(), [[0, 3], [4, 5, 9]])
        self.distances = rng.integers(4, BITS + 1, (EDITS, QUERIES, ORIGINALS))
        self.distances[:, np.arange(QUERIES), self.own] = rng.integers(0, 9, (EDITS, QUERIES))
        database = rng.integers(0, BITS + 1, (ORIGINALS, ORIGINALS))
        np.fill_diagonal(database, 0)
        self.crowded = thresholds.neighbour_sums(database, among_themselves=True)
        self.beta = beta
        self.tally = thresholds.Tally(BITS, beta, EDITS)
        self.worst = thresholds.Worst(self.own, self.ignored, ORIGINALS)
        self.blocks = []
        for edit, block in enumerate(self.distances):
            counted = thresholds.scores(block, thresholds.neighbour_sums(block), self.crowded, beta)
            self.blocks.append(counted)
            self.tally.add(edit, counted, self.own, self.ignored)
            self.worst.add(edit, counted)

    def pairs(self):
        """Yield ``(edit, row, column, score, right)`` of all pairs that count."""
        ignored = set(zip(*(part.tolist() for part in self.ignored), strict=True))
        for edit, block in enumerate(self.blocks):
            for row in range(QUERIES):
                for column in range(ORIGINALS):
                    if (row, column) not in ignored:
                        yield edit, row, column, int(block[row, column]), column == self.own[row]


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.7, 1.0])
@pytest.mark.parametrize("precision", [0.5, 0.8, 0.9, 0.9999, 1.0])
@pytest.mark.parametrize("seed", range(6))
def test_threshold_and_recall_are_those_of_a_loop(seed, precision, beta):
    case = Case(seed, beta)
    pairs = list(case.pairs())
    best = None
    for limit in sorted({score for *_, score, _ in pairs}):
        taken = [right for *_, score, right in pairs if score <= limit]
        if any(taken) and Fraction(sum(taken), len(taken)) >= Fraction(str(precision)):
            best = limit
    found = case.tally.threshold(precision)
    if best is None:
        assert found is None
        assert case.tally.recall(found).tolist() == [0] * EDITS
        assert case.tally.wrong_pairs(found) == 0
        return
    assert best <= found
    assert not any(best < score <= found for *_, score, _ in pairs)
    expected = [
        sum(right and score <= best for edit, _, _, score, right in pairs if edit == place) / QUERIES
        for place in range(EDITS)
    ]
    assert case.tally.recall(found).tolist() == expected
    assert case.tally.wrong_pairs(found) == sum(not right and score <= best for *_, score, right in pairs)


def tally_of(right, wrong, bits=8):
    """Return a tally with one edit from scores in bits."""
    tally = thresholds.Tally(bits, 0.0, 1)
    block = np.array([[score, bits] for score in right]) * thresholds.SCALE
    # The second original is wrong for every query; its scores are replaced by those asked for.
    block[:, 1] = np.resize(np.array(wrong) * thresholds.SCALE, len(right))
    tally.add(0, block, np.zeros(len(right), int), thresholds.ignored_pairs([0] * len(right), []))
    return tally


def test_equal_scores_are_taken_together():
    tally = tally_of(right=[0, 1, 2, 3], wrong=[3, 8, 8, 8])
    # At 3 there is one right and one wrong pair: 4 of 5 are right with both, never 4 of 4.
    assert tally.threshold(1.0) // thresholds.SCALE == 2
    assert tally.recall(tally.threshold(1.0)).tolist() == [0.75]
    assert tally.threshold(0.8) // thresholds.SCALE == 7
    assert tally.recall(tally.threshold(0.8)).tolist() == [1]
    assert tally.wrong_pairs(tally.threshold(0.8)) == 1


def test_precision_may_recover_above_a_bad_score():
    # 1 of 2 right at 0, 5 of 6 at 1: the larger threshold counts although a smaller one fails.
    tally = tally_of(right=[0, 1, 1, 1, 1], wrong=[0, 8, 8, 8, 8])
    assert tally.threshold(0.8) // thresholds.SCALE == 7
    assert tally.threshold(0.9) is None


def test_a_precision_that_is_met_exactly_is_enough():
    tally = tally_of(right=[0] * 9, wrong=[1, *[8] * 8])
    assert tally.threshold(0.9) // thresholds.SCALE == 7
    assert tally.threshold(0.9001) // thresholds.SCALE == 0


def test_recall_is_counted_by_edit():
    tally = thresholds.Tally(8, 0.0, 2)
    none = thresholds.ignored_pairs([0, 1], [])
    own = np.array([0, 1])
    tally.add(0, np.array([[0, 7], [7, 1]]) * thresholds.SCALE, own, none)
    tally.add(1, np.array([[5, 4], [7, 0]]) * thresholds.SCALE, own, none)
    assert tally.threshold(1.0) == 4 * thresholds.SCALE - 1
    assert tally.recall(tally.threshold(1.0)).tolist() == [1, 0.5]


def test_ignored_pairs_are_those_of_the_same_picture():
    rows, columns = thresholds.ignored_pairs([4, 1, 0], [[0, 3], [4, 5, 9]])
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == [(0, 5), (0, 9), (2, 3)]
    assert [len(part) for part in thresholds.ignored_pairs([1, 2], [])] == [0, 0]


def test_crowding_leaves_the_nearest_out():
    distances = np.array([[9, 0, 8, 1, 7, 2, 6, 3, 5, 4]])
    # 0 and 1 are left out; with the picture itself in the row, 2 as well.
    assert thresholds.neighbour_sums(distances).tolist() == [2 + 3 + 4 + 5 + 6]
    assert thresholds.neighbour_sums(distances, among_themselves=True).tolist() == [3 + 4 + 5 + 6 + 7]


def test_crowding_of_equal_distances_and_of_a_small_database():
    assert thresholds.neighbour_sums(np.full((2, 8), 4), among_themselves=True).tolist() == [20, 20]
    with pytest.raises(ValueError, match="the database holds 7 pictures; crowding needs at least 8"):
        thresholds.neighbour_sums(np.zeros((7, 7), int), among_themselves=True)


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.7, 1.0])
def test_scores_are_the_stated_rule_in_whole_numbers(beta):
    rng = np.random.default_rng(1)
    distances = rng.integers(0, 257, (4, 9))
    rows, columns = thresholds.neighbour_sums(distances), rng.integers(0, 1281, 9)
    crowding_a, crowding_b = rows[:, None] / 5, columns[None, :] / 5
    expected = thresholds.SCALE * (distances - beta * (crowding_a + crowding_b) / 2)
    got = thresholds.scores(distances, rows, columns.astype(np.int32), beta)
    assert got.dtype == np.int32
    np.testing.assert_allclose(got, expected, atol=1e-8)


def test_scores_refuse_a_beta_that_would_be_rounded():
    with pytest.raises(ValueError, match=r"beta is 0.75; expected a multiple of 0.1"):
        thresholds.scores(np.zeros((1, 1), int), np.zeros(1, np.int32), np.zeros(1, np.int32), 0.75)


@pytest.mark.parametrize("seed", range(4))
def test_worst_pairs_are_the_lowest_wrong_ones(seed):
    case = Case(seed, 0.5)
    lowest = {}
    for _, row, column, score, right in case.pairs():
        if not right:
            pair = frozenset((int(case.own[row]), column))
            lowest[pair] = min(score, lowest.get(pair, score))
    found = case.worst.pairs(10)
    assert [score for *_, score in found] == sorted(lowest.values())[:10]
    assert len({frozenset((int(case.own[row]), column)) for row, column, *_ in found}) == 10
    for row, column, edit, score in found:
        assert case.blocks[edit][row, column] == score


def test_worst_pairs_of_few_are_all_of_them():
    case = Case(0)
    wrong = {frozenset((int(case.own[row]), column)) for _, row, column, _, right in case.pairs() if not right}
    assert len(case.worst.pairs(1000)) == len(wrong)
