"""hashae verify: what is wrong is found, told and put right; what can be read of a damaged file is saved."""

import json
import os
import shutil
import sqlite3
from contextlib import closing

import pytest

from hashae.db import salvage
from hashae.indexer import Collection, kept_index

PICTURES = 30
PAGE = 4096


@pytest.fixture(scope="module")
def made(tmp_path_factory, encoder, fill):
    """A collection with verdicts and long names, so that its tables have several pages; never written to."""
    root = tmp_path_factory.mktemp("made")
    folder = fill(root / "photos", range(PICTURES))
    for number in range(PICTURES):
        (folder / f"{number}.png").rename(folder / f"{'long name ' * 20}{number:02}.png")
    with Collection.open(root / "photos.db") as collection:
        collection.set_encoder(encoder)
        collection.index(folder)
        paths = sorted(folder.iterdir())
        for one, other in zip(paths[::2], paths[1::2], strict=True):
            collection.verdicts.judge("distinct", [one, other])
    return root


@pytest.fixture
def photos(made):
    return made / "photos"


@pytest.fixture
def db(made, tmp_path):
    return shutil.copy(made / "photos.db", tmp_path / "photos.db")


def run(path, *statements, foreign_keys=True):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA foreign_keys = {int(foreign_keys)}")
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def content(path):
    """Every row that means something, but for row ids."""
    query = """SELECT images.path, images.content, hex(code), missing FROM images LEFT JOIN codes ON images.id = image
        ORDER BY images.path"""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        bands = connection.execute("SELECT (SELECT count(*) FROM bands) - 3 * (SELECT count(*) FROM codes)").fetchone()
        return connection.execute(query).fetchall(), bands


def damage(path, *needles):
    """Overwrite every page that holds all the needles but none of the schema; return how many."""
    data = bytearray(path.read_bytes())
    count = 0
    for start in range(PAGE, len(data), PAGE):
        page = bytes(data[start : start + PAGE])
        if all(needle in page for needle in needles):
            data[start : start + PAGE] = b"\xa5" * PAGE
            count += 1
    path.write_bytes(data)
    return count


def findings(cli, db, *options, status=1):
    done = cli("verify", "--json", "--db", db, *options)
    assert done.status == status, done
    return [(f["kind"], f["count"]) for f in json.loads(done.out)["findings"]]


def test_a_sound_collection_is_called_sound(cli, db):
    done = cli("verify", "--db", db)
    assert (done.status, done.err) == (0, "")
    assert done.out == f"{db} is sound; {PICTURES} pictures encoded again, each with the same code\n"
    before = db.read_bytes()
    assert findings(cli, db, "--sample", "3", status=0) == []
    assert db.read_bytes() == before


WRONG = {
    "a band row is missing": (["DELETE FROM bands WHERE image = 3"], "bands", 1),
    "a band row of another code": (["UPDATE bands SET slot = slot + 1 WHERE image = 3"], "bands", 1),
    "a band row too many": (["INSERT INTO bands SELECT encoder, slot + 1, image, key FROM bands LIMIT 1"], "bands", 1),
    "a code cut short": (["UPDATE codes SET code = substr(code, 1, 3) WHERE image = 4"], "codes", 1),
    "a key of another code": (["UPDATE codes SET key = key + 1 WHERE image = 4"], "codes", 1),
    "a code of nothing": (["DELETE FROM codes WHERE image = 5"], "uncoded", 1),
    "bits that are not those of the picture": (
        ["UPDATE codes SET code = x'0000000000000000', key = 0 WHERE image = 4"],
        "codes",
        1,
    ),
    "codes of no image": (["DELETE FROM images WHERE id = 7"], "orphans", 1),
}


