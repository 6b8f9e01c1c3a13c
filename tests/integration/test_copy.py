"""``hashae copy``: between files and servers, both ways, interrupted and continued; every row arrives or it is told."""

from __future__ import annotations

import json
import shutil

import pytest
from sqlalchemy import select, update

from hashae.db import open_database
from hashae.db.schema import bands, images, metadata, pending_bands
from hashae.errors import CollectionError
from hashae.indexer import Collection, copying
from hashae.indexer.copying import checksum, copy_collections
from hashae.place import place_of


@pytest.fixture
def filled(tmp_path, fill, encoder, make_encoder):
    """A file with two encoders, a missing image, a broken file, verdicts and history."""
    folder = fill(tmp_path / "pictures", range(12))
    shutil.copy(folder / "0.png", folder / "copy.png")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    path = tmp_path / "photos.db"
    with Collection.open(path) as collection:
        collection.set_encoder(encoder)
        collection.index(folder)
        collection.add_encoder(make_encoder(5, bits=256, radius=40, name="other"))
        collection.index()
        (folder / "3.png").unlink()
        collection.index()
        collection.verdicts.judge("distinct", [folder / "1.png", folder / "2.png"])
        collection.dedup()
    return path


def everything(place):
    """Every row of every table, in no order."""
    database = open_database(place, create=False)
    try:
        with database.read() as connection:
            return {
                table.name: sorted(map(repr, map(tuple, connection.execute(select(table)))))
                for table in metadata.tables.values()
            }
    finally:
        database.close()


def test_to_a_server_and_back_nothing_changes(filled, server_url, tmp_path, fill):
    before = everything(filled)
    there = copy_collections(filled, server_url)
    back = copy_collections(server_url, tmp_path / "back.db")
    assert there == back
    assert there.rows["images"] == 13
    assert there.rows["codes"] == 26
    assert there.before == 0
    assert everything(server_url) == everything(tmp_path / "back.db") == before == everything(filled)
    more = fill(tmp_path / "more", range(30, 33))
    for place in (server_url, tmp_path / "back.db"):  # new rows get numbers of their own
        with Collection.open(place, create=False) as collection:
            assert collection.index(more).added == 3
            assert collection.query(more / "30.png", k=1).matches[0].distance == 0


@pytest.mark.parametrize("chunk", [1, 5])
def test_an_interrupted_copy_goes_on_and_is_not_taken_for_a_whole_one(filled, server_url, monkeypatch, chunk):
    monkeypatch.setattr(copying, "CHUNK", chunk)
    total = 1 + 1 + 13 + 2 + 26

    def stop(progress):
        if progress.done >= stops.pop(0):
            raise KeyboardInterrupt

    for limit in (3, 9, 20, 35):
        stops = [limit] * 100
        with pytest.raises(KeyboardInterrupt):
            copy_collections(filled, server_url, on_progress=stop)
        with pytest.raises(CollectionError, match="holds an unfinished copy; run the same again: hashae copy FROM TO"):
            Collection.open(server_url)
    done = copy_collections(filled, server_url)
    assert 35 <= done.before < total
    assert everything(server_url) == everything(filled)


def test_a_row_that_is_not_the_same_is_told(filled, server_url, monkeypatch):
    put = copying._put

    def wrong(target, table, rows):
        put(target, table, [row | {"height": 1} if row.get("id") == 7 and table is images else row for row in rows])

    monkeypatch.setattr(copying, "_put", wrong)
    with pytest.raises(CollectionError, match=r"differs from .+photos\.db in images: one of them was changed"):
        copy_collections(filled, server_url)


def test_what_is_there_already_is_not_touched(filled, server_url, tmp_path):
    copy_collections(filled, server_url)
    with pytest.raises(CollectionError, match="holds a collection already; give a new file, or an empty database"):
        copy_collections(filled, server_url)
    with pytest.raises(CollectionError, match="cannot be copied onto itself"):
        copy_collections(filled, filled)
    with pytest.raises(CollectionError, match="there is no collection at"):
        copy_collections(tmp_path / "none.db", tmp_path / "new.db")


def test_a_copy_of_something_else_does_not_go_on(filled, server_url, tmp_path):
    def stop(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy_collections(filled, server_url, on_progress=stop)
    database = open_database(filled)
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE collections SET generation = generation + 1")
    database.close()
    with pytest.raises(CollectionError, match=r"holds an unfinished copy of something else, or .+ was changed since"):
        copy_collections(filled, server_url)


def test_bands_are_those_of_the_original(filled, server_url):
    copy_collections(filled, server_url)
    database = open_database(server_url)
    with database.read() as connection:
        assert connection.execute(select(pending_bands)).all() == []
        assert checksum(connection, bands)[0] == 3 * 26
    database.close()


def test_a_checksum_sees_every_value_and_no_order(filled):
    database = open_database(filled)
    with database.read() as connection:
        before = checksum(connection, images)
    with database.write() as connection:
        connection.execute(update(images).where(images.c.id == 2).values(mtime_ns=5))
    with database.read() as connection:
        after = checksum(connection, images)
    assert before[0] == after[0]
    assert before[1] != after[1]
    database.close()


def test_the_command_copies_and_says_so(filled, server_url, cli, tmp_path):
    done = cli("copy", filled, server_url)
    assert done.status == 0, done
    assert done.out.startswith(f"13 images and 26 codes copied to {place_of(server_url)}; all rows are the same (chec")
    found = cli("copy", server_url, tmp_path / "back.db", "--json")
    assert json.loads(found.out)["rows"]["verdicts"] == 1
    assert json.loads(found.out)["from"] == str(place_of(server_url))
    again = cli("copy", filled, server_url)
    assert again.status == 1
    assert "holds a collection already" in again.err
