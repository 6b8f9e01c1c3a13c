"""Which image of a group is kept: each rule, their order, folders, what a person said, and what is refused."""

import dataclasses
import itertools
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashae.errors import ConfigError
from hashae.images.metadata import Metadata
from hashae.indexer.image_row import ImageRow
from hashae.indexer.keep_rules import DEFAULT_RULES, LAST, LOSSLESS, RULES, KeepPolicy, keep_policy

BASE = ImageRow(1, "/p/b.jpg", 1000, 10**18, 640, 480, "JPEG", b"content 1")
ALL = tuple(RULES)


def row(id_=2, **changes):
    return dataclasses.replace(BASE, id=id_, content=f"content {id_}".encode(), **changes)


def policy(rules=ALL, *, told=None, prefer=("/best",), **more):
    known = told or {}
    return dataclasses.replace(
        keep_policy(rules, prefer=prefer), metadata=lambda image: known.get(image.id, Metadata()), **more
    )


# One rule an entry: what wins by it although every later rule speaks against it, and the words.
POOR = {"path": "/p/much/longer.jpg", "mtime_ns": 2 * 10**18, "size": 1}
WINNERS = {
    "pixels": ({"width": 641, **POOR}, "most pixels (641 × 480)"),
    "format": ({"format": "PNG", **POOR}, "lossless format (PNG)"),
    "size": ({**POOR, "size": 1001}, "largest file (1,001 bytes)"),
    "metadata": ({**POOR, "size": 1000}, "richest metadata (1 EXIF field)"),
    "folder": ({**POOR, "size": 1000, "path": "/best/much/longer.jpg"}, "preferred folder (/best)"),
    "oldest": ({"mtime_ns": 10**18 - 1, "path": "/p/much/longer.jpg"}, "oldest file"),
    "path": ({"path": "/p/z.jp"}, "shortest path"),
    None: ({"path": "/p/a.jpg"}, LAST),
}


@pytest.mark.parametrize("rule", WINNERS)
def test_each_rule_decides_when_those_before_it_cannot(rule):
    changes, reason = WINNERS[rule]
    winner = row(**changes)
    chosen = policy(told={2: Metadata(fields=1)} if rule == "metadata" else None)
    for order in itertools.permutations([BASE, winner, row(3, path="/p/c.jpg")]):
        assert chosen.choose(order) == (winner, reason)


def test_every_rule_has_a_test_and_a_title():
    assert [rule for rule in WINNERS if rule] == list(RULES)
    assert set(DEFAULT_RULES) == set(RULES) - {"metadata", "folder"}


@given(st.permutations(ALL))
def test_the_first_rule_of_the_order_decides(order):
    winners = {
        "pixels": row(2, width=641),
        "format": row(3, format="PNG"),
        "size": row(4, size=1001),
        "metadata": row(5),
        "folder": row(6, path="/best/b.jpg"),
        "oldest": row(7, mtime_ns=5),
        "path": row(8, path="/b"),
    }
    told = {5: Metadata(fields=1)}
    keeper, reason = policy(order, told=told).choose([BASE, *winners.values()])
    assert keeper == winners[order[0]]
    assert reason.startswith(RULES[order[0]])


def test_the_reason_is_the_last_rule_that_was_needed():
    large, larger = row(2, width=1000), row(3, width=1000, size=2000)
    assert KeepPolicy().choose([BASE, large, larger]) == (larger, "largest file (2,000 bytes)")


def test_a_bitmap_counts_as_lossless_and_webp_does_not():
    assert "BMP" in LOSSLESS
    assert not {"WEBP", "JPEG", "GIF"} & LOSSLESS


def test_kinds_of_metadata_count_before_the_number_of_fields():
    told = {1: Metadata(fields=40), 2: Metadata(fields=3, rating=1), 3: Metadata(fields=2, gps=True, taken="2001")}
    rich = row(3)
    assert policy(["metadata"], prefer=(), told=told).choose([BASE, row(2), rich]) == (
        rich,
        "richest metadata (2 EXIF fields, date, position)",
    )
    assert policy(["metadata"], prefer=(), told=told).choose([BASE, row(2)])[1] == (
        "richest metadata (3 EXIF fields, 1 star)"
    )


def test_the_oldest_is_told_by_the_camera_and_by_the_file_only_where_no_camera_tells():
    told = {1: Metadata(taken="2010-01-01T00:00:00"), 2: Metadata(taken="2009-01-01T00:00:00")}
    copied = row(3, mtime_ns=1)  # a file time may be that of any copy
    assert policy(["oldest"], prefer=(), told=told).choose([BASE, row(2), copied])[0].id == 2
    assert policy(["oldest"], prefer=()).choose([BASE, row(2), copied])[0].id == 3


