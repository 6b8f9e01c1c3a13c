"""Another encoder for a collection: it is added beside the old one and takes its place when it is complete."""

import json
import signal
import sqlite3
import time

import pytest

from hashae.indexer import Collection, ingest

SLOW = """
import time
import hashae.indexer.ingest as ingest
ingest.BATCH, read = 8, ingest.read_bytes
ingest.read_bytes = lambda path: time.sleep(0.006) or read(path)
"""


@pytest.fixture
def photos(tmp_path, fill):
    return fill(tmp_path / "photos", range(40))


@pytest.fixture
def db(tmp_path, cli, encoder_file, photos):
    path = tmp_path / "photos.db"
    assert cli("index", photos, "--encoder", encoder_file, "--db", path).status == 0
    return path


@pytest.fixture
def other_file(make_encoder, tmp_path):
    path = tmp_path / "other.onnx"
    make_encoder(3, bits=128, name="other").save(path)
    return path


def encoders(cli, db):
    return [
        (e["name"], e["default"], e["next"], e["codes"]) for e in json.loads(cli("encoders", "--json", "--db", db).out)
    ]


def test_the_old_encoder_answers_until_the_new_one_is_complete(cli, spawn, db, photos, other_file, tmp_path, fill):
    """Killed on the way, the old one stays in use; the next run, whatever it is, carries on."""
    before = cli("query", photos / "1.png", "-k", "5", "--json", "--db", db).out
    child = spawn("index", "--encoder", other_file, "--db", db, "--workers", "1", before=SLOW)
    while child.poll() is None and sum(entry[3] for entry in encoders(cli, db)) < 48:
        time.sleep(0.002)
    child.send_signal(signal.SIGKILL)
    child.wait(timeout=60)
    (old, new) = encoders(cli, db)
    assert old == ("tiny", True, False, 40)
    assert (new[:3], 0 < new[3] < 40) == (("other", False, True), True)
    after = cli("query", photos / "1.png", "-k", "5", "--json", "--db", db).out
    assert json.loads(after)["matches"] == json.loads(before)["matches"]
    done = cli("index", photos, "--db", db)
    assert done.status == 0
    assert f"({(40 - new[3]):,} encoded" not in done.err
    assert encoders(cli, db) == [("tiny", False, False, 40), ("other", True, False, 40)]
    assert json.loads(cli("query", photos / "1.png", "-k", "5", "--json", "--db", db).out)["bits"] == 128


def test_what_another_folder_holds_is_encoded_before_the_new_one_is_used(cli, db, photos, other_file, fill, tmp_path):
    scans = fill(tmp_path / "scans", range(50, 54))
    assert cli("index", scans, "--encoder", other_file, "--db", db).status == 0
    assert encoders(cli, db) == [("tiny", False, False, 40), ("other", True, False, 44)]


def test_a_drive_that_is_away_keeps_the_old_encoder_in_use(cli, db, photos, other_file, fill, tmp_path):
    scans = fill(tmp_path / "scans", range(50, 54))
    assert cli("index", scans, "--db", db).status == 0
    scans.rename(tmp_path / "drive")
    done = cli("index", "--encoder", other_file, "--db", db)
    assert done.status == 0
    assert (
        "4 images are still to be encoded by the new encoder; the old one stays in use until they are, or until: "
        "hashae encoders use NAME\n"
    ) in done.err
    assert encoders(cli, db) == [("tiny", True, False, 44), ("other", False, True, 40)]
    (tmp_path / "drive").rename(scans)
    assert cli("index", "--db", db).status == 0
    assert encoders(cli, db) == [("tiny", False, False, 44), ("other", True, False, 44)]


def test_an_encoder_can_be_chosen_and_removed_but_not_the_one_in_use(cli, db, photos, other_file):
    assert cli("index", "--encoder", other_file, "--db", db).status == 0
    refused = cli("encoders", "remove", "other", "--db", db)
    assert refused.status == 1
    assert refused.err == (
        "hashae: this encoder is in use; let another take its place first: hashae index --encoder NAME\n"
    )
    unknown = cli("encoders", "remove", "nobody", "--db", db)
    assert unknown.err.startswith(
        "hashae: no encoder is called 'nobody'; expected a name or the start of a fingerprint of: "
    )
    assert cli("encoders", "use", "tiny", "--db", db).status == 0
    assert encoders(cli, db)[0] == ("tiny", True, False, 40)
    assert cli("encoders", "--db", db, "remove", "other").out == (
        "other and its codes were removed; verdicts and pictures are as they were\n"
    )
    assert encoders(cli, db) == [("tiny", True, False, 40)]
    connection = sqlite3.connect(db)
    counts = [connection.execute(f"SELECT count(DISTINCT encoder) FROM {t}").fetchone() for t in ("codes", "bands")]
    connection.close()
    assert counts == [(1,), (1,)]


def test_going_back_to_the_encoder_in_use_forgets_the_one_that_was_to_follow(tmp_path, photos, encoder, make_encoder):
    with Collection.open(tmp_path / "c.db") as collection:
        collection.add_encoder(encoder)
        assert not collection.changes_encoder  # the first is in use at once
        collection.index(photos)
        collection.add_encoder(make_encoder(3))
        assert collection.changes_encoder
        assert collection.encoder.fingerprint == encoder.fingerprint
        collection.add_encoder(encoder)
        assert not collection.changes_encoder


def test_files_that_move_while_an_encoder_is_changed_keep_both_codes(
    tmp_path, photos, encoder, make_encoder, monkeypatch
):
    with Collection.open(tmp_path / "c.db") as collection:
        collection.set_encoder(encoder)
        collection.index(photos)
        collection.add_encoder(make_encoder(3, name="other"))
        monkeypatch.setattr(ingest, "BATCH", 8)
        (photos / "1.png").rename(photos / "moved.png")
        summary = collection.index()
        assert (summary.moved, summary.encoded, summary.waiting) == (1, 40, 0)
        assert [entry["codes"] for entry in collection.list_encoders()] == [40, 40]
