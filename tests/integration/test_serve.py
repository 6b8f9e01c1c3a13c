"""The server: its API, what it refuses, and that no name of a file can do anything on its pages."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser

import numpy as np
import pytest
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from starlette.testclient import TestClient

from hashae.client import Client, ServerError
from hashae.errors import ConfigError
from hashae.indexer import Collection
from hashae.serve.app import create_app
from hashae.serve.compare import flip_bit
from hashae.serve.guard import COOKIE, SESSION_HEADER
from hashae.serve.metrics import Metrics
from hashae.serve.settings import ServeSettings
from hashae.serve.text import shown

BASE = "http://127.0.0.1:8765"
EVIL = '<img src=x onerror="document.title=1">.png'
TURNED = "holiday\u202egnp.exe.png"
RAW = os.fsdecode(b"caf\xe9.png")
TOKEN = "a-token-of-more-than-16"


def make_served(folder, fill, encoder):
    """Make a collection of six pictures, copies of three of them, and names meant to do harm; return both paths."""
    pictures, path = fill(folder / "pictures"), folder / "served.db"
    for number, name in enumerate((EVIL, TURNED, RAW)):
        (pictures / name).write_bytes((pictures / f"{number}.png").read_bytes())
    (pictures / "<b>broken<b>.jpg").write_bytes(b"\xff\xd8\xff no picture")
    with Collection.open(path) as collection:
        collection.set_encoder(encoder)
        collection.index(pictures)
    return pictures, path


@pytest.fixture(scope="module")
def shared(tmp_path_factory, fill, encoder):
    """Return pictures and collection that no test changes."""
    return make_served(tmp_path_factory.mktemp("shared"), fill, encoder)


@pytest.fixture(scope="module")
def reader(shared):
    """Return a client that asks only."""
    with TestClient(create_app(ServeSettings(shared[1])), base_url=BASE) as client:
        yield client


@pytest.fixture
def pictures(tmp_path, fill, encoder):
    return make_served(tmp_path, fill, encoder)[0]


@pytest.fixture
def collection_file(pictures):
    return pictures.parent / "served.db"


@pytest.fixture
def open_client(monkeypatch, tmp_path):
    """Return a function that opens a client of the application in this process."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    opened = []

    def start(path, **chosen):
        client = TestClient(create_app(ServeSettings(path, **chosen)), base_url=BASE)
        client.__enter__()
        opened.append(client)
        return client

    yield start
    for client in opened:
        client.__exit__(None, None, None)


@pytest.fixture
def client(open_client, collection_file):
    client = open_client(collection_file)
    client.headers[SESSION_HEADER] = client.get("/api/v1/session").json()["session"]
    return client


def png(size=(40, 30)):
    buffer = io.BytesIO()
    Image.new("RGB", size, "red").save(buffer, "PNG")
    return buffer.getvalue()


def wait(client, name):
    for _ in range(500):
        job = client.get(f"/api/v1/jobs/{name}").json()
        if job["state"] in {"done", "failed"}:
            return job
        time.sleep(0.02)
    raise AssertionError(f"{name} did not end")


def find_groups(client):
    assert client.post("/api/v1/duplicates", json={"radius": 0}).status_code == 202
    assert wait(client, "duplicates")["error"] == ""
    return client.get("/api/v1/duplicates/groups").json()["groups"]


def test_a_picture_is_found_by_upload_by_id_and_by_code(reader, shared):
    pictures, collection_file = shared
    data = (pictures / "1.png").read_bytes()
    with Collection.open(collection_file) as collection:
        answers = {name: collection.query(pictures / "1.png", **asked) for name, asked in ASKED.items()}
    for name, asked in ASKED.items():
        by_file = reader.post("/api/v1/query", params=asked, files={"image": ("1.png", data)}).json()
        expected = [(match.id, match.distance) for match in answers[name].matches]
        id_ = expected[0][0]
        assert [(match["id"], match["distance"]) for match in by_file["matches"]] == expected
        assert by_file["explanation"]["method"]
        for path in (f"images/{id_}", f"codes/{by_file['code']}"):
            found = reader.get(f"/api/v1/{path}/matches", params=asked).json()
            assert found["matches"] == by_file["matches"]


