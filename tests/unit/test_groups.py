"""Duplicate groups against brute force: components, representatives, diameters, margins."""

import re

import numpy as np
import pytest

from hashae.errors import CodeError, ConfigError
from hashae.indexer import bands as bands_module
from hashae.indexer import groups as groups_module
from hashae.indexer import nearest as nearest_module
from hashae.indexer import scan as scan_module
from hashae.indexer.bands import BandIndex
from hashae.indexer.groups import find_groups
from hashae.indexer.index import HashIndex
from hashae.indexer.nearest import faiss_pairs
from hashae.indexer.scan import group_diameters, scan_pairs, words_of


def table(codes):
    """Distances of all pairs, bit by bit."""
    bits = np.unpackbits(codes, axis=1)
    return (bits[:, None] != bits[None]).sum(axis=2)


def oracle(codes, ids, radius, margins, chains):
    """Greedy groups from the full table: (representative, members, distances, diameter, chained)."""
    order = np.argsort(ids)
    codes, ids = codes[order], ids[order]
    margins = np.zeros(len(ids)) if margins is None else margins[order].astype(float)
    apart = table(codes)
    linked = apart <= radius + (margins[:, None] + margins[None]) / 2
    found, free = [], np.ones(len(ids), bool)
    while free.any():
        best = int(np.argmax(np.where(free, (linked & free).sum(axis=1), -1)))
        taken = linked[best] & free
        if chains:
            while (grown := linked[taken].any(axis=0)).sum() > taken.sum():
                taken = grown
        free &= ~taken
        rows = np.flatnonzero(taken)
        if len(rows) > 1:
            ordered = sorted(rows.tolist(), key=lambda row: (apart[best, row], ids[row]))
            members = tuple(ids[ordered].tolist())
            distances = tuple(apart[best, ordered].tolist())
            diameter = int(apart[np.ix_(rows, rows)].max())
            found.append((int(ids[best]), members, distances, diameter, not linked[best, rows].all()))
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


