"""Indexing and its file under faults that are really produced: kills, full disks, many programs at once."""

import json
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from hashae.indexer import Collection, kept_index

GOLDEN = Path(__file__).parents[1] / "golden" / "collection-0001.db"
BATCH = 8
SLOWLY = f"""
import time
import hashae.indexer.ingest as ingest
ingest.BATCH, ingest.PART, read = {BATCH}, {BATCH}, ingest.read_bytes
ingest.read_bytes = lambda path: time.sleep(0.004) or read(path)
"""
forms = pytest.mark.parametrize("kills", [4, pytest.param(50, marks=pytest.mark.long)])


@contextmanager
def file_size_limit(size):
    """Let no file of this process grow beyond `size` bytes, as a full disk would."""
    # Python would leave a part of the compiled code of a module that is first loaded now, and stumble over it for ever.
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        sys.dont_write_bytecode = written


@pytest.fixture
def db(tmp_path, encoder):
    path = tmp_path / "photos.db"
    with Collection.open(path) as collection:
        collection.set_encoder(encoder)
    return path


@forms
def test_kill_9_while_files_come_move_and_go_loses_nothing(spawn, cli, db, tmp_path, fill, draw, sound, encoder, kills):
    """Between the kills the folder changes; at the end it is as if nothing had happened."""
    rng, folder = random.Random(kills), fill(tmp_path / "photos", range(30))
    (folder / "sub").mkdir()
    killed, next_picture = 0, 100
    for number in range(3 * kills):  # a run that came to its end before it was killed does not count
        if killed == kills:
            break
        for _ in range(12):
            draw(next_picture).save(folder / f"{next_picture}.png")
            next_picture += 1
        paths = sorted(folder.glob("*.png"))
        rng.choice(paths).rename(folder / "sub" / f"moved {number}.png")
        rng.choice(sorted(folder.glob("*.png"))).unlink()
        child = spawn("index", folder, "--db", db, "--no-calibrate", "--workers", "1", before=SLOWLY)
        before = _count(db)
        until = time.monotonic() + rng.uniform(0.3, 0.6)
        while child.poll() is None and _count(db) == before and time.monotonic() < until + 1:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.05))
        child.send_signal(signal.SIGKILL)
        killed += child.wait(timeout=60) == -signal.SIGKILL
        assert None not in sound(db, tmp_path / f"copy {number}").values()
        shutil.rmtree(tmp_path / f"copy {number}")
    assert killed == kills
    assert cli("index", folder, "--db", db, "--no-calibrate").status == 0
    paths = sorted(path for path in folder.rglob("*.png"))
    expected = {
        str(path.relative_to(folder)): c.tobytes() for path, c in zip(paths, encoder.encode(paths), strict=True)
    }
    assert sound(db, tmp_path / "copy") == expected
    assert cli("verify", "--db", db).status == 0


