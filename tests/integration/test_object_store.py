"""Pictures in an object store: a real S3 server on this machine, and the answers of a folder with the same files."""

from __future__ import annotations

import base64
import json
import os
import shutil
import sqlite3
import sys

import pytest

from hashae import object_store
from hashae.errors import ImageError, MissingDependency, SourceError
from hashae.images import ahead
from hashae.images.ahead import reading_ahead
from hashae.images.scan import check_source
from hashae.indexer import Collection, ingest
from hashae.indexer.pixels import thumbnail
from hashae.indexer.report_page import LARGE_SIDE


@pytest.fixture
def reconnect():
    """Return a function that forgets the connections: an environment that changes is not seen by one that is open."""
    yield object_store._filesystem.cache_clear
    object_store._filesystem.cache_clear()


@pytest.fixture
def pictures(fill, tmp_path, draw):
    """Twelve pictures, four of them in two groups of duplicates, and what is no picture."""
    folder = tmp_path / "pictures"
    fill(folder, range(5))
    fill(folder / "b c", range(5, 8))
    fill(folder / "b c" / "é+%41", range(8, 10))
    fill(folder / ".hidden", [20])
    shutil.copy(folder / "1.png", folder / "b c" / "copy.png")
    draw(3).save(folder / "other.png", compress_level=1)
    (folder / "not.jpg").write_text("text")
    (folder / "empty.jpg").touch()
    (folder / "notes.txt").touch()
    return folder


@pytest.fixture
def address(bucket, pictures, upload):
    """Address of these pictures in the store."""
    upload(pictures, "holiday/")
    return f"s3://{bucket}/holiday"


@pytest.fixture
def opened(tmp_path, encoder):
    """Return a function that makes a collection."""
    made = []

    def make(name):
        made.append(Collection.open(tmp_path / f"{name}.db", threads=1))
        made[-1].set_encoder(encoder)
        return made[-1]

    yield make
    for collection in made:
        collection.close()


@pytest.fixture
def reads(monkeypatch):
    """What is read, in the order in which it comes."""
    names, decode = [], sys.modules["hashae.images.decode"]
    read = decode.read_stored

    def noted(address, most):
        names.append(address.rsplit("/", 1)[1])
        return read(address, most)

    monkeypatch.setattr(decode, "read_stored", noted)
    return names


def rows(collection):
    query = (
        "SELECT images.id, images.path, images.content, width, height, format, missing, code, confidence, detail "
        "FROM images JOIN codes ON codes.image = images.id ORDER BY images.id"
    )
    with sqlite3.connect(collection.path) as connection:
        return connection.execute(query).fetchall()


def groups(report, root):
    return [
        [(image.id, image.path.removeprefix(str(root)), image.tier, image.distance) for image in group.images]
        for group in report.groups
    ]


def test_rows_and_groups_are_those_of_a_folder(address, pictures, opened):
    here, there = opened("here"), opened("there")
    told = [here.index(pictures), there.index(f"{address}/")]
    assert rows(there) == rows(here)
    assert len(rows(there)) == 12
    assert (told[1].added, len(told[1].failed)) == (told[0].added, len(told[0].failed)) == (12, 2)
    assert there.stats()["folders"][0]["path"] == address
    reports = [here.dedup(radius=0), there.dedup(address, radius=0)]
    assert groups(reports[1], address) == groups(reports[0], pictures)
    assert len(reports[1].groups) == 2
    assert reports[1].groups[0].keeper.path.startswith("s3://")
    answer = there.query(f"{address}/b c/copy.png", exact=True)
    assert [match.path for match in answer.matches] == [f"{address}/1.png", f"{address}/b c/copy.png"]