@pytest.mark.parametrize("name", WRONG)
def test_each_contradiction_is_found_told_and_put_right(cli, db, name):
    statements, kind, count = WRONG[name]
    whole = content(db)
    run(db, *statements, foreign_keys=False)
    assert (kind, count) in findings(cli, db)
    told = cli("verify", "--db", db)
    assert (told.status, told.err.splitlines()[-1]) == (1, "to put it right: hashae verify --repair")
    repaired = cli("verify", "--repair", "--db", db)
    assert (repaired.status, repaired.out) == (0, f"{db} is sound now\n")
    assert findings(cli, db, status=0) == []
    if kind != "orphans":
        assert content(db) == whole
    else:
        assert cli("index", "--db", db).status == 0
        assert content(db) == whole


def test_a_file_that_changed_without_a_new_time_is_found_and_read_again(cli, db, made, tmp_path, draw):
    photos = shutil.copytree(made / "photos", tmp_path / "photos")
    with Collection.open(db) as collection:
        collection.index(photos)
        collection.remove(made / "photos")
    path = sorted(photos.iterdir())[3]
    status = path.stat()
    path.write_bytes(path.read_bytes() + b"more")
    with closing(sqlite3.connect(db)) as connection, connection:
        connection.execute("UPDATE images SET size = ? WHERE path = ?", (path.stat().st_size, path.name))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert findings(cli, db) == [("pictures", 1)]
    assert cli("verify", "--repair", "--db", db).status == 0
    assert findings(cli, db, status=0) == []


def test_missing_files_and_drives_that_are_away_are_told_apart(cli, db, made, tmp_path):
    photos = shutil.copytree(made / "photos", tmp_path / "photos")
    with Collection.open(db) as collection:
        collection.index(photos)
        collection.remove(made / "photos")
    sorted(photos.iterdir())[3].unlink()
    assert findings(cli, db) == [("files", 1)]
    photos.rename(tmp_path / "drive")
    told = cli("verify", "--db", db)
    assert f"  {PICTURES} pictures lie in folders that are missing or empty now; is a drive away?\n" in told.err


