"""Benchmarks of retrieval: rows that are kept, lengths of time, the split into database and queries."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def learned(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("learned")


@pytest.fixture
def labelled(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("labelled")


def test_a_row_is_measured_once(learned, tmp_path):
    path, calls = tmp_path / "rows.json", []

    def measure():
        calls.append(1)
        return {"map": 0.5}

    for _ in range(2):
        rows = learned.Rows(path, {"circumstances": "here"})
        assert rows.get("first", measure) == {"map": 0.5}
    assert len(calls) == 1
    learned.Rows(path, {"circumstances": "there"}).get("second", measure)
    kept = json.loads(path.read_text("utf-8"))
    assert list(kept["rows"]) == ["first", "second"]
    assert len(calls) == 2
    assert learned.Rows(None, {}).get("first", lambda: {"map": 0.1}) == {"map": 0.1}


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("15m", 900), ("1.5h", 5400)])
def test_lengths_of_time(learned, text, seconds):
    assert learned.seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "0s", "-3m", "fast"])
def test_other_texts_are_no_lengths_of_time(learned, text):
    with pytest.raises(ValueError, match="expected for example 90s, 15m or 1h"):
        learned.seconds_of(text)


def test_mean_and_deviation(learned):
    assert learned.mean_and_deviation([0.25]) == "0.250"
    assert learned.mean_and_deviation([0.2, 0.4]) == "0.300 ± 0.141"


@pytest.fixture
def digits(tmp_path, monkeypatch):
    """Fifty images of each class for training, five for queries, sorted by class; pixel 0 numbers them."""
    labels = np.repeat(np.arange(10), 50).astype(np.uint8)
    x = np.zeros((500, 28, 28), np.uint8)
    x[:, 0, 0], x[:, 0, 1] = np.arange(500) // 256, np.arange(500) % 256
    np.savez(tmp_path / "mnist.npz", x_train=x, y_train=labels, x_test=x[::10], y_test=labels[::10])
    monkeypatch.setenv("HASHAE_DATA", str(tmp_path))


def numbers(images):
    return images[:, 0, 0, 0].astype(int) * 256 + images[:, 0, 0, 1]


def test_queries_are_drawn_from_each_class_alike(labelled, digits):
    data = labelled.load_labelled("mnist", 20, seed=3)
    assert np.bincount(data.query_labels).tolist() == [2] * 10
    assert (numbers(data.queries) // 50 == data.query_labels).all()
    assert (numbers(data.database) // 50 == data.database_labels).all()
    assert sorted(numbers(data.database)) == list(range(500))
    assert (np.diff(data.database_labels) < 0).any()  # not sorted by class
    again, other = (labelled.load_labelled("mnist", 20, seed=seed) for seed in (3, 4))
    assert np.array_equal(again.queries, data.queries)
    assert not np.array_equal(other.queries, data.queries)


def test_queries_for_tuning_are_missing_from_the_database(labelled, digits):
    data = labelled.load_labelled("mnist", 20, tuning=True)
    assert "held out of the training images" in data.title
    assert sorted([*numbers(data.queries), *numbers(data.database)]) == list(range(500))


@pytest.mark.parametrize("queries", [0, 7, 60])
def test_as_many_queries_as_there_are(labelled, digits, queries):
    with pytest.raises(SystemExit, match=f"--queries is {queries}; expected a multiple of 10"):
        labelled.load_labelled("mnist", queries)
