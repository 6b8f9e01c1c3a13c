"""One contract for every search path: the same ids and distances as a naive oracle, in the same order."""

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest

from hashae.errors import CodeError, ConfigError, MissingDependency, SearchTooLarge, UnknownName
from hashae.indexer import engines as engines_module
from hashae.indexer import flat as flat_module
from hashae.indexer import index as index_module
from hashae.indexer import multi as multi_module
from hashae.indexer import nearest as nearest_module
from hashae.indexer.band_layout import band_count
from hashae.indexer.compiled import has_numba
from hashae.indexer.flips import FLIP_LIMIT, neighbourhood_size
from hashae.indexer.gpu import has_gpu
from hashae.indexer.index import NEAREST_METHODS, WITHIN_METHODS, HashIndex
from hashae.indexer.planner import FAST_WORD, Pace, nearest_paths, plan_nearest, plan_within, within_paths

BITS = (8, 24, 64, 72, 128, 256)
NUMBA = pytest.mark.skipif(not has_numba(), reason="numba, the extra 'fast', is not installed")
ENGINES = [pytest.param(False, id="numpy"), pytest.param(True, id="numba", marks=NUMBA)]
EVERY_NEAREST = [
    *NEAREST_METHODS,
    pytest.param("gpu", marks=pytest.mark.skipif(not has_gpu(), reason="faiss-gpu or its CUDA device is not there")),
]


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


def built(bits, threads=1, compiled=False, **settings):
    ids, codes, queries = data(bits)
    index = HashIndex(bits, threads=threads, compiled=compiled, **settings)
    index.add(ids, codes)
    return index, ids, codes, queries


def radii(bits, method):
    few = [0, 1, 2, 3, bits // 8, bits // 4, bits // 2, bits - 1, bits]
    return [r for r in few if method != "flips" or neighbourhood_size(bits, r) <= 50_000]


@pytest.mark.parametrize("compiled", ENGINES)
@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("method", WITHIN_METHODS)
def test_within_equals_the_oracle(method, bits, compiled):
    index, ids, codes, queries = built(bits, compiled=compiled)
    for radius in radii(bits, method):
        expected = [[a for a in oracle(ids, codes, query) if a[0] <= radius] for query in queries]
        assert [answers(index.within(query, radius, method=method)) for query in queries] == expected
        assert [answers(found) for found in index.within_many(queries, radius, method=method)] == expected


@pytest.mark.parametrize("compiled", ENGINES)
@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("method", EVERY_NEAREST)
def test_nearest_equals_the_oracle(method, bits, compiled):
    index, ids, codes, queries = built(bits, compiled=compiled)
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


@pytest.mark.parametrize("compiled", ENGINES)
@pytest.mark.parametrize("method", EVERY_NEAREST)
def test_ties_at_the_cut_off_go_to_the_smaller_ids(method, compiled):
    rng = np.random.default_rng(5)
    codes = np.packbits(np.eye(64, dtype=np.uint8)[rng.integers(0, 64, 400)], axis=1)  # all at distance 1 from zero
    ids = rng.permutation(400)
    index = HashIndex(64, compiled=compiled)
    index.add(ids, codes)
    for k in (1, 7, 50, 399):
        assert [match.id for match in index.nearest(np.zeros(8, np.uint8), k, method=method)] == list(range(k))


@pytest.mark.parametrize("compiled", ENGINES)
@pytest.mark.parametrize("method", WITHIN_METHODS)
def test_many_copies_of_one_code(method, compiled):
    code = np.array([1, 2], np.uint8)
    index = HashIndex(16, compiled=compiled)
    index.add(np.arange(9000)[::-1], np.tile(code, (9000, 1)))  # more than compiled loops have room for at first
    assert answers(index.within(code, 2, method=method)) == [(0, i) for i in range(9000)]
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


@pytest.mark.parametrize("compiled", ENGINES)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_bit_order_changes_no_answer(seed, compiled):
    order = np.random.default_rng(seed).permutation(64)
    index, ids, codes, queries = built(64, compiled=compiled, order=order)
    for radius in (0, 2, 5, 64):
        for query in queries:
            expected = [a for a in oracle(ids, codes, query) if a[0] <= radius]
            assert answers(index.within(query, radius, method="bands")) == expected


def test_bits_are_dealt_by_entropy_unless_an_order_is_given():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, (3000, 8), dtype=np.uint8)
    codes[:, :5] = 0
    bands = band_count(3000, 64)
    together = np.empty(64, int)
    for band, bits in enumerate(np.array_split(np.arange(64), bands)):
        together[band::bands] = bits  # the first bands get dead bits only
    read = {}
    for name, order in (("together", together), ("derived", None)):
        index = HashIndex(64, order=order)
        index.add(np.arange(3000), codes)
        read[name] = index._within(codes[:1], 3, "bands").candidates
    assert read["together"] == 4 * 3000
    assert read["derived"] < 1500


