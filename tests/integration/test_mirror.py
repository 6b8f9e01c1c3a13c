"""Mirror images: a code tells left from right, and a query may ask for both."""

from __future__ import annotations

import json

import pytest
from PIL import Image, ImageOps

from hashae.indexer import Collection
from hashae.indexer.answer import Answer, ImageMatch
from hashae.indexer.joined_answers import join_answers
from hashae.pretrained import load


@pytest.fixture(scope="module")
def indexed(tmp_path_factory, picture_store):
    database = tmp_path_factory.mktemp("mirror") / "c.db"
    with Collection.open(database) as collection:
        collection.set_encoder(load("photo", threads=1))
        collection.index(picture_store)
    return database


@pytest.fixture
def turned(picture_store, tmp_path):
    """Return a picture of the collection and a file with its mirror image."""
    source = sorted(picture_store.rglob("*.png"))[7]
    with Image.open(source) as picture:
        ImageOps.mirror(picture).save(tmp_path / "turned.png")
    return source, tmp_path / "turned.png"


def test_the_mirror_image_is_found_if_it_is_asked_for(indexed, turned):
    source, copy = turned
    with Collection.open(indexed) as collection:
        upright = collection.query(copy, k=40)
        both = collection.query(copy, k=40, mirror=True)
    place = {match.path: match.distance for match in upright.matches}
    assert both.matches[0].path == str(source)
    assert both.matches[0].mirrored
    assert both.matches[0].distance <= 2 < place[str(source)]
    assert len({match.id for match in both.matches}) == len(both.matches) == len(upright.matches)


def test_the_picture_itself_counts_at_equal_distances(indexed, turned):
    with Collection.open(indexed) as collection:
        answer = collection.query(turned[0], k=1, mirror=True)
    assert (answer.matches[0].distance, answer.matches[0].mirrored) == (0, False)


def test_the_command_says_which_answers_are_mirrored(indexed, turned, cli):
    done = cli("query", turned[1], "--mirror", "-k", 1, "--db", indexed, "--json")
    assert json.loads(done.out)["matches"][0]["mirrored"] is True
    assert "(mirrored)" in cli("query", turned[1], "--mirror", "-k", 1, "--db", indexed).out


def test_a_crop_is_nearer_with_views(indexed, turned, tmp_path, cli):
    source, _ = turned
    with Image.open(source) as picture:
        width, height = picture.size
        box = (width // 8, height // 8, width - width // 8, height - height // 8)
        picture.resize((4 * width, 4 * height)).crop(tuple(4 * edge for edge in box)).save(tmp_path / "crop.png")
    with Collection.open(indexed) as collection:
        plain = collection.query(tmp_path / "crop.png", k=40)
        seen = collection.query(tmp_path / "crop.png", k=40, views=True)
        both = collection.query(tmp_path / "crop.png", k=40, views=True, mirror=True)
    before, after = ({m.path: m for m in answer.matches}[str(source)] for answer in (plain, seen))
    assert after.distance < before.distance
    assert after.view == "more around it"
    assert before.view is None
    assert {m.path: m.distance for m in both.matches}[str(source)] <= after.distance
    assert seen.code == plain.code
    done = cli("query", tmp_path / "crop.png", "--views", "-k", 40, "--db", indexed)
    assert f"{source.name}  (more around it)" in " ".join(done.out.split("\n")) or "(more around it)" in done.out


def test_joined_answers_are_ordered_and_cut():
    def answer(*pairs):
        return Answer(tuple(ImageMatch(i, str(i), d, 1, 1, 1, "PNG", 1.0, False) for d, i in pairs), 8, "00", 1.0)

    ways = [(False, None), (True, None)]
    joined = join_answers([answer((1, 4), (5, 2)), answer((0, 2), (1, 3), (1, 4))], ways, k=2)
    assert [(m.distance, m.id, m.mirrored) for m in joined.matches] == [(0, 2, True), (1, 3, True)]
    ways = [(False, None), (False, "turned")]
    joined = join_answers([answer((1, 4)), answer((1, 3), (1, 4))], ways, k=None)
    assert [(m.id, m.view) for m in joined.matches] == [(3, "turned"), (4, None)]
