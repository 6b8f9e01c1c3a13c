"""Pairs and components: every engine and every plan against the full table of distances."""

from itertools import combinations, pairwise

import numpy as np
import pytest

from hashae.errors import ConfigError, UnknownName
from hashae.indexer import block_tables, components, numpy_join, pair_plan, pairs, pivots, sorted_runs
from hashae.indexer import compiled as compiled_module
from hashae.indexer import nearest as nearest_module
from hashae.indexer.approximate import Recall
from hashae.indexer.block_designs import all_sets, few_sets
from hashae.indexer.block_tables import JoinCosts, choose_blocks, code_positions, pack, permute
from hashae.indexer.compiled import has_numba
from hashae.indexer.components import connected
from hashae.indexer.cross import best_matches
from hashae.indexer.pair_plan import COSTS, plan_join
from hashae.indexer.pairs import near_pairs
from hashae.indexer.pivots import nearest_pivots, pivot_lists, sampled_recall
from hashae.indexer.rule import MatchRule
from hashae.indexer.scan import as_rows
from hashae.indexer.tasks import run_all
from hashae.indexer.uniques import distinct

ENGINES = [
    "numpy",
    pytest.param("faiss", marks=pytest.mark.skipif(not compiled_module.has_faiss(), reason="FAISS is not installed")),
    pytest.param("compiled", marks=pytest.mark.skipif(not has_numba(), reason="numba is not installed")),
]
FREE = JoinCosts(row=0, pair=0, word=0, permute=0, call=0)
DEAR = JoinCosts(row=1e9, pair=1e9, word=1e9, permute=1e9, call=1e9)


def table(codes):
    """Distances of all pairs, bit by bit."""
    bits = np.unpackbits(codes, axis=1)
    return (bits[:, None] != bits[None]).sum(axis=2)


def components_of(linked):
    """Smallest row of the component of each row, by growing."""
    root = np.arange(len(linked))
    while True:
        grown = np.where(linked | np.eye(len(linked), dtype=bool), root, len(root)).min(axis=1)
        if np.array_equal(grown, root):
            return root
        root = grown


