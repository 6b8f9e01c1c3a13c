"""Duplicate groups against brute force: linkages, representatives, diameters, margins."""

import re

import numpy as np
import pytest

from hashae.errors import CodeError, ConfigError, UnknownName
from hashae.indexer import large_components as large_module
from hashae.indexer import linkage as linkage_module
from hashae.indexer import representatives as representatives_module
from hashae.indexer.compiled import has_numba
from hashae.indexer.groups import find_groups
from hashae.indexer.index import HashIndex
from hashae.indexer.linkage import LINKAGES

ENGINES = [
    "numpy",
    pytest.param("compiled", marks=pytest.mark.skipif(not has_numba(), reason="numba is not installed")),
]


def table(codes):
    """Distances of all pairs, bit by bit."""
    bits = np.unpackbits(codes, axis=1)
    return (bits[:, None] != bits[None]).sum(axis=2)


def taken_by(best, linked, apart, free, linkage):
    """Rows that a middle takes, by the rule of a linkage."""
    near = linked[best] & free
    if linkage == "complete":
        members = [best]
        for row in sorted(np.flatnonzero(near).tolist(), key=lambda row: (apart[best, row], row)):
            if row != best and linked[row, members].all():
                members.append(row)
        near = np.zeros(len(free), bool)
        near[members] = True
    if linkage == "component":
        while (grown := linked[near].any(axis=0)).sum() > near.sum():
            near = grown
    return near


def oracle(codes, ids, radius, margins, linkage):
    """Greedy groups from the full table: (representative, members, distances, diameter, chained)."""
    order = np.argsort(ids)
    codes, ids = codes[order], ids[order]
    margins = np.zeros(len(ids)) if margins is None else margins[order].astype(float)
    seen = {}  # rows of equal code and margin are one node: they go together
    first_of = np.array(
        [seen.setdefault((bytes(code), m), row) for row, (code, m) in enumerate(zip(codes, margins, strict=True))]
    )
    apart = table(codes)
    linked = apart <= radius + (margins[:, None] + margins[None]) / 2
    found, free = [], np.ones(len(ids), bool)
    while free.any():
        best = int(np.argmax(np.where(free, (linked & free).sum(axis=1), -1)))
        taken = taken_by(best, linked, apart, free, linkage)
        assert all(taken[first_of == first_of[row]].all() for row in np.flatnonzero(taken))
        free &= ~taken
        rows = np.flatnonzero(taken)
        if len(rows) > 1:
            able = rows[linked[np.ix_(rows, rows)].all(axis=1)]
            middle = min(able if len(able) else rows, key=lambda row: (apart[row, rows].sum(), ids[row]))
            ordered = sorted(rows.tolist(), key=lambda row: (apart[middle, row], ids[row]))
            members = tuple(ids[ordered].tolist())
            distances = tuple(apart[middle, ordered].tolist())
            found.append((int(ids[middle]), members, distances, int(apart[np.ix_(rows, rows)].max()), not len(able)))
    return sorted(found)


def values(groups):
    return [(g.representative, g.members, g.distances, g.diameter, g.chained) for g in groups]