@pytest.mark.parametrize("own", [False, True], ids=["one radius", "own radii"])
@pytest.mark.parametrize("chains", [False, True], ids=["split", "chains"])
@pytest.mark.parametrize("bits", [8, 16, 64, 72, 256])
@pytest.mark.parametrize("kind", ["random", "clustered", "dead"])
def test_groups_equal_the_oracle(kind, bits, chains, own):
    codes, ids = mixed(kind, bits)
    margins = None
    if own:
        levels = np.array([0, 0.5, 1.5, bits / 16], np.float32)
        margins = levels[np.random.default_rng(1).integers(0, 4, len(ids))]
    for radius in (0, 1, 3, bits // 8, bits // 3, bits):
        found = find_groups(codes, ids, radius, chains=chains, margins=margins)
        assert values(found) == oracle(codes, ids, radius, margins, chains)


@pytest.mark.parametrize("block", [20, None])
@pytest.mark.parametrize("path", ["bands", "scan", "faiss"])
@pytest.mark.parametrize("kind", ["random", "clustered", "dead"])
def test_every_path_finds_each_pair_once(kind, path, block, monkeypatch):
    if block:
        monkeypatch.setattr(bands_module, "CHUNK", block)
        monkeypatch.setattr(scan_module, "BLOCK", block)
        monkeypatch.setattr(nearest_module, "RESULTS", block)
        monkeypatch.setattr(nearest_module, "THREADS_FROM", 0)
    codes, _ = mixed(kind, 64)
    apart = table(codes)
    for radius in (0, 2, 5, 24):
        source = {
            "bands": lambda: BandIndex(codes, np.arange(len(codes)), radius).pairs(radius),  # noqa: B023
            "scan": lambda: scan_pairs(codes, radius),  # noqa: B023
            "faiss": lambda: faiss_pairs(codes, radius, threads=2),  # noqa: B023
        }[path]
        found = [pair for block in source() for pair in zip(*(part.tolist() for part in block), strict=True)]
        a, b = np.nonzero(np.triu(apart <= radius, 1))
        assert sorted(found) == list(zip(a.tolist(), b.tolist(), apart[a, b].tolist(), strict=True))


@pytest.mark.parametrize("path", ["bands", "scan", "faiss"])
def test_the_path_changes_no_group(path, monkeypatch):
    codes, ids = mixed("clustered", 64)
    expected = find_groups(codes, ids, 6)

    def pairs(codes, radius, threads):
        if path == "bands":
            return BandIndex(codes, np.arange(len(codes)), radius).pairs(radius)
        return faiss_pairs(codes, radius, threads) if path == "faiss" else scan_pairs(codes, radius)

    monkeypatch.setattr(groups_module, "_pairs", pairs)
    assert find_groups(codes, ids, 6, threads=2) == expected


def test_a_chain_is_split_or_reported_as_one():
    codes = np.array([[0b000000], [0b000011], [0b001111], [0b111111]], np.uint8)
    a, b, c, d = 4, 3, 2, 1
    split = find_groups(codes, [a, b, c, d], 2)
    assert [(g.representative, g.members, g.distances, g.diameter, g.chained) for g in split] == [
        (c, (c, d, b), (0, 2, 2), 4, False)  # b and c have two neighbours each, and c the smaller id; a is left over
    ]
    (whole,) = find_groups(codes, [a, b, c, d], 2, chains=True)
    assert (whole.representative, whole.members, whole.distances) == (c, (c, d, b, a), (0, 2, 2, 4))
    assert (whole.diameter, whole.chained) == (6, True)
    (near,) = find_groups(codes[:3], [1, 2, 3], 2, chains=True)
    assert near.representative == 2
    assert not near.chained


def test_copies_weigh_in_the_choice_of_the_representative():
    codes = np.array([[0b0000], [0b0011], [0b1111], [0b1111]], np.uint8)
    (group,) = find_groups(codes, [1, 2, 3, 4], 2)
    assert group.representative == 2  # the middle: three neighbours
    (group,) = find_groups(codes[1:], [2, 3, 4], 2)
    assert group.representative == 2  # all reach all: the smallest id
    pair = np.array([[0b000000], [0b000011], [0b001111], [0b111111], [0b111111]], np.uint8)
    first, *rest = find_groups(pair, [1, 2, 3, 4, 5], 2)
    assert (first.representative, first.members) == (3, (3, 2, 4, 5))
    assert rest == []


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


@pytest.mark.parametrize("kind", ["clustered", "dead"])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("radius", [2, 5])
def test_invariants_on_larger_data(kind, radius, threads):
    codes, ids = mixed(kind, 64, n=6000, seed=3)
    code_of = dict(zip(ids.tolist(), codes, strict=True))
    found = find_groups(codes, ids, radius, threads=threads)
    seen = [member for group in found for member in group.members]
    assert len(seen) == len(set(seen))
    assert [g.representative for g in found] == sorted(g.representative for g in found)
    for group in found:
        own = np.stack([code_of[member] for member in group.members])
        distances = (np.unpackbits(own, axis=1) != np.unpackbits(code_of[group.representative])).sum(axis=1)
        assert tuple(distances.tolist()) == group.distances
        assert max(group.distances) <= radius
        assert max(group.distances) <= group.diameter <= 2 * radius
        assert list(zip(group.distances, group.members, strict=True)) == sorted(
            zip(group.distances, group.members, strict=True)
        )
        assert len(group.members) >= 2
        assert not group.chained
    order = np.random.default_rng(1).permutation(len(ids))
    assert find_groups(codes[order], ids[order], radius) == found


def test_pairs_take_bands_while_they_pay(monkeypatch):
    codes, _ = mixed("clustered", 64, n=6000)
    dead, _ = mixed("dead", 64, n=6000)
    taken = []
    monkeypatch.setattr(groups_module.BandIndex, "pairs", lambda *_: taken.append("bands") or iter(()))
    monkeypatch.setattr(groups_module, "faiss_pairs", lambda *_: taken.append("faiss") or iter(()))
    monkeypatch.setattr(groups_module, "scan_pairs", lambda *_: taken.append("scan") or iter(()))
    for faiss in (True, False):
        monkeypatch.setattr(groups_module, "has_faiss", lambda: faiss)  # noqa: B023
        for rows, radius in ((codes, 2), (dead, 2), (codes, 20)):
            find_groups(rows, np.arange(6000), radius)
    assert taken == ["bands", "faiss", "faiss", "bands", "scan", "scan"]


def test_a_large_chained_component():
    walk = np.cumsum(np.random.default_rng(0).integers(0, 256, 1500)) % 256  # one bit flipped a step
    bits = np.zeros((1500, 256), np.uint8)
    for row, bit in enumerate(walk[1:], 1):
        bits[row] = bits[row - 1]
        bits[row, bit] ^= 1
    codes = np.packbits(bits, axis=1)
    ids = np.arange(1500)
    (whole,) = find_groups(codes, ids, 3, chains=True)
    assert whole.chained
    assert len(whole.members) == 1500
    apart = np.concatenate([(bits[at : at + 100, None] != bits[None]).sum(axis=2) for at in range(0, 1500, 100)])
    assert whole.diameter == apart.max()
    for group in find_groups(codes, ids, 3):
        assert apart[group.representative, list(group.members)].max() <= 3
        assert group.diameter == apart[np.ix_(group.members, group.members)].max()


def test_diameters_of_groups_of_all_sizes():
    rng = np.random.default_rng(0)
    sizes = [1, 2, 3, 3, 17, 64, 65, 200]
    codes = rng.integers(0, 256, (sum(sizes), 16), dtype=np.uint8)
    centre = np.repeat(np.cumsum(sizes) - sizes, sizes)
    apart = table(codes)
    found = group_diameters(words_of(codes), centre, apart[np.arange(len(codes)), centre])
    for start, size in zip(np.cumsum(sizes) - sizes, sizes, strict=True):
        assert found[start] == apart[start : start + size, start : start + size].max()


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


def test_nothing_and_one():
    none = np.empty((0, 8), np.uint8)
    assert find_groups(none, [], 3) == []
    assert find_groups(none, [], 3, chains=True, margins=[]) == []
    assert find_groups(np.zeros((1, 8), np.uint8), [5], 3) == []


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
    ):
        with pytest.raises(error, match=re.escape(sentence)):
            call()
