"""Many programs index into one database of a server, and the server goes away: no work twice, nothing lost."""

from __future__ import annotations

import time

import pytest
from PIL import Image

from hashae.db import open_database, server
from hashae.errors import CollectionError, ConnectionLost
from hashae.indexer import Collection
from hashae.place import place_of

PICTURES = 110
RUNNER = """
import os, time
import hashae.indexer.ingest as ingest
ingest.BATCH, ingest.PART, ingest.CLAIMED, ingest.IN_FLIGHT, read = 16, 16, 8, 16, ingest.read_bytes
def slow(path):
    with open({log!r} + str(os.getpid()), "a") as file:
        file.write(path + "\\n")
    time.sleep(0.01)  # as slow as a large photograph
    return read(path)
ingest.read_bytes = slow
"""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Pictures that differ, small, so that reading them is all the work."""
    folder = tmp_path_factory.mktemp("many") / "pictures"
    folder.mkdir()
    for number in range(PICTURES):
        image = Image.new("L", (24, 24))
        image.putdata([(number * 7919 + place * (number % 13 + 1) * 31) % 256 for place in range(576)])
        image.save(folder / f"{number:03d}.png")
    return folder


@pytest.fixture
def ready(server_url, encoder_file, fill, tmp_path, hashae):
    """A database with an encoder and one picture."""
    first = fill(tmp_path / "first", [500])
    assert hashae("index", first, "--encoder", encoder_file, "--db", server_url).status == 0
    return server_url


@pytest.fixture
def log(tmp_path):
    folder = tmp_path / "log"
    folder.mkdir()
    return f"{folder}/"


def reads(log):
    """What each program read: a list of paths for each."""
    from pathlib import Path

    return [path.read_text().splitlines() for path in sorted(Path(log).iterdir())]


def finish(children):
    """Wait for programs and return what they said; all must have done well."""
    said = []
    for child in children:
        _, err = child.communicate(timeout=180)
        assert child.returncode == 0, err.decode()
        said.append(err.decode())
    return said


def stored(url):
    """Path -> code of every picture."""
    database = open_database(url)
    query = "SELECT images.path, codes.code FROM images LEFT JOIN codes ON codes.image = images.id WHERE NOT missing"
    rows = {bytes(path).decode(): code for path, code in database.look_up(query, ())}
    left = database.look_up("SELECT count(*) FROM claims", ())[0][0]
    database.close()
    return rows, left


def expected(encoder, folder):
    paths = sorted(folder.iterdir())
    return {path.name: code.tobytes() for path, code in zip(paths, encoder.encode(paths), strict=True)}


def test_three_programs_index_one_folder_and_no_picture_is_read_twice(spawn, ready, pictures, encoder, log):
    runner = RUNNER.format(log=log)
    arguments = ("index", pictures, "--db", ready, "--workers", "1", "--no-calibrate")
    children = [spawn(*arguments, before=runner) for _ in range(3)]
    seen, waits = [], []
    with Collection.open(ready, create=False) as reader:
        while any(child.poll() is None for child in children):
            start = time.monotonic()
            seen.append(len(reader))
            assert reader.query(pictures / "000.png", radius=0).bits == 64
            waits.append(time.monotonic() - start)
            time.sleep(0.02)
    finish(children)
    read = reads(log)
    assert sorted(path for part in read for path in part) == sorted(str(path) for path in pictures.iterdir())
    assert len(read) == 3, "each of them did some of it"
    codes, left = stored(ready)
    assert left == 0
    codes.pop("500.png")
    assert codes == expected(encoder, pictures)
    assert seen == sorted(seen)
    assert len(set(seen)) > 3, "a reader saw it grow"
    with Collection.open(ready, create=False) as collection:
        assert [finding.kind for finding in collection.verify(sample=5).findings] == []


def test_what_a_killed_program_was_at_is_done_by_another(spawn, ready, pictures, encoder, log):
    runner = RUNNER.format(log=log)
    arguments = ("index", pictures, "--db", ready, "--workers", "1", "--no-calibrate")
    doomed, other = (spawn(*arguments, before=runner) for _ in range(2))
    with Collection.open(ready, create=False) as reader:
        while len(reader) < 30:
            time.sleep(0.01)
    doomed.kill()
    doomed.wait()
    finish([other])
    codes, left = stored(ready)
    codes.pop("500.png")
    assert codes == expected(encoder, pictures)
    assert left == 0
    twice = len([path for part in reads(log) for path in part]) - PICTURES
    assert 0 <= twice <= 64, "only what it had in hand was read again"


def test_a_server_that_is_killed_and_comes_back_costs_a_retry(spawn, ready, pictures, encoder, log, postgres):
    child = spawn("index", pictures, "--db", ready, "--workers", "1", "--no-calibrate", before=RUNNER.format(log=log))
    with Collection.open(ready, create=False) as reader:
        while len(reader) < 40:
            time.sleep(0.01)
        postgres.kill()
        time.sleep(0.5)
        postgres.start()
        (said,) = finish([child])
        assert len(reader) == PICTURES + 1  # its own connection was lost as well
        assert reader.query(pictures / "000.png", k=1).matches[0].distance == 0
    assert "lost" in said or "cannot be reached" in said
    codes, _ = stored(ready)
    codes.pop("500.png")
    assert codes == expected(encoder, pictures)


def test_a_server_that_stays_away_is_told_in_a_sentence(ready, postgres, monkeypatch, cli, pictures):
    monkeypatch.setattr(server, "RETRY_SECONDS", 0.2)
    with Collection.open(ready, create=False) as collection:
        postgres.stop()
        try:
            with pytest.raises(ConnectionLost, match=r"cannot be reached \(.+\); is the server running, and the addre"):
                collection.query(pictures / "000.png", radius=1)
            with pytest.raises(ConnectionLost, match="cannot be reached"):
                collection.index(pictures)
            refused = cli("stats", "--db", ready)
            assert refused.status == 1
            assert refused.err.count("\n") <= 2
            assert f"{place_of(ready)} cannot be reached" in refused.err
        finally:
            postgres.start()
        assert len(collection) == 1


def test_a_transaction_whose_connection_breaks_leaves_nothing_and_says_so(ready, postgres):
    database = open_database(ready)

    def break_in_the_middle():
        with database.write() as connection:
            connection.exec_driver_sql("DELETE FROM images")
            postgres.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state LIKE 'idle in%'")
            connection.exec_driver_sql("SELECT 1")

    with pytest.raises(ConnectionLost, match=r"was lost .+; what was stored before is safe, run the command again"):
        break_in_the_middle()
    assert database.look_up("SELECT count(*) FROM images", ()) == [(1,)]
    postgres.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    assert database.look_up("SELECT count(*) FROM images", ()) == [(1,)]
    database.close()


def test_who_writes_is_told_to_who_waits_and_waiting_has_an_end(ready, monkeypatch, caplog):
    monkeypatch.setattr(server, "TOLD_SECONDS", 0.1)
    monkeypatch.setattr(server, "BUSY_SECONDS", 0.4)
    one, other = open_database(ready), open_database(ready)

    def wait():
        with other.write():
            pass

    message = r"is in use by hashae on this machine \(session \d+\) for more than 0.4 s; try again later"
    with one.write(), pytest.raises(CollectionError, match=message):
        wait()
    assert "waiting up to 0.3 s" in caplog.text
    with other.write() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM images").scalar() == 1
    one.close()
    other.close()


def test_only_one_program_acts_on_files(ready):
    one, other = open_database(ready), open_database(ready)

    def act():
        with other.alone():
            pass

    with one.alone(), pytest.raises(CollectionError, match="another hashae is acting on files of postgresql"):
        act()
    act()
    one.close()
    other.close()