def mixed(kind, bits, n=240, seed=0):
    rng = np.random.default_rng([seed, bits])
    if kind == "random":
        codes = rng.integers(0, 256, (n, bits // 8), dtype=np.uint8)
    else:
        centres = rng.integers(0, 256, (n // 12, bits // 8), dtype=np.uint8)
        noise = np.packbits(rng.random((n, bits)) < 2 / bits, axis=1)
        codes = centres[rng.integers(0, len(centres), n)] ^ noise
        codes[: n // 6] = codes[n // 2]
    if kind == "dead":
        codes[:, : bits // 16] = 0x5A
    return codes, rng.permutation(n * 2)[:n] - n // 2


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("own", [False, True], ids=["one radius", "own radii"])
@pytest.mark.parametrize("linkage", LINKAGES)
@pytest.mark.parametrize("bits", [8, 64, 72, 256])
@pytest.mark.parametrize("kind", ["random", "clustered", "dead"])
def test_groups_equal_the_oracle(kind, bits, linkage, own, engine):
    codes, ids = mixed(kind, bits, n=60)
    margins = None
    if own:
        levels = np.array([0, 0.5, 1.5, bits / 16], np.float32)
        margins = levels[np.random.default_rng(1).integers(0, 4, len(ids))]
    for radius in (0, 1, bits // 8, bits // 3, bits):
        found = find_groups(codes, ids, radius, linkage=linkage, margins=margins, engine=engine)
        assert values(found) == oracle(codes, ids, radius, margins, linkage)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("linkage", LINKAGES)
@pytest.mark.parametrize("sparse", [16, 0], ids=["lists", "counts"])
def test_large_components_are_cut_alike(linkage, sparse, engine, monkeypatch):
    monkeypatch.setattr(linkage_module, "SMALL", 2)
    monkeypatch.setattr(linkage_module, "BATCHED", 2)
    monkeypatch.setattr(large_module, "SPARSE", sparse)
    monkeypatch.setattr(large_module, "MOST_PAIRS", 0)
    monkeypatch.setattr(representatives_module, "BUDGET", 50)
    monkeypatch.setattr(representatives_module, "BATCHED", 2)
    for kind, bits in (("clustered", 64), ("dead", 16), ("random", 320)):
        codes, ids = mixed(kind, bits, n=70, seed=2)
        margins = np.random.default_rng(1).choice([0.0, 1.5, 4.0], len(ids))
        for radius in (2, bits // 8, bits // 2):
            found = find_groups(codes, ids, radius, linkage=linkage, margins=margins, engine=engine)
            assert values(found) == oracle(codes, ids, radius, margins, linkage)


def test_a_chain_is_split_or_reported_as_one():
    codes = np.array([[0b000000], [0b000011], [0b001111], [0b111111]], np.uint8)
    a, b, c, d = 4, 3, 2, 1
    split = find_groups(codes, [a, b, c, d], 2)
    assert [(g.representative, g.members, g.distances, g.diameter, g.chained) for g in split] == [
        (c, (c, d, b), (0, 2, 2), 4, False)  # b and c have two neighbours each, and c the smaller id; a is left over
    ]
    (pair,) = find_groups(codes[:3], [1, 2, 3], 2, linkage="complete")
    assert (pair.members, pair.diameter) == ((1, 2), 2)  # taken by 2, whose neighbours 1 and 3 do not match
    (whole,) = find_groups(codes, [a, b, c, d], 2, linkage="component")
    assert (whole.representative, whole.members, whole.distances) == (c, (c, d, b, a), (0, 2, 2, 4))
    assert (whole.diameter, whole.chained) == (6, True)
    (near,) = find_groups(codes[:3], [1, 2, 3], 2, linkage="component")
    assert near.representative == 2
    assert not near.chained


def test_copies_weigh_in_the_choice_of_the_representative():
    codes = np.array([[0b0000], [0b0011], [0b1111], [0b1111]], np.uint8)
    (group,) = find_groups(codes, [1, 2, 3, 4], 2)
    assert group.representative == 2  # the only one that matches all
    (group,) = find_groups(codes[1:], [2, 3, 4], 2)
    assert group.representative == 3  # all match all: the two copies have the smaller sum of distances
    assert group.members == (3, 4, 2)


def test_one_group_of_everything_and_none():
    codes, ids = mixed("random", 64, n=50)
    for linkage in LINKAGES:
        (whole,) = find_groups(codes, ids, 64, linkage=linkage)
        assert sorted(whole.members) == sorted(ids.tolist())
        assert whole.diameter == table(codes).max()
        assert find_groups(codes, ids, 1, linkage=linkage) == []


def test_equal_distances_go_to_the_smaller_ids():
    codes = np.packbits(np.eye(16, dtype=np.uint8), axis=1)  # all at distance 2 from one another
    ids = np.random.default_rng(0).permutation(16)
    for linkage in LINKAGES:
        (group,) = find_groups(codes, ids, 2, linkage=linkage)
        assert (group.representative, group.members) == (0, tuple(range(16)))


def test_a_hot_code_is_one_group_without_listing_pairs():
    rng = np.random.default_rng(0)
    codes = np.concatenate([np.tile(np.uint8([7] * 8), (10_000, 1)), rng.integers(0, 256, (2000, 8), dtype=np.uint8)])
    shuffled = rng.permutation(len(codes))
    (group,) = find_groups(codes[shuffled], shuffled, 3)
    assert group.members == tuple(range(10_000))
    assert (group.representative, group.diameter, set(group.distances)) == (0, 0, {0})


def test_a_hundred_thousand_equal_codes():
    (group,) = find_groups(np.full((100_000, 32), 9, np.uint8), np.arange(100_000), 40)
    assert len(group.members) == 100_000


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", ["clustered", "dead"])
@pytest.mark.parametrize("linkage", LINKAGES)
@pytest.mark.parametrize("radius", [2, 5])
def test_invariants_on_larger_data(kind, linkage, radius, engine):
    codes, ids = mixed(kind, 64, n=2500, seed=3)
    code_of = dict(zip(ids.tolist(), codes, strict=True))
    found = find_groups(codes, ids, radius, linkage=linkage, engine=engine)
    seen = [member for group in found for member in group.members]
    assert len(seen) == len(set(seen))
    assert [g.representative for g in found] == sorted(g.representative for g in found)
    for group in found:
        own = np.stack([code_of[member] for member in group.members])
        distances = (np.unpackbits(own, axis=1) != np.unpackbits(code_of[group.representative])).sum(axis=1)
        assert tuple(distances.tolist()) == group.distances
        assert list(zip(group.distances, group.members, strict=True)) == sorted(
            zip(group.distances, group.members, strict=True)
        )
        assert len(group.members) >= 2
        assert group.chained == (max(group.distances) > radius)
        assert linkage == "component" or not group.chained
        assert max(group.distances) <= group.diameter <= 2 * max(group.distances)
        assert linkage != "complete" or group.diameter <= radius
    order = np.random.default_rng(1).permutation(len(ids))
    assert find_groups(codes[order], ids[order], radius, linkage=linkage, engine=engine, threads=2) == found


@pytest.mark.parametrize("engine", ENGINES)
def test_a_large_chained_component(engine):
    walk = np.cumsum(np.random.default_rng(0).integers(0, 256, 600)) % 256  # one bit flipped a step
    bits = np.zeros((600, 256), np.uint8)
    for row, bit in enumerate(walk[1:], 1):
        bits[row] = bits[row - 1]
        bits[row, bit] ^= 1
    codes = np.packbits(bits, axis=1)
    ids = np.arange(600)
    (whole,) = find_groups(codes, ids, 3, linkage="component", engine=engine)
    assert whole.chained
    assert len(whole.members) == 600
    apart = np.concatenate([(bits[at : at + 100, None] != bits[None]).sum(axis=2) for at in range(0, 600, 100)])
    assert whole.diameter == apart.max()
    assert whole.representative == apart.sum(axis=1).argmin()
    for linkage, within in (("star", lambda g: g.representative), ("complete", lambda g: list(g.members))):
        for group in find_groups(codes, ids, 3, linkage=linkage, engine=engine):
            assert apart[np.ix_(np.atleast_1d(within(group)), group.members)].max() <= 3
            assert group.diameter == apart[np.ix_(group.members, group.members)].max()


def test_representatives_and_diameters_of_groups_of_all_sizes():
    rng = np.random.default_rng(0)
    sizes = [1, 2, 3, 3, 17, 64, 65, 200]
    codes = rng.integers(0, 256, (sum(sizes), 16), dtype=np.uint8)
    label = np.repeat(np.cumsum(sizes) - sizes, sizes)
    weight = rng.integers(1, 4, len(codes))
    rule = representatives_module.MatchRule(0, rng.integers(40, 90, len(codes)).astype(float))
    apart = table(codes)
    linked = apart <= (rule.margins[:, None] + rule.margins) / 2
    words = codes.view(np.uint64)
    compiled = linkage_module.loops("group_kernels")
    for loops in [None, compiled] if compiled else [None]:
        found = representatives_module.describe(words, weight, rule, label, loops)
        for start, size in zip(np.cumsum(sizes) - sizes, sizes, strict=True):
            rows = np.arange(start, start + size)
            able = rows[linked[np.ix_(rows, rows)].all(axis=1)]
            choice = able if len(able) else rows
            best = choice[(apart[np.ix_(choice, rows)] * weight[rows]).sum(axis=1).argmin()]
            assert (found.representative[rows] == best).all()
            assert found.diameter[best] == apart[np.ix_(rows, rows)].max()
            assert found.chained[best] == (not len(able))


def test_margins_widen_the_radius_of_some():
    codes = np.array([[0b000], [0b011], [0b111]], np.uint8)
    ids = [1, 2, 3]
    assert [g.members for g in find_groups(codes, ids, 1)] == [(2, 3)]
    assert [g.members for g in find_groups(codes, ids, 1, margins=[1, 1, 0])] == [(2, 3, 1)]  # 2 <= 1 + (1 + 1) / 2
    assert [g.members for g in find_groups(codes, ids, 1, margins=[1.9, 0, 0])] == [(2, 3)]
    assert [g.members for g in find_groups(codes, ids, 1, margins=[2, 0, 0])] == [(2, 3, 1)]
    index = HashIndex(8)
    index.add([3, 2, 1], codes[::-1])
    assert index.duplicates(1, margins=[2, 0, 0]) == find_groups(codes, ids, 1, margins=[2, 0, 0])


def test_equal_codes_of_other_margins_stay_together():
    codes = np.array([[0b000], [0b000], [0b111]], np.uint8)
    (group,) = find_groups(codes, [1, 2, 3], 0, margins=[0, 6, 0])
    assert (group.representative, group.members) == (2, (1, 2, 3))  # the wide margin of 2 reaches 3


def test_progress_is_told():
    codes, ids = mixed("clustered", 256, n=2000)
    told = []
    find_groups(codes, ids, 60, engine=ENGINES[0], on_progress=lambda *step: told.append(step))
    index = HashIndex(256)
    index.add(ids, codes)
    index.duplicates(60, on_progress=lambda *step: told.append(step))
    for stage, done, total in told:
        assert stage in {"compare", "group"}
        assert 0 <= done <= total
    assert {stage for stage, *_ in told} == {"compare", "group"}
    assert told[-1][1] == told[-1][2]


def test_nothing_and_one():
    none = np.empty((0, 8), np.uint8)
    for linkage in LINKAGES:
        assert find_groups(none, [], 3, linkage=linkage, margins=[]) == []
        assert find_groups(np.zeros((1, 8), np.uint8), [5], 3, linkage=linkage) == []


def test_errors_say_what_is_wrong():
    codes = np.zeros((3, 8), np.uint8)
    for call, error, sentence in (
        (lambda: find_groups(codes, [1, 2], 1), CodeError, "expected 3 whole numbers, one for each code"),
        (lambda: find_groups(codes, [1, 2, 2], 1), CodeError, "id 2 is given twice; expected each id once"),
        (lambda: find_groups(codes, [1, 2, 3], 65), ConfigError, "radius is 65; expected a whole number of bits"),
        (lambda: find_groups(codes, [1, 2, 3], -1), ConfigError, "radius is -1"),
        (lambda: find_groups(codes, [1, 2, 3], 1, threads=0), ConfigError, "threads is 0; expected a whole number"),
        (
            lambda: find_groups(codes, [1, 2, 3], 1, margins=[0, 1]),
            CodeError,
            "margins have shape (2,); expected (3,), one for each code",
        ),
        (
            lambda: find_groups(codes, [1, 2, 3], 1, margins=[0, 1, -1]),
            ConfigError,
            "a margin is negative or not finite; expected 0 bits or more",
        ),
        (lambda: find_groups(codes, [1, 2, 3], 1, margins=[0, 1, np.nan]), ConfigError, "a margin is negative or not"),
        (
            lambda: find_groups(codes, [1, 2, 3], 1, linkage="single"),
            UnknownName,
            "unknown linkage 'single'; expected one of star, complete, component",
        ),
        (
            lambda: find_groups(codes + np.arange(3, dtype=np.uint8)[:, None], [1, 2, 3], 1, method="fast"),
            UnknownName,
            "unknown method 'fast'; expected one of auto, exact, approximate",
        ),
        (
            lambda: find_groups(codes + np.arange(3, dtype=np.uint8)[:, None], [1, 2, 3], 1, engine="gpu"),
            UnknownName,
            "unknown engine 'gpu'; expected auto or one of compiled, faiss, numpy",
        ),
    ):
        with pytest.raises(error, match=re.escape(sentence)):
            call()
