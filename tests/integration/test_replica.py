"""A streaming replica of a PostgreSQL server answers as its primary does, and says so where it would have to write."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from hashae.errors import CollectionError
from hashae.indexer import Collection
from hashae.indexer.decisions import Verdict
from hashae.place import place_of
from hashae.serve.app import create_app
from hashae.serve.guard import SESSION_HEADER
from hashae.serve.settings import ServeSettings

QUESTIONS = ({"exact": True}, {"radius": 12}, {"k": 4}, {"matches": True})


@pytest.fixture(scope="module")
def standby(postgres, postgres_server):
    """A replica of the session's server."""
    with postgres_server.server("fsync=off", primary=postgres) as running:
        yield running


@pytest.fixture
def urls(server_url, standby, postgres, fill, tmp_path, encoder):
    """Return the URLs of a collection of nine pictures, three of them copies, on both servers."""
    folder = fill(tmp_path / "pictures")
    for number in range(3):
        (folder / f"copy {number}.png").write_bytes((folder / f"{number}.png").read_bytes())
    with Collection.open(server_url) as collection:
        collection.set_encoder(encoder)
        collection.index(folder)
    standby.wait_for(postgres)
    return server_url, server_url.replace(str(postgres.folder), str(standby.folder))


def answers(url, picture):
    """Return what is found for a picture, and the groups of duplicates."""
    with Collection.open(url) as collection:
        found = [collection.query(picture, **question) for question in QUESTIONS]
        report = collection.dedup(radius=0)
        groups = [[(image.id, image.path) for image in group.images] for group in report.groups]
        stats = {name: collection.stats()[name] for name in ("images", "generation", "folders", "failures")}
    return [replace(answer, explanation=None) for answer in found], groups, stats


def test_a_replica_answers_as_its_primary_and_follows_it(urls, postgres, standby, tmp_path, fill, cli, monkeypatch):
    primary, replica = urls
    picture = tmp_path / "pictures" / "1.png"
    assert answers(replica, picture) == answers(primary, picture)
    settings = ServeSettings(place_of(replica), read_only=True)
    with TestClient(create_app(settings), base_url="http://127.0.0.1:8765") as client:
        assert client.get("/").status_code == client.get("/collection").status_code == 200
        assert len(client.get("/api/v1/images/1/matches?k=100").json()["matches"]) == 9
        with Collection.open(primary) as collection:
            collection.index(fill(tmp_path / "pictures", [60]))
        standby.wait_for(postgres)
        assert len(client.get("/api/v1/images/1/matches?k=100").json()["matches"]) == 10
        client.headers[SESSION_HEADER] = client.get("/api/v1/session").json()["session"]
        assert "--read-only" in client.post("/api/v1/index").json()["detail"]
    assert answers(replica, picture) == answers(primary, picture)
    done = cli("query", picture, "--radius", 3, "--db", replica)
    assert (done.status, "1.png" in done.out) == (0, True)


def test_what_a_replica_would_have_to_write_is_told_in_a_sentence(urls, postgres, standby, tmp_path, fill, cli):
    replica = urls[1]
    done = cli("index", tmp_path / "pictures", "--db", replica)
    assert done.status == 1
    assert "it is a replica" in done.err
    with Collection.open(replica) as collection, pytest.raises(CollectionError, match="it is a replica"):
        collection.verdicts.add([Verdict(0, "keep", "2026-01-01T00:00:00Z", {b"content": "a.png"})])
    with TestClient(create_app(ServeSettings(place_of(replica))), base_url="http://127.0.0.1:8765") as client:
        client.headers[SESSION_HEADER] = client.get("/api/v1/session").json()["session"]
        refused = client.post("/api/v1/verdicts", json={"kind": "keep", "images": [1]})
        assert refused.status_code == 409
        assert "it is a replica" in refused.json()["detail"]
        client.post("/api/v1/index")
        until = time.monotonic() + 20
        while client.get("/api/v1/jobs/index").json()["state"] == "running" and time.monotonic() < until:
            time.sleep(0.02)
        assert "it is a replica" in client.get("/api/v1/jobs/index").json()["error"]


def test_a_replica_that_is_behind_in_its_schema_names_its_primary(urls, postgres, standby):
    primary, replica = urls
    name = primary.partition("?")[0].rpartition("/")[2]
    postgres.execute("UPDATE alembic_version SET version_num = '0005'", name)
    standby.wait_for(postgres)
    with pytest.raises(CollectionError, match=r"older hashae.*open its primary once"):
        Collection.open(replica)
    empty = postgres.database()
    standby.wait_for(postgres)
    with pytest.raises(CollectionError, match=r"no collection.*primary"):
        Collection.open(empty.replace(str(postgres.folder), str(standby.folder)))
    postgres.drop(empty)
