"""Opening a collection file: the schema, what is refused and how, and transactions that are all or nothing."""

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, event, insert, select

from hashae.db import open_database, session
from hashae.db.marks import APPLICATION_ID, SCHEMA_REVISION
from hashae.db.migrate import head_revision, known_revisions
from hashae.db.schema import (
    PathText,
    codes,
    collections,
    encoders,
    images,
    metadata,
    sources,
)
from hashae.errors import CollectionError

GOLDEN = Path(__file__).parents[1] / "golden" / "collection-0001.db"
IMAGE = {"size": 1, "mtime_ns": 1, "content": b"c", "width": 1, "height": 1, "format": "PNG", "missing": False}


@pytest.fixture
def database(tmp_path):
    opened = open_database(tmp_path / "photos.db")
    yield opened
    opened.close()


def pragma(database, name):
    with database.read() as connection:
        return connection.exec_driver_sql(f"PRAGMA {name}").fetchall()


def layout(connection):
    """Everything SQLite knows of the tables: columns, keys, indexes with their columns, references, rowids."""
    found = {}
    names = connection.exec_driver_sql("SELECT name, wr FROM pragma_table_list WHERE schema = 'main'").fetchall()
    for name, without_rowid in names:
        if name.startswith("sqlite_") or name == "alembic_version":
            continue
        columns = connection.exec_driver_sql(f"PRAGMA table_info({name})").fetchall()
        indexes = connection.exec_driver_sql(f"PRAGMA index_list({name})").fetchall()
        found[name] = {
            "columns": [tuple(column) for column in columns],
            "without rowid": without_rowid,
            "references": sorted(
                tuple(row)[2:] for row in connection.exec_driver_sql(f"PRAGMA foreign_key_list({name})")
            ),
            "indexes": sorted(
                (unique, origin, [row[2] for row in connection.exec_driver_sql(f"PRAGMA index_info({index})")])
                for _, index, unique, origin, _ in indexes
            ),
            "named indexes": sorted(row[1] for row in indexes if row[3] == "c"),
        }
    return found


def refusal(path, **options):
    with pytest.raises(CollectionError) as refused:
        open_database(path, **options).close()
    return str(refused.value)


def add_collection(connection, name="c"):
    return connection.execute(insert(collections).values(name=name, created="now")).inserted_primary_key[0]


def count(path):
    """Number of collections, seen by a program that is not hashae; the file must be sound."""
    connection = sqlite3.connect(path)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return connection.execute("SELECT count(*) FROM collections").fetchone()[0]
    finally:
        connection.close()


# --- schema -------------------------------------------------------------------------------------------------------


def test_migrations_make_the_schema_that_the_code_declares(database, tmp_path):
    declared = create_engine(f"sqlite:///{tmp_path / 'declared.db'}")
    with declared.begin() as connection:
        metadata.create_all(connection)
        expected = layout(connection)
    declared.dispose()
    with database.read() as connection:
        assert layout(connection) == expected
    mine = {"verdicts", "verdict_contents", "runs", "journal", "band_masks", "bands", "pending_bands"}
    assert set(expected) == {"collections", "sources", "images", "encoders", "codes", "failures"} | mine


def triggers(connection):
    """The SQL of every trigger, but for white space."""
    rows = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
    return {name: "".join(sql.split()) for name, sql in rows}


def test_migrations_make_the_triggers_that_the_code_declares(database, tmp_path):
    declared = create_engine(f"sqlite:///{tmp_path / 'declared.db'}")
    with declared.begin() as connection:
        metadata.create_all(connection)
        expected = triggers(connection)
    declared.dispose()
    with database.read() as connection:
        assert triggers(connection) == expected
    assert set(expected) == {"encoders_have_bands", "codes_wait_for_bands", "codes_leave_bands", "codes_change_bands"}


def test_the_schema_revision_is_the_newest_migration():
    assert head_revision() == SCHEMA_REVISION
    assert SCHEMA_REVISION in known_revisions()


