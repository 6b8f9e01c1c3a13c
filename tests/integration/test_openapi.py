"""Whatever the description of the API lets one ask, the answer is no error of the server: schemathesis asks.

The short form is part of every test run; the long form, of ten minutes, is part of ``make test-faults``.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
from urllib.request import urlopen

import pytest
import uvicorn

from hashae.client import Client
from hashae.indexer import Collection
from hashae.serve.app import create_app
from hashae.serve.settings import ServeSettings

SESSION = "the-session-of-this-test"
ASKED = re.compile(r'^hashae_requests_total\{method="(\w+)",route="([^"]+)",status="(\d+)"\} (\d+)$', re.MULTILINE)


@pytest.fixture
def server(tmp_path, fill, encoder, monkeypatch):
    """Return the address of a server, in a thread, whose collection has duplicates that were searched for."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    pictures, path = fill(tmp_path / "pictures"), tmp_path / "pictures.db"
    for number in range(3):
        (pictures / f"copy of {number}.png").write_bytes((pictures / f"{number}.png").read_bytes())
    with Collection.open(path) as collection:
        collection.set_encoder(encoder)
        collection.index(pictures)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        app = create_app(ServeSettings(path, port=port, session=SESSION))
        running = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=60))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
        thread.start()
        address = f"http://127.0.0.1:{port}"
        client = Client(address)
        client.find_duplicates(radius=0)
        while client.job("duplicates")["state"] == "running":
            pass
        assert client.groups()["total"] == 3
        yield address
        running.should_exit = True
        thread.join(30)


def described(server):
    """Return method and path of every operation that is described."""
    with urlopen(f"{server}/api/v1/openapi.json") as answer:
        paths = json.load(answer)["paths"]
    return {(method.upper(), path) for path, methods in paths.items() for method in methods}


@pytest.mark.parametrize(
    "forms",
    [
        ("--phases", "coverage", "--max-examples", "40", "--generation-deterministic"),
        pytest.param(
            ("--phases", "coverage,fuzzing,stateful", "--generation-database", "none", "--max-time", "600"),
            marks=pytest.mark.long,
        ),
    ],
    ids=["short", "long"],
)
def test_no_question_is_an_error_of_the_server(server, tmp_path, caplog, forms):
    command = [sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()", "--no-color", "run"]
    settings = ["--checks", "not_a_server_error", "--warnings", "off", *forms]
    header = ["--header", f"X-Hashae-Session:{SESSION}"]
    done = subprocess.run(
        [*command, f"{server}/api/v1/openapi.json", *settings, *header],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    # What the server has counted is a second witness: every operation was asked, and none of them failed.
    with urlopen(f"{server}/metrics") as answer:
        asked = ASKED.findall(answer.read().decode())
    assert [one for one in asked if one[2] >= "500"] == []
    answered = {(method, route) for method, route, _, _ in asked}
    assert described(server) <= answered
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []
