"""Any codes, any radius: every path agrees with counting bits one by one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashae.indexer.compiled import has_numba
from hashae.indexer.flips import neighbourhood_size
from hashae.indexer.index import NEAREST_METHODS, WITHIN_METHODS, HashIndex
from hashae.indexer.linkage import LINKAGES

NUMBA = pytest.mark.skipif(not has_numba(), reason="numba, the extra 'fast', is not installed")


@st.composite
def collections(draw):
    """Codes from a small alphabet of bytes, so that equal codes and equal distances are common."""
    width = draw(st.sampled_from([1, 2, 3, 8, 9, 16]))
    byte = st.sampled_from([0x00, 0x01, 0x03, 0x80, 0xFF])
    code = st.lists(byte, min_size=width, max_size=width)
    codes = draw(st.lists(code, min_size=1, max_size=25))
    ids = draw(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=len(codes), max_size=len(codes), unique=True))
    radius = draw(st.integers(0, width * 8))
    return np.array(codes, np.uint8), np.array(ids, np.int64), np.array(draw(code), np.uint8), radius


def oracle(codes, ids, query):
    apart = (np.unpackbits(codes, axis=1) != np.unpackbits(query)).sum(axis=1)
    return sorted(zip(apart.tolist(), ids.tolist(), strict=True))


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=NUMBA)])
@settings(max_examples=60, deadline=None)
@given(collection=collections(), k=st.integers(1, 30))
def test_every_path_answers_as_counted(compiled, collection, k):
    codes, ids, query, radius = collection
    index = HashIndex(codes.shape[1] * 8, compiled=compiled)
    index.add(ids, codes)
    expected = oracle(codes, ids, query)
    for method in WITHIN_METHODS:
        if method == "flips" and neighbourhood_size(index.bits, radius) > 20_000:
            continue
        found = index.within(query, radius, method=method)
        assert [(m.distance, m.id) for m in found] == [pair for pair in expected if pair[0] <= radius]
    for method in NEAREST_METHODS:
        found = index.nearest(query, k, method=method)
        assert [(m.distance, m.id) for m in found] == expected[:k]


@settings(max_examples=60, deadline=None)
@given(collections(), st.randoms(use_true_random=False), st.sampled_from(LINKAGES))
def test_groups_hold_what_they_promise_for_any_order_of_rows(collection, random, linkage):
    codes, ids, _, radius = collection
    index = HashIndex(codes.shape[1] * 8)
    index.add(ids, codes)
    groups = index.duplicates(radius, linkage=linkage)
    rows = list(range(len(ids)))
    random.shuffle(rows)
    other = HashIndex(index.bits)
    for row in rows:
        other.add(ids[row : row + 1], codes[row : row + 1])
    assert other.duplicates(radius, linkage=linkage) == groups

    code_of = dict(zip(ids.tolist(), codes, strict=True))
    grouped = [member for group in groups for member in group.members]
    assert len(grouped) == len(set(grouped))
    for group in groups:
        own = np.stack([code_of[member] for member in group.members])
        pairs = list(zip(group.distances, group.members, strict=True))
        assert pairs == oracle(own, np.array(group.members), code_of[group.representative])
        assert group.chained == (max(group.distances) > radius)
        assert linkage == "component" or not group.chained
        assert linkage != "complete" or group.diameter <= radius
        assert group.diameter == max(oracle(own, np.array(group.members), code)[-1][0] for code in own)
    for id_ in set(ids.tolist()) - set(grouped):  # whoever is left over has no free neighbour
        near = {match.id for match in index.within(code_of[id_], radius)} - {id_}
        assert near <= set(grouped)
        assert not (linkage == "component" and near)


@settings(max_examples=40, deadline=None)
@given(collections(), st.data())
def test_adding_and_removing_leave_what_a_set_would(collection, data):
    codes, ids, query, radius = collection
    index = HashIndex(codes.shape[1] * 8)
    kept = {}
    for id_, code in zip(ids.tolist(), codes, strict=True):
        index.add([id_], code[None])
        kept[id_] = code
        if data.draw(st.booleans()):
            gone = data.draw(st.sampled_from(ids.tolist()))
            assert index.remove([gone]) == (kept.pop(gone, None) is not None)
        assert len(index) == len(kept)
    expected = (
        [pair for pair in oracle(np.array([*kept.values()], np.uint8).reshape(len(kept), -1), np.array([*kept]), query)]
        if kept
        else []
    )
    assert [(m.distance, m.id) for m in index.within(query, radius)] == [p for p in expected if p[0] <= radius]