def test_a_new_file_is_marked_as_ours_with_its_revision_a_write_ahead_log_and_foreign_keys(database):
    assert pragma(database, "application_id") == [(APPLICATION_ID,)]
    assert APPLICATION_ID.to_bytes(4, "big") == b"HSAE"
    assert pragma(database, "journal_mode") == [("wal",)]
    assert pragma(database, "foreign_keys") == [(1,)]
    with database.read() as connection:
        assert connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() == SCHEMA_REVISION
    database.close()
    assert database.path.read_bytes()[68:72] == b"HSAE"


def test_the_code_table_is_one_tree_ordered_by_encoder_key_and_image(database):
    with database.read() as connection:
        table = layout(connection)["codes"]
    assert table["without rowid"] == 1
    in_key = sorted((column[5], column[1]) for column in table["columns"] if column[5])
    assert in_key == [(1, "encoder"), (2, "key"), (3, "image")]


def test_looking_a_code_up_descends_that_tree(database):
    query = "EXPLAIN QUERY PLAN SELECT image FROM codes WHERE encoder = 1 AND key = 2"
    with database.read() as connection:
        plan = [row[3] for row in connection.exec_driver_sql(query)]
    assert plan == ["SEARCH codes USING PRIMARY KEY (encoder=? AND key=?)"]


def test_what_belongs_to_a_deleted_row_goes_with_it(database):
    with database.write() as connection:
        collection = add_collection(connection)
        values = {"name": "e", "bits": 8, "fingerprint": "f", "info": "{}", "added": "now", "weights": b""}
        encoder = connection.execute(insert(encoders).values(collection=collection, **values)).inserted_primary_key[0]
        source = connection.execute(insert(sources).values(collection=collection, path="/p")).inserted_primary_key[0]
        image = connection.execute(insert(images).values(source=source, path="a", **IMAGE)).inserted_primary_key[0]
        connection.execute(insert(codes).values(encoder=encoder, key=-1, image=image, code=b"x", confidence=1))
    with database.write() as connection:
        connection.execute(sources.delete())
    with database.read() as connection:
        for table in (sources, images, codes):
            assert connection.execute(select(table)).all() == []


def test_a_row_that_refers_to_nothing_is_refused(database):
    with pytest.raises(CollectionError, match="FOREIGN KEY constraint failed"), database.write() as connection:
        connection.execute(insert(images).values(source=99, path="a", **IMAGE))


def test_opening_again_changes_nothing(database):
    database.close()
    before = database.path.read_bytes()
    open_database(database.path).close()
    assert database.path.read_bytes() == before


# --- files of older versions --------------------------------------------------------------------------------------


def contents(path):
    """Every row of every table, as another program reads it: table -> list of dicts."""
    connection = sqlite3.connect(path)
    connection.row_factory = sqlite3.Row
    try:
        return {
            name: [dict(row) for row in connection.execute(f"SELECT * FROM {name}")]
            for name in ("collections", "sources", "images", "encoders", "codes", "failures")
        }
    finally:
        connection.close()


def test_opening_a_file_of_schema_0001_brings_it_up_to_date_and_loses_nothing(database, tmp_path):
    path = tmp_path / "old.db"
    shutil.copy(GOLDEN, path)
    before = contents(path)
    assert sum(len(rows) for rows in before.values()) == 18
    old = open_database(path, create=False)
    with old.read() as connection, database.read() as fresh:
        assert connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() == SCHEMA_REVISION
        assert layout(connection) == layout(fresh)
    old.close()
    after = contents(path)
    for table, rows in before.items():
        added = {column.name for column in metadata.tables[table].columns} - set(rows[0])
        assert after[table] == [row | dict.fromkeys(added) for row in rows]


def test_an_old_file_that_cannot_be_written_is_told_from_a_read_only_one_of_today(database, tmp_path, monkeypatch):
    """The connection itself is read-only: file modes do not bind every user."""
    path = tmp_path / "old.db"
    shutil.copy(GOLDEN, path)

    def read_only(path):
        return sqlite3.connect(f"file:{path}?mode=ro", uri=True, check_same_thread=False, isolation_level=None)

    monkeypatch.setattr(session, "_connect", read_only)
    assert refusal(path) == (
        f"{path} was written by an older hashae (schema 0001; this one needs {SCHEMA_REVISION}) and is read-only; "
        f"allow writing once, so that it can be brought up to date, or copy it and give --db COPY"
    )
    assert path.read_bytes() == GOLDEN.read_bytes()
    open_database(database.path).close()


