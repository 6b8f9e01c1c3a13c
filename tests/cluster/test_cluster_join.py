"""Duplicates on a cluster: the answer of one process, whatever the cluster loses on the way."""

from __future__ import annotations

import numpy as np
import pytest

from hashae.errors import ConfigError, HashaeError, UnknownName
from hashae.indexer import pair_plan
from hashae.indexer.cluster import join, session
from hashae.indexer.cluster.join import advice, connected_on
from hashae.indexer.cluster.parts import TablePart, values_of
from hashae.indexer.components import connected
from hashae.indexer.index import HashIndex
from hashae.indexer.pair_plan import plan_join
from hashae.indexer.rule import MatchRule
from hashae.indexer.scan import as_rows


def clustered(n, width, seed=0):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 256, (max(1, n // 4), width), dtype=np.uint8)[rng.integers(0, max(1, n // 4), n)]
    for _ in range(3):
        rows = rng.random(n) < 0.5
        codes[rows, rng.integers(0, width, n)[rows]] ^= (1 << rng.integers(0, 8, n)[rows]).astype(np.uint8)
    return codes


@pytest.mark.parametrize(
    ("width", "radius", "margin"),
    [
        (8, 4, 0),
        (32, 60, 0),
        *(pytest.param(*case, marks=pytest.mark.long) for case in [(8, 0, 0), (12, 3, 2), (32, 3, 4), (40, 2, 0)]),
    ],
)
def test_components_are_those_of_one_process(cluster, monkeypatch, width, radius, margin):
    monkeypatch.setattr(join, "ROWS", 7000)  # three parts of every table
    monkeypatch.setattr(join, "PAIRS", 3e7)  # more bands than the cores ask for
    codes = clustered(20_000, width)
    codes[5000:11_000] = codes[5000]  # one code above all others: a run longer than is compared pair by pair
    codes[5000:11_000, -1] = np.arange(6000) % 7
    rule = MatchRule(radius, np.random.default_rng(1).random(len(codes)) * margin)
    if radius < 60:
        monkeypatch.setattr(pair_plan, "PAIR", dict.fromkeys(pair_plan.PAIR, 10.0))  # so few codes need no tables
    assert (plan_join(as_rows(codes), width, rule.largest(8 * width)).blocks is None) == (radius == 60)
    told = []
    found = connected_on(cluster, codes, rule, on_step=lambda *step: told.append(step))
    assert np.array_equal(found, connected(codes, rule, threads=2))
    assert told[-1] == (len(codes), len(codes))
    assert len(told) > 2


def test_an_approximate_search_finds_the_same_and_measures_the_same(cluster):
    codes, recalls = clustered(20_000, 32), []
    rule = MatchRule(60, np.zeros(len(codes)))
    here = connected(codes, rule, method="approximate", on_recall=recalls.append)
    there = connected_on(cluster, codes, rule, method="approximate", on_recall=recalls.append)
    assert np.array_equal(here, there)
    assert recalls[0] == recalls[1]


def test_groups_of_an_index_are_those_of_one_process(cluster):
    codes = clustered(20_000, 8, seed=2)
    index = HashIndex(64)
    index.add(np.random.default_rng(0).permutation(len(codes)) + 1, codes)
    margins = np.random.default_rng(3).random(len(codes)).astype(np.float32) * 3
    assert index.duplicates(1, margins=margins, cluster=cluster) == index.duplicates(1, margins=margins)


@pytest.mark.parametrize("radius", [4, pytest.param(60, marks=pytest.mark.long)])
def test_a_killed_worker_costs_a_retry(cluster, monkeypatch, kill_worker, radius):
    monkeypatch.setattr(join, "ROWS", 4000)
    monkeypatch.setattr(join, "PAIRS", 1e8)
    codes = clustered(60_000, 32, seed=4)
    rule, killed = MatchRule(radius, np.zeros(len(codes))), []

    def kill_once(done, total):
        if not killed and done < total and kill_worker("join_part"):
            killed.append(done)

    found = connected_on(cluster, codes, rule, on_step=kill_once)
    assert killed
    assert np.array_equal(found, connected(codes, rule, threads=2))


def test_what_is_lost_again_and_again_is_told(cluster, monkeypatch):
    monkeypatch.setattr(session, "TRIES", 1)
    with pytest.raises(HashaeError, match=r"lost 2 times .* run the same command again"):
        list(cluster.run(_die, cluster.share(None), [1]))


def test_what_fits_on_no_machine_is_refused_instead_of_waited_for(cluster):
    with pytest.raises(
        ConfigError, match=r"takes 1,000.0 GB, and no machine of the cluster offers more than .* divide"
    ):
        list(cluster.run(_refuse, cluster.share(None), [1], memory=10**12))


def _die(_shared, _part):
    import os

    os._exit(1)


def test_an_error_of_the_work_arrives_as_it_was_raised(cluster):
    with pytest.raises(UnknownName, match="no such thing"):
        list(cluster.run(_refuse, cluster.share(None), [1, 2, 3]))


def _refuse(_shared, _part):
    raise UnknownName("no such thing")


def test_parts_of_a_table_hold_every_row_once_and_no_key_twice(monkeypatch):
    monkeypatch.setattr(pair_plan, "PLANNED_FROM", 0)
    monkeypatch.setattr(pair_plan, "PAIR", dict.fromkeys(pair_plan.PAIR, 1e3))
    codes = clustered(5000, 8)
    words = as_rows(codes)
    plan = plan_join(words, 8, 3, engine="compiled").blocks
    table = plan.tables[1]
    parts = [values_of(words, TablePart(table, part, 3), plan.row_bits) for part in range(3)]
    assert min(map(len, parts)) > 1000
    keys = [set((part >> np.uint64(64 - table.key_bits)).tolist()) for part in parts]
    assert len(set().union(*keys)) == sum(map(len, keys))
    rows = np.concatenate(parts) & np.uint64((1 << plan.row_bits) - 1)
    assert np.array_equal(np.sort(rows), np.arange(5000))


def test_methods_and_engines_are_checked(cluster):
    rule = MatchRule(1, np.zeros(2))
    with pytest.raises(UnknownName, match="unknown method 'guess'; expected one of auto, exact, approximate"):
        connected_on(cluster, np.zeros((2, 8), np.uint8), rule, method="guess")
    with pytest.raises(ConfigError, match=r"a cluster needs compiled loops; run: pip install 'hashae\[ray\]'"):
        connected_on(cluster, np.zeros((2, 8), np.uint8), rule, engine="numpy")
    assert connected_on(cluster, np.zeros((1, 8), np.uint8), MatchRule(1, np.zeros(1))).tolist() == [0]


def test_below_ten_million_codes_one_process_is_advised():
    assert "one process is faster" in advice(9_999_999)
    assert advice(10_000_000) is None