ASKED = {"exact": {"exact": True}, "radius": {"radius": 12}, "k": {"k": 4}, "matches": {"matches": True}}


def test_codes_are_looked_up_by_the_thousand(reader):
    codes = [reader.get(f"/api/v1/images/{id_}").json()["code"] for id_ in (1, 2)]
    found = reader.post("/api/v1/codes/look-up", json={"codes": codes * 500}).json()["images"]
    assert len(found) == 1000
    assert found[0] == found[998]
    assert 2 in found[1]
    assert reader.post("/api/v1/codes/look-up", json={"codes": codes * 501}).status_code == 422
    assert "differ" in reader.post("/api/v1/codes/look-up", json={"codes": ["00", "0000"]}).json()["detail"]


def test_pages_and_numbers_are_there(client):
    for path in ("/", "/?image=1", "/duplicates", "/collection", "/map", "/api", "/why?a=1&b=2"):
        answer = client.get(path)
        assert answer.status_code == 200, path
        assert answer.headers["content-type"].startswith("text/html")
    assert client.get("/healthz").json()["status"] == "ok"
    assert "hashae_images 9" in client.get("/metrics").text
    assert 'route="/api/v1/images/{id_}"' not in client.get("/metrics").text
    client.get("/api/v1/images/1")
    assert (
        'hashae_requests_total{method="GET",route="/api/v1/images/{id_}",status="200"} 1' in client.get("/metrics").text
    )
    assert client.get("/api/v1/stats").json()["images"] == 9
    assert client.get("/api/v1/health").json()["images"] == 9
    assert len(client.get("/api/v1/map").content) == 9 * 8
    paths = client.get("/api/v1/openapi.json").json()["paths"]
    assert "/api/v1/query" in paths
    assert "/duplicates" not in paths
    assert client.get("/why?a=1&b=99").status_code == 404


def test_two_pictures_are_compared_bit_by_bit(reader):
    first, second = (reader.get(f"/api/v1/images/{id_}").json() for id_ in (2, 5))
    found = reader.get("/api/v1/compare?a=2&b=5").json()
    apart = int(first["code"], 16) ^ int(second["code"], 16)
    assert found["differing"] == [bit for bit in range(64) if apart >> (63 - bit) & 1]
    assert found["distance"] == len(found["differing"]) > 0
    assert len(found["decoder"]["moved"]) == 64
    assert reader.get("/api/v1/compare?a=2&b=2").json()["differing"] == []
    flipped = reader.get(f"/api/v1/codes/{first['code']}/decoded.png?flip=3").content
    other = int(first["code"], 16) ^ 1 << 60
    assert flipped == reader.get(f"/api/v1/codes/{other:016x}/decoded.png").content
    assert flip_bit(np.frombuffer(bytes.fromhex(first["code"]), np.uint8), 3).tobytes().hex() == f"{other:016x}"
    assert reader.get(f"/api/v1/codes/{first['code']}/decoded.png?flip=64").status_code == 422


def test_files_are_sent_by_id_and_only_as_they_were_indexed(client, pictures):
    row = client.get("/api/v1/images/1").json()
    sent = client.get("/api/v1/images/1/file")
    path = pictures / row["name"]
    assert sent.content == path.read_bytes()
    assert sent.headers["content-type"] == "image/png"
    assert "sandbox" in sent.headers["content-security-policy"]
    small = client.get("/api/v1/images/1/thumbnail?side=96")
    assert max(Image.open(io.BytesIO(small.content)).size) <= 96
    assert client.get("/api/v1/images/1/thumbnail?side=97").status_code == 422
    path.unlink()
    path.symlink_to("/etc/hostname")
    refused = client.get("/api/v1/images/1/file")
    assert refused.status_code == 409
    assert "changed since" in refused.json()["detail"]
    for wild in ("0", "-1", "99999", str(1 << 70), "1/../../x", "%2e%2e%2fetc%2fpasswd"):
        assert client.get(f"/api/v1/images/{wild}/file").status_code in {404, 422}
    assert client.get("/static/../settings.py").status_code == 404
    assert client.get("/static/__init__.py").status_code == 404


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def test_names_of_files_do_nothing_on_the_pages(reader):
    assert shown(TURNED) == "holiday\\u202egnp.exe.png"
    assert shown(RAW) == "caf\\udce9.png"
    assert shown("müller 👨‍👩‍👧.jpg") == "müller 👨‍👩‍👧.jpg"
    for path in ("/", "/collection", *(f"/?image={id_}" for id_ in range(1, 10)), "/why?a=1&b=9"):
        text = reader.get(path).text
        assert "\u202e" not in text
        parsed = Tags()
        parsed.feed(text)
        for tag, attributes in parsed.found:
            assert not any(name.startswith("on") or name == "style" for name in attributes), (path, tag, attributes)
            assert attributes.get("src", "/").startswith("/")
            assert tag != "script" or "src" in attributes
            assert (tag, attributes.get("src")) != ("img", "x")
    assert "&lt;b&gt;broken&lt;b&gt;.jpg" in reader.get("/collection").text
    for script in ("common", "search", "duplicates", "compare", "why", "map", "collection"):
        source = reader.get(f"/static/{script}.js").text
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", source)


