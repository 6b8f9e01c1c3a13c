"""A node of a cluster that is killed in the middle costs a retry: the answer is that of one process."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from hashae import pretrained
from hashae.indexer import Collection

PROGRAM = Path(__file__).with_name("nodes.py")
PICTURES = 1400

pytestmark = pytest.mark.long


def run(*arguments):
    done = subprocess.run(
        [sys.executable, "-P", str(PROGRAM), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def rows(path):
    query = (
        "SELECT images.id, images.path, size, content, width, height, format, missing, code, confidence, detail "
        "FROM images JOIN codes ON codes.image = images.id ORDER BY images.id"
    )
    with sqlite3.connect(path) as connection:
        return connection.execute(query).fetchall()


def test_of_an_index(draw, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(PICTURES):
        draw(number).save(folder / f"{number:04d}.png")
    told = run("index", folder, tmp_path / "many.db")
    killed = int(told.split("killed at ")[1].split()[0])
    assert 0 < killed < PICTURES
    with Collection.open(tmp_path / "one.db", threads=2) as collection:
        collection.set_encoder(pretrained.load("photo", threads=2))
        collection.index(folder)
    assert rows(tmp_path / "many.db") == rows(tmp_path / "one.db")
    assert len(rows(tmp_path / "many.db")) == PICTURES


def test_of_a_search_for_duplicates():
    assert "killed at [" in run("join")
