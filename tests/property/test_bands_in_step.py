"""Whatever is done to images and codes, the band rows and those that wait for them are those of the codes."""

import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select, update

from hashae.codes import keys
from hashae.db import open_database
from hashae.db.band_triggers import BANDS
from hashae.db.schema import band_masks, bands, codes, collections, encoders, pending_bands, sources
from hashae.indexer import band_rows
from hashae.indexer.ledger import FailedFile, FileState, Ledger, ReadImage, SameFile
from hashae.indexer.sources import SourceBook
from hashae.indexer.stored_bands import slot_plan, slots_of

NAMES = [f"{letter}/{number}" for letter in "ab" for number in range(4)]
OPERATIONS = st.one_of(
    st.tuples(
        st.just("store"), st.lists(st.sampled_from(NAMES), min_size=1, max_size=6, unique=True), st.integers(0, 99)
    ),
    st.tuples(st.just("fail"), st.sampled_from(NAMES)),
    st.tuples(st.just("lose"), st.sampled_from(NAMES)),
    st.tuples(st.just("forget"), st.sampled_from([*NAMES, "a", "b"])),
    st.tuples(st.just("encoder"), st.integers(1, 2)),
    st.tuples(st.just("write")),
    st.tuples(st.just("rekey"), st.sampled_from(NAMES), st.integers(0, 99)),
    st.tuples(st.just("drop")),
)


def in_step(database):
    """Band rows and waiting images together are what the codes and masks ask for, each once."""
    with database.read() as connection:
        masks = {}
        for encoder, band, mask, _ in connection.execute(select(band_masks)):
            masks.setdefault(encoder, []).append((band, mask))
        coded = connection.execute(select(codes.c.encoder, codes.c.image, codes.c.key)).all()
        waiting = {tuple(row) for row in connection.execute(select(pending_bands))}
        rows = [tuple(row) for row in connection.execute(select(bands))]
    assert waiting <= {(encoder, image) for encoder, image, _ in coded}
    expected = [
        (encoder, slot, image, key)
        for encoder, image, key in coded
        if (encoder, image) not in waiting
        for slot in slots_of(key, slot_plan(masks[encoder], BANDS - 1))
    ]
    assert sorted(rows) == sorted(expected)
    return len(waiting)


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """A file with its tables: making them takes longer than a whole example."""
    path = tmp_path_factory.mktemp("step") / "empty.db"
    open_database(path).close()
    return path


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(OPERATIONS, max_size=20), st.sampled_from([8, 64, 256]))
def test_bands_follow_their_codes(empty, monkeypatch, operations, bits):
    monkeypatch.setattr(band_rows, "AT_LEAST", 5)  # so that some are written in the middle of a run
    monkeypatch.setattr(band_rows, "ENOUGH", 4)  # and bits are dealt anew
    path = empty.with_name("photos.db")
    shutil.copy(empty, path)
    database = open_database(path)
    with database.write() as connection:
        connection.execute(insert(collections).values(name="c", created="now"))
        for number in (1, 2):
            values = {"name": "e", "bits": bits, "fingerprint": str(number), "info": "{}", "added": "now"}
            connection.execute(insert(encoders).values(id=number, collection=1, weights=b"", **values))
        connection.execute(insert(sources).values(id=1, collection=1, path="/p"))
    book, using = SourceBook(database, 1), 1
    for name, *arguments in operations:
        ledger = Ledger(database, 1, using)
        known, _ = ledger.load()
        if name == "store":
            paths, seed = arguments
            made = np.random.default_rng(seed).integers(0, 256, (len(paths), bits // 8), dtype=np.uint8)
            made[:, 0] = 7  # dead bits
            read = [ReadImage(FileState(path, seed, seed), bytes([seed]), 1, 1, "PNG") for path in paths]
            ledger.store(read, made, [1.0] * len(read), [9.0] * len(read), [], [])
        elif name == "fail" and arguments[0] in known:
            file = FileState(arguments[0], 1, 1)
            ledger.store([], None, [], [], [FailedFile(file, "broken", True, known[arguments[0]].id)], [])
        elif name == "lose" and arguments[0] in known:
            ledger.finish([known[arguments[0]].id], [])
            ledger.store([], None, [], [], [], [SameFile(FileState(arguments[0], 2, 2), known[arguments[0]].id)])
        elif name == "forget" and book.images_at(f"/p/{arguments[0]}"):
            book.forget(f"/p/{arguments[0]}")
        elif name == "encoder":
            using = arguments[0]
        elif name == "write":
            ledger.write_bands(lambda _band: None)
        elif name == "rekey" and arguments[0] in known:
            code = np.random.default_rng(arguments[1]).integers(0, 256, (1, bits // 8), dtype=np.uint8)
            mine = codes.c.image == known[arguments[0]].id
            with database.write() as connection:
                connection.execute(update(codes).where(mine).values(key=int(keys(code)[0]), code=code.tobytes()))
        elif name == "drop":
            with database.write() as connection:
                connection.execute(delete(encoders).where(encoders.c.id == 3 - using))
                values = {"name": "e", "bits": bits, "fingerprint": str(3 - using), "info": "{}", "added": "now"}
                connection.execute(insert(encoders).values(id=3 - using, collection=1, weights=b"", **values))
        in_step(database)
    for encoder in (1, 2):
        Ledger(database, 1, encoder).write_bands(lambda _band: None)
    assert in_step(database) == 0
    database.close()