# --- what is refused ----------------------------------------------------------------------------------------------


def test_a_missing_file_is_named_with_the_command_that_makes_one(tmp_path):
    path = tmp_path / "photos.db"
    assert refusal(path, create=False) == f"there is no collection at {path}; make one: hashae index FOLDER --db {path}"
    assert not path.exists()


def test_an_empty_file_is_no_collection_yet_and_may_become_one(tmp_path):
    path = tmp_path / "photos.db"
    path.touch()
    assert refusal(path, create=False).startswith("there is no collection at ")
    open_database(path).close()
    open_database(path, create=False).close()


def test_a_missing_folder_is_named(tmp_path):
    path = tmp_path / "nowhere" / "photos.db"
    assert refusal(path) == f"{path.parent} does not exist; create the folder, or give another --db"


def test_a_folder_is_no_collection(tmp_path):
    assert refusal(tmp_path) == f"{tmp_path} is a folder; expected a collection file"


def test_a_pipe_is_no_collection_and_is_not_waited_for(tmp_path):
    path = tmp_path / "pipe.db"
    os.mkfifo(path)
    assert refusal(path) == f"{path} is not a regular file; expected a collection file"


def test_a_text_file_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "notes.db"
    path.write_text("dear diary\n" * 20)
    assert refusal(path) == f"{path} is not a collection (no SQLite file); give another file with --db"
    assert path.read_text() == "dear diary\n" * 20


def test_the_database_of_another_program_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "bookmarks.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE bookmarks (url)")
    other.commit()
    other.close()
    before = path.read_bytes()
    assert refusal(path) == f"{path} is a database of another program; give another file with --db"
    assert path.read_bytes() == before


def test_a_collection_of_a_newer_version_is_refused_and_left_alone(database):
    database.close()
    path = database.path
    newer = sqlite3.connect(path)
    newer.execute("PRAGMA journal_mode = DELETE")
    newer.execute("UPDATE alembic_version SET version_num = '9999'")
    newer.commit()
    newer.close()
    before = path.read_bytes()
    expected = f"{path} was written by a newer hashae (schema 9999; this one knows {SCHEMA_REVISION}); update hashae"
    assert refusal(path) == expected
    assert path.read_bytes() == before


def test_a_damaged_file_is_called_damaged(database):
    database.close()
    content = bytearray(database.path.read_bytes())
    content[100:4096] = b"\xa5" * 3996  # all of the first page but its header
    database.path.write_bytes(content)
    expected = r"photos\.db is damaged \(.+\); restore a copy, or index the pictures into a new file$"
    assert re.search(expected, refusal(database.path))


def test_half_a_header_is_no_collection(database):
    database.close()
    database.path.write_bytes(database.path.read_bytes()[:10])
    assert refusal(database.path).endswith("is not a collection (no SQLite file); give another file with --db")


def test_an_unreadable_file_is_named_with_the_reason(database, monkeypatch):
    def denied(*_arguments, **_options):
        raise PermissionError(13, "Permission denied")

    database.close()
    monkeypatch.setattr(type(database.path), "open", denied)
    assert refusal(database.path) == f"{database.path} cannot be read (Permission denied)"


# --- writing ------------------------------------------------------------------------------------------------------


def test_a_transaction_that_raises_leaves_nothing(database):
    def fail():
        with database.write() as connection:
            add_collection(connection)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert count(database.path) == 0
    with database.write() as connection:
        add_collection(connection)
    assert count(database.path) == 1


def test_a_reader_sees_one_state_and_does_not_hinder_a_writer(database):
    with database.read() as reader:
        assert reader.execute(select(collections)).all() == []
        with database.write() as connection:
            add_collection(connection)
        assert reader.execute(select(collections)).all() == []
    with database.read() as reader:
        assert len(reader.execute(select(collections)).all()) == 1


def test_what_is_written_while_reading_is_not_kept(database):
    with database.read() as connection:
        add_collection(connection)
    assert count(database.path) == 0


