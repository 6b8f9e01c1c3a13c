"""What the tests of acting on files share: duplicates with awkward names, a plan, a trash of the test's own.

Every test ends with the same question: is every content that was there before still somewhere?
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sqlite3
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from hashae.db import inserted_id, open_database
from hashae.db.schema import images, sources
from hashae.indexer.catalogue import collection_id
from hashae.indexer.content import content_hash, content_of
from hashae.indexer.executor import Executor
from hashae.indexer.plan import Plan, PlannedAction

AWKWARD = (
    "plain.jpg",
    "sub/below.jpg",
    "smile \U0001f600.jpg",
    "two\nlines.jpg",
    os.fsdecode(b"raw \xff\xfe.jpg"),
    "-x .jpg",
)


@pytest.fixture
def tmp_path(tmp_path):
    """In memory, where there is such a place: these tests wait for the disk hundreds of times otherwise."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(prefix="hashae-test-", dir=memory))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def desktop(tmp_path, monkeypatch):
    """A home folder and a trash of the test's own; return the trash."""
    backend = pytest.importorskip("send2trash.plat_other")
    home = tmp_path / "home"
    home.mkdir()
    data = home / ".local" / "share"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_DATA_HOME", str(data))
    monkeypatch.setattr(backend, "XDG_DATA_HOME", os.fsencode(data))
    monkeypatch.setattr(backend, "HOMETRASH_B", os.fsencode(data / "Trash"))
    monkeypatch.setattr(backend, "HOMETRASH", str(data / "Trash"))
    return data / "Trash"


class World:
    """A collection of files: each content has a keeper and some copies under awkward names, which a plan lets go."""

    def __init__(self, root: Path, empty: Path) -> None:
        self.root, self.db = root, root / "photos.db"
        self.folder, self.keepers = root / "photos", root / "photos" / "keep"
        self.keepers.mkdir(parents=True)
        shutil.copy(empty, self.db)
        self.actions = []

    def write(self, path, data):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def pair(self, name, data, *, tier="bytes", other=None):
        """Write a keeper and a copy, and plan that the copy goes."""
        number = len(self.actions)
        keeper = self.write(self.keepers / f"{number}.jpg", data if other is None else other)
        path = self.write(self.folder / name, data)
        os.utime(path, ns=(10**18 + number, 10**18 + number))
        os.chmod(path, 0o640)
        self.plan_one(path, keeper, tier=tier)
        return path, keeper

    def plan_one(self, path, keeper, *, tier="bytes"):
        number = len(self.actions)
        both = (content_hash(path), path.stat().st_size, str(keeper), content_hash(keeper))
        self.actions.append(PlannedAction(number, tier, "the same file", str(path), *both))

    def fill(self, names=AWKWARD):
        for number, name in enumerate(names):
            self.pair(name, b"content %d " % number * 300)
        return self

    def plan(self, **changes):
        return Plan("2026-01-01T00:00:00Z", str(self.db), tuple(self.actions), **changes)

    def open(self):
        """Open the collection; its source and images are there."""
        database = open_database(self.db)
        id_ = collection_id(database, "default", "2026-01-01T00:00:00Z")
        with database.write() as connection:
            if connection.execute(select(sources.c.id)).first() is None:
                made = connection.execute(insert(sources).values(collection=id_, path=str(self.folder)))
                source = inserted_id(made)
                for path in sorted(self.folder.rglob("*.jpg"), key=os.fsencode):
                    row = {"path": os.path.relpath(path, self.folder), "content": content_hash(path), "format": "JPEG"}
                    numbers = {"size": path.stat().st_size, "mtime_ns": 1, "width": 1, "height": 1, "missing": False}
                    connection.execute(insert(images).values(source=source, **row, **numbers))
        return database, id_

    def execute(self, call, *, pixel_hash=lambda path: b""):
        """Call a function with an executor on this collection."""
        database, id_ = self.open()
        try:
            return call(Executor(database, id_, pixel_hash))
        finally:
            database.close()

    def apply(self, action, plan=None, **options):
        return self.execute(lambda executor: executor.apply(plan or self.plan(), action, **options))

    def undo(self, number=None):
        return self.execute(lambda executor: executor.undo(number))

    def tree(self):
        """Every file below the folder: path -> (content, mode, modification time)."""
        found = {}
        for path in sorted(self.folder.rglob("*"), key=os.fsencode):
            if path.is_file():
                status = path.stat()
                found[str(path.relative_to(self.folder))] = (
                    content_hash(path),
                    status.st_mode,
                    status.st_mtime_ns,
                    path.is_symlink(),
                    status.st_nlink,
                )
        return found

    def contents(self, *places):
        """How often each content exists, in the folder and in other places; hidden leftovers count too."""
        counted = Counter()
        for place in (self.folder, *places):
            for path in Path(place).rglob("*"):
                if path.is_file() and not path.is_symlink() and path.suffix != ".trashinfo":
                    counted[content_hash(path)] += 1
        return counted

    def missing(self):
        """Paths of the images that the collection takes for gone."""
        connection = sqlite3.connect(self.db)
        try:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            rows = connection.execute("SELECT path FROM images WHERE missing").fetchall()
        finally:
            connection.close()
        return {os.fsdecode(path) if isinstance(path, bytes) else path for (path,) in rows}

    def leftovers(self, *places):
        return [path for place in (self.root, *places) for path in Path(place).rglob(".hashae-*")]


@pytest.fixture(scope="session")
def empty(tmp_path_factory):
    """A collection file without anything in it: making one takes longer than a test."""
    path = tmp_path_factory.mktemp("empty") / "photos.db"
    open_database(path).close()
    return path


@pytest.fixture
def world(tmp_path, empty):
    return World(tmp_path, empty)


@pytest.fixture
def new_world(empty):
    """Return a function that makes a world in a folder."""
    return lambda folder: World(folder, empty)


@pytest.fixture(scope="session")
def content():
    return content_of


@pytest.fixture
def elsewhere(tmp_path, tmp_path_factory):
    """A folder on another file system."""
    folder = tmp_path_factory.mktemp("elsewhere")
    if folder.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system to write to")
    return folder


def _integration():
    """Return the fixtures of whole runs, which these tests share."""
    path = Path(__file__).parents[1] / "integration" / "conftest.py"
    spec = importlib.util.spec_from_file_location("integration_fixtures", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_shared = _integration()
make_encoder, encoder, encoder_file = _shared.make_encoder, _shared.encoder, _shared.encoder_file
fill, fingerprint, sound, no_privileges = _shared.fill, _shared.fingerprint, _shared.sound, _shared.no_privileges
environment, cli, spawn, hashae = _shared.environment, _shared.cli, _shared.spawn, _shared.hashae
