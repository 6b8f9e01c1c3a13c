"""The index of a collection: mapped from beside it, made anew when the collection changed, or done without."""

import logging

import numpy as np
import pytest

from hashae.codes import keys
from hashae.db import open_database
from hashae.errors import CollectionError
from hashae.indexer import cache, kept_index
from hashae.indexer.index import HashIndex
from hashae.indexer.kept_index import KeptIndex
from hashae.indexer.memory import TooLittleMemory

BITS = 64


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setattr(kept_index, "KEPT_FROM", 100)
    database = open_database(tmp_path / "c.db")
    with database.write() as connection:
        for statement in (
            "INSERT INTO collections (id, name, created, generation) VALUES (1, 'default', 'today', 1)",
            "INSERT INTO sources (id, collection, path) VALUES (1, 1, '/x')",
            "INSERT INTO encoders (id, collection, name, bits, fingerprint, info, added, weights) "
            f"VALUES (1, 1, 'e', {BITS}, 'f', '{{}}', 'today', x'00')",
        ):
            connection.exec_driver_sql(statement)
    yield database
    database.close()


def fill(database, codes, first=1):
    images = [(first + i, 1, f"{first + i}.jpg", 1, 1, b"x" * 16, 1, 1, "JPEG", 0) for i in range(len(codes))]
    rows = [
        (1, key, first + i, code.tobytes(), 0.5) for i, (key, code) in enumerate(zip(keys(codes), codes, strict=True))
    ]
    with database.write() as connection:
        connection.exec_driver_sql(
            "INSERT INTO images (id, source, path, size, mtime_ns, content, width, height, format, missing) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            images,
        )
        connection.exec_driver_sql(
            "INSERT INTO codes (encoder, key, image, code, confidence) VALUES (?, ?, ?, ?, ?)",
            [(encoder, int(key), image, code, sure) for encoder, key, image, code, sure in rows],
        )


def random_codes(n, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, BITS // 8), dtype=np.uint8)


def loads(monkeypatch):
    """Count how often the tables are read."""
    read = []
    whole = kept_index.Catalogue.codes
    monkeypatch.setattr(kept_index.Catalogue, "codes", lambda *a: read.append(1) or whole(*a))
    return read


def test_a_large_collection_is_read_once(file, monkeypatch):
    codes = random_codes(300)
    fill(file, codes)
    read = loads(monkeypatch)
    first = KeptIndex(file, 1, threads=1).load(1, BITS, 7)
    assert (file.path.parent / "c.db.index-1").exists()
    again = KeptIndex(file, 1, threads=1).load(1, BITS, 7)
    assert len(read) == 1
    assert again.within_many(codes, 9) == first.within_many(codes, 9)
    changed = KeptIndex(file, 1, threads=1).load(1, BITS, 8)
    assert len(read) == 2
    assert np.array_equal(changed.codes, codes)


def test_a_small_collection_keeps_nothing(file):
    fill(file, random_codes(99))
    assert len(KeptIndex(file, 1, threads=1).load(1, BITS, 7)) == 99
    assert not (file.path.parent / "c.db.index-1").exists()


def test_a_file_that_went_another_way_since_is_noticed(file, monkeypatch, caplog):
    codes = random_codes(300)
    fill(file, codes)
    KeptIndex(file, 1, threads=1).load(1, BITS, 7)
    with file.write() as connection:
        other = random_codes(1, seed=9)
        connection.exec_driver_sql(
            "UPDATE codes SET code = ?, key = ? WHERE image = 290", (other.tobytes(), int(keys(other)[0]))
        )
    read = loads(monkeypatch)
    with caplog.at_level(logging.WARNING):
        index = KeptIndex(file, 1, threads=1).load(1, BITS, 7)
    assert len(read) == 1
    assert np.array_equal(index.codes[289], other[0])
    assert "is not that of the collection; made anew" in caplog.text


def test_missing_images_are_not_in_it(file):
    codes = random_codes(300)
    fill(file, codes)
    with file.write() as connection:
        connection.exec_driver_sql("UPDATE images SET missing = 1 WHERE id % 3 = 0")
    index = KeptIndex(file, 1, threads=1).load(1, BITS, 7)
    assert index.ids.tolist() == [id_ for id_ in range(1, 301) if id_ % 3]
    assert np.array_equal(index.codes, codes[index.ids - 1])


def test_a_folder_that_cannot_be_written_is_no_error(file, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(cache, "write_arrays", refuse)
    fill(file, random_codes(300))
    assert len(KeptIndex(file, 1, threads=1).load(1, BITS, 7)) == 300


def test_too_little_memory(file, monkeypatch):
    codes = random_codes(300)
    fill(file, codes)
    monkeypatch.setattr(kept_index, "memory_left", lambda: 2**20 // 512)
    indexes = KeptIndex(file, 1, threads=1)
    sentence = r"c.db holds 300 codes, which need 0 MiB of memory; 0 MiB are free: close other programs, or ask with"
    with pytest.raises(TooLittleMemory, match=sentence) as caught:
        indexes.load(1, BITS, 7)
    assert isinstance(caught.value, CollectionError)
    plain = HashIndex(BITS)
    plain.add(np.arange(1, 301), codes)
    monkeypatch.setattr("hashae.indexer.catalogue.CODES", 64)
    for code in codes[:5]:
        near = indexes.search(1, BITS, code[None], radius=20, k=None)
        assert near.matches == plain.within(code, 20)
        assert indexes.search(1, BITS, code[None], radius=None, k=7).matches == plain.nearest(code, 7)
    assert (near.explanation.method, near.explanation.candidates) == ("blocks", 300)
    assert "too little memory for an index" in near.explanation.why
