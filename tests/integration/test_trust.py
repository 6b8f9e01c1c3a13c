"""What a collection knows about how far to trust its codes: detail, confidence, crowding, and matches by own radii."""

import sqlite3

import pytest

from hashae.indexer import Collection


@pytest.fixture
def collection(tmp_path, encoder):
    opened = Collection.open(tmp_path / "photos.db")
    opened.set_encoder(encoder)
    yield opened
    opened.close()


def sql(collection, statement):
    connection = sqlite3.connect(collection.path)
    try:
        with connection:
            return connection.execute(statement).fetchall()
    finally:
        connection.close()


# --- detail -------------------------------------------------------------------------------------------------------


def test_detail_is_stored_with_each_code(collection, encoder, tmp_path, fill):
    folder = fill(tmp_path / "photos", range(3))
    collection.index(folder)
    stored = dict(sql(collection, "SELECT path, detail FROM codes JOIN images ON images.id = image"))
    measured = {path.name: float(encoder.encode_file(path).detail[0]) for path in folder.iterdir()}
    assert stored == pytest.approx(measured)
    assert len(set(stored.values())) == 3


def test_codes_from_before_detail_was_measured_are_made_once_more(collection, tmp_path, fill):
    """As they are in a file that was brought up from schema 0001."""
    folder = fill(tmp_path / "photos", range(3))
    collection.index(folder)
    sql(collection, "UPDATE codes SET detail = NULL")
    again = collection.index(folder)
    assert (again.unchanged, again.changed, again.encoded) == (3, 0, 3)
    assert sql(collection, "SELECT count(*) FROM codes WHERE detail IS NULL") == [(0,)]
    assert collection.index(folder).encoded == 0