def test_every_answer_has_strict_headers(reader):
    for path in ("/", "/api/v1/stats", "/static/style.css", "/nowhere", "/api/v1/images/1/thumbnail"):
        headers = reader.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in headers
    assert reader.get("/api/v1/stats").headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8765", 200),
        ("localhost:8765", 200),
        ("[::1]:8765", 200),
        ("LOCALHOST", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example:8765", 421),
        ("192.168.1.7", 421),
        ("", 421),
        ("[::1", 421),
    ],
)
def test_other_host_names_are_refused(reader, host, status):
    assert reader.get("/api/v1/stats", headers={"Host": host}).status_code == status


def test_other_sites_are_refused(client):
    cross = {"Sec-Fetch-Site": "cross-site"}
    assert client.get("/api/v1/session", headers={"Sec-Fetch-Site": "same-site"}).status_code == 403
    assert client.get("/api/v1/images/1/thumbnail", headers=cross).status_code == 403
    page = {**cross, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert client.get("/", headers=page).status_code == 200
    body = {"kind": "keep", "images": [1]}
    for headers in (cross, {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "same-site"}):
        refused = client.post("/api/v1/verdicts", json=body, headers=headers)
        assert refused.status_code == 403, headers
    assert client.get("/api/v1/verdicts").json()["verdicts"] == []
    assert client.post("/api/v1/verdicts", json=body, headers={"Origin": BASE}).status_code == 201


def test_changes_need_the_session_and_questions_of_programs_do_not(client):
    del client.headers[SESSION_HEADER]
    for path in ("duplicates", "verdicts", "actions/preview", "actions/apply", "actions/undo", "index", "calibration"):
        assert client.post(f"/api/v1/{path}", json={}).status_code == 403, path
    assert client.delete("/api/v1/verdicts/1").status_code == 403
    assert client.post("/api/v1/verdicts", json={}, headers={SESSION_HEADER: "wröng".encode()}).status_code == 403
    assert client.post("/api/v1/query", files={"image": png()}).status_code == 200
    from_page = client.post("/api/v1/query", files={"image": png()}, headers={"Sec-Fetch-Site": "same-origin"})
    assert from_page.status_code == 403


def test_a_server_that_only_answers_changes_nothing(open_client, shared):
    client = open_client(shared[1], read_only=True)
    client.headers[SESSION_HEADER] = client.get("/api/v1/session").json()["session"]
    for path in ("duplicates", "verdicts", "actions/preview", "actions/apply", "actions/undo", "index", "calibration"):
        refused = client.post(f"/api/v1/{path}", json={})
        assert (refused.status_code, "--read-only" in refused.json()["detail"]) == (403, True), path
    assert client.delete("/api/v1/verdicts/1").status_code == 403
    assert client.post("/api/v1/query", files={"image": png()}).status_code == 200
    code = client.get("/api/v1/images/1").json()["code"]
    assert 1 in client.post("/api/v1/codes/look-up", json={"codes": [code]}).json()["images"][0]


def test_an_access_token_opens_the_page_once_and_then_is_a_cookie(open_client, shared):
    collection_file = shared[1]
    with pytest.raises(ConfigError, match="access token"):
        ServeSettings(collection_file, host="0.0.0.0")
    with pytest.raises(ConfigError, match="16"):
        ServeSettings(collection_file, token="short")
    client = open_client(collection_file, host="0.0.0.0", token=TOKEN, allow_hosts=("nas.local",))
    assert client.get("/healthz").status_code == 200
    for path in ("/", "/metrics", "/api/v1/stats", "/static/style.css"):
        assert client.get(path).status_code == 401, path
    assert client.get("/", params={"token": "wrong"}).status_code == 401
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    assert client.get("/metrics", headers=bearer).status_code == 200
    assert client.get("/api/v1/stats", headers={**bearer, "Host": "nas.local:8765"}).status_code == 200
    assert client.get("/api/v1/stats", headers={**bearer, "Host": "10.0.0.7:8765"}).status_code == 200
    assert client.get("/api/v1/stats", headers={**bearer, "Host": "evil.example"}).status_code == 421
    assert client.post("/api/v1/verdicts", json={}, params={"token": TOKEN}).status_code == 401
    entered = client.get("//evil.example/", params={"token": TOKEN, "a": "1"}, follow_redirects=False)
    assert entered.headers["location"] == "/evil.example/?a=1" or entered.headers["location"] == "/?a=1"
    assert "HttpOnly" in entered.headers["set-cookie"]
    assert "SameSite=Strict" in entered.headers["set-cookie"]
    assert client.get("/", headers={"Cookie": f"{COOKIE}={TOKEN}"}).status_code == 200


def test_uploads_are_bounded(open_client, shared):
    collection_file = shared[1]
    client = open_client(collection_file, max_bytes=50_000, max_pixels=10_000)
    assert client.post("/api/v1/query", files={"image": png((100, 100))}).status_code == 200
    refused = client.post("/api/v1/query", files={"image": png((101, 100))})
    assert refused.status_code == 422
    assert "101 x 100 pixels; the limit is 10,000" in refused.json()["detail"]
    assert client.post("/api/v1/query", files={"image": b"x" * 60_000}).status_code == 413

    def drip():
        yield b'--b\r\nContent-Disposition: form-data; name="image"; filename="x"\r\n\r\n'
        for _ in range(60):
            yield b"x" * 1000

    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    assert client.post("/api/v1/query", content=drip(), headers=kind).status_code == 413
    refused = client.post("/api/v1/query", files={"image": b"no picture"})
    assert refused.status_code == 422
    assert "not an image" in refused.json()["detail"]
    assert client.post("/api/v1/query", data={"image": "text"}).status_code == 422


def test_duplicates_are_decided_previewed_applied_and_undone(client, pictures, fingerprint):
    before = fingerprint(pictures)
    groups = find_groups(client)
    assert len(groups) == 3
    first, second, third = groups
    kept = first["images"][1]["id"]
    decided = client.post(f"/api/v1/duplicates/groups/{first['number']}", json={"decision": "keep", "keep": [kept]})
    assert decided.json()["state"] == "keep"
    client.post(f"/api/v1/duplicates/groups/{second['number']}", json={"decision": "keep"})
    assert client.post("/api/v1/duplicates/groups/99", json={"decision": "keep"}).status_code == 404
    stranger = client.post(f"/api/v1/duplicates/groups/{third['number']}", json={"decision": "keep", "keep": [kept]})
    assert stranger.status_code == 422
    preview = client.post("/api/v1/actions/preview").json()
    assert (preview["files"], preview["refused"]) == (2, 0)
    assert fingerprint(pictures) == before
    assert client.post("/api/v1/actions/apply", json={"digest": "0" * 64}).status_code == 202
    assert "changed since the preview" in wait(client, "apply")["error"]
    client.post("/api/v1/actions/apply", json={"digest": preview["digest"]})
    done = wait(client, "apply")["result"]
    assert done["files"] == 2
    gone = {one["path"] for one in done["outcomes"]}
    assert gone == {first["images"][0]["path"], next(one["path"] for one in second["images"] if not one["keep"])}
    assert not any(os.path.lexists(path) for path in gone)
    assert client.get(f"/api/v1/duplicates/groups/{first['number']}").json()["state"] == "done"
    again = client.post(f"/api/v1/duplicates/groups/{first['number']}", json={"decision": "distinct"})
    assert again.status_code == 422
    runs = client.get("/api/v1/actions").json()["runs"]
    assert [(run["action"], run["plan"]) for run in runs] == [("trash", "hashae serve")]
    client.post("/api/v1/actions/undo", json={"run": runs[0]["id"]})
    assert wait(client, "undo")["result"]["files"] == 2
    assert fingerprint(pictures) == before


def test_a_verdict_of_the_page_is_one_of_the_collection(client, collection_file, draw, pictures):
    draw(0).convert("RGB").save(pictures / "0 again.png", compress_level=1)
    client.post("/api/v1/index")
    assert wait(client, "index")["result"]["added"] == 1
    group = next(group for group in find_groups(client) if len(group["images"]) == 3)
    number = group["number"]
    decided = client.post(f"/api/v1/duplicates/groups/{number}", json={"decision": "distinct"}).json()
    with Collection.open(collection_file) as collection:
        assert [verdict.id for verdict in collection.verdicts.all()] == [decided["verdict"]]
    marked = client.post("/api/v1/duplicates/decisions", json={"decision": "keep", "tiers": ["bytes"]}).json()
    assert (marked["changed"], marked["files"]) == (2, 2)
    assert client.get("/api/v1/duplicates").json()["summary"]["marked"]["files"] == 2
    client.post(f"/api/v1/duplicates/groups/{number}", json={"decision": "open"})
    assert client.get("/api/v1/verdicts").json()["verdicts"] == []
    opened = client.post("/api/v1/duplicates/decisions", json={"decision": "open", "tiers": ["bytes"]}).json()
    assert opened["changed"] == 2
    assert "no group is marked" in client.post("/api/v1/actions/preview").json()["detail"]


def test_groups_are_filtered_and_paged(client):
    find_groups(client)
    first = client.get("/api/v1/duplicates/groups?limit=1").json()
    assert (first["total"], len(first["groups"])) == (3, 1)
    named = client.get("/api/v1/duplicates/groups", params={"text": "ONERROR"}).json()
    assert named["total"] == 1
    assert client.get("/api/v1/duplicates/groups?tier=near").json()["total"] == 0
    assert client.get("/api/v1/duplicates/groups?tier=nearly").status_code == 422
    assert client.get("/api/v1/duplicates/groups?state=open").json()["total"] == 3


def test_the_answer_follows_the_collection(client, pictures, fill):
    fill(pictures, [40])
    data = (pictures / "40.png").read_bytes()
    asked = {"params": {"exact": True}, "files": {"image": data}}
    assert client.post("/api/v1/query", **asked).json()["matches"] == []
    client.post("/api/v1/index")
    wait(client, "index")
    assert [match["name"] for match in client.post("/api/v1/query", **asked).json()["matches"]] == ["40.png"]
    assert client.get("/api/v1/stats").json()["images"] == 10


def test_many_ask_while_the_collection_changes(client, pictures, fill):
    fill(pictures, range(50, 80))
    assert client.post("/api/v1/index").status_code == 202
    paths = ["images/1/matches?k=3", "images/2", "images/3/matches?radius=20", "stats", "images/4/thumbnail", "map"]

    def ask(number):
        return [client.get(f"/api/v1/{paths[(number + step) % len(paths)]}").status_code for step in range(12)]

    with ThreadPoolExecutor(6) as pool:
        answers = [status for statuses in pool.map(ask, range(6)) for status in statuses]
    assert set(answers) == {200}
    assert wait(client, "index")["result"]["added"] == 30
    assert len(client.get("/api/v1/map").content) == 39 * 8
    assert len(client.get("/api/v1/images/1/matches?k=100").json()["matches"]) == 39


def test_metrics_are_escaped():
    metrics = Metrics()
    metrics.count("GET", 'a"b\\c', 200, 0.02)
    text = metrics.text({"g": ("A gauge.", {"": 2.5})})
    assert "g 2.5\n" in text
    assert 'route="a\\"b\\\\c",le="0.025"} 1' in text
    assert 'le="0.01"} 0' in text


ROUTES = (
    "images",
    "images/1",
    "images/1/matches",
    "images/1/thumbnail",
    "images/1/file",
    "compare",
    "duplicates/groups",
    "codes/00/matches",
    "codes/0123456789abcdef/decoded.png",
    "jobs/index",
    "calibration",
)
NAMES = (
    "count",
    "seed",
    "k",
    "radius",
    "exact",
    "matches",
    "side",
    "a",
    "b",
    "flip",
    "offset",
    "limit",
    "tier",
    "sort",
    "text",
)
JUNK = st.one_of(
    st.integers(-(1 << 70), 1 << 70).map(str),
    st.sampled_from(["", "nan", "true", "inf", "1e9", "\x00", "é\u202e", "[]"]),
    st.text(max_size=12),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    route=st.sampled_from(ROUTES),
    given_values=st.dictionaries(st.sampled_from(NAMES), JUNK, max_size=3),
    body=st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=8),
        lambda one: (
            st.lists(one, max_size=3)
            | st.dictionaries(st.sampled_from(["codes", "kind", "images", "run", "digest", "tiers"]), one)
        ),
    ),
    target=st.sampled_from(["codes/look-up", "verdicts", "actions/undo", "actions/apply", "duplicates/decisions"]),
)
def test_nothing_that_is_asked_is_an_error_of_the_server(client, route, given_values, body, target):
    assert client.get(f"/api/v1/{route}", params=given_values).status_code < 500
    content = json.dumps(body)  # NaN and halves of characters among it
    answer = client.post(f"/api/v1/{target}", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code < 500


@pytest.fixture
def server(collection_file, monkeypatch, tmp_path):
    """Return the address of a server in a thread."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    app = create_app(ServeSettings(collection_file, port=port, token=TOKEN))
    running = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
    thread.start()
    yield f"http://127.0.0.1:{port}"
    running.should_exit = True
    thread.join(20)
    listener.close()


def test_the_client_asks_and_says_what_is_refused(server, pictures):
    client = Client(server, token=TOKEN)
    found = client.query(pictures / "3.png", exact=True)["matches"]
    assert [match["path"] for match in found] == [str(pictures / "3.png")]
    assert client.query(found[0]["id"], k=1)["matches"][0]["id"] == found[0]["id"]
    assert client.look_up([client.image(found[0]["id"])["code"]]) == [[found[0]["id"]]]
    assert client.stats()["images"] == client.health()["images"] == 9
    assert client.judge("keep", [found[0]["id"]])["new"]
    assert client.find_duplicates(radius=0)["name"] == "duplicates"
    for _ in range(200):
        if client.job("duplicates")["state"] == "done":
            break
        time.sleep(0.02)
    assert client.groups()["total"] == 3
    with pytest.raises(ServerError, match="no image 99") as refused:
        client.image(99)
    assert refused.value.status == 404
    with pytest.raises(ServerError, match="access token"):
        Client(server).stats()
    with pytest.raises(ServerError, match="does not answer"):
        Client("http://127.0.0.1:9", timeout=2).stats()
    with pytest.raises(ConfigError, match="no address"):
        Client("127.0.0.1:8765")


def test_the_command_serves_until_it_is_interrupted(spawn, collection_file):
    child = spawn("serve", "--db", collection_file, "--port", "0", "--token", env={"HASHAE_TOKEN": TOKEN})
    line = child.stderr.readline().decode()
    address = re.match(rf"(http://127\.0\.0\.1:\d+)/\?token={TOKEN}  \(stop with Ctrl\+C\)\n", line)[1]
    assert Client(address, token=TOKEN).stats()["images"] == 9
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=30)
    assert (child.returncode, out, err) == (0, b"", b"stopped\n")


def test_the_command_refuses_what_it_cannot_serve(cli, tmp_path, collection_file):
    done = cli("serve", "--db", tmp_path / "none.db", "--port", "0")
    assert done.status == 1
    assert "there is no collection" in done.err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = cli("serve", "--db", collection_file, "--port", taken.getsockname()[1])
    assert done.status == 1
    assert "cannot be listened on" in done.err
    done = cli("serve", "--db", collection_file, "--host", "0.0.0.0", "--no-token")
    assert done.status == 2
    assert "not served without a token" in done.err
    done = cli("serve", "--db", collection_file, "--db", collection_file, "--port", "0")
    assert done.status == 1
    assert "named twice" in done.err
