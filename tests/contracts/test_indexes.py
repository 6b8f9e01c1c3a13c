"""One contract for every search path: the same ids and distances as a naive oracle, in the same order."""

import subprocess
import sys

import numpy as np
import pytest

from hashae.errors import CodeError, ConfigError, SearchTooLarge, UnknownName
from hashae.indexer import bands as bands_module
from hashae.indexer import index as index_module
from hashae.indexer import nearest as nearest_module
from hashae.indexer import scan as scan_module
from hashae.indexer.flips import FLIP_LIMIT, neighbourhood_size
from hashae.indexer.index import NEAREST_METHODS, WITHIN_METHODS, HashIndex
from hashae.indexer.planner import plan_nearest, plan_pairs, plan_within

BITS = (8, 16, 64, 128, 256)


def oracle(ids, codes, query):
    """All (distance, id), sorted: bits unpacked and compared one by one."""
    differing = np.unpackbits(codes, axis=1) != np.unpackbits(query[None], axis=1)
    return sorted(zip(differing.sum(axis=1).tolist(), ids.tolist(), strict=True))


def answers(matches):
    return [(match.distance, match.id) for match in matches]


def flip(codes, rng, most):
    """Flip up to `most` random bits of each code."""
    bits = np.unpackbits(codes, axis=1)
    for row in bits:
        row[rng.choice(len(row), size=rng.integers(0, min(most, len(row)) + 1), replace=False)] ^= 1
    return np.packbits(bits, axis=1)