def test_a_second_run_reads_only_what_changed(address, bucket, s3, opened, reads, draw, tmp_path):
    collection = opened("there")
    collection.index(address)
    reads.clear()
    summary = collection.index(address)
    assert (summary.unchanged, reads) == (12, [])
    put = {"Bucket": bucket, "Key": "holiday/2.png"}
    data = s3.get_object(**put)["Body"].read()
    s3.put_object(**put, Body=data[:-1] + bytes([data[-1] ^ 1]))  # same size, and most likely the same second
    s3.copy_object(Bucket=bucket, Key="holiday/z/4.png", CopySource=f"{bucket}/holiday/4.png")
    for name in ("0.png", "4.png"):
        s3.delete_object(Bucket=bucket, Key=f"holiday/{name}")
    draw(30).save(tmp_path / "new.png")
    s3.put_object(Bucket=bucket, Key="holiday/new.png", Body=(tmp_path / "new.png").read_bytes())
    summary = collection.index(address)
    assert sorted(reads) == ["2.png", "4.png", "new.png"]
    assert (summary.added, summary.changed, summary.moved, summary.missing) == (1, 1, 1, 1)
    assert [path for _, path in collection.missing().gone] == [f"{address}/0.png"]
    assert [(f.name, f.count) for f in collection.verify(sample=20).findings if f.name == "files"] == []
    assert collection.index(address, prune=True).pruned == 1


def test_a_part_of_a_source_belongs_to_it_and_a_bucket_takes_it_over(address, bucket, opened):
    collection = opened("there")
    collection.index(address)
    summary = collection.index(f"{address}/b c")
    assert (summary.unchanged, summary.added, summary.missing) == (6, 0, 0)
    summary = collection.index(f"s3://{bucket}")
    assert (summary.unchanged, summary.added) == (12, 0)
    assert [folder["path"] for folder in collection.stats()["folders"]] == [f"s3://{bucket}"]


def test_a_folder_in_which_nothing_is_left_is_believed_only_when_asked_to(address, bucket, s3, opened):
    collection = opened("there")
    collection.index(address)
    for found in s3.list_objects_v2(Bucket=bucket)["Contents"]:
        s3.delete_object(Bucket=bucket, Key=found["Key"])
    with pytest.raises(SourceError, match="holds no pictures now, and the collection knows 12 of it"):
        collection.index(address)
    assert collection.index(address, prune=True).pruned == 12


def test_a_store_that_goes_away_ends_the_run_and_the_next_goes_on(address, opened, monkeypatch):
    monkeypatch.setattr(ingest, "BATCH", 4)
    collection, read = opened("there"), ingest.read_bytes

    def lost(path):
        if path.endswith("9.png"):
            raise SourceError(f"{path} cannot be reached")
        return read(path)

    with monkeypatch.context() as patch:
        patch.setattr(ingest, "read_bytes", lost)
        with pytest.raises(SourceError, match=r"9\.png cannot be reached"):
            collection.index(address, workers=1)
    stored = len(collection)
    assert 0 < stored < 12
    summary = collection.index(address)
    assert (summary.unchanged, summary.added) == (stored, 12 - stored)


