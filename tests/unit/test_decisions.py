"""Verdicts: what is stored, what it means, the file it can be taken along in, and how groups are cut by it."""

import json
import os
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashae.db import open_database
from hashae.errors import ConfigError, DocumentError, ImageError, UnknownName
from hashae.indexer.catalogue import collection_id
from hashae.indexer.content import content_of
from hashae.indexer.decisions import KINDS, Verdict, VerdictBook, rulings
from hashae.indexer.groups import CodeGroup
from hashae.indexer.index import HashIndex
from hashae.indexer.separate import separate
from hashae.indexer.verdict_file import read_verdicts, write_verdicts

NOW = "2026-01-31T12:00:00Z"


def content(number):
    return bytes([number]) * 16


def verdict(kind, *numbers, made=NOW):
    return Verdict(0, kind, made, {content(number): f"/p/{number}.jpg" for number in numbers})


@pytest.fixture
def database(tmp_path):
    opened = open_database(tmp_path / "photos.db")
    yield opened
    opened.close()


@pytest.fixture
def book(database):
    return VerdictBook(database, collection_id(database, "default", NOW))


def said(found):
    return [(one.kind, dict(one.contents)) for one in found]


# --- the book -------------------------------------------------------------------------------------------------------


def test_verdicts_come_out_as_they_went_in_oldest_first(book):
    new = [verdict("ignore", 1, 2, 3), verdict("keep", 4), verdict("distinct", 1, 2)]
    added = book.add(new)
    assert said(added) == said(book.all()) == said(new)
    assert [one.id for one in book.all()] == [one.id for one in added] == sorted({one.id for one in added})
    assert {one.made for one in book.all()} == {NOW}


def test_what_is_known_is_not_stored_twice_whoever_says_it_of_which_path(book):
    book.add([verdict("distinct", 1, 2)])
    again = Verdict(0, "distinct", "2027-01-01T00:00:00Z", {content(2): "/moved/2.jpg", content(1): "/moved/1.jpg"})
    assert book.add([again, verdict("keep", 1), verdict("keep", 1)]) == book.all()[1:]
    assert len(book.all()) == 2


def test_collections_of_one_file_do_not_share_verdicts(database, book):
    other = VerdictBook(database, collection_id(database, "other", NOW))
    book.add([verdict("keep", 1)])
    assert other.all() == []
    with pytest.raises(UnknownName):
        other.forget([book.all()[0].id])
    assert len(book.all()) == 1


def test_verdicts_are_forgotten_by_number_all_or_none(book):
    one, two, three = book.add([verdict("keep", 1), verdict("keep", 2), verdict("keep", 3)])
    with pytest.raises(UnknownName) as refused:
        book.forget([one.id, 99])
    assert str(refused.value) == "there is no verdict 99; see their numbers with: hashae verdict list"
    assert len(book.all()) == 3
    assert book.forget([one.id, three.id, one.id]) == 2
    assert book.all() == [two]


@pytest.mark.parametrize(
    ("kind", "numbers", "sentence"),
    [
        ("maybe", (1,), "'maybe' is no verdict; expected one of keep, distinct, ignore"),
        ("keep", (), "verdict 'keep' names no picture; name at least one"),
        ("distinct", (1,), "verdict 'distinct' names one content only; name two or more pictures that are no duplicat"),
    ],
)
def test_a_verdict_that_says_nothing_is_refused_and_none_is_stored(book, kind, numbers, sentence):
    with pytest.raises(ConfigError) as refused:
        book.add([verdict("keep", 7), verdict(kind, *numbers)])
    assert str(refused.value).startswith(sentence)
    assert book.all() == []