def test_a_foreign_or_damaged_index_is_found_and_removed_and_a_stale_one_is_no_fault(cli, db, photos, monkeypatch):
    monkeypatch.setattr(kept_index, "KEPT_FROM", 1)
    cache = db.with_name(f"{db.name}.index-1")
    picture = sorted(photos.iterdir())[0]
    assert cli("query", picture, "-k", "3", "--db", db).status == 0
    assert cache.exists()
    good = cache.read_bytes()
    assert findings(cli, db, status=0) == []
    run(db, "UPDATE collections SET generation = generation + 1")
    assert findings(cli, db, status=0) == []  # stale: made anew by the next search, as every day
    run(db, "UPDATE collections SET generation = generation - 1")
    for bad in (b"not an index", good[: len(good) // 2], good[:-400] + bytes(byte ^ 255 for byte in good[-400:])):
        cache.write_bytes(bad)
        assert findings(cli, db) == [("cache", 1)]
        assert cli("verify", "--repair", "--db", db).status == 0
        assert not cache.exists()
    answer = cli("query", picture, "-k", "1", "--json", "--db", db)
    assert json.loads(answer.out)["matches"][0]["path"] == str(picture)


def test_files_that_a_killed_run_left_over_are_removed(cli, db):
    left = db.with_name(".hashae-0123.tmp")
    left.write_bytes(b"half")
    assert findings(cli, db, status=0) == []  # a run may be at it now
    os.utime(left, (1, 1))
    assert findings(cli, db) == [("leftovers", 1)]
    assert cli("verify", "--repair", "--db", db).status == 0
    assert not left.exists()


# --- damaged files ------------------------------------------------------------------------------------------------


def verdicts(path):
    with Collection.open(path) as collection:
        return {frozenset(verdict.contents) for verdict in collection.verdicts.all()}


@pytest.mark.parametrize("table", ["images", "codes", "verdict_contents", "bands"])
def test_a_damaged_page_is_found_and_all_that_can_be_read_is_saved(cli, db, table):
    """Codes and bands come back from the pictures whatever happens to them; other tables lose that page at most."""
    whole, judged = content(db), verdicts(db)
    with closing(sqlite3.connect(db)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        needles = {
            "images": [b"long name 07.png", b"PNG"],
            "codes": [bytes(connection.execute("SELECT code FROM codes WHERE image = 9").fetchone()[0])],
            "verdict_contents": [b"long name 07.png", os.fsencode(db.parent)[:0]],
            "bands": [],
        }[table]
        if table == "bands":
            (key,) = connection.execute("SELECT key FROM codes WHERE image = 9").fetchone()
            needles = [key.to_bytes(8, "big", signed=True)]
    assert damage(db, *needles) >= 1
    refused = cli("verify", "--db", db)
    assert refused.status == 1
    assert refused.err.startswith(f"{db} is damaged; SQLite says:\n")
    assert "run: hashae verify --repair" in refused.err
    bad = db.read_bytes()
    done = cli("verify", "--repair", "--db", db)
    assert (done.status, done.out) == (0, f"{db} is sound now\n"), done.err
    kept = db.with_name("photos.db.damaged")
    assert f"the damaged file is kept as {kept}" in done.err
    assert kept.read_bytes() == bad
    assert content(db) == whole
    assert verdicts(db) <= judged
    if table in {"codes", "bands"}:
        assert verdicts(db) == judged
    assert cli("verify", "--db", db).status == 0


def test_verdicts_of_pages_that_are_whole_are_all_saved(cli, db):
    judged = verdicts(db)
    assert damage(db, b"long name 07.png", b"PNG") >= 1
    cli("verify", "--repair", "--db", db)
    assert len(judged) == PICTURES // 2
    assert verdicts(db) == judged


def test_a_second_damage_is_kept_beside_the_first(cli, db):
    for name in ("photos.db.damaged", "photos.db.damaged-2"):
        assert damage(db, b"long name 07.png", b"PNG") >= 1
        assert cli("verify", "--repair", "--db", db).status == 0
        assert db.with_name(name).exists()


def test_a_file_without_its_list_of_tables_cannot_be_saved_and_is_left_alone(cli, db):
    data = db.read_bytes()
    db.write_bytes(data[:100] + b"\xa5" * (PAGE - 100) + data[PAGE:])
    bad = db.read_bytes()
    done = cli("verify", "--repair", "--db", db)
    assert done.status == 1
    assert done.err.splitlines()[-1] == (
        f"hashae: {db} is damaged so that not even its list of tables can be read: nothing can be saved; restore a "
        "copy, or index the pictures into a new file"
    )
    assert db.read_bytes() == bad
    assert [path.name for path in db.parent.iterdir() if path.is_file()] == [db.name]


def test_a_file_cut_off_in_the_middle_is_saved_as_far_as_it_goes(cli, db):
    whole = content(db)
    data = db.read_bytes()
    db.write_bytes(data[: len(data) // PAGE * 3 // 4 * PAGE])
    done = cli("verify", "--repair", "--db", db)
    assert done.err.startswith(f"{db} is damaged")
    if done.status == 0:
        assert [row[0] for row in content(db)[0]] == [row[0] for row in whole[0]]


def test_a_file_in_use_is_not_replaced(cli, db):
    assert damage(db, b"long name 07.png", b"PNG") >= 1
    other = sqlite3.connect(db, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    real = salvage._connect
    try:
        salvage._connect = lambda path: sqlite3.connect(path, timeout=0.05, isolation_level=None)
        done = cli("verify", "--repair", "--db", db)
    finally:
        salvage._connect = real
        other.close()
    assert done.status == 1
    assert "is in use by" in done.err
    assert not db.with_name("photos.db.damaged").exists()


def test_a_missing_or_foreign_file_is_named(cli, tmp_path):
    missing = tmp_path / "none.db"
    assert "there is no collection at" in cli("verify", "--db", missing).err
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE t (x)")
    assert cli("verify", "--repair", "--db", other).err == (
        f"hashae: {other} is a database of another program; give another file with --db\n"
    )