def some(kind, width, n=80, seed=0):
    rng = np.random.default_rng([seed, width])
    if kind == "random":
        return rng.integers(0, 256, (n, width), dtype=np.uint8)
    centres = rng.integers(0, 256, (n // 10, width), dtype=np.uint8)
    codes = centres[rng.integers(0, len(centres), n)] ^ np.packbits(rng.random((n, width * 8)) < 0.04, axis=1)
    if kind == "dead":
        codes[:, : width // 2] = 0x5A
    return codes


@pytest.fixture(params=["tables", "everything", "small blocks"])
def forced(request, monkeypatch):
    """Make the planner take sorted tables, or compare everything; or cut all work into small pieces."""
    if request.param == "everything":
        monkeypatch.setattr(pair_plan, "COSTS", dict.fromkeys(COSTS, DEAR))
        return
    monkeypatch.setattr(pair_plan, "PLANNED_FROM", 0)
    monkeypatch.setattr(pair_plan, "COSTS", dict.fromkeys(COSTS, FREE))
    monkeypatch.setattr(block_tables, "MOST_TABLES", 12)
    monkeypatch.setattr(block_tables, "MORE_BLOCKS", 2)
    if request.param == "small blocks":
        for module, name, value in (
            (block_tables, "CHUNK", 7),
            (sorted_runs, "LONG", 5),
            (sorted_runs, "SHORT", 3),
            (sorted_runs, "WORTH", 4),
            (sorted_runs, "CHUNK", 11),
            (sorted_runs, "ROWS", 7),
            (sorted_runs, "ROOM", 3),
            (pairs, "LONG", 5),
            (pairs, "ROOM", 9),
            (pairs, "SKIPPED", 2),
            (pairs, "BUDGET", 50),
            (pairs, "DEEPEST", 1),
            (components, "LONG", 5),
            (components, "SKIPPED", 2),
            (components, "BUDGET", 50),
            (components, "DEEPEST", 1),
            (components, "THREADS_FROM", 0),
            (numpy_join, "DEEPEST", 1),
            (numpy_join, "LAID_OUT_FROM", 0),
            (numpy_join, "THREADS_FROM", 0),
            (pairs, "BLOCK", 20),
            (nearest_module, "RESULTS", 20),
            (nearest_module, "THREADS_FROM", 0),
        ):
            monkeypatch.setattr(module, name, value)


@pytest.mark.usefixtures("forced")
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("width", [1, 8, 20, 40])
@pytest.mark.parametrize("kind", ["random", "clustered", "dead"])
def test_every_engine_finds_each_pair_once(kind, width, engine):
    codes = some(kind, width)
    apart = table(codes)
    for limit in (0, 3, 3 * width):
        a, b = np.nonzero(np.triu(apart <= limit, 1))
        expected = list(zip(a.tolist(), b.tolist(), apart[a, b].tolist(), strict=True))
        for border in (0, 30):
            blocks = list(near_pairs(codes, limit, border=border, engine=engine, threads=2))
            found = [pair for block in blocks for pair in zip(*(part.tolist() for part in block), strict=True)]
            assert sorted(found) == [p for p in expected if not border or p[0] < border <= p[1]]


@pytest.mark.usefixtures("forced")
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kind", ["random", "clustered"])
def test_components_equal_the_table(kind, threads, engine):
    for width in (8, 40):
        codes = some(kind, width)
        apart = table(codes)
        for radius, margins in ((0, np.zeros(80)), (3, np.resize([0, 1.5, 4], 80)), (width, np.zeros(80))):
            rule = MatchRule(radius, margins.astype(float))
            linked = apart <= radius + (rule.margins[:, None] + rule.margins) / 2
            found = connected(codes, rule, threads=threads, engine=engine)
            assert np.array_equal(found, components_of(linked))


@pytest.mark.parametrize("threads", [1, 2])
def test_laying_rows_out_changes_no_answer(threads, monkeypatch):
    rng = np.random.default_rng(threads)
    monkeypatch.setattr(numpy_join, "THREADS_FROM", 0)
    monkeypatch.setattr(pair_plan, "COSTS", dict.fromkeys(COSTS, FREE))
    centres = rng.integers(0, 256, (100, 8), dtype=np.uint8)
    codes = centres[rng.integers(0, 100, 2000)] ^ np.packbits(rng.random((2000, 64)) < 0.05, axis=1)
    for margins in (np.zeros(2000), np.resize([0, 0, 2.0], 2000)):
        rule = MatchRule(3, margins)
        expected = components_of(table(codes) <= 3 + (margins[:, None] + margins) / 2)
        for rows in (0, 1 << 40):
            monkeypatch.setattr(numpy_join, "LAID_OUT_FROM", rows)
            assert np.array_equal(connected(codes, rule, engine="numpy", threads=threads), expected)
    assert 100 < len(np.unique(expected)) < 2000


def test_long_runs_are_found_wherever_they_lie():
    most = sorted_runs.LONG
    for seed in range(20):
        rng = np.random.default_rng(seed)
        counts = rng.choice([1, 5, most - 1, most, most + 1, 9000], 12)
        keys = np.sort(rng.choice(1 << 8, 12, replace=False)).astype(np.uint64)
        values = np.repeat(keys, counts) << np.uint64(56) | rng.integers(0, 1 << 56, counts.sum(), dtype=np.uint64)
        ends = np.cumsum(counts)
        expected = [(end - count, end) for end, count in zip(ends, counts, strict=True) if count > most]
        assert sorted_runs.long_runs(np.sort(values), 8) == expected


@pytest.mark.parametrize("chunk", [1, 2, 7, 50, 1 << 20])
@pytest.mark.parametrize("worth", [1, 12, 1 << 20])
def test_pairs_of_a_sorted_table(chunk, worth, monkeypatch):
    for name, value in {"CHUNK": chunk, "WORTH": worth, "LONG": 30, "SHORT": 10, "ROWS": 16, "ROOM": 8}.items():
        monkeypatch.setattr(sorted_runs, name, value)
    key_bits, row_bits, radius = 16, 10, 17
    for seed in range(4):
        rng = np.random.default_rng([seed, chunk])
        counts = rng.choice([1, 1, 1, 2, 2, 3, 9, 10, 11, 29, 30, 31, 60], 40)
        keys = np.sort(rng.choice(1 << key_bits, 40, replace=False)).astype(np.uint64)
        n = counts.sum()
        rows = rng.permutation(n).astype(np.uint64)
        more = rng.integers(0, 1 << (64 - key_bits - row_bits), n, dtype=np.uint64) << np.uint64(row_bits)
        values = np.sort(np.repeat(keys, counts) << np.uint64(64 - key_bits) | more | rows)
        run = np.repeat(np.arange(40), counts)
        a, b = np.nonzero((run[:, None] == run) & np.tri(n, k=-1, dtype=bool) & (counts[run] <= 30))
        near = np.bitwise_count((values[a] ^ values[b]) >> np.uint64(row_bits)) <= radius
        row = (values & np.uint64((1 << row_bits) - 1)).astype(int)
        expected = sorted(
            tuple(sorted(pair)) for pair in zip(row[a[near]].tolist(), row[b[near]].tolist(), strict=True)
        )
        found = []
        for some_pairs in sorted_runs.run_pairs(values, key_bits, row_bits, radius):
            left, right = some_pairs.ends()
            found += [tuple(sorted(pair)) for pair in zip(left.tolist(), right.tolist(), strict=True)]
        assert sorted(found) == expected
        assert len(expected) > 100


@pytest.mark.usefixtures("forced")
@pytest.mark.parametrize("engine", ENGINES)
def test_how_far_a_search_is(engine):
    codes = some("clustered", 32)
    for border in (0, 30):
        told = []
        list(near_pairs(codes, 3, border=border, engine=engine, on_step=lambda *step: told.append(step)))  # noqa: B023
        assert told[-1][0] == told[-1][1] > 0
        assert [step for step, _ in told] == sorted(step for step, _ in told)
        assert len({total for _, total in told}) == 1


def test_the_planner_takes_tables_while_they_pay():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, (50_000, 8), dtype=np.uint8)
    for radius, tables in ((0, True), (2, True), (4, True), (24, False)):
        plan = plan_join(as_rows(codes), 8, radius, engine="numpy")
        assert (plan.blocks is not None) == tables
        assert ("tables of" in plan.why) == tables


def test_dead_bits_are_dealt_evenly_and_left_out_of_keys():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, (30_000, 8), dtype=np.uint8)
    healthy = choose_blocks(as_rows(codes), 8, 4, COSTS["numpy"])
    assert healthy.order is None
    codes[:, 2:5] = 0x5A
    plan = choose_blocks(as_rows(codes), 8, 4, COSTS["numpy"])
    dead = set(code_positions(8)[np.argsort(table_of_bits(codes).std(axis=0), kind="stable")[:24]].tolist())
    counts = [len(dead & set(plan.order[block].tolist())) for block in plan.blocks]
    assert sum(counts) == 24
    assert max(counts) - min(counts) <= 2
    assert plan.cost < 6 * healthy.cost
    values = np.empty(len(codes), np.uint64)
    pack(permute(as_rows(codes), plan.order), plan.tables[0], values)
    assert len(np.unique(values >> np.uint64(64 - plan.tables[0].key_bits))) > 1000


def table_of_bits(codes):
    """Bits of each code in the order of `code_positions`."""
    words = as_rows(codes)
    return np.unpackbits(words.astype(">u8").view(np.uint8), axis=1)[:, code_positions(codes.shape[1])]


@pytest.mark.parametrize("width", [1, 3, 8, 9, 20, 32, 40, 64])
def test_a_permutation_keeps_distances_and_a_value_holds_the_bits_it_says(width):
    rng = np.random.default_rng(width)
    codes = rng.integers(0, 256, (40, width), dtype=np.uint8)
    order = rng.permutation(code_positions(width))
    assert len(set(order.tolist())) == width * 8
    words = permute(as_rows(codes), order)
    assert np.array_equal(np.bitwise_count(words[:, None] ^ words[None]).sum(axis=2), table(codes))
    bits = np.unpackbits(words.astype(">u8").view(np.uint8), axis=1)[:, : width * 8]
    blocks = np.array_split(np.arange(width * 8), 5)
    (design,) = all_sets(5, 2, 300)
    for made in block_tables._tables(blocks, [len(block) for block in blocks], design, 6):
        values = np.empty(40, np.uint64)
        pack(words, made, values)
        shown = np.unpackbits(values.astype(">u8").view(np.uint8).reshape(40, 8), axis=1)
        keys = np.concatenate([blocks[block] for block in np.flatnonzero(made.chosen)])
        if made.key_bits == len(keys):
            assert np.array_equal(shown[:, : made.key_bits], bits[:, keys])
        assert np.array_equal(values & np.uint64(63), np.arange(40))
        assert made.key_bits <= 58


@pytest.mark.parametrize("radius", range(9))
def test_whatever_blocks_differ_a_key_is_left(radius):
    for blocks in range(radius + 1, radius + 8):
        found = [*all_sets(blocks, radius, 300), *few_sets(blocks, radius, 300)]
        for keys in found:
            assert len(set(keys)) == len(keys) <= 300
            for equal in combinations(range(blocks), blocks - radius):
                assert any(set(equal).issuperset(key) for key in keys), (blocks, keys)


def test_fewer_tables_do_where_pairs_may_repeat():
    codes = np.random.default_rng(0).integers(0, 256, (300_000, 8), dtype=np.uint8)
    for engine in ("numpy", "compiled"):
        once = choose_blocks(as_rows(codes), 8, 4, COSTS[engine])
        often = choose_blocks(as_rows(codes), 8, 4, COSTS[engine], repeats=True)
        assert often.cost < 0.8 * once.cost


def test_costs_decide_the_number_of_blocks():
    codes = np.random.default_rng(0).integers(0, 256, (20_000, 8), dtype=np.uint8)
    dear_rows = choose_blocks(as_rows(codes), 8, 3, JoinCosts(row=1000, pair=0.1, word=0, permute=0, call=0))
    dear_pairs = choose_blocks(as_rows(codes), 8, 3, JoinCosts(row=1, pair=1000, word=0, permute=0, call=0))
    assert len(dear_rows.blocks) == 4
    assert len(dear_pairs.blocks) > 4


@pytest.mark.parametrize("width", [1, 8, 9, 32])
def test_equal_codes_get_one_number(width):
    rng = np.random.default_rng(width)
    codes = rng.integers(0, 3, (300, width), dtype=np.uint8)
    codes[::3] = codes[0]
    for margins in (np.zeros(300), rng.integers(0, 2, 300).astype(float)):
        node, first = distinct(codes, margins)
        seen = {}
        for row, key in enumerate(zip(map(bytes, codes), margins.tolist(), strict=True)):
            assert node[row] == seen.setdefault(key, len(seen))
        assert first.tolist() == sorted(first.tolist())
        assert np.array_equal(node[first], np.arange(len(seen)))
    none = distinct(codes[:0], np.empty(0))
    assert [len(part) for part in none] == [0, 0]


def test_codes_of_one_mixture_are_still_told_apart(monkeypatch):
    from hashae.indexer import uniques

    monkeypatch.setattr(uniques, "_mixed", lambda columns: np.zeros(len(columns[0]), np.uint64))
    codes = np.resize(np.arange(7, dtype=np.uint8), (50, 16)).copy()
    codes[:, 8:] = (np.arange(50) % 5)[:, None]
    node, first = distinct(codes, np.zeros(50))
    assert len(first) == len({bytes(code) for code in codes})
    assert all(bytes(codes[first[node[row]]]) == bytes(codes[row]) for row in range(50))


@pytest.mark.parametrize("engine", ENGINES[::2])
def test_pivot_lists_find_most_pairs_and_invent_none(engine, monkeypatch):
    monkeypatch.setattr(pivots, "LISTS", 4)
    monkeypatch.setattr(pivots, "BLOCK", 90)
    codes = some("clustered", 32, n=400)
    rule = MatchRule(24, np.resize([0.0, 4.0], 400))
    exact = connected(codes, rule, engine=engine)
    monkeypatch.setattr(pair_plan, "COSTS", dict.fromkeys(COSTS, DEAR))
    found = connected(codes, rule, engine=engine, method="approximate", threads=2)
    assert np.array_equal(exact[found], exact)  # never joined but what matches joins
    told = []
    assert np.array_equal(found, connected(codes, rule, engine=engine, method="approximate", on_recall=told.append))
    linked = table(codes) <= 24 + (rule.margins[:, None] + rule.margins) / 2
    joined, total = (linked & (found[:, None] == found)).sum() - 400, linked.sum() - 400
    assert told == [Recall("approximate", joined / total, 400, total)]  # all rows are in the sample
    assert 0.9 < told[0].recall <= 1
    assert sampled_recall(as_rows(codes[:1]), rule.of(np.arange(1)), found[:1], compiled=False).recall is None
    assert np.array_equal(found, connected(codes, rule, engine="numpy", method="approximate"))


@pytest.mark.usefixtures("forced")
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("width", [8, 32, 40])
def test_the_best_match_of_another_set(width, engine):
    rng = np.random.default_rng(width)
    codes = some("clustered", width, n=140)
    codes[110:120] = codes[:10]
    mine, others = codes[:60], codes[60:]
    for radius, levels in ((0, [0]), (3, [0, 1.5, 6]), (width, [0, width])):
        margins = rng.choice(levels, 140).astype(float)
        found = best_matches(mine, others, radius, margins[:60], margins[60:], engine=engine, threads=2)
        apart = table(codes)[:60, 60:]
        linked = apart <= radius + (margins[:60, None] + margins[None, 60:]) / 2
        expected = np.where(linked.any(axis=1), np.where(linked, apart, 10**6).argmin(axis=1), -1)
        assert np.array_equal(found.rows, expected)
        hit = expected >= 0
        assert np.array_equal(found.distances[hit], apart[np.arange(60), expected][hit])
    for some_, rest in ((codes[:0], others), (mine, codes[:0])):
        none = best_matches(some_, rest, 3, np.zeros(len(some_)), np.zeros(len(rest)), engine=engine)
        assert none.rows.tolist() == [-1] * len(some_)


@pytest.mark.skipif(not has_numba(), reason="numba is not installed")
@pytest.mark.parametrize("width", [8, 16, 32, 64])
def test_the_nearest_pivots_are_the_same_for_both_engines(width):
    codes = some("clustered", width, n=300)
    words, drawn = as_rows(codes), as_rows(some("random", width, n=37))
    for count in (1, 5, 37):
        numbers = nearest_pivots(words, drawn, count, compiled=True)
        assert np.array_equal(np.sort(nearest_pivots(words, drawn, count, compiled=False), axis=1), numbers)
    lists = list(pivot_lists(words, compiled=False))
    assert all((rows[1:] > rows[:-1]).all() for rows in lists)


def test_an_interruption_leaves_no_thread_behind():
    import threading
    import time

    started = []

    def task(part):
        started.append(part)
        if part == 2:
            raise KeyboardInterrupt
        time.sleep(0.001)  # or another thread is done with all of them before anybody can be told
        return 1.0

    before = threading.active_count()
    for threads in (1, 2):
        started.clear()
        with pytest.raises(KeyboardInterrupt):
            run_all(task, range(1000), threads, 1000, None)
        assert threading.active_count() == before
        assert len(started) < 1000
    told = []
    run_all(lambda part: 2.0, range(5), 2, 10, lambda *step: told.append(step))
    assert told == [(2, 10), (4, 10), (6, 10), (8, 10), (10, 10)]
    assert all(later > earlier for earlier, later in pairwise(told))


def test_engines_that_are_not_there_are_refused(monkeypatch):
    words = as_rows(some("random", 8))
    monkeypatch.setattr(pair_plan, "has_faiss", lambda: False)
    monkeypatch.setattr(pair_plan, "loops", lambda _: None)
    with pytest.raises(ConfigError, match="engine 'faiss' needs FAISS, which is not installed; install faiss-cpu"):
        plan_join(words, 8, 3, engine="faiss")
    with pytest.raises(ConfigError, match=r"engine 'compiled' needs numba, .* run: pip install 'hashae\[fast\]'"):
        plan_join(words, 8, 3, engine="compiled")
    with pytest.raises(UnknownName, match="unknown engine 'gpu'; expected auto or one of compiled, faiss, numpy"):
        plan_join(words, 8, 3, engine="gpu")
    monkeypatch.setattr(pair_plan, "COMPILED_FROM", 0)
    monkeypatch.setattr(pair_plan, "FAISS_FROM", 0)
    assert plan_join(words, 8, 3).engine == "numpy"


def test_compiled_loops_are_loaded_only_where_they_pay(monkeypatch):
    codes = np.random.default_rng(0).integers(0, 256, (20_000, 8), dtype=np.uint8)
    monkeypatch.setattr(pair_plan, "_loaded", lambda: False)
    asked = []
    monkeypatch.setattr(pair_plan, "has_numba", lambda: True)
    monkeypatch.setattr(pair_plan, "loops", lambda name: asked.append(name) or object())
    quick = plan_join(as_rows(codes), 8, 3)
    assert (quick.engine, quick.blocks is None, asked) == ("numpy", False, [])  # tables are fast enough in numpy
    wide = plan_join(as_rows(codes), 8, 40)
    assert (wide.engine, wide.blocks, asked) == ("faiss" if compiled_module.has_faiss() else "numpy", None, [])
    monkeypatch.setattr(pair_plan, "COMPILED_FROM", 10_000_000)
    assert plan_join(as_rows(codes), 8, 40).engine == "compiled"
    assert asked == ["pair_kernels"]