def test_files_are_judged_by_their_content(book, tmp_path):
    for name in ("a.jpg", "copy.jpg"):
        (tmp_path / name).write_bytes(b"one")
    raw = tmp_path / os.fsdecode(b"\xff.jpg")
    raw.write_bytes(b"two")
    added = book.judge("distinct", [tmp_path / "a.jpg", raw])
    assert book.all() == [added]
    assert dict(added.contents) == {content_of(b"one"): str(tmp_path / "a.jpg"), content_of(b"two"): str(raw)}
    assert book.judge("distinct", [raw, tmp_path / "copy.jpg"]) is None
    with pytest.raises(ConfigError, match="copies of one file are duplicates whatever one says"):
        book.judge("distinct", [tmp_path / "a.jpg", tmp_path / "copy.jpg"])
    with pytest.raises(ImageError, match=r"gone\.jpg: cannot be read \(No such file"):
        book.judge("keep", [tmp_path / "gone.jpg"])
    with pytest.raises(ImageError, match="cannot be read"):
        book.judge("keep", [tmp_path])


# --- what they mean -------------------------------------------------------------------------------------------------


def test_rulings_hold_for_each_content_each_pair_and_each_set():
    found = rulings([verdict("keep", 1, 2), verdict("distinct", 3, 4, 5), verdict("distinct", 5, 6)])
    assert found.kept == {content(1), content(2)}
    apart = {(a, b) for a in range(1, 7) for b in range(1, 7) if found.are_apart(content(a), content(b))}
    assert apart == {(3, 4), (4, 3), (3, 5), (5, 3), (4, 5), (5, 4), (5, 6), (6, 5)}
    assert not rulings([]).are_apart(content(1), content(2))


def test_a_group_is_ignored_until_a_picture_joins_it():
    found = rulings([verdict("ignore", 1, 2), verdict("ignore", 3)])
    assert found.ignores([content(1), content(2), content(2)])
    assert found.ignores([content(2)])
    assert not found.ignores([content(1), content(2), content(3)])
    assert not rulings([]).ignores([content(1)])


# --- cutting groups -------------------------------------------------------------------------------------------------


def grouped(codes, radius, apart=(), contents=None):
    """Group codes, numbered from 1, within a radius, hold them against verdicts, and return sets of ids."""
    index = HashIndex(codes.shape[1] * 8)
    ids = np.arange(1, len(codes) + 1)
    index.add(ids, codes)
    contents = contents or {id_: content(id_) for id_ in ids.tolist()}
    said = rulings([Verdict(0, "distinct", NOW, {contents[a]: "", contents[b]: ""}) for a, b in apart])
    judged = {id_: its for id_, its in contents.items() if its in (said.apart or {})}

    def regroup(chosen):
        mask = np.isin(ids, list(chosen))
        part = HashIndex(index.bits)
        part.add(ids[mask], codes[mask])
        return part.duplicates(radius)

    def near(chosen):
        found = index.within_many(codes[np.isin(ids, list(chosen))], radius)
        return {match.id for each in found for match in each}

    cut, parted = separate(index.duplicates(radius), judged, said, regroup=regroup, near=near)
    return [set(group.members) for group in cut], parted


LINE = np.array([[0b00000000], [0b00000001], [0b00000011], [0b00000111], [0b00001111]], np.uint8)


def test_without_verdicts_groups_stay_as_they_are():
    assert grouped(LINE, 1) == ([{1, 2, 3}, {4, 5}], 0)


def test_who_is_parted_may_join_those_near_it_that_are_in_no_group():
    assert grouped(LINE, 1, apart=[(2, 3)]) == ([{1, 2}, {4, 5}], 1)  # 4 has its group already
    three = np.array([[0b000], [0b001], [0b011]], np.uint8)
    assert grouped(three, 1) == ([{1, 2, 3}], 0)
    assert grouped(three, 1, apart=[(1, 2)]) == ([{2, 3}], 1)
    # 2 went to 1, which has more neighbours; without 1 it takes 3, which was alone
    star = np.array([[0b0000], [0b0001], [0b0011], [0b0100], [0b1000]], np.uint8)
    assert grouped(star, 1) == ([{1, 2, 4, 5}], 0)
    assert grouped(star, 1, apart=[(1, 2)]) == ([{1, 4, 5}, {2, 3}], 1)


