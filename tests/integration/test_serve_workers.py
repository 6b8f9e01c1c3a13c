"""Several workers on one port: one review, one session, no failed request while workers die and are replaced."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest

from hashae.indexer import Collection
from hashae.serve.app import create_app
from hashae.serve.forward import FORWARDED
from hashae.serve.guard import READING, SESSION_HEADER
from hashae.serve.settings import ServeSettings
from hashae.serve.shared_metrics import ENDED, SharedMetrics

EAGER = """
from hashae.indexer import following, kept_index
kept_index.KEPT_FROM, following.POLL = 1, 0.1
"""
"""Has a small collection served as a large one is; Python reads it at the start of every process of the server."""

pytestmark = pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="reads /proc")


@pytest.fixture
def collection_file(tmp_path, fill, encoder):
    path = tmp_path / "served.db"
    with Collection.open(path) as collection:
        collection.set_encoder(encoder)
        collection.index(fill(tmp_path / "pictures"))
    return path


class Asker:
    """One connection that is kept, and so one worker; asked once more where it was closed while it was idle."""

    def __init__(self, port):
        self.port, self.connection = port, None

    def ask(self, path, method="GET", body=None, headers=()):
        kept = self.connection is not None
        if not kept:
            self.connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            self.connection.request(method, path, body and json.dumps(body), dict(headers))
            answer = self.connection.getresponse()
            data = answer.read()
        except (OSError, HTTPException):
            self.close()
            if kept:
                return self.ask(path, method, body, headers)
            raise
        if answer.will_close:
            self.close()
        return answer.status, data

    def get(self, path):
        status, data = self.ask(path)
        assert status == 200, data
        return json.loads(data)

    def close(self):
        self.connection.close()
        self.connection = None

    def __del__(self):
        if self.connection is not None:
            self.connection.close()


class Server:
    def __init__(self, child):
        self.child = child
        line = child.stderr.readline().decode()
        assert "http://127.0.0.1:" in line, line + child.stderr.read().decode()
        self.port = int(re.search(r":(\d+)/", line)[1])

    def askers(self, count=2):
        """Return one asker for each worker, by process."""
        found, until = {}, time.monotonic() + 30
        while len(found) < count:
            asker = Asker(self.port)
            found.setdefault(asker.get("/healthz")["process"], asker)
            assert time.monotonic() < until, f"only {len(found)} workers answer"
        return found

    def children(self):
        tasks = Path(f"/proc/{self.child.pid}/task").glob("*/children")  # each thread has those that it started
        listed = " ".join(task.read_text() for task in tasks).split()
        return {int(pid) for pid in listed if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()}


@pytest.fixture
def serve(spawn, tmp_path):
    """Return a function that starts a server, of two workers unless told otherwise."""
    (tmp_path / "eager").mkdir()

    def start(place, *options, eager=False, workers=2):
        if eager:
            (tmp_path / "eager" / "sitecustomize.py").write_text(EAGER)
        environment = {"PYTHONPATH": str(tmp_path / "eager")}
        return Server(spawn("serve", "--db", place, "--port", "0", "--workers", workers, *options, env=environment))

    return start


def until(check, seconds=20.0):
    """Wait until something is so."""
    ends = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < ends, "it did not come"
        time.sleep(0.05)


def test_workers_share_an_index_and_a_review_and_are_replaced_while_everybody_asks(
    server_url, serve, fill, tmp_path, encoder
):
    with Collection.open(server_url) as collection:
        collection.set_encoder(encoder)
        collection.index(fill(tmp_path / "pictures"))
    server = serve(server_url, eager=True)
    askers = server.askers()
    follow(server_url, askers, fill, tmp_path)
    review(*askers.values())
    asked = reload(server, askers)
    askers = server.askers()
    assert one_of(askers).get("/api/v1/duplicates/groups/1")["state"] == "keep", "a review outlives a reload"
    lose_one(server, askers, asked)
    children = server.children()
    server.child.send_signal(signal.SIGINT)
    _, err = server.child.communicate(timeout=30)
    assert (server.child.returncode, err.decode().splitlines()[-1]) == (0, "stopped")
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)


def one_of(askers):
    return next(iter(askers.values()))


def follow(url, askers, fill, tmp_path):
    """Have another process index one more picture: every worker answers with it, and all map one file."""
    path = "/api/v1/images/1/matches?k=1000"
    assert [len(asker.get(path)["matches"]) for asker in askers.values()] == [6, 6]
    with Collection.open(url) as collection:
        collection.index(fill(tmp_path / "pictures", [40]))
    until(lambda: all(len(asker.get(path)["matches"]) == 7 for asker in askers.values()))
    (kept,) = (tmp_path / "cache").rglob("*.index-1")
    for pid in askers:
        assert f"{kept}\n" in Path(f"/proc/{pid}/maps").read_text(), "the newest file is mapped, which is not deleted"


def review(one, other):
    """Start a search by one worker, and decide by another."""
    session = one.get("/api/v1/session")
    assert other.get("/api/v1/session") == session
    headers = {SESSION_HEADER: session["session"], "Content-Type": "application/json"}
    assert one.ask("/api/v1/duplicates", "POST", {"radius": 64}, headers)[0] == 202
    until(lambda: other.get("/api/v1/jobs/duplicates")["state"] == "done")
    assert one.get("/api/v1/duplicates/groups")["total"] == 1
    decided = {"decision": "keep", "keep": [1]}
    assert other.ask("/api/v1/duplicates/groups/1", "POST", decided, headers)[0] == 200
    assert one.get("/api/v1/duplicates/groups/1")["state"] == "keep"
    assert one.ask("/api/v1/duplicates/groups/1", "POST", decided)[0] == 403


def reload(server, askers):
    """Replace all workers while three ask without a pause; return how many questions were answered."""
    errors, counts, done = [], [0, 0, 0], threading.Event()

    def use(number):
        asker = Asker(server.port)
        while not done.is_set():
            try:
                status, data = asker.ask("/api/v1/images/1/matches?k=3")
                errors.extend([] if status == 200 else [(status, data)])
            except (OSError, HTTPException) as error:
                errors.append(error)
            counts[number] += 1
            time.sleep(0.005)  # the processors have to start other workers, too
            if number == 0 and asker.connection is not None:
                asker.close()  # a new connection for each question

    threads = [threading.Thread(target=use, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    background = server.children() - set(askers)
    assert len(background) == 1
    server.child.send_signal(signal.SIGHUP)
    until(lambda: len(server.children() - set(askers) - background) == 2 and not server.children() & set(askers))
    done.set()
    for thread in threads:
        thread.join()
    assert errors == []
    assert min(counts) > 10
    assert not set(server.askers()) & set(askers)
    return sum(counts)


def lose_one(server, askers, asked):
    """Kill a worker: another takes its place, and what it has counted is kept."""

    def counted(asker):
        text = asker.ask("/metrics")[1].decode()
        return sum(map(int, re.findall(r'route="/api/v1/images/{id_}/matches",status="200"} (\d+)', text)))

    until(lambda: [counted(asker) for asker in askers.values()] == [counted(one_of(askers))] * 2)
    before = counted(one_of(askers))
    assert before >= asked
    lost = next(iter(askers))
    os.kill(lost, signal.SIGKILL)
    until(lambda: lost not in server.children() and len(server.children()) == 3)
    left = server.askers()
    assert lost not in left
    assert [counted(asker) for asker in left.values()] == [before, before]


def test_one_process_has_the_index_made_by_another_which_ends_with_it(serve, collection_file, tmp_path, fill):
    server = serve(collection_file, eager=True, workers=1)
    (asker,) = server.askers(1).values()
    path = "/api/v1/images/1/matches?k=1000"
    assert len(asker.get(path)["matches"]) == 6
    assert not server.children(), "none is needed yet"
    with Collection.open(collection_file) as collection:
        collection.index(fill(tmp_path / "pictures", [40]))
    until(lambda: len(asker.get(path)["matches"]) == 7)
    children = server.children()
    assert len(children) == 1
    server.child.kill()
    server.child.wait()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children))


def test_what_changes_something_or_tells_of_jobs_is_forwarded(collection_file):
    app = create_app(ServeSettings(collection_file))
    app.state.desks[0].close()
    paths = app.openapi()["paths"]
    changing = {path for path, methods in paths.items() if methods.keys() - {"get", "head"}}
    assert len(changing) > 8
    # A verdict is a row of the database: any worker can write it.
    kept_here = {path for path in changing if not FORWARDED.match(path)}
    assert kept_here == READING | {"/api/v1/verdicts", "/api/v1/verdicts/{number}"}
    for path in ("/", "/collection", "/c/photos/", "/c/photos/api/v1/jobs/index", "/api/v1/health"):
        assert FORWARDED.match(path), path
    for path in ("/map", "/api/v1/indexes", "/api/v1/images/1", "/c/photos/duplicates", "/healthz"):
        assert not FORWARDED.match(path), path


def test_counts_of_processes_are_added_up_and_those_of_dead_ones_stay(tmp_path):
    one, other, third = (SharedMetrics(tmp_path) for _ in range(3))
    for metrics, times in ((one, 1), (other, 2), (third, 4)):
        for _ in range(times):
            metrics.count("GET", "/a", 200, 0.02)
        metrics.keep()
    other.close()  # it leaves; the third is killed and leaves its file
    assert (tmp_path / ENDED).exists()
    text = one.text({})
    assert 'hashae_requests_total{method="GET",route="/a",status="200"} 7' in text
    assert 'hashae_request_seconds_bucket{route="/a",le="0.025"} 7' in text
    assert 'hashae_request_seconds_sum{route="/a"} 0.140000' in text
    one.close()
    assert SharedMetrics(tmp_path).total().requests["GET", "/a", 200] == 7