def test_one_code_may_have_one_or_two_dimensions():
    index, _, _, queries = built(64)
    assert index.within(queries[0], 2) == index.within(queries[:1], 2)
    with pytest.raises(CodeError, match="5 codes are given; expected one: use within_many"):
        index.within(queries, 2)


@pytest.mark.parametrize("compiled", ENGINES)
def test_batches_in_threads_are_the_same(monkeypatch, compiled):
    monkeypatch.setattr(nearest_module, "THREADS_FROM", 0)
    monkeypatch.setattr(engines_module, "THREADS_FROM", 0)
    monkeypatch.setattr(nearest_module, "RESULTS", 700)  # two or three queries a part
    index, *_ = built(64, threads=2, compiled=compiled)
    plain, _, codes, _ = built(64)
    for method in NEAREST_METHODS:
        assert index.nearest_many(codes, 5, method=method) == plain.nearest_many(codes, 5, method="scan")
    for method in WITHIN_METHODS:
        radius = 2 if method == "flips" else 9
        some = codes[:10] if method == "flips" else codes
        assert index.within_many(some, radius, method=method) == plain.within_many(some, radius, method="scan")
    assert index.duplicates(20) == plain.duplicates(20)


@pytest.mark.parametrize("compiled", ENGINES)
def test_answers_do_not_depend_on_the_size_of_blocks(monkeypatch, compiled):
    plain, _, codes, _ = built(64)
    expected = [plain.within_many(codes, 12, method="faiss"), plain.nearest_many(codes, 7, method="faiss")]
    monkeypatch.setattr(multi_module, "CHUNK", 40)
    monkeypatch.setattr(multi_module, "ROOM", 1)
    monkeypatch.setattr(flat_module, "BLOCK", 37)
    monkeypatch.setattr(flat_module, "ROOM", 1)
    index, *_ = built(64, compiled=compiled)
    for method in ("bands", "scan"):
        assert index.within_many(codes, 12, method=method) == expected[0]
        assert index.nearest_many(codes, 7, method=method) == expected[1]


@pytest.mark.parametrize("compiled", ENGINES)
def test_queries_that_bands_give_up_are_answered_by_a_scan(monkeypatch, compiled):
    monkeypatch.setattr(engines_module, "nearest_budget", lambda n, bits: 40)
    index, ids, codes, queries = built(64, compiled=compiled)
    asked = np.concatenate([queries, codes[:20], ~codes[:3]])  # near ones and far ones
    _, left = index._ready().bands().nearest(asked, 2, budget=40)
    assert 0 < len(left) < len(asked)
    expected = [oracle(ids, codes, query)[:2] for query in asked]
    assert [answers(found) for found in index.nearest_many(asked, 2, method="bands")] == expected