def test_a_verdict_holds_for_every_copy():
    same = np.zeros((4, 1), np.uint8)
    contents = {1: content(1), 2: content(1), 3: content(2), 4: content(2)}
    assert grouped(same, 0, apart=[(1, 3)], contents=contents) == ([{1, 2}, {3, 4}], 1)


def test_many_that_are_all_different_end_up_alone():
    same = np.zeros((12, 1), np.uint8)
    pairs = [(a, b) for a in range(1, 13) for b in range(1, a)]
    assert grouped(same, 0, apart=pairs)[0] == []
    assert grouped(same, 0, apart=pairs[:-1])[0] == [{11, 12}]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 255), min_size=2, max_size=14), st.integers(0, 3), st.randoms(use_true_random=False))
def test_no_group_holds_a_pair_that_was_told_apart_and_nobody_is_in_two(values, radius, rng):
    codes = np.array(values, np.uint8)[:, None]
    ids = range(1, len(values) + 1)
    pairs = [(a, b) for a in ids for b in ids if a < b]
    apart = rng.sample(pairs, min(len(pairs), 4))
    groups, parted = grouped(codes, radius, apart=apart)
    for group in groups:
        assert len(group) > 1
        assert not any(a in group and b in group for a, b in apart)
    listed = [id_ for group in groups for id_ in group]
    assert len(listed) == len(set(listed))
    before = grouped(codes, radius)[0]
    asked = sum(any(a in group and b in group for group in before) for a, b in apart)
    assert (parted > 0) == (asked > 0)
    if not asked:
        assert groups == before


def test_the_representative_stays_in_its_group():
    group = CodeGroup(5, (5, 1, 2), (0, 1, 1), 2, chained=False)
    rng = random.Random(0)
    for apart in ([(5, 1)], [(1, 2)], [(5, 1), (5, 2)]):
        said = rulings([verdict("distinct", *pair) for pair in rng.sample(apart, len(apart))])

        def regroup(ids):
            kept = tuple(id_ for id_ in group.members if id_ in ids)
            return [CodeGroup(kept[0], kept, (0,) * len(kept), 0, chained=False)] if len(kept) > 1 else []

        judged = {id_: content(id_) for id_ in group.members}
        cut, _ = separate([group], judged, said, regroup=regroup, near=lambda _ids: ())
        assert {frozenset(one.members) for one in cut} <= {frozenset({5, 1}), frozenset({5, 2}), frozenset({1, 2})}
        assert cut


# --- the file -------------------------------------------------------------------------------------------------------


def test_verdicts_are_taken_to_another_collection(book, tmp_path):
    odd = Verdict(0, "keep", NOW, {content(9): "/p/" + os.fsdecode(b"\xff\xfe") + " \U0001f600\n.jpg"})
    book.add([verdict("distinct", 1, 2, 3), odd])
    write_verdicts(book.all(), tmp_path / "v.json")
    found = read_verdicts(tmp_path / "v.json")
    assert said(found) == said(book.all())
    assert book.add(found) == []
    value = json.loads((tmp_path / "v.json").read_text("utf-8"))
    assert (value["hashae"], value["schema"]) == ("verdicts", 1)
    assert value["verdicts"][0] == {
        "verdict": "distinct",
        "made": NOW,
        "pictures": [{"content": content(n).hex(), "path": f"/p/{n}.jpg"} for n in (1, 2, 3)],
    }


