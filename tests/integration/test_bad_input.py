"""Bad input through the command line: a clear sentence, the right exit status, nothing lost, a next run that works."""

import json
import os
import re
import shutil
import sqlite3
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from sqlalchemy import event
from sqlalchemy.engine import Engine

from hashae.db import session
from hashae.indexer import ingest


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.fixture(scope="session")
def bomb():
    """A sound PNG of 30,000 x 30,000 pixels in 110 kB; decoded, it takes 900 MB."""
    packer = zlib.compressobj(1)
    rows = b"".join(packer.compress(bytes(3751 * 1000)) for _ in range(30)) + packer.flush()
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def text(_picture, _folder):
    return "bad.jpg", b"dear diary\nno picture today\n"


def nothing(_picture, _folder):
    return "bad.png", b""


def zeros(_picture, _folder):
    return "bad.jpg", bytes(4000)


def noise(_picture, _folder):
    return "bad.webp", bytes(range(256)) * 8


def truncated_jpeg(picture, folder):
    picture.save(folder / "whole.tmp", "JPEG")
    data = (folder / "whole.tmp").read_bytes()
    (folder / "whole.tmp").unlink()
    return "bad.jpg", data[: len(data) // 2]


def truncated_png(picture, folder):
    picture.save(folder / "whole.tmp", "PNG")
    data = (folder / "whole.tmp").read_bytes()
    (folder / "whole.tmp").unlink()
    return "bad.png", data[: len(data) // 2]


def damaged_png(picture, folder):
    picture.save(folder / "whole.tmp", "PNG")
    data = bytearray((folder / "whole.tmp").read_bytes())
    (folder / "whole.tmp").unlink()
    data[16:24] = bytes(8)  # no width and no height; the checksum does not fit either
    return "bad.png", bytes(data)


BAD = [
    (text, "not an image (the file holds text)"),
    (nothing, "empty file (0 bytes)"),
    (zeros, "not an image (the file starts with zeros)"),
    (noise, "not an image of a known format"),
    (truncated_jpeg, "truncated image"),
    (truncated_png, "truncated image"),
    (damaged_png, "not an image of a known format"),
]
each_kind = pytest.mark.parametrize(("make", "reason"), BAD, ids=[make.__name__ for make, _ in BAD])


@pytest.fixture
def db(tmp_path):
    return tmp_path / "photos.db"


@pytest.fixture
def options(db, encoder_file):
    return "--encoder", encoder_file, "--db", db


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "my pictures \U0001f408"
    made.mkdir()
    return made


@pytest.fixture
def good_run(cli, options, fill, folder):
    """Return a function that puts good pictures into `folder` and checks that indexing it works."""

    def run(bad=0):
        fill(folder, range(3))
        done = cli("index", folder, *options)
        assert done.status == 0, done.err
        told = json.loads(cli("stats", "--db", options[-1], "--json").out)
        assert (told["images"], len(told["failures"])) == (3, bad)

    return run


def sentence(result, status=1):
    """The one line that a failed command prints last."""
    assert result.status == status, result
    assert "Traceback" not in result.err
    last = result.err.strip().splitlines()[-1]
    assert last.startswith("hashae: ")
    return last.removeprefix("hashae: ")


# --- pictures -----------------------------------------------------------------------------------------------------


@each_kind
def test_a_folder_of_only_bad_files_fails_with_the_first_reason(cli, options, folder, draw, good_run, make, reason):
    name, data = make(draw(1), folder)
    (folder / name).write_bytes(data)
    (folder / f"later {name}").write_bytes(data)
    for command in ("index", "dedup"):
        assert sentence(cli(command, folder, *options)) == (
            f"none of the 2 pictures in {folder} can be used; the first: {folder / name}: {reason}"
        )
    good_run(bad=2)


@each_kind
def test_one_bad_file_among_good_ones_is_listed_and_stops_nothing(cli, options, folder, draw, fill, make, reason):
    name, data = make(draw(1), folder)
    (folder / name).write_bytes(data)
    fill(folder, range(3))
    for command in ("index", "dedup"):
        done = cli(command, folder, *options)
        assert done.status == 0
        assert "3 images: " in done.err
        assert "1 unusable" in done.err
        assert done.err.endswith(f"1 file could not be used:\n  {folder / name}: {reason}\n")
    listed = [{"path": str(folder / name), "reason": reason}]
    assert json.loads(cli("stats", *options[2:], "--json").out)["failures"] == listed
    assert json.loads(cli("index", "--json", *options[2:]).out)["failed"] == listed
    assert json.loads(cli("dedup", "--json", *options[2:]).out)["failures"] == listed
    assert cli("stats", *options[2:]).err.endswith(f"  {folder / name}: {reason}\n")


@each_kind
def test_a_bad_query_picture_is_named_with_its_reason(cli, options, folder, draw, good_run, make, reason):
    good_run()
    name, data = make(draw(1), folder)
    (folder / name).write_bytes(data)
    assert sentence(cli("query", folder / name, *options[2:])) == f"{folder / name}: {reason}"
    done = cli("query", folder / "1.png", "--exact", "--json", *options[2:])
    assert [match["path"] for match in json.loads(done.out)["matches"]] == [str(folder / "1.png")]


def test_many_bad_files_are_counted_and_the_first_ten_listed(cli, options, folder, fill):
    fill(folder)
    for number in range(13):
        (folder / f"bad {number:02}.jpg").write_text("text")
    done = cli("index", folder, *options)
    assert done.status == 0
    lines = done.err.splitlines()
    assert lines[-12] == "13 files could not be used:"
    assert lines[-1] == "  and 3 more; all of them: hashae stats --json"


def test_a_picture_of_900_million_pixels_takes_no_memory(hashae, options, folder, bomb, fill, tmp_path):
    (folder / "bomb.png").write_bytes(bomb)
    fill(folder, range(3))
    reason = "image has too many pixels; the limit is 178,956,970"
    notes = tmp_path / "memory"
    watch = f"""
import atexit, os
place = {str(notes)!r}
atexit.register(lambda: open(place + str(os.getpid()), "w").write(open("/proc/self/status").read()))
"""
    for command in (("index", folder, *options), ("query", folder / "bomb.png", *options[2:])):
        done = hashae(*command, before=watch if sys.platform == "linux" else "")
        assert f"{folder / 'bomb.png'}: {reason}" in done.err
        assert done.status == (command[0] == "query")
        if sys.platform == "linux":
            told = [note.read_text() for note in tmp_path.glob("memory*")]
            assert len(told) == (2 if command[0] == "index" else 3)
            peaks = [int(re.search(r"VmHWM:\s+(\d+)", status)[1]) for status in told]
            assert max(peaks) < 600_000  # kB; numpy, ONNX Runtime and SQLAlchemy take a quarter of it
            assert max(peaks) > 60_000  # the child's is among them


def test_a_missing_folder_a_file_and_an_empty_folder_are_told_apart(cli, options, folder, draw, good_run):
    draw(1).save(folder / "x.png")
    for command in ("index", "dedup"):
        assert sentence(cli(command, folder / "none", *options)) == (
            f"{folder / 'none'} does not exist; expected a folder of pictures"
        )
        assert sentence(cli(command, folder / "x.png", *options)) == (
            f"{folder / 'x.png'} is a file; expected a folder of pictures"
        )
    (folder / "x.png").unlink()
    (folder / "notes.txt").write_text("not a picture, and not said to be one")
    for command in ("index", "dedup"):
        assert sentence(cli(command, folder, *options)) == (
            f"{folder} holds no pictures; give a folder with JPEG, PNG or other image files"
        )
    good_run()


def test_a_missing_query_picture_and_a_folder_as_one_are_named(cli, options, folder, good_run):
    good_run()
    assert sentence(cli("query", folder / "none.png", *options[2:])) == f"{folder / 'none.png'}: no such file"
    assert sentence(cli("query", folder, *options[2:])) == f"{folder}: is a folder, not an image"


def test_pipes_broken_links_and_loops_of_links_neither_hang_nor_stop(cli, options, folder, fill):
    fill(folder, range(3))
    os.mkfifo(folder / "pipe.jpg")
    (folder / "broken.png").symlink_to(folder / "nowhere.png")
    (folder / "circle.png").symlink_to(folder / "circle.png")
    (folder / "inner").mkdir()
    (folder / "inner" / "loop").symlink_to(folder)
    (folder / "again.png").symlink_to(folder / "1.png")
    done = cli("index", folder, *options)
    assert done.status == 0
    assert done.err.startswith("3 images: 3 new, 3 unusable, in ")
    told = {Path(f["path"]).name: f["reason"] for f in json.loads(cli("stats", *options[2:], "--json").out)["failures"]}
    assert told == {
        "pipe.jpg": "not a regular file (a pipe, socket or device)",
        "broken.png": "broken link",
        "circle.png": "broken link",
    }
    assert "no duplicates among 3 images" in cli("dedup", "--radius", "0", *options[2:]).out


def test_what_may_not_be_read_is_listed_and_the_rest_is_done(hashae, options, folder, fill, no_privileges):
    fill(folder, range(3))
    fill(folder / "closed", [3])
    (folder / "secret.png").write_bytes((folder / "1.png").read_bytes())
    first = hashae("index", folder, *options)
    assert first.err.startswith("5 images: 5 new, in "), first
    os.utime(folder / "secret.png", (1, 1))
    os.chmod(folder / "closed", 0)
    os.chmod(folder / "secret.png", 0)
    try:
        done = hashae("index", folder, *options, wrapper=no_privileges)
        assert done.status == 0, done.err
        assert done.err.startswith("3 images: 3 unchanged, 2 unusable, 1 of them usable before")
        assert f"  {folder / 'closed'}: folder cannot be listed (Permission denied)\n" in done.err
        assert f"  {folder / 'secret.png'}: cannot be read (Permission denied)\n" in done.err
        os.chmod(folder, 0)
        closed = hashae("index", folder, *options, wrapper=no_privileges)
        assert sentence(closed) == f"{folder} cannot be listed (permission denied); allow reading or choose another"
    finally:
        os.chmod(folder, 0o755)
        os.chmod(folder / "closed", 0o755)
        os.chmod(folder / "secret.png", 0o644)
    told = json.loads(hashae("stats", *options[2:], "--json").out)
    assert (told["images"], len(told["failures"])) == (4, 2)
    again = json.loads(hashae("index", "--json", *options[2:]).out)
    assert (again["images"], again["failed"], again["missing"]) == (5, [], 0)


def test_training_on_bad_pictures_says_so(cli, folder, tmp_path):
    (folder / "bad.jpg").write_text("text")
    shown = sentence(cli("train", folder, "-o", tmp_path / "e.onnx"))
    reason = f"(the first problem: {folder / 'bad.jpg'}: not an image (the file holds text))"
    assert shown.startswith(f"{folder} holds 0 readable pictures {reason}; learning a code needs at least 2")
    assert not (tmp_path / "e.onnx").exists()


# --- collection files ---------------------------------------------------------------------------------------------

COMMANDS = [["index", "FOLDER"], ["dedup", "FOLDER"], ["query", "PICTURE"], ["stats"], ["encoders"]]


@pytest.fixture
def refused(cli, fill, folder):
    """Return a function that runs every command on a bad collection file and returns the one sentence they all say."""
    fill(folder, range(3))
    names = {"FOLDER": folder, "PICTURE": folder / "1.png"}

    def run(db):
        before = db.read_bytes()
        said = {sentence(cli(*(names.get(word, word) for word in command), "--db", db)) for command in COMMANDS}
        assert len(said) == 1
        assert db.read_bytes() == before
        return said.pop()

    return run


def test_a_text_file_is_no_collection(refused, tmp_path, good_run):
    path = tmp_path / "notes.db"
    path.write_text("dear diary")
    assert refused(path) == f"{path} is not a collection (no SQLite file); give another file with --db"
    good_run()


def test_the_database_of_another_program_is_no_collection(refused, tmp_path, good_run):
    path = tmp_path / "other.db"
    other = sqlite3.connect(path)
    other.executescript("CREATE TABLE images (id); INSERT INTO images VALUES (1)")
    other.close()
    assert refused(path) == f"{path} is a database of another program; give another file with --db"
    good_run()


def test_a_collection_of_a_newer_version_is_refused(refused, db, good_run):
    good_run()
    newer = sqlite3.connect(db)
    newer.execute("UPDATE alembic_version SET version_num = '0999'")
    newer.commit()
    newer.close()
    shown = refused(db)
    assert shown.startswith(f"{db} was written by a newer hashae (schema 0999; this one knows ")
    assert shown.endswith("); update hashae")


def test_a_damaged_collection_says_what_can_be_done(refused, db, good_run, cli, folder, options):
    good_run()
    data = db.read_bytes()
    db.write_bytes(data[:100] + b"\xa5" * 3996 + data[4096:])
    shown = refused(db)
    assert shown.startswith(f"{db} is damaged (")
    assert shown.endswith("); restore a copy, or index the pictures into a new file")
    assert cli("index", folder, *options[:2], "--db", db.with_name("new.db")).status == 0


def test_a_missing_collection_or_folder_of_it_is_named(cli, folder, options, fill, tmp_path):
    fill(folder, [1])
    missing = tmp_path / "none.db"
    for command in (["query", folder / "1.png"], ["stats"], ["encoders"]):
        assert sentence(cli(*command, "--db", missing)) == (
            f"there is no collection at {missing}; make one: hashae index FOLDER --db {missing}"
        )
    assert not missing.exists()
    lost = tmp_path / "no" / "photos.db"
    assert sentence(cli("index", folder, *options[:2], "--db", lost)) == (
        f"{lost.parent} does not exist; create the folder, or give another --db"
    )


def test_a_collection_in_use_by_another_program_is_waited_for(cli, db, folder, options, good_run, fill, monkeypatch):
    good_run()
    monkeypatch.setattr(session, "BUSY_SECONDS", 0.05)
    fill(folder, [5])
    other = sqlite3.connect(db, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        assert sentence(cli("index", *options[2:])) == (
            f"{db} is in use by another process for more than 0.05 s; try again later"
        )
        assert cli("stats", *options[2:]).status == 0  # reading needs no lock
    finally:
        other.close()
    assert json.loads(cli("index", "--json", *options[2:]).out)["added"] == 1


def test_a_read_only_collection_answers_and_cannot_be_changed(
    hashae, db, folder, options, good_run, fill, no_privileges
):
    good_run()
    fill(folder, [5])
    os.chmod(db, 0o444)
    try:
        answer = hashae("query", folder / "1.png", "--exact", "--json", *options[2:], wrapper=no_privileges)
        assert len(json.loads(answer.out)["matches"]) == 1
        changed = hashae("index", *options[2:], wrapper=no_privileges)
        assert sentence(changed) == f"{db} is read-only; allow writing, or copy it elsewhere and give --db"
    finally:
        os.chmod(db, 0o644)
    assert json.loads(hashae("index", "--json", *options[2:]).out)["added"] == 1


def test_a_collection_that_cannot_grow_keeps_what_it_has_and_goes_on_later(
    cli, db, folder, options, good_run, fill, monkeypatch, sound, encoder, tmp_path
):
    good_run()
    fill(folder, range(3, 60))
    for path in (folder / f"{number}.png" for number in range(3, 60)):
        path.rename(folder / f"{'long ' * 30}{path.name}")  # fills pages of the file
    monkeypatch.setattr(ingest, "BATCH", 8)

    def no_growth(connection, _record):
        connection.execute("PRAGMA max_page_count = 1")  # taken as: not one page more than there are

    event.listen(Engine, "connect", no_growth)
    try:
        shown = sentence(cli("index", *options[2:]))
    finally:
        event.remove(Engine, "connect", no_growth)
    assert shown == f"{db} cannot grow: the disk is full; free some space and run the command again"
    stored = sound(db, tmp_path / "copy")
    assert 3 <= len(stored) < 60
    assert (len(stored) - 3) % 8 == 0
    assert json.loads(cli("index", "--json", *options[2:]).out)["images"] == 60
    assert_complete(sound(db, tmp_path / "copy 2"), folder, encoder)


def assert_complete(stored, folder, encoder):
    paths = sorted(path.name for path in folder.iterdir())
    assert sorted(stored) == paths
    assert [stored[name] for name in paths] == [code.tobytes() for code in encoder.encode([folder / p for p in paths])]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own: (folder, function that sets its size in bytes)."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid():
        pytest.skip("only root can mount a small file system")
    made = subprocess.run([mount, "-t", "tmpfs", "-o", "size=16m", "tmpfs", place], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("a file system cannot be mounted here")
    try:
        yield place, lambda size: subprocess.run([mount, "-o", f"remount,size={size}", place], check=True)
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_really_full_disk_is_named_loses_nothing_and_is_gone_on_from(
    hashae, small_disk, folder, encoder, encoder_file, fill, sound, tmp_path
):
    disk, resize = small_disk
    db = disk / "photos.db"
    fill(folder, range(3))
    assert hashae("index", folder, "--encoder", encoder_file, "--db", db).status == 0
    fill(folder, range(3, 80))
    used = sum(path.stat().st_size for path in disk.iterdir())
    resize(used + 160_000)
    slowly = "import hashae.indexer.ingest as ingest; ingest.BATCH = 4"
    shown = sentence(hashae("index", "--db", db, before=slowly))
    assert shown == f"{db} cannot grow: the disk is full; free some space and run the command again"
    stored = sound(db, tmp_path / "copy")
    assert 3 < len(stored) < 80
    assert (len(stored) - 3) % 4 == 0
    resize(16 << 20)
    done = json.loads(hashae("index", "--db", db, "--json").out)
    assert (done["images"], done["added"]) == (80, 80 - len(stored))
    assert_complete(sound(db, tmp_path / "copy 2"), folder, encoder)


# --- encoder files ------------------------------------------------------------------------------------------------


def foreign_model(outside=False):
    """An ONNX model of somebody else: the sum of its input and a constant."""
    constant = numpy_helper.from_array(np.zeros(4, np.float32), "constant")
    if outside:
        constant = TensorProto(name="constant", data_type=TensorProto.FLOAT, dims=[4])
        constant.data_location = TensorProto.EXTERNAL
        constant.external_data.add(key="location", value="/etc/passwd")
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "constant"], ["y"])],
        "sum",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [constant],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (lambda _good: b"dear diary", "is not an ONNX model ("),
        (lambda _good: b"", "is not an ONNX model ("),
        (lambda good: good[: len(good) // 2], "is not an ONNX model ("),
        (lambda _good: foreign_model(), "is an ONNX model, but not one of hashae; expected a file that train wrote"),
        (lambda _good: foreign_model(outside=True), "refers to other files (external data)"),
        (None, "does not exist; expected an encoder file (.onnx) that train wrote"),
    ],
    ids=["text", "empty", "truncated", "foreign", "external data", "missing"],
)
def test_a_model_file_that_is_not_ours_is_refused(
    cli, db, folder, encoder, tmp_path, fill, good_run, content, expected
):
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content(encoder.data))
    fill(folder, range(3))
    shown = sentence(cli("index", folder, "--encoder", path, "--db", db))
    assert f"{path} {expected}" in shown
    assert len(shown) < 400
    good_run()
    before = json.loads(cli("stats", "--db", db, "--json").out)
    assert expected in sentence(cli("dedup", folder, "--encoder", path, "--db", db))
    assert json.loads(cli("stats", "--db", db, "--json").out) == before


def test_an_encoder_of_a_newer_format_is_refused(cli, db, folder, encoder, tmp_path, fill, good_run):
    model = onnx.load_from_string(encoder.data)
    values = json.loads(model.metadata_props[0].value)
    helper.set_model_props(model, {"hashae": json.dumps(values | {"format": 99})})
    path = tmp_path / "newer.onnx"
    path.write_bytes(model.SerializeToString())
    fill(folder, range(3))
    shown = sentence(cli("index", folder, "--encoder", path, "--db", db))
    assert "has format 99; this version reads 1: update hashae" in shown
    good_run()
