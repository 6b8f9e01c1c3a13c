"""Several collections in one server: each below a name of its own, and nothing of one in another."""

from __future__ import annotations

import re

import pytest
from starlette.testclient import TestClient

from hashae.errors import CollectionError, ConfigError
from hashae.indexer import Collection
from hashae.serve.app import create_app
from hashae.serve.guard import SESSION_HEADER
from hashae.serve.settings import ServeSettings

BASE = "http://127.0.0.1:8765"


@pytest.fixture
def files(tmp_path, draw, encoder):
    """Return two collection files of three and of two pictures, one of which is in both."""
    made = []
    for name, numbers in (("First one.db", (0, 1, 2)), ("second.db", (2, 3))):
        folder = tmp_path / f"pictures of {name}"
        folder.mkdir()
        for number in numbers:
            draw(number).save(folder / f"{number}.png")
        made.append(tmp_path / name)
        with Collection.open(made[-1]) as collection:
            collection.set_encoder(encoder)
            collection.index(folder)
    return made


@pytest.fixture
def client(files):
    with TestClient(create_app(ServeSettings(files[0], others=(files[1],))), base_url=BASE) as client:
        client.headers[SESSION_HEADER] = client.get("/c/second/api/v1/session").json()["session"]
        yield client


def test_each_has_its_pages_and_its_api(client):
    listed = client.get("/api/v1/collections").json()["collections"]
    assert [(one["name"], one["file"], one["images"], one["base"]) for one in listed] == [
        ("first-one", "First one.db", 3, "/c/first-one"),
        ("second", "second.db", 2, "/c/second"),
    ]
    overview = client.get("/").text
    for one in listed:
        base = one["base"]
        assert f'href="{base}/duplicates"' in overview
        assert client.get(f"{base}/api/v1/stats").json()["images"] == one["images"]
        assert len(client.get(f"{base}/api/v1/map").content) == 8 * one["images"]
        for path in ("/", "/duplicates", "/collection", "/map", "/api", "/why?a=1&b=2", "/?image=1"):
            answer = client.get(base + path)
            assert answer.status_code == 200, path
            addresses = re.findall(r'(?:src|href)="([^"]*)"', answer.text)
            foreign = [a for a in addresses if not a.startswith((f"{base}/", "/static/", "#main"))]
            here = path.partition("?")[0].replace("/why", "/")
            assert set(foreign) == {"/", *(other["base"] + here for other in listed if other is not one)}, path
            for address in set(addresses) - set(foreign) - {"#main"}:
                assert client.get(address.replace("&amp;", "&")).status_code == 200, address
    assert client.get("/api/v1/stats").status_code == 404
    assert client.get("/c/third/api/v1/stats").status_code == 404


def test_one_knows_nothing_of_the_other(client):
    assert client.get("/c/first-one/api/v1/images/3").status_code == 200
    assert client.get("/c/second/api/v1/images/3").status_code == 404
    assert client.post("/c/second/api/v1/verdicts", json={"kind": "keep", "images": [1]}).status_code == 201
    assert len(client.get("/c/second/api/v1/verdicts").json()["verdicts"]) == 1
    assert client.get("/c/first-one/api/v1/verdicts").json()["verdicts"] == []
    missing = client.get("/c/second/static/nothing.js")
    assert missing.status_code == 404
    gone = client.get("/c/second/why?a=1&b=77")
    assert gone.status_code == 404
    assert 'href="/c/second/"' in gone.text


def test_the_guard_stands_before_all(client, files):
    headers = {"Sec-Fetch-Site": "cross-site"}
    assert client.get("/c/second/api/v1/session", headers=headers).status_code == 403
    assert client.get("/c/second/", headers={"Host": "evil.example"}).status_code == 421
    del client.headers[SESSION_HEADER]
    assert client.post("/c/second/api/v1/verdicts", json={"kind": "keep", "images": [1]}).status_code == 403
    code = client.get("/c/second/api/v1/images/1").json()["code"]
    found = client.post("/c/second/api/v1/codes/look-up", json={"codes": [code]})
    assert found.json() == {"images": [[1]]}
    policy = client.get("/c/second/").headers["content-security-policy"]
    assert "default-src 'none'" in policy


def test_numbers_are_told_apart(client):
    client.get("/c/second/api/v1/images/1")
    text = client.get("/metrics").text
    assert 'hashae_images{collection="first-one"} 3' in text
    assert 'hashae_images{collection="second"} 2' in text
    assert 'route="/api/v1/images/{id_}",status="200"} 1' in text
    assert text.count("# TYPE hashae_images gauge") == 1
    assert client.get("/healthz").json()["status"] == "ok"


def test_names_differ_and_a_file_is_named_once(files, tmp_path):
    with pytest.raises(ConfigError, match="named twice"):
        ServeSettings(files[0], others=(tmp_path / "." / files[0].name,))
    with pytest.raises(CollectionError, match="no collection"):
        create_app(ServeSettings(files[0], others=(tmp_path / "none.db",)))
    settings = ServeSettings(tmp_path / "a" / "X.db", others=(tmp_path / "b" / "x.db", tmp_path / "ü.db"))
    assert list(settings.names) == ["x", "x-2", "collection"]