GOOD = {"verdict": "keep", "made": NOW, "pictures": [{"content": "ab" * 16, "path": "/p"}]}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"verdict": "maybe"}, "verdict 1: 'maybe' is no verdict; expected one of keep, distinct, ignore"),
        ({"verdict": "distinct"}, "verdict 1: verdict 'distinct' names one content only"),
        ({"verdict": 7}, 'verdict 1: "verdict" is 7; expected a text'),
        ({"made": "yesterday"}, 'verdict 1: "made" is no time such as 2026-01-31T12:00:00Z'),
        ({"made": "2026-01-31T12:00:00Z\ud800"}, 'verdict 1: "made" is no time'),
        ({"pictures": {}}, 'verdict 1: "pictures" is {}; expected a list'),
        ({"pictures": []}, "verdict 1: verdict 'keep' names no picture"),
        ({"pictures": ["a"]}, "verdict 1, picture 1 is 'a'; expected an object in braces"),
        ({"pictures": [{"path": "/p"}]}, 'verdict 1, picture 1 has no "content"'),
        ({"pictures": [{"content": "abc", "path": "/p"}]}, "picture 1: \"content\" is 'abc'; expected 32 hexadecimal"),
        ({"pictures": [{"content": "ab " * 16, "path": "/p"}]}, "expected 32 hexadecimal digits"),
        ({"pictures": [{"content": "ab" * 16, "path": "p"}]}, "\"path\" is 'p'; expected an absolute path"),
        ({"pictures": [{"content": "ab" * 16, "path": "/\0"}]}, "expected an absolute path"),
        ({"pictures": [{"content": "ab" * 16, "path": "/\ud800"}]}, "expected an absolute path"),
    ],
)
def test_what_is_no_verdict_is_refused_with_its_place(tmp_path, change, sentence):
    file = tmp_path / "v.json"
    file.write_text(json.dumps({"hashae": "verdicts", "schema": 1, "verdicts": [GOOD | change]}))
    with pytest.raises(DocumentError) as refused:
        read_verdicts(file)
    assert str(refused.value).startswith(str(file))
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"", "is no verdict file: it is not valid JSON"),
        (b"\xff\xfe\xff", "is no verdict file: it is not valid JSON"),
        (b"[]", 'is no verdict file: expected "hashae": "verdicts" at its head'),
        (b'{"hashae": "plan", "schema": 1}', 'is no verdict file: expected "hashae": "verdicts" at its head'),
        (b'{"hashae": "verdicts"}', "has schema None; this hashae reads 1 to 1: update hashae"),
        (b'{"hashae": "verdicts", "schema": true}', "has schema True; this hashae reads 1 to 1: update hashae"),
        (b'{"hashae": "verdicts", "schema": 2}', "has schema 2; this hashae reads 1 to 1: update hashae"),
        (b'{"hashae": "verdicts", "schema": 1}', 'has no "verdicts"'),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": ' + b"9" * 10_000 + b"}", "is not valid JSON"),
    ],
)
def test_what_is_no_verdict_file_is_refused(tmp_path, text, sentence):
    file = tmp_path / "v.json"
    file.write_bytes(text)
    with pytest.raises(DocumentError) as refused:
        read_verdicts(file)
    assert sentence in str(refused.value)


def test_a_verdict_file_that_is_none_or_too_large_is_refused(tmp_path, monkeypatch):
    with pytest.raises(DocumentError, match="is no file; expected a verdict file"):
        read_verdicts(tmp_path)
    with pytest.raises(DocumentError, match="is no file; expected a verdict file"):
        read_verdicts(tmp_path / "missing.json")
    monkeypatch.setattr("hashae.indexer.documents.MAX_BYTES", 10)
    (tmp_path / "large.json").write_bytes(b" " * 11)
    with pytest.raises(DocumentError, match="has 11 bytes; a verdict file has 10 at most"):
        read_verdicts(tmp_path / "large.json")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([*KINDS, "ab" * 16, "/p", NOW]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["verdict", "made", "pictures", "content", "path", "x"]), inner, max_size=5)
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(JSON)
def test_any_json_is_read_or_refused(tmp_path_factory, value):
    file = tmp_path_factory.getbasetemp() / "any verdicts.json"
    file.write_text(json.dumps({"hashae": "verdicts", "schema": 1, "verdicts": value}))
    try:
        found = read_verdicts(file)
    except DocumentError:
        return
    assert all(one.kind in KINDS and one.contents for one in found)
