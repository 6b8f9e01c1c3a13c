"""Searches that may miss something: their distances are true, and their recall is what is measured."""

import numpy as np
import pytest

from hashae.errors import ConfigError, UnknownName
from hashae.indexer.approximate import key_radius, recall_of
from hashae.indexer.compiled import has_faiss, has_numba
from hashae.indexer.gpu import GpuFlat
from hashae.indexer.hits import Hits, join_hits, no_hits, replace_queries
from hashae.indexer.index import HashIndex
from hashae.indexer.memory import memory_left
from hashae.indexer.nearest import FlatIndex

FAISS = pytest.mark.skipif(not has_faiss(), reason="FAISS is not installed")


def clustered(n=4000, bits=256, flips=12, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.integers(0, 256, (n // 8, bits // 8), dtype=np.uint8)
    spread = np.packbits(rng.random((n, bits)) < flips / bits, axis=1)
    return centres[rng.integers(0, len(centres), n)] ^ spread


def index_of(codes, **settings):
    index = HashIndex(codes.shape[1] * 8, **settings)
    index.add(np.arange(len(codes)) * 3, codes)
    return index


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.skipif(not has_numba(), reason="x"))])
def test_key_finds_most_and_nothing_wrong(compiled):
    codes = clustered()
    index = index_of(codes, compiled=compiled)
    found = index.within_many(codes[:200], 30, method="key")
    exact = index.within_many(codes[:200], 30, method="scan")
    missed = 0
    for part, whole in zip(found, exact, strict=True):
        assert set(part) <= set(whole)
        assert part == sorted(part)
        missed += len(whole) - len(part)
    measured = index.recall("key", radius=30, sample=4000)
    assert 0.5 < measured.recall < 1
    assert (measured.method, measured.queries) == ("key", 4000)
    assert 0 < missed < 0.5 * sum(map(len, exact))
    assert index.recall("bands", radius=30).recall == 1


@FAISS
def test_ivf_finds_most_in_the_usual_order_and_the_same_every_time():
    codes = clustered(bits=64, flips=3)
    first, second = index_of(codes), index_of(codes)
    found = first.nearest_many(codes[:100], 5, method="ivf")
    assert found == second.nearest_many(codes[:100], 5, method="ivf")
    truth = {(match.distance, match.id) for match in first.nearest(codes[7], 4000)}
    assert all(matches == sorted(matches) for matches in found)
    assert set(found[7]) <= truth
    measured = first.recall("ivf", k=5, sample=300)
    assert 0.5 < measured.recall < 1
    assert measured.answers == 1500
    assert first.recall("scan", k=5).recall == 1


@FAISS
def test_ivf_may_find_fewer_than_were_asked_for():
    codes = clustered(n=800, bits=64)
    ids, distances = index_of(codes).nearest_arrays(codes[:3], 700, method="ivf")
    assert ids.shape == (3, 700)
    gap = distances == 65
    assert gap.any()
    assert (ids[gap] == -1).all()
    assert (ids[~gap] >= 0).all()
    assert (np.diff(distances, axis=1) >= 0).all()


def test_recall_counts_what_is_near_enough():
    exact = Hits(np.array([0, 3, 5]), np.array([7, 1, 2, 4, 9]), np.array([0, 2, 3, 0, 5], np.int32))
    found = Hits(np.array([0, 3, 4]), np.array([7, 2, 8, 4]), np.array([0, 3, 3, 0], np.int32))
    asked = np.array([7, 4])
    by_distance = recall_of("x", exact, found, asked, k=2)
    assert (by_distance.recall, by_distance.answers, by_distance.queries) == (2 / 3, 3, 2)
    alone = recall_of("x", no_hits(1), no_hits(1), np.array([3]))
    assert alone.recall is None


def test_recall_refuses():
    index = index_of(clustered(n=64))
    for wrong in ({}, {"k": 1, "radius": 1}):
        with pytest.raises(ConfigError, match="expected exactly one of them"):
            index.recall("scan", **wrong)
    with pytest.raises(ConfigError, match="sample is 0; expected 1 or more"):
        index.recall("scan", k=1, sample=0)
    with pytest.raises(UnknownName, match="unknown method 'tree'"):
        index.recall("tree", k=1)
    with pytest.raises(ConfigError, match="method 'key' needs codes of more than 64 bits; these have 64: use 'auto'"):
        index_of(clustered(n=64, bits=64)).within(np.zeros(8, np.uint8), 1, method="key")
    assert HashIndex(256).recall("key", radius=3).recall is None


def test_the_radius_of_the_key_grows_with_that_of_the_code():
    radii = [key_radius(radius, 256) for radius in range(257)]
    assert radii == sorted(radii)
    assert (radii[0], radii[256]) == (0, 64)


class Card:
    """An index as a graphics card could have it: the nearest first, ties in an order of its own."""

    def __init__(self, codes):
        self.codes = codes

    def search(self, queries, k):
        apart = np.bitwise_count(queries[:, None] ^ self.codes[None]).sum(axis=2, dtype=np.int32)
        order = np.lexsort((-np.arange(len(self.codes))[None].repeat(len(queries), 0), apart), axis=1)[:, :k]
        return np.take_along_axis(apart, order, axis=1), order


@FAISS
@pytest.mark.parametrize("k", [1, 3, 40, 1000])
def test_ties_of_a_card_are_put_in_order(k):
    rng = np.random.default_rng(0)
    codes = np.concatenate([rng.integers(0, 256, (300, 2), dtype=np.uint8), np.zeros((200, 2), np.uint8)])
    queries = np.concatenate([codes[:20], np.zeros((1, 2), np.uint8)])  # the last has 200 equal answers
    plain = FlatIndex(codes)
    asked = []

    def exact(some, wanted):
        asked.append(len(some))
        return plain.nearest(some, wanted)

    found, expected = GpuFlat(codes, exact, Card(codes)).nearest(queries, k), plain.nearest(queries, k)
    assert np.array_equal(found.limits, expected.limits)
    assert np.array_equal(found.rows, expected.rows)
    assert np.array_equal(found.distances, expected.distances)
    assert bool(asked) == (k < 500)  # the card alone could not say which of 200 come first


def test_answers_are_put_in_the_place_of_others():
    def hits(*rows_of):
        limits = np.cumsum([0, *map(len, rows_of)])
        rows = np.array([row for rows in rows_of for row in rows], np.int64)
        return Hits(limits, rows, rows.astype(np.int32))

    base = hits([1], [], [2, 3], [])
    whole = replace_queries(base, np.array([1, 3]), hits([8, 9], [7]))
    assert [whole.of(query).rows.tolist() for query in range(4)] == [[1], [8, 9], [2, 3], [7]]
    assert replace_queries(base, np.array([], int), no_hits(0)).rows.tolist() == [1, 2, 3]
    assert len(join_hits([]).limits) == 1


def test_memory_that_is_left(tmp_path):
    about = tmp_path / "meminfo"
    about.write_text("MemTotal: 9000000 kB\nMemAvailable:  100000 kB\n")
    assert memory_left(about) == 100_000 * 1024 - 64 * 2**20
    about.write_text("MemAvailable: 10 kB\n")
    assert memory_left(about) == 0
    assert memory_left(tmp_path / "none") > 0  # free pages, where the kernel says no more
