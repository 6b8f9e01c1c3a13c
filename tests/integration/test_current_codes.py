"""A large collection that is served changes: older codes answer until newer ones are ready, which one process makes."""

from __future__ import annotations

import time

import pytest

from hashae.indexer import Collection, following, kept_index
from hashae.indexer.answer_query import Question
from hashae.indexer.served import ServedCollection

ALL = Question(k=1000)


@pytest.fixture
def collection_file(tmp_path, fill, encoder):
    path = tmp_path / "served.db"
    with Collection.open(path) as collection:
        collection.set_encoder(encoder)
        collection.index(fill(tmp_path / "pictures"))
    return path


@pytest.fixture
def add(collection_file, fill, tmp_path):
    """Return a function that indexes one more picture, as another process would."""

    def add_picture(number):
        with Collection.open(collection_file) as collection:
            collection.index(fill(tmp_path / "pictures", [number]))

    return add_picture


@pytest.fixture
def serve(collection_file, monkeypatch):
    """Return a function that serves the collection as a large one."""
    monkeypatch.setattr(kept_index, "KEPT_FROM", 1)
    opened = []

    def start(**settings):
        collection = Collection.open(collection_file)
        opened.append((ServedCollection(collection, **settings), collection))
        opened[-1][0].warm()
        return opened[-1][0]

    yield start
    for served, collection in opened:
        served.close()
        collection.close()


def found(served):
    return len(served.ask(1, ALL).answer.matches)


def wait_for(served, count):
    until = time.monotonic() + 20
    while found(served) != count:
        assert time.monotonic() < until, f"{found(served)} images, and not {count}"
        time.sleep(0.01)


def test_older_codes_answer_until_newer_ones_are_ready(serve, add, monkeypatch):
    monkeypatch.setattr(following, "POLL", 3600)
    served = serve()
    add(50)
    assert found(served) == 6
    assert len(served.codes()[0]) == 6
    assert served.stats()["images"] == 7, "what the tables tell is of this moment"
    served.catch_up()
    assert found(served) == 7


def test_a_small_collection_is_read_anew_at_once(serve, add, monkeypatch):
    monkeypatch.setattr(following, "POLL", 3600)
    served = serve()
    monkeypatch.setattr(kept_index, "KEPT_FROM", 1000)
    add(50)
    assert found(served) == 7


def test_one_makes_the_index_and_another_maps_it(serve, add, monkeypatch, collection_file):
    monkeypatch.setattr(following, "POLL", 0.02)
    made = []
    load = kept_index.KeptIndex.load
    monkeypatch.setattr(kept_index.KeptIndex, "load", lambda self, *rest: made.append(self) or load(self, *rest))
    mapper = serve(makes=False)
    assert len(made) == 1
    add(50)
    time.sleep(0.2)
    assert (found(mapper), len(made)) == (6, 1), "it waits for the other"
    maker = serve()
    for count in (7, 8):
        wait_for(maker, count)
        wait_for(mapper, count)
        add(44 + count)
    assert not [one for one in made[1:] if one is mapper.collection._parts.indexes]


def test_whoever_waits_in_vain_makes_its_own(serve, add, monkeypatch):
    monkeypatch.setattr(following, "POLL", 0.02)
    monkeypatch.setattr(following, "PATIENCE", 0.1)
    served = serve(makes=False)
    add(50)
    wait_for(served, 7)
