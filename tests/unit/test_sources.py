"""The folders of a collection: claimed, nested, taken over; no picture belongs to two of them."""

from pathlib import Path

import pytest
from sqlalchemy import insert, select

from hashae.db import open_database
from hashae.db.schema import collections, failures, images, sources
from hashae.indexer.sources import SourceBook

IMAGE = {"size": 1, "mtime_ns": 1, "content": b"c", "width": 1, "height": 1, "format": "PNG", "missing": False}


@pytest.fixture
def database(tmp_path):
    opened = open_database(tmp_path / "photos.db")
    with opened.write() as connection:
        for name in ("first", "second"):
            connection.execute(insert(collections).values(name=name, created="now", generation=0))
    yield opened
    opened.close()


@pytest.fixture
def book(database):
    return SourceBook(database, 1)


def put(database, source, *names, failed=()):
    with database.write() as connection:
        for name in names:
            connection.execute(insert(images).values(source=source.id, path=name, **IMAGE))
        for name in failed:
            values = {"size": 1, "mtime_ns": 1, "reason": "bad"}
            connection.execute(insert(failures).values(source=source.id, path=name, **values))


def stored(database, table=images):
    """Full path of every row."""
    query = select(sources.c.path, table.c.path).select_from(table.join(sources))
    with database.read() as connection:
        return sorted(f"{root}/{path}" for root, path in connection.execute(query))


def listed(book):
    return [(str(source.path), below) for source, below in book.all()]


def test_a_folder_is_claimed_once(book):
    first, below = book.claim(Path("/p"))
    again, _ = book.claim(Path("/p"))
    assert (below, again) == ("", first)
    assert listed(book) == [("/p", "")]


def test_a_folder_inside_a_source_is_a_part_of_it(book):
    source, _ = book.claim(Path("/p"))
    assert book.claim(Path("/p/a/b")) == (source, "a/b")
    assert listed(book) == [("/p", "")]


def test_a_folder_whose_name_only_begins_like_a_source_is_another_one(book):
    book.claim(Path("/p/cats"))
    book.claim(Path("/p/cats and dogs"))
    book.claim(Path("/p/cat"))
    assert listed(book) == [("/p/cat", ""), ("/p/cats", ""), ("/p/cats and dogs", "")]


def test_a_folder_around_sources_takes_over_their_images_and_failures(book, database):
    put(database, book.claim(Path("/p/a"))[0], "1.png", "deep/2.png", failed=["bad.png"])
    put(database, book.claim(Path("/p/b/c"))[0], "1.png")
    put(database, book.claim(Path("/q"))[0], "1.png")
    before, bad = stored(database), stored(database, failures)
    outer, below = book.claim(Path("/p"))
    assert below == ""
    assert listed(book) == [("/p", ""), ("/q", "")]
    assert stored(database) == before
    assert stored(database, failures) == bad == ["/p/a/bad.png"]
    with database.read() as connection:
        query = select(images.c.path).where(images.c.source == outer.id).order_by(images.c.path)
        assert connection.execute(query).scalars().all() == ["a/1.png", "a/deep/2.png", "b/c/1.png"]


def test_a_hidden_folder_is_a_source_of_its_own_because_scans_around_it_skip_it(book, database):
    put(database, book.claim(Path("/p/.private/a"))[0], "1.png")
    assert book.claim(Path("/p"))[1] == ""
    assert listed(book) == [("/p", ""), ("/p/.private/a", "")]
    assert book.claim(Path("/p/.cache"))[1] == ""
    assert book.claim(Path("/p/.private/a/b"))[1] == "b"
    assert book.images_at("/p") == [1]


def test_the_root_of_the_file_system_can_be_a_source(book, database):
    put(database, book.claim(Path("/p"))[0], "1.png")
    book.claim(Path("/"))
    assert listed(book) == [("/", "")]
    assert book.images_at("/p/1.png") == book.images_at("/p") == book.images_at("/") == [1]


def test_collections_in_one_file_do_not_share_folders(book, database):
    other = SourceBook(database, 2)
    mine, _ = book.claim(Path("/p"))
    theirs, _ = other.claim(Path("/p/a"))
    assert mine.id != theirs.id
    assert (listed(book), listed(other)) == ([("/p", "")], [("/p/a", "")])
    put(database, theirs, "1.png")
    assert book.images_at("/p") == []
    assert other.images_at("/p") == [1]


def test_a_source_is_found_by_its_exact_folder_only(book):
    source, _ = book.claim(Path("/p/a"))
    assert book.exact("/p/a") == source
    assert book.exact("/p") is None
    assert book.exact("/p/a/b") is None


def test_images_are_found_by_file_by_folder_and_by_a_folder_around_the_source(book, database):
    put(database, book.claim(Path("/p"))[0], "a.png", "a/1.png", "a/2.png", "ab/3.png")
    assert book.images_at("/p/a.png") == [1]
    assert book.images_at("/p/a") == [2, 3]
    assert book.images_at("/p") == book.images_at("/") == [1, 2, 3, 4]
    assert book.images_at("/p/missing") == book.images_at("/elsewhere") == []


def test_the_time_of_indexing_is_noted(book, database):
    source, _ = book.claim(Path("/p"))
    book.claim(Path("/q"))
    book.mark_indexed(source, "today")
    with database.read() as connection:
        query = select(sources.c.indexed).order_by(sources.c.path)
        assert connection.execute(query).scalars().all() == ["today", None]


def test_folder_names_that_are_no_text_are_kept(book, database):
    name = Path("/p/caf\udce9 \U0001f408")
    source, _ = book.claim(name)
    put(database, source, "\udcff.png")
    assert listed(book) == [(str(name), "")]
    assert book.images_at(name / "\udcff.png") == [1]
    assert book.claim(name / "in\udcff") == (source, "in\udcff")
    outer, _ = book.claim(Path("/p"))
    assert book.images_at(name) == [1]
    with database.read() as connection:
        query = select(images.c.path, images.c.source)
        assert connection.execute(query).all() == [("caf\udce9 \U0001f408/\udcff.png", outer.id)]