def _count(path):
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as connection:
        return connection.execute("SELECT count(*) FROM codes").fetchone()[0]


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.long)])
def test_a_migration_killed_before_any_statement_is_undone_or_done(tmp_path, step):
    script = Path(__file__).with_name("migrating.py")
    command = [sys.executable, "-P", script, GOLDEN, tmp_path, str(step)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 30 // step


READER = """
import sqlite3, sys, time
from contextlib import closing
from hashae.indexer import Collection
seen = 0
while not sys.stdin.closed and seen < 100000:
    with closing(sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True, timeout=30)) as connection:
        connection.execute("BEGIN")
        images = connection.execute("SELECT count(*) FROM images").fetchone()[0]
        codes = connection.execute("SELECT count(*) FROM codes").fetchone()[0]
        assert images == codes, f"half a batch: {images} images, {codes} codes"
    with Collection.open(sys.argv[1], create=False, threads=1) as collection:
        index = collection.hash_index()
        assert len(index) >= seen, "images were lost"
        seen = len(index)
    if seen >= int(sys.argv[2]):
        break
print(seen)
"""


def test_two_runs_and_three_readers_at_once(spawn, db, tmp_path, fill, sound, encoder):
    count = 48
    folder = fill(tmp_path / "photos", range(count))
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    readers = [subprocess.Popen([sys.executable, "-c", READER, db, str(count)], **options) for _ in range(3)]
    writers = [spawn("index", folder, "--db", db, "--no-calibrate", "--workers", "1", before=SLOWLY) for _ in range(2)]
    for writer in writers:
        _, err = writer.communicate(timeout=120)
        assert writer.returncode == 0, err
    for reader in readers:
        out, err = reader.communicate(timeout=60)
        assert (reader.returncode, out, err) == (0, f"{count}\n", "")
    paths = sorted(folder.iterdir())
    codes = {path.name: code.tobytes() for path, code in zip(paths, encoder.encode(paths), strict=True)}
    assert sound(db, tmp_path / "copy") == codes


# --- no room, no right --------------------------------------------------------------------------------------------


def test_a_file_that_may_not_grow_keeps_what_it_has_and_goes_on_later(cli, db, tmp_path, fill, sound, monkeypatch):
    folder = fill(tmp_path / "photos", range(5))
    assert cli("index", folder, "--db", db).status == 0
    fill(folder, range(5, 40))
    for path in sorted(folder.iterdir()):
        path.rename(folder / f"{'long ' * 40}{path.name}")
    monkeypatch.setattr("hashae.indexer.ingest.BATCH", 8)
    with file_size_limit(48 << 10):  # of the log, which everything goes through
        refused = cli("index", "--db", db)
    assert refused.status == 1
    assert refused.err.splitlines()[-1].startswith(f"hashae: {db} cannot ")
    assert len(sound(db, tmp_path / "copy")) >= 5
    done = json.loads(cli("index", "--db", db, "--json").out)
    assert (done["images"], done["failed"]) == (40, [])
    assert cli("verify", "--db", db).status == 0


def test_an_index_that_cannot_be_kept_costs_nothing_but_time(cli, db, tmp_path, fill, monkeypatch):
    monkeypatch.setattr(kept_index, "KEPT_FROM", 1)
    folder = fill(tmp_path / "photos", range(20))
    assert cli("index", folder, "--db", db).status == 0
    with Collection.open(db), file_size_limit(64):  # what SQLite keeps beside the file is there already
        first = cli("query", folder / "1.png", "-k", "5", "--json", "--db", db)
    assert first.status == 0
    assert list(tmp_path.glob(".hashae-*")) == list(tmp_path.glob("*.index-1")) == []
    second = cli("query", folder / "1.png", "-k", "5", "--json", "--db", db)
    assert json.loads(first.out)["matches"] == json.loads(second.out)["matches"]
    assert len(list(tmp_path.glob("*.index-1"))) == 1


@pytest.mark.parametrize(
    ("option", "name"), [("--report", "report.html"), ("--csv", "groups.csv"), ("--plan", "p.json")]
)
def test_a_report_without_room_leaves_the_old_one_whole(cli, db, tmp_path, fill, option, name):
    folder = fill(tmp_path / "photos", range(6))
    shutil.copy(folder / "1.png", folder / "copy.png")
    assert cli("index", folder, "--db", db).status == 0
    old = tmp_path / name
    assert cli("dedup", "--db", db, option, old).status == 0
    before = old.read_bytes()
    with file_size_limit(16):
        refused = cli("dedup", "--db", db, option, old)
    assert refused.status == 1
    assert refused.err.splitlines()[-1].startswith("hashae: ")
    assert old.read_bytes() == before
    assert list(tmp_path.glob(".hashae-*")) == []
    assert cli("dedup", "--db", db, option, old).status == 0


def test_a_collection_in_a_folder_that_is_read_only_says_so(hashae, db, tmp_path, fill, no_privileges):
    closed, folder = tmp_path / "closed", fill(tmp_path / "photos", range(3))
    assert hashae("index", folder, "--db", db).status == 0
    closed.mkdir()
    moved = Path(shutil.copy(db, closed / "photos.db"))
    before = moved.read_bytes()
    closed.chmod(0o555)
    moved.chmod(0o444)
    try:
        refused = hashae("index", "--db", moved, wrapper=no_privileges)
        assert refused.status == 1
        assert "Traceback" not in refused.err
        assert str(moved) in refused.err.splitlines()[-1]
        assert moved.read_bytes() == before
    finally:
        closed.chmod(0o755)


# --- memory -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1500, pytest.param(50_000, marks=pytest.mark.long)])
def test_many_small_images_take_little_memory(tmp_path_factory, encoder_file, count):
    """What every image leaves behind while its collection is indexed; a million of them must stay below 1 GiB."""
    folder = tmp_path_factory.mktemp("many")
    command = [sys.executable, "-P", "-c", MEASURE, Path(__file__).parent, folder, str(count), encoder_file]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    shutil.rmtree(folder)
    assert (found["images"], found["unchanged"], found["failed"]) == (count, count, 0)
    # Decoded images in flight, a batch, the pages of SQLite; and some hundred bytes for each path.
    assert found["again_bytes"] - found["start_bytes"] < 150 * 2**20 + 800 * count


MEASURE = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from many_images import measure
print(json.dumps(measure(Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4])))
"""

if not os.path.exists("/proc/self/status"):
    test_many_small_images_take_little_memory = pytest.mark.skip("peak memory is read from /proc")(
        test_many_small_images_take_little_memory
    )