def test_a_locked_file_is_waited_for_and_then_named(tmp_path, monkeypatch):
    monkeypatch.setattr(session, "BUSY_SECONDS", 0.05)
    database = open_database(tmp_path / "photos.db")
    other = sqlite3.connect(database.path, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(CollectionError) as refused, database.write():
            pass
        expected = f"{database.path} is in use by another process for more than 0.05 s; try again later"
        assert str(refused.value) == expected
        other.execute("ROLLBACK")
        with database.write() as connection:
            add_collection(connection)
    finally:
        other.close()
        database.close()
    assert count(database.path) == 1


def test_a_read_only_file_can_be_read_and_is_called_read_only_when_written(database):
    @event.listens_for(database.engine, "checkout")
    def forbid(connection, _record, _proxy):
        connection.execute("PRAGMA query_only = ON")

    with database.read() as connection:
        assert connection.execute(select(collections)).all() == []
    with pytest.raises(CollectionError) as refused, database.write() as connection:
        add_collection(connection)
    expected = f"{database.path} is read-only; allow writing, or copy it elsewhere and give --db"
    assert str(refused.value) == expected


def test_a_full_disk_is_named_and_what_was_stored_before_is_safe(database):
    with database.write() as connection:
        add_collection(connection, "first")
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()

    @event.listens_for(database.engine, "checkout")
    def fill_up(connection, _record, _proxy):
        connection.execute(f"PRAGMA max_page_count = {pages + 3}")

    def write_much():
        with database.write() as connection:
            for number in range(1000):
                add_collection(connection, f"{number} {'x' * 150}")

    with pytest.raises(CollectionError) as refused:
        write_much()
    expected = f"{database.path} cannot grow: the disk is full; free some space and run the command again"
    assert str(refused.value) == expected
    database.close()
    assert count(database.path) == 1
    event.remove(database.engine, "checkout", fill_up)
    again = open_database(database.path)
    try:
        with again.write() as connection:
            add_collection(connection, "second")
    finally:
        again.close()
    assert count(database.path) == 2


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("disk I/O error", "p.db cannot be read or written (disk I/O error); check the disk and its free space"),
        ("database is busy", f"p.db is in use by another process for more than {session.BUSY_SECONDS} s; try again"),
        ("file is not a database", "p.db is damaged (file is not a database); restore a copy, or index the pictures"),
        ("unable to open database file", "p.db cannot be opened (unable to open database file); check that its"),
        ("something else", "p.db: something else"),
    ],
)
def test_each_kind_of_trouble_has_its_sentence(tmp_path, text, sentence):
    path = tmp_path / "p.db"
    assert str(session.translate(path, sqlite3.OperationalError(text))).startswith(f"{tmp_path}/{sentence}")


# --- file names ---------------------------------------------------------------------------------------------------

NAMES = st.binary(min_size=1, max_size=60).filter(lambda name: b"\0" not in name)


@pytest.fixture(scope="module")
def name_table(tmp_path_factory):
    database = open_database(tmp_path_factory.mktemp("names") / "names.db")
    with database.write() as connection:
        source = insert(sources).values(collection=add_collection(connection), path="/p")
        connection.execute(source)
    yield database
    database.close()


@given(name=NAMES)
@settings(max_examples=60, deadline=None)
def test_any_file_name_comes_out_as_it_went_in_and_is_found_by_itself(name_table, name):
    text = os.fsdecode(name)
    with name_table.write() as connection:
        connection.execute(images.delete())
        connection.execute(insert(images).values(source=1, path=text, **IMAGE))
        assert connection.execute(select(images.c.path)).scalar_one() == text
        found = connection.execute(select(images.c.id).where(images.c.path.in_([text]))).all()
        assert len(found) == 1
        stored = connection.exec_driver_sql("SELECT path FROM images").scalar_one()
    assert stored == name or stored.encode() == name


def test_a_missing_name_stays_missing():
    assert PathText().process_bind_param(None, None) is None
    assert PathText().process_result_value(None, None) is None


def test_look_ups_do_without_sqlalchemy(database):
    """From a cold start, loading it takes longer than an answer."""
    script = (
        "import sys; from hashae.db import open_database; import hashae.indexer.catalogue, hashae.indexer.shelf; "
        f"database = open_database({str(database.path)!r}, create=False); "
        "assert database.look_up('SELECT count(*) FROM images', ()) == [(0,)]; "
        "assert 'sqlalchemy' not in sys.modules; "
        "connection = database.engine.connect(); assert 'sqlalchemy' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