def test_what_stands_for_the_entity_tag_of_an_object_makes_it_no_older():
    objects = [row(2, path="s3://b/longer.jpg", mtime_ns=10**18 + 1), row(3, path="s3://b/a.jpg", mtime_ns=10**18 + 2)]
    assert policy("oldest,path", prefer=()).choose(objects) == (objects[1], "shortest path")
    older = row(4, path="s3://b/oldest.jpg", mtime_ns=10**18 - 1)
    assert policy("oldest", prefer=()).choose([*objects, older])[0].id == 4


def test_metadata_is_read_only_where_it_can_decide():
    asked = []

    def read(image):
        asked.append(image.id)
        return Metadata()

    chosen = KeepPolicy(metadata=read)
    assert chosen.choose([BASE, row(2, width=700)])[0].id == 2
    copies = [BASE, dataclasses.replace(BASE, id=2, path="/p/x.jpg", mtime_ns=1)]
    assert chosen.choose([*copies, row(3, width=1)]) == (copies[1], "oldest file")
    rich = dataclasses.replace(chosen, rules=("metadata", "path"))
    assert rich.choose([BASE, dataclasses.replace(BASE, id=2, path="/p/longer.jpg")]) == (BASE, "shortest path")
    assert asked == []
    chosen.choose([BASE, row(2)])
    assert set(asked) == {1, 2}


def test_a_file_whose_metadata_cannot_be_read_counts_as_one_without():
    chosen = KeepPolicy(rules=("metadata", "oldest"), metadata=lambda image: None if image.id == 1 else Metadata())
    assert chosen.choose([BASE, row(2, mtime_ns=2 * 10**18)]) == (BASE, "oldest file")


def test_folders_are_preferred_in_their_order_and_before_all_rules_unless_named():
    ordered = keep_policy(prefer=["/best", "/good"])
    best, good = row(2, path="/best/x.jpg", width=1), row(3, path="/good/x.jpg", width=2)
    assert ordered.choose([BASE, good, best]) == (best, "preferred folder (/best)")
    assert ordered.choose([BASE, good]) == (good, "preferred folder (/good)")
    assert ordered.rules == ("folder", *DEFAULT_RULES)
    assert keep_policy("pixels,folder", prefer=["/best"]).choose([BASE, best])[0] == BASE


def test_a_folder_is_no_prefix_of_a_name():
    assert keep_policy(prefer=["/p/b"]).choose([BASE, row(path="/p/b.jp")])[1] == "shortest path"


def test_protection_and_what_a_person_said_come_before_every_rule():
    large, safe = row(2, width=9000), row(3, path="/safe/a/very/long/path.jpg", width=1)
    chosen = keep_policy(prefer=["/p"], protect=["/safe"])
    assert chosen.choose([BASE, large, safe]) == (safe, "in a protected folder (/safe)")
    told = dataclasses.replace(chosen, kept=frozenset({b"content 1"}))
    assert told.choose([BASE, large, safe]) == (BASE, "you said to keep it")
    assert told.spares(safe, BASE) == "in a protected folder (/safe)"
    assert told.spares(large, BASE) is None


def test_a_protected_folder_holds_under_every_name_it_has(tmp_path):
    (tmp_path / "safe").mkdir()
    (tmp_path / "safe" / "a.jpg").touch()
    os.symlink(tmp_path / "safe", tmp_path / "link")
    image = row(path=str(tmp_path / "link" / "a.jpg"))
    assert keep_policy(protect=[str(tmp_path / "safe")]).spares(image, BASE) is not None
    assert keep_policy(protect=[str(tmp_path / "link")]).spares(image, BASE) is not None
    assert keep_policy(protect=[str(tmp_path / "other")]).spares(image, BASE) is None


@pytest.mark.parametrize(
    ("rules", "prefer", "sentence"),
    [
        ("pixels,beauty", (), "'beauty' is no rule; expected some of pixels, format, size, metadata, folder, oldest, "),
        ("", (), "'' is no rule"),
        ("size,pixels,size", (), "rule 'size' is named twice; name it once, where it counts"),
        ("folder,size", (), "rule 'folder' needs to know which folder; give --prefer FOLDER"),
    ],
)
def test_what_is_no_order_of_rules_is_refused(rules, prefer, sentence):
    with pytest.raises(ConfigError) as refused:
        keep_policy(rules, prefer=prefer)
    assert str(refused.value).startswith(sentence)
