"""hashae watch: what changes on disk is in the collection a moment later; Ctrl-C ends it."""

import signal
import sqlite3
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from hashae.cli.watch import watch
from hashae.errors import MissingDependency
from hashae.indexer.watching import MANY, changed_folders, watch_folders


def present(db):
    connection = sqlite3.connect(f"file:{db}?mode=ro", uri=True, timeout=30)
    try:
        return {Path(path).name for (path,) in connection.execute("SELECT path FROM images WHERE NOT missing")}
    finally:
        connection.close()


def wait_for(child, db, names):
    until = time.monotonic() + 60
    while present(db) != names:
        assert child.poll() is None
        assert time.monotonic() < until, present(db)
        time.sleep(0.02)


def test_what_comes_moves_and_goes_is_noticed_and_ctrl_c_ends_it(cli, spawn, tmp_path, fill, draw, encoder_file):
    pytest.importorskip("watchfiles")
    folder, db = fill(tmp_path / "photos", range(3)), tmp_path / "photos.db"
    assert cli("index", folder, "--encoder", encoder_file, "--db", db).status == 0
    child = spawn("watch", folder, "--db", db, "--quiet-time", "100")
    while b"watching" not in (line := child.stderr.readline()):
        assert line
    fill(folder / "new", [7])
    wait_for(child, db, {"0.png", "1.png", "2.png", "7.png"})
    (folder / "1.png").rename(folder / "new" / "one.png")
    (folder / "2.png").unlink()
    (folder / "notes.txt").write_text("no picture")
    wait_for(child, db, {"0.png", "one.png", "7.png"})
    assert cli("stats", "--db", db).status == 0  # safe beside other commands
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 0
    assert err.decode().splitlines()[-1] == "stopped watching"
    assert "KeyboardInterrupt" not in err.decode()


def test_no_collection_is_made_for_a_folder_that_is_not_there(cli, tmp_path):
    done = cli("watch", tmp_path / "nothere", "--db", tmp_path / "new.db")
    assert done.status == 1
    assert "nothere does not exist; expected a folder of pictures" in done.err
    assert not (tmp_path / "new.db").exists()


def test_ctrl_c_in_the_middle_of_indexing_ends_it_as_cleanly(cli, tmp_path, fill, encoder_file, monkeypatch):
    pytest.importorskip("watchfiles")
    folder, db = fill(tmp_path / "photos", range(3)), tmp_path / "photos.db"
    assert cli("index", folder, "--encoder", encoder_file, "--db", db).status == 0
    asked = []

    def interrupted(_collection, part):
        asked.append(part)
        raise KeyboardInterrupt

    monkeypatch.setattr("hashae.cli.watch._index", interrupted)
    monkeypatch.setattr("os.nice", lambda _: 0)  # of this process
    done = CliRunner().invoke(watch, [str(folder), "--db", str(db)])
    assert asked
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[-1] == "stopped watching"


def test_without_the_library_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    with pytest.raises(MissingDependency, match=r"pip install 'hashae\[watch\]'"):
        next(watch_folders([tmp_path], lambda _path: True, None))


def test_folders_inside_changed_ones_are_left_out_and_many_are_looked_at_as_one(tmp_path):
    for name in ("a/b", "c", ".hidden/x"):
        (tmp_path / name).mkdir(parents=True)
    paths = [tmp_path / "a" / "1.png", tmp_path / "a" / "b" / "2.png", tmp_path / "c" / "gone" / "3.png"]
    paths += [tmp_path / ".hidden" / "x" / "4.png", Path("/elsewhere/5.png")]
    assert changed_folders(map(str, paths), [tmp_path]) == [tmp_path / "a", tmp_path / "c"]
    assert changed_folders([str(tmp_path / "6.png"), *map(str, paths)], [tmp_path]) == [tmp_path]
    for number in range(MANY + 1):
        (tmp_path / "c" / str(number)).mkdir()
    many = [str(tmp_path / "c" / str(number) / "x.png") for number in range(MANY + 1)]
    assert changed_folders(many, [tmp_path]) == [tmp_path]
    assert changed_folders(many[:2], [tmp_path]) == [tmp_path / "c" / "0", tmp_path / "c" / "1"]