@pytest.mark.parametrize("bits", BITS)
def test_arrays_hold_what_matches_do(bits):
    index, _, _, queries = built(bits)
    limits, ids, distances = index.within_arrays(queries, bits // 4)
    assert (limits.dtype, ids.dtype, distances.dtype) == (np.int64, np.int64, np.int32)
    pairs = list(zip(distances.tolist(), ids.tolist(), strict=True))
    found = [pairs[start:stop] for start, stop in pairwise(limits.tolist())]
    assert found == [answers(matches) for matches in index.within_many(queries, bits // 4)]
    for k in (3, 1000):
        ids, distances = index.nearest_arrays(queries, k)
        assert ids.shape == distances.shape == (len(queries), min(k, 300))
        assert (ids.dtype, distances.dtype) == (np.int64, np.int32)
        found = [list(zip(*row, strict=True)) for row in zip(distances.tolist(), ids.tolist(), strict=True)]
        assert found == [answers(matches) for matches in index.nearest_many(queries, k)]


def test_without_faiss_numpy_answers(monkeypatch):
    monkeypatch.setattr(engines_module, "has_faiss", lambda: False)
    index, ids, codes, queries = built(256)
    assert index.explain(queries[0], k=3).method == "scan"
    assert answers(index.nearest(queries[0], 9)) == oracle(ids, codes, queries[0])[:9]
    for method in ("faiss", "ivf"):
        with pytest.raises(ConfigError, match=f"method '{method}' needs FAISS, which is not installed; install faiss"):
            index.nearest(queries[0], 9, method=method)


def test_without_numba_numpy_answers(monkeypatch):
    monkeypatch.setattr(engines_module, "has_numba", lambda: False)
    monkeypatch.setattr(index_module, "has_numba", lambda: False)
    index, ids, codes, queries = built(64, compiled=None)
    assert not index._ready().plan_within(100_000, 3).compiled
    assert answers(index.within(queries[0], 3)) == [a for a in oracle(ids, codes, queries[0]) if a[0] <= 3]
    with pytest.raises(MissingDependency, match=r"HashIndex\(compiled=True\) needs libraries .* 'hashae\[fast\]'"):
        HashIndex(64, compiled=True)


def test_numba_that_does_not_work_is_as_good_as_none(monkeypatch):
    monkeypatch.setattr(engines_module, "loops", lambda _name: None)
    monkeypatch.setattr(engines_module, "making_costs", lambda _n, _bits: {})
    index, ids, codes, _ = built(64, compiled=None)
    found = index.nearest_many(codes, 3)
    assert [answers(matches) for matches in found] == [oracle(ids, codes, query)[:3] for query in codes]
    assert not index._ready().plan_nearest(100_000, 3).compiled


def test_a_card_takes_large_batches(monkeypatch):
    monkeypatch.setattr(engines_module, "has_gpu", lambda: True)
    monkeypatch.setattr(engines_module, "GpuFlat", lambda codes, _exact: nearest_module.FlatIndex(codes))
    monkeypatch.setattr(engines_module, "CARD_FROM", 100 * 300)
    index, ids, codes, _ = built(64)
    assert index._ready().plan_nearest(99, 3).method != "gpu"
    assert index._ready().plan_nearest(100, 3).method == "gpu"
    found = index.nearest_many(codes[:100], 3)
    assert [answers(matches) for matches in found] == [oracle(ids, codes, query)[:3] for query in codes[:100]]


@pytest.mark.skipif(has_gpu(), reason="there is a card")
def test_without_a_card_its_method_is_refused():
    index, _, _, queries = built(64)
    with pytest.raises(ConfigError, match="method 'gpu' needs faiss-gpu and a CUDA device; use method 'auto'"):
        index.nearest(queries[0], 3, method="gpu")


def test_too_little_memory_for_bands(monkeypatch):
    monkeypatch.setattr(engines_module, "memory_left", lambda: 20_000)
    monkeypatch.setattr(engines_module, "WATCHED_FROM", 0)
    index, ids, codes, queries = built(64)
    assert index._ready().plan_within(100_000, 2).method != "bands"
    assert answers(index.within(queries[0], 2)) == [a for a in oracle(ids, codes, queries[0]) if a[0] <= 2]
    sentence = r"bands over 300 codes need 0 MiB of memory and 0 MiB are free; method 'scan' answers the same with less"
    with pytest.raises(ConfigError, match=sentence):
        index.within(queries[0], 2, method="bands")


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
    assert near.expected > 0
    assert {near.method, *near.alternatives} == {"bands", "faiss", "flips", "scan"}
    assert min(near.alternatives.values()) >= near.expected
    scanned = index.explain(queries[0], k=4)
    assert scanned.method in {"scan", "faiss"}
    assert (scanned.candidates, scanned.answers, scanned.probes) == (len(ids), 4, 0)
    assert not scanned.compiled
    for wrong in ({}, {"radius": 1, "k": 1}):
        with pytest.raises(ConfigError, match="expected exactly one of them"):
            index.explain(queries[0], **wrong)


@pytest.mark.parametrize("asked", [{"radius": 0}, {"radius": 5}, {"k": 1}, {"k": 7}])
def test_an_explained_answer_is_the_answer(asked):
    index, _, _, queries = built(64)
    for code in queries[:4]:
        for _ in range(2):  # the first time makes what the path needs
            found, how = index.explained(code, **asked)
            assert found == (index.within if "radius" in asked else index.nearest)(code, *asked.values())
            assert how.answers == len(found)


def test_bands_are_made_once_scans_have_cost_as_much(monkeypatch):
    monkeypatch.setattr(engines_module, "has_faiss", lambda: False)
    index = HashIndex(64, compiled=False)
    index.add(np.arange(300_000), np.random.default_rng(0).integers(0, 256, (300_000, 8), dtype=np.uint8))
    code = index.codes[7]
    paths = []
    while "bands" not in paths and len(paths) < 1000:
        paths.append(index.explain(code, radius=2).method)
    assert paths[0] == "scan"  # for one question, sorting all would not pay
    assert paths[-1] == "bands"
    found = index.explain(code, radius=2)
    assert (found.method, found.probes) == ("bands", 3)
    assert "5 bands of 12 bits: 3 buckets and about" in found.why
    assert 3 <= found.candidates < 500
    assert index.explain(code, radius=60).method == "scan"


@pytest.mark.parametrize(
    ("n", "bits", "radius", "queries", "method"),
    [
        (100_000, 64, 2, 1, "bands"),
        (100_000, 256, 3, 1, "bands"),
        (100_000, 256, 70, 1, "scan"),
        (1_000_000, 256, 70, 1000, "faiss"),
        (10, 64, 2, 1, "scan"),
        (10_000_000, 24, 1, 1, "flips"),
        (1_000_000, 64, 64, 1, "scan"),
    ],
)
def test_the_planner(n, bits, radius, queries, method):
    found = plan_within(n, bits, radius, queries=queries, faiss=queries > 1)
    assert found.method == method
    assert not found.compiled
    assert plan_within(n, bits, radius, queries=queries).method != "faiss"
    assert (
        plan_within(n, bits, radius, queries=queries, numba=True).seconds
        <= plan_within(n, bits, radius, queries=queries).seconds
    )


@pytest.mark.parametrize("numba", [False, True])
@pytest.mark.parametrize("bits", [64, 256])
def test_expected_times_grow_with_the_work(bits, numba):
    def seconds(n, radius, queries):
        return plan_within(n, bits, radius, queries=queries, faiss=True, numba=numba).seconds

    sizes, radii, batches = (10**3, 10**4, 10**5, 10**6, 10**7), range(0, bits, bits // 16), (1, 10, 1000)
    for radius in radii:
        for queries in batches:
            times = [seconds(n, radius, queries) for n in sizes]
            assert all(b >= a * 0.5 for a, b in pairwise(times))  # more codes, other bands
    for n in sizes:
        for queries in batches:
            times = [seconds(n, radius, queries) for radius in radii]
            assert times == sorted(times)
        for radius in radii:
            assert seconds(n, radius, 1) <= seconds(n, radius, 10) <= seconds(n, radius, 1000)


def test_the_planner_of_nearest_codes():
    assert plan_nearest(10).method == "scan"
    assert plan_nearest(1_000_000, queries=1000, faiss=True).method == "faiss"
    assert plan_nearest(1_000_000, queries=1000, faiss=True, numba=True).method == "scan"
    assert plan_nearest(10_000_000, faiss=True, numba=True).method == "bands"
    assert plan_nearest(10_000_000, 256, faiss=True, numba=True).method == "scan"


def test_the_pace_of_reading_all_codes_is_learned():
    pace, words = Pace(), 100_000_000
    slow, fast = 0.4, 0.41
    assert not pace.note(1000, 1.0)  # too few to tell
    assert not pace.note(words, 5.0)  # loads what was compiled before
    assert pace.word == FAST_WORD
    assert pace.note(words, slow * words / 1e9)
    assert pace.word == pytest.approx(slow)
    assert not pace.note(words, fast * words / 1e9)  # about the same
    assert not pace.note(words, 9 * slow * words / 1e9)  # something else had the processor
    assert pace.word == pytest.approx(slow)
    assert pace.note(words, 0.1 * words / 1e9)
    assert pace.word == pytest.approx(0.1)


@pytest.mark.parametrize("paths", [within_paths, nearest_paths])
def test_a_slow_pace_makes_all_that_reads_every_code_dear(paths):
    for word, times in ((FAST_WORD, 1), (5 * FAST_WORD, 4)):
        costs = {p.name: p.cost for p in paths(1_000_000, 64, 3, queries=1000, faiss=True, numba=True, fast_word=word)}
        usual = {p.name: p.cost for p in paths(1_000_000, 64, 3, queries=1000, faiss=True, numba=True)}
        for name in ("scan (numba)", "faiss"):
            assert costs[name] >= times * usual[name]
        assert costs["bands (numba)"] == usual["bands (numba)"]


@NUMBA
def test_a_search_notes_the_pace(monkeypatch):
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, (20_000, 8), dtype=np.uint8)
    index = HashIndex.from_sorted(64, np.arange(20_000), codes, compiled=True)
    seen = []
    monkeypatch.setattr(Pace, "note", lambda self, words, seconds: seen.append((words, seconds)) or True)
    index.nearest_arrays(codes[:100], 3, method="scan")
    index.within_arrays(codes[:100], 3, method="scan")
    assert [words for words, _ in seen] == [2_000_000, 2_000_000]
    assert all(seconds > 0 for _, seconds in seen)
    index.within_arrays(codes[:100], 3, method="bands")
    assert len(seen) == 2


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
    with pytest.raises(
        UnknownName, match="unknown method 'tree'; expected one of auto, bands, flips, scan, faiss, key"
    ):
        index.within(code, 1, method="tree")
    with pytest.raises(UnknownName, match="unknown method 'flips'; expected one of auto, bands, scan, faiss, gpu, ivf"):
        index.nearest(code, 1, method="flips")
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