def test_the_command_line_from_store_to_report(address, bucket, s3, cli, encoder_file, tmp_path):
    db = ["--db", tmp_path / "there.db"]
    done = cli("index", address, *db, "--encoder", encoder_file, "--no-calibrate")
    assert done.status == 0, done.err
    report, plan = tmp_path / "report.html", tmp_path / "plan.json"
    asked = ["--radius", "0", "--prefer", f"{address}/b c", "--report", report, "--plan", plan]
    done = cli("dedup", address, *db, *asked)
    assert done.status == 0, done.err
    assert f"keep {address}/b c/copy.png" in done.out
    page = report.read_text("utf-8")
    for name in ("1.png", "3.png"):
        assert base64.b64encode(thumbnail(f"{address}/{name}", LARGE_SIDE)).decode() in page
    assert f"{address}/b c" in page
    done = cli("query", f"{address}/1.png", *db, "--exact", "--json", "--report", tmp_path / "answers.html")
    assert done.status == 0, done.err
    assert [match["path"] for match in json.loads(done.out)["matches"]] == [
        f"{address}/1.png",
        f"{address}/b c/copy.png",
    ]
    assert (tmp_path / "answers.html").read_text("utf-8").count("data:image/jpeg;base64,") == 3
    done = cli("verdict", "keep", f"{address}/1.png", *db)
    assert done.status == 0, done.err
    # What would move or delete objects is refused, one by one, and nothing is gone.
    before = s3.list_objects_v2(Bucket=bucket)["KeyCount"]
    for action in (["trash"], ["hardlink"], ["move", "--to", tmp_path / "away"]):
        done = cli("apply", plan, "--action", *action)
        assert "lies in an object store; only files of this machine are acted on" in " ".join(done.err.split())
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == before
    done = cli("apply", plan, "--action", "move", "--to", f"s3://{bucket}/away")
    assert (done.status, "expected a folder of this machine" in done.err) == (1, True)
    done = cli("dedup", f"{address}/b c", *db, "--against", address, "--radius", "0", "--json")
    assert done.status == 0, done.err
    assert [pair["path"] for pair in json.loads(done.out)["pairs"]] == [f"{address}/b c/copy.png"]


def test_what_is_no_folder_in_a_store_is_told(address, bucket, opened, cli, tmp_path):
    collection = opened("there")
    for wrong, sentence in {
        "s3://nowhere/x": "s3://nowhere/x: there is no bucket s3://nowhere; endpoint and credentials",
        f"{address}/1.png": "1.png is an object; expected a folder of pictures",
        "s3://": "s3:// names no bucket; expected s3://BUCKET or s3://BUCKET/FOLDER",
        "s3://a/../b": "has an empty part, or one of dots",
        "https://a/b": "https:// is no object store; expected a folder",
        "nosuch://a/b": "nosuch:// is no object store that is known here",
    }.items():
        with pytest.raises(SourceError, match=sentence):
            collection.index(wrong)
    done = cli("index", f"s3://{bucket}/none", "--db", tmp_path / "none.db")
    assert (done.status, f"s3://{bucket}/none holds no pictures" in done.err) == (1, True)
    with pytest.raises(SourceError, match="made into a path, which drops a slash; give it as text"):
        check_source(f"s3:/{bucket}")
    with pytest.raises(ImageError, match=r"none\.png: no such object"):
        collection.query(f"{address}/none.png", k=1)


def test_what_cannot_be_done_with_a_store_is_told(address, opened, cli, tmp_path, monkeypatch):
    opened("there").index(address)
    monkeypatch.setattr(os, "nice", lambda _by: None)
    done = cli("watch", "--db", tmp_path / "there.db")
    assert done.status == 1
    assert f"not watched: {address}; a store tells nobody what changes, look at it with: hashae index" in done.err
    assert "there.db has no folder of this machine to watch; name one: hashae watch FOLDER" in done.err
    done = cli("train", address, "-o", tmp_path / "x.onnx")
    assert done.status == 1
    assert "is the address of an object store; expected a folder of this machine" in done.err


def test_what_may_not_be_read_is_told(address, bucket, s3, opened):
    collection, one = opened("there"), f"arn:aws:s3:::{bucket}/holiday/1.png"
    s3.put_bucket_policy(Bucket=bucket, Policy=policy("Deny", "s3:GetObject", one, Principal="*"))
    summary = collection.index(address)
    assert summary.added == 11
    assert "cannot be read (access denied" in {f.path: f.reason for f in summary.failed}[f"{address}/1.png"]
    s3.delete_bucket_policy(Bucket=bucket)
    assert collection.index(address).added == 1  # tried again, although it did not change


