"""Indexing that is stopped: by kill -9 at any moment, or by Ctrl-C. At most the batch in flight is lost."""

import random
import signal
import sqlite3
import time

import pytest

BATCH = 16
PICTURES = 120
RUNNER = f"""
import time
import hashae.indexer.ingest as ingest
ingest.BATCH, read = {BATCH}, ingest.read_bytes
ingest.read_bytes = lambda path: time.sleep(0.006) or read(path)  # as slow as a large photograph
"""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory, fill):
    return fill(tmp_path_factory.mktemp("kill") / "pictures", range(PICTURES))


@pytest.fixture
def db(tmp_path, hashae, encoder_file, fill):
    """A collection that has its encoder and one small folder already."""
    path = tmp_path / "photos.db"
    first = fill(tmp_path / "first", [500])
    assert hashae("index", first, "--encoder", encoder_file, "--db", path).status == 0
    return path


def stored(path):
    """Number of pictures in the collection, seen by a reader that changes nothing."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)
    try:
        return connection.execute("SELECT count(*) FROM images WHERE path != '500.png'").fetchone()[0]
    finally:
        connection.close()


def wait_for(child, path, count):
    """Wait until `count` images are stored or the run has ended."""
    while child.poll() is None and stored(path) < count:
        time.sleep(0.01)  # looking is not free: the run should get on


def expected_codes(encoder, folder, others):
    paths = sorted(folder.iterdir())
    codes = {path.name: code.tobytes() for path, code in zip(paths, encoder.encode(paths), strict=True)}
    return codes | {path.name: encoder.encode([path])[0].tobytes() for path in others.iterdir()}


def test_kill_9_at_random_moments_loses_at_most_a_batch_and_the_end_is_as_if_undisturbed(
    spawn, hashae, db, pictures, encoder, sound, tmp_path, fingerprint
):
    rng = random.Random(7)
    files = fingerprint(pictures)
    killed = 0
    for number in range(4):  # fifty in tests/faults, by name
        before = stored(db)
        child = spawn("index", pictures, "--db", db, "--workers", "1", before=RUNNER)
        if number == 0:
            time.sleep(rng.uniform(0.1, 0.4))  # while it starts or scans
        else:
            wait_for(child, db, before + 1)
            time.sleep(rng.uniform(0, 0.08))
        child.send_signal(signal.SIGKILL)
        killed += child.wait(timeout=60) == -signal.SIGKILL
        codes = sound(db, tmp_path / f"copy {number}")
        assert None not in codes.values()
        done = len(codes) - 1
        assert done >= before  # a reader from outside never sees more than what is kept
        assert done % BATCH == 0 or done == PICTURES
    assert killed >= 3
    assert stored(db) > 0
    final = hashae("index", pictures, "--db", db, before=RUNNER)
    assert final.status == 0
    assert f"{PICTURES} images: " in final.err
    assert sound(db, tmp_path / "copy") == expected_codes(encoder, pictures, tmp_path / "first")
    assert fingerprint(pictures) == files


def test_a_collection_killed_while_it_is_made_can_be_made_again(
    spawn, hashae, tmp_path, fill, encoder_file, sound, draw
):
    rng = random.Random(8)
    folder = fill(tmp_path / "few", range(3))
    db = tmp_path / "new.db"
    for _ in range(2):
        child = spawn("index", folder, "--encoder", encoder_file, "--db", db)
        while child.poll() is None and not db.exists():
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.03))
        child.send_signal(signal.SIGKILL)
        child.wait(timeout=60)
    done = hashae("index", folder, "--encoder", encoder_file, "--db", db)
    assert done.status == 0, done.err
    assert len(sound(db, tmp_path / "copy")) == 3


def test_ctrl_c_ends_with_status_130_one_sentence_and_the_next_run_goes_on(
    spawn, hashae, db, pictures, encoder, sound, tmp_path
):
    child = spawn("index", pictures, "--db", db, "--workers", "1", before=RUNNER)
    wait_for(child, db, 1)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert out == b""
    assert err.decode().strip() == "hashae: interrupted; what was stored is safe, run the command again to go on"
    done = len(sound(db, tmp_path / "copy")) - 1
    assert 0 < done < PICTURES
    assert done % BATCH == 0
    final = hashae("index", pictures, "--db", db, before=RUNNER)
    assert final.err.startswith(f"{PICTURES} images: {PICTURES - done} new, {done} unchanged, in ")
    assert sound(db, tmp_path / "copy 2") == expected_codes(encoder, pictures, tmp_path / "first")
