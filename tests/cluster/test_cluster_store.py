"""A cluster and an object store: same rows and groups as one process makes of a folder with the same files."""

from __future__ import annotations

import json
import sqlite3

import pytest
from click.testing import CliRunner

from hashae.cli.main import cli

ROWS = """SELECT images.id, images.path, content, width, height, format, missing, code, confidence, detail
FROM images JOIN codes ON codes.image = images.id ORDER BY images.id"""


KEEP = ("--keep", "path")  # times are those of the upload


def run(*arguments):
    done = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done


def rows(path):
    with sqlite3.connect(path) as connection:
        return connection.execute(ROWS).fetchall()


def groups(done, root):
    return [
        [(image["path"].removeprefix(str(root)), image["tier"], image["distance"]) for image in group["images"]]
        for group in json.loads(done.stdout)["groups"]
    ]


@pytest.mark.usefixtures("cluster")
def test_from_store_to_report(picture_folder, upload, bucket, tmp_path):
    (picture_folder / "copy.png").write_bytes(next(picture_folder.rglob("*.png")).read_bytes())
    upload(picture_folder, "photos/")
    address, one, many = f"s3://{bucket}/photos", tmp_path / "one.db", tmp_path / "many.db"
    here = run("dedup", picture_folder, "--db", one, "--json", "--no-calibrate", *KEEP)
    run("index", address, "--ray", "--db", many, "--no-calibrate")
    assert rows(many) == rows(one)
    assert len(rows(many)) == 37
    report = tmp_path / "report.html"
    there = run("dedup", address, "--ray", "--db", many, "--json", "--no-calibrate", "--report", report, *KEEP)
    assert groups(there, address) == groups(here, picture_folder)
    assert len(groups(there, address)) == 1
    assert address in report.read_text("utf-8")