def test_credentials_that_are_not_enough_are_told(address, bucket, s3, opened, monkeypatch, reconnect):
    import boto3
    from moto import settings
    from moto.core.authorization import ActionAuthenticatorMixin

    iam = boto3.client("iam", endpoint_url=s3.meta.endpoint_url)
    iam.create_user(UserName=bucket)
    allowed = policy("Allow", "s3:GetObject", f"arn:aws:s3:::{bucket}/*")
    iam.put_user_policy(UserName=bucket, PolicyName="reads", PolicyDocument=allowed)
    key = iam.create_access_key(UserName=bucket)["AccessKey"]
    # From here on the server looks at who asks.
    monkeypatch.setattr(settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0)
    monkeypatch.setattr(ActionAuthenticatorMixin, "request_count", 0)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    reconnect()
    with pytest.raises(SourceError, match=r"cannot be listed \(access denied: .*\); endpoint and credentials are read"):
        opened("there").index(address)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    reconnect()
    with pytest.raises(SourceError, match=r"the credentials are refused \(.*signature.*\)|cannot be listed"):
        opened("there").index(address)


def policy(effect, action, resource, **more):
    statement = {"Effect": effect, "Action": action, "Resource": resource, **more}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def test_a_store_that_does_not_answer_is_told_in_one_sentence(cli, monkeypatch, tmp_path, reconnect):
    reconnect()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setattr(object_store, "TRIES", 1)
    done = cli("index", "s3://bucket/folder", "--db", tmp_path / "none.db")
    assert done.status == 1
    assert done.err.startswith("hashae: s3://bucket/folder cannot be reached (Could not connect to the endpoint URL")
    assert "is the network there? endpoint and credentials are read from AWS_ENDPOINT_URL" in done.err
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    reconnect()
    with pytest.raises(SourceError, match="Unable to locate credentials"):
        check_source("s3://bucket/folder")


def test_without_its_library_it_is_told_how_to_get_it(monkeypatch, reconnect):
    from fsspec.registry import _registry

    reconnect()
    monkeypatch.delitem(_registry, "s3", raising=False)
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(MissingDependency, match=r"reading s3:// addresses needs .*; run: pip install 'hashae\[s3\]'"):
        check_source("s3://bucket")
    reconnect()
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(MissingDependency, match=r"reading gs:// addresses needs .*; run: pip install 'hashae\[gcs\]'"):
        check_source("gs://bucket")


def test_other_stores_that_fsspec_knows_are_read_the_same_way(pictures, opened):
    import fsspec

    memory, here, there = fsspec.filesystem("memory"), opened("here"), opened("there")
    memory.put(str(pictures), "/somewhere", recursive=True)
    try:
        here.index(pictures)
        there.index("memory://somewhere")
        assert rows(there) == rows(here)
        memory.pipe_file("/somewhere/2.png", (pictures / "3.png").read_bytes())
        summary = there.index("memory://somewhere")
        assert (summary.changed, summary.unchanged) == (1, 11)
    finally:
        memory.rm("/somewhere", recursive=True)


def test_what_other_libraries_call_forbidden_is_that_of_one_object():
    with pytest.raises(PermissionError, match="Forbidden: bucket"), object_store._reaching("gs://bucket/a.png"):
        raise OSError("Forbidden: bucket/a.png")
    with (
        pytest.raises(
            SourceError, match=r"gs://bucket/a\.png cannot be reached \(odd\); .* GOOGLE_APPLICATION_CREDENTIALS"
        ),
        object_store._reaching("gs://bucket/a.png"),
    ):
        raise RuntimeError("odd")


def test_files_of_a_store_are_read_ahead_in_order(monkeypatch):
    asked = []

    def read(path):
        asked.append(path)
        if path.endswith("/3"):
            raise ImageError(path, "no")
        return path.encode()

    names = [f"s3://b/{number}" for number in range(20)]
    with reading_ahead(names, read) as fetch:
        assert fetch(names[0]) == b"s3://b/0"
        with pytest.raises(ImageError, match="no"):
            fetch(names[3])  # what lies between was left out
        assert fetch(names[19]) == b"s3://b/19"
    assert sorted(asked) == sorted(names)
    with reading_ahead(names, read) as fetch:
        fetch(names[0])
    assert len(asked) <= 20 + ahead.AT_ONCE
