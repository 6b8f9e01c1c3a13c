"""A file of SQLite and a database of PostgreSQL are the same collection: whatever is asked, the answers are equal."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import inspect

from hashae.db import open_database
from hashae.db.schema import metadata
from hashae.errors import CollectionError, ConfigError, UnknownName
from hashae.indexer import Collection, kept_index
from hashae.indexer.cache import cache_path
from hashae.indexer.keep_rules import KeepPolicy
from hashae.indexer.plan import plan_of
from hashae.place import ServerUrl, place_of


@pytest.fixture
def pictures(tmp_path, fill):
    """A folder with copies, near copies, a broken file and a name that is no UTF-8."""
    folder = fill(tmp_path / "pictures", range(14))
    (folder / "more").mkdir()
    shutil.copy(folder / "0.png", folder / "more" / "copy of 0.png")
    with Image.open(folder / "1.png") as picture:
        picture.save(folder / "more" / "1.jpg", quality=60)
        picture.save(folder / "more" / "1.bmp")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    shutil.copy(folder / "2.png", os.path.join(os.fsencode(folder), b"n\xe4me.png"))
    return folder


def plain(value):
    """What is told of a collection, without what may differ: times, sizes and places of the tables."""
    text = json.dumps(value, default=str, sort_keys=True)

    def clean(found):
        if isinstance(found, dict):
            leave = {"collection", "file_bytes", "seconds", "created", "indexed", "date"}
            leave |= {name for name in ("added",) if isinstance(found.get(name), str)}
            return {name: clean(part) for name, part in found.items() if name not in leave}
        return [clean(part) for part in found] if isinstance(found, list) else found

    return clean(json.loads(text))


def told(summary):
    return plain({name: value for name, value in vars(summary).items() if name != "seconds"})


def history(place, pictures, encoder, make_encoder):
    """Do everything with a collection, one thing after the other; return what was told each time."""
    out = []

    def ask(collection):
        for name in ("0.png", "more/1.jpg", "13.png"):
            for question in ({"exact": True}, {"radius": 3}, {"radius": 12}, {"k": 5}, {"matches": True}):
                answer = collection.query(pictures / name, **question)
                out.append([(m.id, m.path, m.distance, m.confidence, m.allowed) for m in answer.matches])
        out.append(collection.exact_many(collection.hash_index().codes[:7]))
        out.append(plain(collection.dedup().to_dict()))
        out.append(plain(collection.dedup(radius=8, linkage="complete").to_dict()))
        out.append(plain(collection.overlap(pictures, pictures / "more").to_dict()))
        out.append(plain(collection.stats()))

    with Collection.open(place) as collection:
        collection.set_encoder(encoder)
        out.append(told(collection.index(pictures)))
        ask(collection)
        out.append(told(collection.index()))
    (pictures / "moved").mkdir()
    (pictures / "3.png").rename(pictures / "moved" / "three.png")
    (pictures / "4.png").unlink()
    shutil.copy2(pictures / "5.png", pictures / "6.png")
    shutil.copy2(pictures / "7.png", pictures / "moved" / "seven.png")
    with Collection.open(place, create=False) as collection:
        out.append(told(collection.index()))
        ask(collection)
        out.append(collection.missing().gone)
        out.append(collection.forget_missing(collection.missing()))
        collection.verdicts.judge("distinct", [pictures / "1.png", pictures / "more" / "1.jpg"])
        out.append([(v.kind, sorted(v.contents)) for v in collection.verdicts.all()])
        ask(collection)
        collection.add_encoder(make_encoder(5, bits=256, radius=40, name="other"))
        out.append(told(collection.index()))
        ask(collection)
        out.append(plain(collection.list_encoders()))
        collection.remove_encoder("tiny")
        report = collection.dedup(policy=KeepPolicy())
        plan = plan_of(report)
        done = collection.actions.apply(plan, "move", to=pictures.parent / "away", origin="plan")
        out.append((done.count("done"), done.count("failed")))
        out.append(sorted(os.fsencode(path) for path in pictures.rglob("*")))
        out.append([(run.action, run.counts, run.bytes_done) for run in collection.actions.history()])
        undone = collection.actions.undo()
        out.append(undone.count("undone"))
        out.append(collection.remove(pictures / "moved"))
        out.append([(f.kind, f.count) for f in collection.verify(sample=50).findings])
        out.append(plain(collection.stats()))
        with pytest.raises(UnknownName) as unknown:
            collection.remove(pictures / "nowhere")
        out.append(str(unknown.value).replace(str(collection.path), "PLACE"))
    return out


def test_all_of_a_collection_is_the_same_in_a_file_and_on_a_server(
    tmp_path, pictures, encoder, make_encoder, server_url
):
    start = tmp_path / "as they were"
    shutil.copytree(pictures, start, symlinks=True)
    in_file = history(tmp_path / "photos.db", pictures, encoder, make_encoder)
    shutil.rmtree(pictures)
    shutil.rmtree(tmp_path / "away", ignore_errors=True)
    shutil.copytree(start, pictures, symlinks=True)
    on_server = history(server_url, pictures, encoder, make_encoder)
    assert len(in_file) == len(on_server) > 60
    for number, (one, other) in enumerate(zip(in_file, on_server, strict=True)):
        assert one == other, number
    assert any(matches for matches in in_file[1:16])


def test_commands_take_a_url_wherever_they_take_a_file(cli, server_url, pictures, encoder_file, tmp_path):
    shown = str(place_of(server_url))
    assert cli("index", pictures, "--db", server_url, "--encoder", encoder_file).status == 0
    query = cli("query", pictures / "0.png", "--radius", 2, "--db", server_url, "--json", "--explain")
    assert query.status == 0
    found = json.loads(query.out)
    assert len(found["matches"]) == 2
    dedup = cli("dedup", "--db", server_url, "--json", "--plan", tmp_path / "plan.json")
    assert json.loads(dedup.out)["collection"] == shown
    assert cli("apply", tmp_path / "plan.json", "--db", server_url).status == 0
    assert json.loads(cli("stats", "--db", server_url, "--json").out)["images"] == 18
    assert cli("stats", "--health", "--db", server_url).status == 0
    verified = cli("verify", "--db", server_url)
    assert verified.status == 0, verified
    assert f"{shown} is sound" in verified.out
    assert json.loads(cli("encoders", "--db", server_url, "--json").out)[0]["name"] == "tiny"
    for command in (("prune",), ("verdict", "list"), ("history",), ("calibrate", "--help")):
        assert cli(*command, "--db", server_url).status == 0, command
    against = cli(
        "dedup",
        pictures / "more",
        "--against",
        server_url,
        "--db",
        tmp_path / "other.db",
        "--json",
        "--encoder",
        encoder_file,
    )
    assert against.status == 0, against
    assert json.loads(against.out)["against"] == shown
    bits = cli("show", "bits", server_url, "-o", tmp_path / "bits.png")
    assert bits.status == 0, bits


def test_migrations_make_the_tables_that_the_code_declares(server_url, postgres):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    made = open_database(server_url)
    declared = postgres.database()
    other = open_database(declared)
    with made.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        found = [step for step in compare_metadata(context, metadata) if "alembic_version" not in str(step)]
        assert found == []
        names = set(inspect(connection).get_table_names())
    assert names == set(metadata.tables) | {"alembic_version"}
    triggers = "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1"
    expected = ["codes_change_bands", "codes_leave_bands", "codes_wait_for_bands", "encoders_have_bands"]
    assert [row[0] for row in made.look_up(triggers, ())] == expected
    made.close()
    other.close()
    postgres.drop(declared)


def test_what_is_kept_beside_a_file_is_kept_in_the_users_folder_of_caches(server_url, tmp_path, rng, monkeypatch):
    database = open_database(server_url)
    assert cache_path(database.beside, 1).parent == tmp_path / "cache" / "hashae"
    other = open_database(server_url.replace("@/", ":secret@/"))  # the password is no part of where it is
    assert database.beside == other.beside
    database.close()
    other.close()


def test_processes_on_one_machine_share_the_index_until_the_collection_moves_on(
    place, encoder, fill, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(kept_index, "KEPT_FROM", 1)
    caplog.set_level("DEBUG", "hashae")
    folder = fill(tmp_path / "p", range(4))
    with Collection.open(place) as one, Collection.open(place) as other:
        one.set_encoder(encoder)
        one.index(folder)
        first = len(one.hash_index())
        assert len(other.hash_index()) == first == 4
        assert "is used" in caplog.text, "the second maps what the first has written"
        fill(folder, range(6))
        one.index(folder)
        assert len(other.hash_index()) == 6, "what was made before the collection changed is not used any more"


# --- places -------------------------------------------------------------------------------------------------------


def test_a_url_is_shown_without_its_password():
    url = place_of("postgresql://ann:s3cret@db.local:5433/photos?sslmode=require&password=s3cret")
    assert str(url) == "postgresql+psycopg://ann:***@db.local:5433/photos?sslmode=require&password=***"
    assert "s3cret" not in repr(url)
    assert url.url.startswith("postgresql+psycopg://ann:s3cret@")
    assert url.name == "photos"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("mysql://ann@db/photos", "mysql:// is no kind of database that holds collections; expected a file, or "),
        ("postgresql://ann:x@db", "postgresql+psycopg://ann:***@db names no database; expected a file, or "),
        ("postgresql://db:many/photos", "postgresql+psycopg://db:many/photos has no port that is a number; expected "),
        ("postgresql:/db/photos", "postgresql:/db/photos is a URL made into a path, which drops a slash; give it as "),
    ],
)
def test_a_url_that_names_nothing_is_refused(given, sentence, cli):
    with pytest.raises(ConfigError) as refused:
        place_of(given)
    assert str(refused.value).startswith(sentence)
    assert sentence[:30] in cli("stats", "--db", given).err


def test_a_place_is_what_was_given(tmp_path):
    assert place_of(tmp_path) == tmp_path
    assert place_of("photos.db").name == "photos.db"
    url = ServerUrl("postgresql:///photos")
    assert place_of(url) is url


# --- what is refused ----------------------------------------------------------------------------------------------


def refusal(url, **options):
    with pytest.raises(CollectionError) as refused:
        open_database(url, **options).close()
    return str(refused.value)


def test_a_database_that_is_missing_is_named_with_the_command_that_makes_one(postgres):
    url = postgres.url("nowhere")
    assert refusal(url) == f"{url} does not exist on its server; make it there: createdb nowhere"


def test_an_empty_database_is_no_collection_unless_it_may_become_one(postgres):
    url = postgres.database()
    assert refusal(url, create=False) == f"there is no collection in {url}; make one: hashae index FOLDER --db {url}"
    open_database(url).close()
    open_database(url, create=False).close()
    postgres.drop(url)


def test_the_database_of_another_program_is_refused_and_left_alone(postgres):
    url = postgres.database()
    postgres.execute("CREATE TABLE bookmarks (url text)", place_of(url).name)
    assert refusal(url) == f"{url} holds tables of another program; give an empty database with --db"
    tables = "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    assert postgres.execute(tables, place_of(url).name) == [(1,)]
    postgres.drop(url)


def test_a_collection_of_a_newer_version_is_refused(server_url, postgres):
    postgres.execute("UPDATE alembic_version SET version_num = '9999'", place_of(server_url).name)
    assert refusal(server_url).startswith(f"{server_url} was written by a newer hashae (schema 9999; this one knows ")


def test_a_user_without_rights_is_told_so(server_url, postgres):
    postgres.execute("DROP ROLE IF EXISTS guest")
    postgres.execute("CREATE ROLE guest LOGIN")
    url = server_url.replace("://postgres@", "://guest@").replace(f"://{postgres.user}@", "://guest@")
    assert "does not let its user do this (permission denied" in refusal(url)
    unknown = server_url.replace(f"://{postgres.user}@", "://stranger@")
    assert "refuses the user (" in refusal(unknown)
    assert 'role "stranger" does not exist' in refusal(unknown)


def test_a_reader_sees_one_state_and_does_not_hinder_a_writer(place, fill, tmp_path, encoder):
    folder = fill(tmp_path / "p", range(3))
    with Collection.open(place) as collection:
        collection.set_encoder(encoder)
        collection.index(folder)
        database = collection._parts.database
        with database.read() as reader:
            count = "SELECT count(*) FROM images"
            before = reader.exec_driver_sql(count).scalar()
            with Collection.open(place) as other:
                fill(folder, range(6))
                other.index(folder)
            assert reader.exec_driver_sql(count).scalar() == before == 3
        assert database.look_up(count, ()) == [(6,)]


def test_codes_are_streamed_in_blocks(place, rng, encoder, fill, tmp_path):
    folder = fill(tmp_path / "p", range(5))
    with Collection.open(place) as collection:
        collection.set_encoder(encoder)
        collection.index(folder)
        database = collection._parts.database
        with database.read() as connection:
            blocks = list(database.stream(connection, "SELECT image, code FROM codes WHERE encoder = ?", (1,), 2))
        assert [len(block) for block in blocks] == [2, 2, 1]
        ids, codes = collection._parts.catalogue.codes(1, 64)
        stored = dict(row for block in blocks for row in block)
        assert {int(i): c.tobytes() for i, c in zip(ids, codes, strict=True)} == stored
        assert np.array_equal(ids, np.sort(ids))
