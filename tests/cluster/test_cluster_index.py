"""Indexing on a cluster: every row of the file is that of one process, whatever the cluster loses on the way."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner

from hashae import pretrained
from hashae.cli.main import cli
from hashae.errors import HashaeError, SourceError
from hashae.images.canonical import CanonicalForm
from hashae.indexer import Collection
from hashae.indexer.cluster import reading
from hashae.indexer.cluster.session import TRIES
from hashae.indexer.remote import Wanted

TABLES = {
    "images": "SELECT * FROM images ORDER BY id",
    "codes": "SELECT image, code, confidence, detail FROM codes ORDER BY image",
    "failures": "SELECT source, path, size, mtime_ns, reason FROM failures ORDER BY path",
}


def rows(path):
    with sqlite3.connect(path) as connection:
        return {name: connection.execute(query).fetchall() for name, query in TABLES.items()}


def indexed(db, folder, cluster=None, **settings):
    with Collection.open(db, threads=2) as collection:
        if not collection.has_encoder:
            collection.set_encoder(pretrained.load("photo", threads=2))
        return collection.index(folder, cluster=cluster, **settings)


@pytest.fixture
def pictures(tmp_path, draw):
    """Two hundred pictures, some of one content, some that are none, with names of every kind."""
    folder = tmp_path / "pictures"
    (folder / "below").mkdir(parents=True)
    for number in range(200):
        draw(number % 190).save(folder / ("below" if number % 3 else "") / f"ä {number:03d}.png")
    (folder / "not.jpg").write_text("text")
    (folder / "empty.jpg").touch()
    (folder / "cut.png").write_bytes((folder / "ä 000.png").read_bytes()[:900])
    shutil.copy(folder / "ä 000.png", os.fsdecode(os.fsencode(folder) + b"/no text \xff.png"))
    return folder


def test_rows_are_those_of_one_process_and_stay_so(cluster, pictures, tmp_path, draw, monkeypatch):
    monkeypatch.setattr(reading, "BLOCK", 64)
    one, many = tmp_path / "one.db", tmp_path / "many.db"
    told = [indexed(one, pictures), indexed(many, pictures, cluster)]
    assert rows(many) == rows(one)
    assert told[1].added == 201
    assert len(told[1].failed) == 3
    # changed, moved, gone, copied, damaged, put right, with another time only, new
    draw(500).save(pictures / "ä 003.png")
    (pictures / "ä 006.png").rename(pictures / "moved.png")
    (pictures / "ä 009.png").unlink()
    shutil.copy(pictures / "ä 012.png", pictures / "copy.png")
    (pictures / "ä 015.png").write_bytes(b"damaged")
    draw(501).save(pictures / "not.jpg")
    os.utime(pictures / "ä 018.png", (1, 1))
    draw(502).save(pictures / "new.png")
    told = [indexed(one, pictures), indexed(many, pictures, cluster)]
    assert rows(many) == rows(one)
    for summary in told:
        summary.seconds = 0.0
    told[1].encoded = told[0].encoded  # a copy is decoded on the cluster before it is known to be one
    assert told[1] == told[0]
    assert (told[1].changed, told[1].moved, told[1].missing, told[1].unreadable) == (1, 1, 1, 1)


def test_a_killed_worker_costs_a_retry(cluster, pictures, tmp_path, kill_worker, monkeypatch):
    monkeypatch.setattr(reading, "BLOCK", 64)
    one, many, killed = tmp_path / "one.db", tmp_path / "many.db", []
    indexed(one, pictures)

    def kill_both(progress):
        if progress.stage == "index" and not killed:
            killed.extend(name for name in ("read_block", "EncodeBlock") if kill_worker(name))

    with Collection.open(many) as collection:
        collection.set_encoder(pretrained.load("photo"))
        reader = reading.ClusterReader
        monkeypatch.setattr(reading, "ClusterReader", lambda *a, **k: _Watched(reader(*a, **k), kill_both))
        collection.index(pictures, cluster=cluster)
    assert killed
    assert rows(many) == rows(one)


class _Watched:
    """A reader that calls a function before each part but the first."""

    def __init__(self, reader, call):
        self.reader, self.call = reader, call

    def read(self, folder, files):
        from hashae.indexer.summary import Progress

        for part in self.reader.read(folder, files):
            yield part
            self.call(Progress("index", 0, None))


def test_a_picture_that_crashes_its_decoder_costs_itself(cluster, pictures, tmp_path, draw):
    draw(300).save(pictures / "bad.ppm")
    with (pictures / "bad.ppm").open("ab") as file:
        file.write(b"crash")
    summary = indexed(tmp_path / "many.db", pictures, cluster)
    assert {Path(f.path).name: f.reason for f in summary.failed}["bad.ppm"] == "the decoder crashed (SIGSEGV)"
    assert summary.added == 201


@pytest.mark.long
def test_everything_in_processes_of_its_own_makes_the_same_rows(cluster, pictures, tmp_path):
    indexed(tmp_path / "one.db", pictures)
    indexed(tmp_path / "many.db", pictures, cluster, isolate=True)
    assert rows(tmp_path / "one.db") == rows(tmp_path / "many.db")


@pytest.mark.long
def test_an_interrupted_run_goes_on_where_it_was(cluster, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr("hashae.indexer.ingest.BATCH", 64)
    db = tmp_path / "many.db"

    def stop(progress):
        if progress.stage == "index" and progress.done >= 128:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        indexed(db, pictures, cluster, on_progress=stop)
    summary = indexed(db, pictures, cluster)
    assert summary.unchanged >= 120
    assert summary.encoded <= 81
    indexed(tmp_path / "one.db", pictures)
    assert rows(db) == rows(tmp_path / "one.db")


def test_a_node_that_does_not_see_the_folder_is_named(cluster, tmp_path):
    reader = reading.ClusterReader(cluster, pretrained.load("photo"))
    with pytest.raises(
        SourceError, match=r"nowhere is not there on node [0-9.]+ of the cluster; expected the same folder"
    ):
        list(reader.read(str(tmp_path / "nowhere"), [Wanted(str(tmp_path / "nowhere" / "a.png"))]))


def test_a_node_that_does_not_reach_the_store_is_named(cluster):
    reader = reading.ClusterReader(cluster, pretrained.load("photo"))
    with pytest.raises(SourceError, match=r"^node [0-9.]+ of the cluster: nosuch:// is no object store that is known"):
        list(reader.read("nosuch://bucket", [Wanted("nosuch://bucket/a.png")]))


@pytest.mark.usefixtures("cluster")
def test_a_drive_that_is_not_mounted_on_a_node_is_told_from_a_file_that_is_gone(tmp_path, draw):
    import ray

    folder, attempts = tmp_path / "mounted" / "here", ray.remote(num_cpus=0)(reading.Attempts).remote()
    folder.mkdir(parents=True)
    files = [Wanted(str(folder / "a.png"))]
    # On the node the folder is empty, as it is where its drive is not mounted.
    block, form = reading.table_of(0, files, isolate=False), CanonicalForm.preset("photo", 32)
    back = reading.read_block(block, folder=str(tmp_path), form=form, attempts=attempts)
    coded = back.append_column("code", [[None]])
    told, _ = reading._checked(*reading.part_of(coded), iter(files))
    assert [outcome.reason for outcome in told] == ["no such file"]
    draw(1).save(folder / "a.png")
    with pytest.raises(
        SourceError, match=r"a\.png is there on this machine, but its folder is empty or missing on node "
    ):
        reading._checked(*reading.part_of(coded), iter(files))


def test_what_is_left_of_a_cluster_may_be_one_core():
    assert reading.DECODING + reading.ENCODING <= 1  # else Ray waits for ever


@pytest.mark.usefixtures("cluster")
def test_a_block_that_is_lost_again_and_again_ends_the_run(tmp_path):
    import ray

    attempts = ray.remote(num_cpus=0)(reading.Attempts).remote()
    begun = [ray.get(attempts.begin.remote(7)) for _ in range(TRIES + 1)]
    assert begun == list(range(TRIES + 1))
    table = reading.table_of(7, [Wanted(str(tmp_path / "a.png"))], isolate=False)
    with pytest.raises(
        HashaeError, match=r"lost 11 times \(files from .*a.png on\); .* what is stored is not done twice"
    ):
        reading.read_block(table, folder=str(tmp_path), form=CanonicalForm.preset("photo", 32), attempts=attempts)


def test_a_known_content_is_not_decoded(picture_folder):
    path = str(next(picture_folder.rglob("*.png")))
    form = CanonicalForm.preset("photo", 32)
    outcome, thumb = reading.look(path, None, form, None)
    assert outcome.image == (96, 72, "PNG")
    assert len(thumb) == form.thumb**2
    assert reading.look(path, outcome.content, form, None) == (reading.Outcome(outcome.content), None)


@pytest.mark.long
@pytest.mark.usefixtures("cluster")
def test_the_command(pictures, tmp_path):
    done = CliRunner().invoke(
        cli, ["index", str(pictures), "--ray", "--db", str(tmp_path / "many.db"), "--no-calibrate"]
    )
    assert done.exit_code == 0, done.output
    indexed(tmp_path / "one.db", pictures)
    assert rows(tmp_path / "many.db") == rows(tmp_path / "one.db")
