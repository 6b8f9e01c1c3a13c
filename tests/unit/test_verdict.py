"""How the images of a group are described: the one to keep, what the others are beside it, what must stay."""

import dataclasses

import numpy as np
import pytest

from hashae.indexer.groups import CodeGroup
from hashae.indexer.image_row import ImageRow
from hashae.indexer.keep_rules import KeepPolicy, keep_policy
from hashae.indexer.verdict import describe

BASE = ImageRow(1, "/p/b.jpg", 1000, 10**18, 640, 480, "JPEG", b"content 1")


def row(id_=2, **changes):
    return dataclasses.replace(BASE, id=id_, content=f"content {id_}".encode(), **changes)


def verdict(*rows, codes=None, pixels=None, policy=None):
    """Describe one group; codes and pixel hashes default to equal codes and different pixels."""
    codes = codes or [[0]] * len(rows)
    by_id = {image.id: np.array(code, np.uint8) for image, code in zip(rows, codes, strict=True)}
    group = CodeGroup(rows[0].id, tuple(by_id), (0,) * len(rows), 0, chained=False)
    hashes = pixels or {}
    return describe(group, {image.id: image for image in rows}, by_id, lambda image: hashes.get(image.id), policy)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"width": 1280, "height": 960}, "most pixels (1280 × 960)"),
        ({"format": "PNG"}, "lossless format (PNG)"),
        ({"size": 12345}, "largest file (12,345 bytes)"),
        ({"mtime_ns": 5}, "oldest file"),
        ({"path": "/a.jpg"}, "shortest path"),
        ({"path": "/p/a.jpg"}, "first in the alphabet"),
    ],
)
def test_the_keeper_says_why_it_is_kept(changes, reason):
    keeper = verdict(BASE, row(**changes)).keeper
    assert (keeper.id, keeper.reason) == (2, reason)


def test_equal_contents_are_the_same_file():
    copy = dataclasses.replace(BASE, id=2, path="/p/copy.jpg")
    group = verdict(BASE, copy)
    assert group.tier == "bytes"
    assert [(image.tier, image.keep, image.distance) for image in group.images] == [
        ("bytes", True, 0),
        ("bytes", False, 0),
    ]
    assert group.images[1].reason == "the same file"


def test_equal_pixels_in_two_files_are_the_same_pixels():
    bitmap = row(format="BMP", size=900)
    group = verdict(dataclasses.replace(BASE, format="PNG"), bitmap, pixels={1: b"same", 2: b"same"})
    assert (group.tier, group.images[1].reason) == ("pixels", "the same pixels in another file")


@pytest.mark.parametrize("pixels", [{1: b"one", 2: b"other"}, {1: b"one"}, {2: b"one"}, {}])
def test_pixels_that_differ_or_cannot_be_read_leave_the_same_code(pixels):
    assert verdict(BASE, row(size=999), pixels=pixels).tier == "code"


def test_pixels_are_asked_for_only_where_they_can_decide():
    asked = []
    rows = [BASE, dataclasses.replace(BASE, id=2, path="/p/copy"), row(3, width=100), row(4)]
    codes = {image.id: np.array([image.id == 4], np.uint8) for image in rows}
    group = CodeGroup(1, (1, 2, 3, 4), (0, 0, 0, 1), 1, chained=False)
    describe(group, {image.id: image for image in rows}, codes, lambda image: asked.append(image.id))
    assert asked == []


def test_a_code_some_bits_away_is_near_with_its_distance_to_the_keeper():
    rows = [BASE, row(2, width=1000), row(3)]
    group = verdict(*rows, codes=[[0b0111], [0b0001], [0b0000]])
    assert group.keeper.id == 2
    assert [(image.id, image.distance, image.tier) for image in group.images] == [
        (2, 0, "near"),
        (3, 1, "near"),
        (1, 2, "near"),
    ]


def test_the_same_file_stays_the_same_file_whatever_else_is_in_the_group():
    rows = [BASE, dataclasses.replace(BASE, id=2, path="/p/copy.jpg"), row(3, size=10), row(4, size=10)]
    group = verdict(*rows, codes=[[0], [0], [0], [1]])
    assert [(image.id, image.tier) for image in group.images] == [(1, "near"), (2, "bytes"), (3, "code"), (4, "near")]
    assert group.tier == "near"
    assert group.bytes_to_free == 1000 + 10 + 10


@pytest.mark.parametrize(
    ("keeper", "other", "reason"),
    [
        ({"width": 1280}, {}, "smaller: 640 × 480 against 1280 × 480"),
        ({"format": "PNG"}, {}, "JPEG beside lossless PNG"),
        ({"size": 1500}, {}, "same size in pixels, fewer bytes (1,000 against 1,500)"),
        ({"mtime_ns": 1}, {}, "same size in pixels and bytes"),
    ],
)
def test_the_others_say_what_they_are_beside_the_keeper(keeper, other, reason):
    group = verdict(row(2, **keeper), dataclasses.replace(BASE, **other))
    assert (group.keeper.id, group.images[1].reason) == (2, reason)


def test_what_the_search_knew_of_the_group_is_passed_on():
    group = CodeGroup(2, (2, 1), (0, 7), 7, chained=True)
    codes = {1: np.array([0], np.uint8), 2: np.array([0x7F], np.uint8)}
    described = describe(group, {1: BASE, 2: row()}, codes, lambda _image: None)
    assert (described.representative, described.diameter, described.chained, described.number) == (2, 7, True, 0)


def test_a_report_image_carries_what_the_collection_knows():
    image = verdict(BASE, row(size=1)).keeper
    assert (image.path, image.size, image.width, image.height) == ("/p/b.jpg", 1000, 640, 480)
    assert (image.format, image.modified) == ("JPEG", 1e9)


def test_what_must_stay_is_marked_with_the_reason_and_counts_nothing():
    rows = [BASE, row(2, path="/safe/c.jpg", size=7), row(3, path="/safe/d.jpg", size=5), row(4, size=3)]
    group = verdict(*rows, policy=keep_policy(protect=["/safe"]))
    assert group.keeper.reason == "largest file (7 bytes)"
    assert [(image.id, image.protected, image.spare) for image in group.images] == [
        (2, False, False),
        (1, False, True),
        (4, False, True),
        (3, True, False),
    ]
    assert group.images[3].reason == "in a protected folder (/safe)"
    assert group.bytes_to_free == 1000 + 3


def test_a_second_picture_that_a_person_wants_to_keep_stays_and_copies_of_the_keeper_may_go():
    rows = [BASE, row(2), dataclasses.replace(BASE, id=3, path="/p/z.jpg")]
    group = verdict(*rows, policy=KeepPolicy(kept=frozenset({b"content 1", b"content 2"})))
    assert [(image.id, image.keep, image.protected) for image in group.images] == [
        (1, True, False),
        (3, False, False),
        (2, False, True),
    ]
    assert group.images[2].reason == "you said to keep it"


def test_the_content_hash_is_told():
    assert verdict(BASE, row()).images[1].content == b"content 2".hex()


def test_what_is_better_than_a_keeper_that_a_person_chose_is_described_as_such():
    chosen = KeepPolicy(kept=frozenset({b"content 1"}))
    for changes, reason in (
        ({"width": 1280}, "larger: 1280 × 480 against 640 × 480"),
        ({"size": 2000, "format": "PNG"}, "same size in pixels, more bytes (2,000 against 1,000)"),
    ):
        assert verdict(BASE, row(**changes), policy=chosen).images[1].reason == reason