def data(bits, seed=0, n=300):
    """Random codes, near copies with planted ties, exact copies; ids in no order, negative ones among them."""
    rng = np.random.default_rng([seed, bits])
    base = rng.integers(0, 256, (n // 3, bits // 8), dtype=np.uint8)
    codes = np.concatenate([base, flip(base, rng, 4), base])
    ids = rng.permutation(len(codes) * 3)[: len(codes)] - len(codes)
    queries = np.concatenate([base[:2], flip(base[2:4], rng, 3), rng.integers(0, 256, (1, bits // 8), dtype=np.uint8)])
    return ids, codes, queries


def built(bits, threads=1, **settings):
    ids, codes, queries = data(bits)
    index = HashIndex(bits, threads=threads, **settings)
    index.add(ids, codes)
    return index, ids, codes, queries


def radii(bits, method):
    few = [0, 1, 2, 3, bits // 8, bits // 4, bits // 2, bits - 1, bits]
    return [r for r in few if method != "flips" or neighbourhood_size(bits, r) <= 50_000]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("method", WITHIN_METHODS)
def test_within_equals_the_oracle(method, bits, threads):
    index, ids, codes, queries = built(bits, threads)
    for radius in radii(bits, method):
        expected = [[a for a in oracle(ids, codes, query) if a[0] <= radius] for query in queries]
        assert [answers(index.within(query, radius, method=method)) for query in queries] == expected
        assert [answers(found) for found in index.within_many(queries, radius, method=method)] == expected


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("method", NEAREST_METHODS)
def test_nearest_equals_the_oracle(method, bits, threads):
    index, ids, codes, queries = built(bits, threads)
    for k in (1, 2, 3, 10, 99, len(ids), len(ids) + 5):
        expected = [oracle(ids, codes, query)[:k] for query in queries]
        assert [answers(index.nearest(query, k, method=method)) for query in queries] == expected
        assert [answers(found) for found in index.nearest_many(queries, k, method=method)] == expected


@pytest.mark.parametrize("bits", BITS)
def test_exact_equals_the_oracle_and_radii_nest(bits):
    index, ids, codes, queries = built(bits)
    for query in queries:
        exact = answers(index.exact(query))
        assert exact == [a for a in oracle(ids, codes, query) if a[0] == 0]
        inner = set(exact)
        for radius in range(6):
            outer = set(answers(index.within(query, radius)))
            assert inner <= outer
            inner = outer


@pytest.mark.parametrize("method", NEAREST_METHODS)
def test_ties_at_the_cut_off_go_to_the_smaller_ids(method):
    rng = np.random.default_rng(5)
    codes = np.packbits(np.eye(64, dtype=np.uint8)[rng.integers(0, 64, 400)], axis=1)  # all at distance 1 from zero
    ids = rng.permutation(400)
    index = HashIndex(64)
    index.add(ids, codes)
    for k in (1, 7, 50, 399):
        assert [match.id for match in index.nearest(np.zeros(8, np.uint8), k, method=method)] == list(range(k))


@pytest.mark.parametrize("method", WITHIN_METHODS)
def test_many_copies_of_one_code(method):
    code = np.array([1, 2], np.uint8)
    index = HashIndex(16)
    index.add(np.arange(1000)[::-1], np.tile(code, (1000, 1)))
    assert answers(index.within(code, 2, method=method)) == [(0, i) for i in range(1000)]
    assert answers(index.nearest(code, 3)) == [(0, 0), (0, 1), (0, 2)]


@pytest.mark.parametrize("bits", [8, 256])
def test_empty_index(bits):
    index = HashIndex(bits)
    code = np.zeros(bits // 8, np.uint8)
    assert len(index) == 0
    assert 1 not in index
    assert index.exact(code) == []
    assert all(index.within(code, 1, method=method) == [] for method in WITHIN_METHODS)
    assert all(index.nearest(code, 3, method=method) == [] for method in NEAREST_METHODS)
    assert index.within_many(np.zeros((2, bits // 8), np.uint8), 1) == [[], []]
    assert index.nearest_many(np.zeros((0, bits // 8), np.uint8), 1) == []
    assert index.duplicates(1) == []
    assert index.remove([1]) == 0
    assert index.explain(code, radius=1).answers == 0


def test_no_queries():
    index, *_ = built(64)
    none = np.zeros((0, 8), np.uint8)
    assert all(index.within_many(none, 2, method=method) == [] for method in WITHIN_METHODS)
    assert all(index.nearest_many(none, 2, method=method) == [] for method in NEAREST_METHODS)


@pytest.mark.parametrize("method", WITHIN_METHODS)
def test_the_order_of_adding_does_not_matter_and_searches_may_come_between(method):
    index, ids, codes, queries = built(64)
    other = HashIndex(64)
    for part in np.array_split(np.random.default_rng(1).permutation(len(ids)), 7):
        other.add(ids[part], codes[part])
        other.within(queries[0], 2, method=method)  # what this builds must not outlive the next add
        other.nearest(queries[0], 2)
    for query in queries:
        assert other.within(query, 3, method=method) == index.within(query, 3, method=method)
        assert other.nearest(query, 20) == index.nearest(query, 20)
    assert np.array_equal(other.ids, np.sort(ids))
    assert np.array_equal(other.codes, codes[np.argsort(ids)])


@pytest.mark.parametrize("method", WITHIN_METHODS)
def test_removed_codes_are_not_found(method):
    index, ids, codes, queries = built(64)
    index.within(queries[0], 2, method=method)
    gone = ids[::2]
    assert index.remove([*gone.tolist(), 10**12, int(gone[0])]) == len(gone)
    assert len(index) == len(ids) - len(gone)
    assert gone[0] not in index
    assert int(ids[1]) in index
    for query in queries:
        expected = oracle(ids[1::2], codes[1::2], query)
        assert answers(index.within(query, 3, method=method)) == [a for a in expected if a[0] <= 3]
        assert answers(index.nearest(query, 9)) == expected[:9]
    index.add(gone, codes[::2])
    assert answers(index.within(queries[0], 64, method="scan")) == oracle(ids, codes, queries[0])


@pytest.mark.parametrize("seed", [0, 1])
def test_a_bit_order_changes_no_answer(seed):
    order = np.random.default_rng(seed).permutation(64)
    index, ids, codes, queries = built(64, order=order)
    for radius in (0, 2, 5, 64):
        for query in queries:
            expected = [a for a in oracle(ids, codes, query) if a[0] <= radius]
            assert answers(index.within(query, radius, method="bands")) == expected


def test_a_bit_order_spreads_dead_bits():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, (2000, 8), dtype=np.uint8)
    codes[:, :4] = 0  # the first two of four bands say nothing
    spread = np.arange(64).reshape(2, 32).T.ravel()
    read = []
    for order in (None, spread):
        index = HashIndex(64, order=order)
        index.add(np.arange(2000), codes)
        hits = index._run_within(codes[:1], 3, "bands")
        read.append(hits.candidates)
    assert read[0] >= 4000
    assert read[1] < 200


def test_one_code_may_have_one_or_two_dimensions():
    index, _, _, queries = built(64)
    assert index.within(queries[0], 2) == index.within(queries[:1], 2)
    with pytest.raises(CodeError, match="5 codes are given; expected one: use within_many"):
        index.within(queries, 2)


def test_batches_in_threads_are_the_same(monkeypatch):
    monkeypatch.setattr(nearest_module, "THREADS_FROM", 0)
    monkeypatch.setattr(nearest_module, "RESULTS", 700)  # two or three queries a part
    index, *_ = built(64, threads=2)
    plain, _, codes, _ = built(64)
    assert index.nearest_many(codes, 5) == plain.nearest_many(codes, 5, method="scan")
    assert index.within_many(codes, 9, method="faiss") == plain.within_many(codes, 9, method="scan")
    assert index.duplicates(20) == plain.duplicates(20)


def test_answers_do_not_depend_on_the_size_of_blocks(monkeypatch):
    plain, _, codes, _ = built(64)
    expected = [plain.within_many(codes, 12, method="faiss"), plain.nearest_many(codes, 7, method="faiss")]
    groups = plain.duplicates(3)
    monkeypatch.setattr(bands_module, "CHUNK", 40)
    monkeypatch.setattr(scan_module, "BLOCK", 37)
    index, *_ = built(64)
    for method in ("bands", "scan"):
        assert index.within_many(codes, 12, method=method) == expected[0]
    assert index.nearest_many(codes, 7, method="scan") == expected[1]
    assert index.duplicates(3) == groups


def test_bands_refuse_a_wider_radius():
    _, ids, codes, queries = built(64)
    with pytest.raises(ConfigError, match="radius is 3; these bands are exact up to 2: build them for more"):
        bands_module.BandIndex(codes, ids, 2).search(queries, 3)


def test_without_faiss_numpy_answers(monkeypatch):
    monkeypatch.setattr(index_module, "has_faiss", lambda: False)
    index, ids, codes, queries = built(256)
    assert index.explain(queries[0], k=3).method == "scan"
    assert answers(index.nearest(queries[0], 9)) == oracle(ids, codes, queries[0])[:9]
    with pytest.raises(ConfigError, match="method 'faiss' needs FAISS, which is not installed; install faiss-cpu"):
        index.nearest(queries[0], 9, method="faiss")


def test_the_import_brings_no_faiss():
    script = "import sys, hashae.indexer.index; sys.exit('faiss' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_faiss_threads_are_given_back():
    faiss = pytest.importorskip("faiss")
    before = faiss.omp_get_max_threads()
    index, _, _, queries = built(64)
    index.nearest(queries[0], 3, method="faiss")
    assert faiss.omp_get_max_threads() == before


def test_explain_says_what_was_done():
    index, ids, _, queries = built(64)
    near = index.explain(queries[0], radius=2)
    assert near.answers == len(index.within(queries[0], 2))
    assert near.seconds > 0
    assert near.why
    scanned = index.explain(queries[0], k=4)
    assert (scanned.method, scanned.candidates, scanned.answers, scanned.probes) == ("faiss", len(ids), 4, 0)
    for wrong in ({}, {"radius": 1, "k": 1}):
        with pytest.raises(ConfigError, match="expected exactly one of them"):
            index.explain(queries[0], **wrong)


def test_explain_counts_the_bands():
    index = HashIndex(64)
    index.add(np.arange(50_000), np.random.default_rng(0).integers(0, 256, (50_000, 8), dtype=np.uint8))
    found = index.explain(index.codes[7], radius=2)
    assert (found.method, found.probes) == ("bands", 3)
    assert "3 bands of 21 bits" in found.why
    assert 1 <= found.candidates < 10


@pytest.mark.parametrize(
    ("n", "bits", "radius", "queries", "method"),
    [
        (100_000, 64, 2, 1, "bands"),
        (100_000, 256, 3, 1, "bands"),
        (100_000, 256, 33, 1, "scan"),
        (100_000, 256, 33, 1000, "faiss"),
        (10, 64, 2, 1, "scan"),
        (1_000_000, 16, 1, 1, "flips"),
        (1_000_000, 64, 64, 1, "scan"),
    ],
)
def test_the_planner(n, bits, radius, queries, method):
    assert plan_within(n, bits, radius, queries=queries, faiss=True).method == method
    assert plan_within(n, bits, radius, queries=queries).method != "faiss"


def test_the_planner_of_pairs_believes_counts():
    assert plan_pairs(100_000, 64, 3, faiss=True).method == "bands"
    assert plan_pairs(100_000, 64, 3, candidates=10**10, faiss=True).method == "faiss"
    assert plan_pairs(60_000, 256, 40).method == "scan"
    assert plan_nearest(10, faiss=False).method == "scan"


def test_views_are_read_only():
    index, *_ = built(64)
    for array in (index.ids, index.codes):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    assert "7" not in index
    assert repr(index) == "HashIndex(bits=64, threads=1): 300 codes"


def test_adding_checks_everything_first():
    index, ids, codes, _ = built(64)
    known = int(ids[5])
    for change, sentence in (
        (([known], codes[:1]), f"id {known} is in the index already; remove it first or leave it out"),
        (([7000, 7000], codes[:2]), "id 7000 is given twice; expected each id once"),
        (([7000], codes[:2]), "expected 2 whole numbers, one for each code"),
        (([7000.5], codes[:1]), "ids are float64 of shape .1,.; expected 1 whole numbers"),
        (([2**63], codes[:1]), "id 9223372036854775808 does not fit; expected signed 64-bit numbers"),
        (([7000], np.zeros((1, 4), np.uint8)), "codes are 32 bits wide; expected 64 bits"),
        (([7000], np.zeros((1, 8))), "codes are float64"),
    ):
        with pytest.raises(CodeError, match=sentence):
            index.add(*change)
    assert len(index) == len(ids)
    index.add([7000], codes[:1])
    with pytest.raises(CodeError, match="id 7000 is in the index already"):
        index.add([7001, 7000], codes[:2])  # not merged yet
    assert 7001 not in index
    index.add([], codes[:0])
    assert len(index) == len(ids) + 1


def test_an_added_array_may_be_changed_afterwards():
    ids, codes, _ = data(64)
    index = HashIndex(64)
    mine = codes.copy()
    index.add(ids, mine)
    mine[:] = 0
    assert np.array_equal(index.codes, codes[np.argsort(ids)])


def test_refusals():
    index, _, _, queries = built(64)
    code = queries[0]
    for radius in (-1, 65, 1.5):
        for method in WITHIN_METHODS:
            with pytest.raises(ConfigError, match=f"radius is {radius}; expected a whole number of bits from 0 to 64"):
                index.within(code, radius, method=method)
    with pytest.raises(ConfigError, match="radius is 65"):
        index.duplicates(65)
    for k in (0, -3, 2.5):
        with pytest.raises(ConfigError, match=f"k is {k}; expected a whole number, 1 or more"):
            index.nearest(code, k)
    with pytest.raises(UnknownName, match="unknown method 'tree'; expected one of auto, bands, flips, scan, faiss"):
        index.within(code, 1, method="tree")
    with pytest.raises(UnknownName, match="unknown method 'bands'; expected one of auto, faiss, scan"):
        index.nearest(code, 1, method="bands")
    with pytest.raises(CodeError, match="codes are 16 bits wide; expected 64 bits"):
        index.within(code[:2], 1)
    size = f"{neighbourhood_size(64, 5):,}"
    with pytest.raises(SearchTooLarge, match=f"would look up {size} codes .radius 5 on 64 bits.; the limit is "):
        index.within(code, 5, method="flips")
    assert neighbourhood_size(64, 4) < FLIP_LIMIT
    with pytest.raises(ConfigError, match="threads is 0; expected a whole number, 1 or more"):
        HashIndex(64, threads=0)
    with pytest.raises(ConfigError, match="bits is 12"):
        HashIndex(12)
    for order in (np.arange(63), np.zeros(64, int)):
        with pytest.raises(ConfigError, match="expected each bit position 0 to 63 exactly once"):
            HashIndex(64, order=order)
