"""Several workers answer; one background process runs jobs and holds the review: its part is forwarded to it."""

from __future__ import annotations

import json
import re
import socket
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import NamedTuple

from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Receive, Scope, Send

SECONDS = 300.0
"""Longest wait for an answer: the health of a large collection is measured in minutes."""

FORWARDED = re.compile(
    r"\A(?:/c/[^/]+)?(?:(?P<page>/|/collection)|"
    r"(?P<part>/api/v1/(?:duplicates|actions|jobs|index|calibration|health))(?:/.*)?)\Z"
)
"""What depends on jobs, their results, or the review: those live in the memory of one process."""

HOP_BY_HOP = frozenset({b"connection", b"keep-alive", b"transfer-encoding", b"content-length", b"upgrade", b"te"})
"""Headers that are between two neighbours."""

AWAY = (
    "the background process of this server does not answer; it is started again: ask once more, and make a search "
    "or review that was not applied anew"
)


class Route(NamedTuple):
    """Stands in the numbers for Prometheus where a request that is answered here has its route."""

    path: str


class Forward:
    """ASGI middleware of a worker.

    Parameters
    ----------
    app
        Answers all other requests.
    path
        Unix socket of the background process.
    """

    def __init__(self, app: ASGIApp, path: Path) -> None:
        self._app, self._path = app, path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        found = FORWARDED.match(scope["path"]) if scope["type"] == "http" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        scope["route"] = Route(found["part"] or found["page"])
        body = b""
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return  # the asker has gone
            body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        try:
            status, headers, answer = await run_in_threadpool(self._ask, scope, body)
        except (OSError, HTTPException):
            status, answer = 503, json.dumps({"detail": AWAY}).encode()
            headers = [(b"content-type", b"application/json"), (b"retry-after", b"2")]
        headers.append((b"content-length", str(len(answer)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else answer})

    def _ask(self, scope: Scope, body: bytes) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """Return status, headers and body of the answer of the background process."""
        query = scope.get("query_string", b"")
        target = (scope["raw_path"] + (b"?" + query if query else b"")).decode("latin-1")
        connection = _UnixConnection(self._path)
        try:
            connection.putrequest(scope["method"], target, skip_host=True, skip_accept_encoding=True)
            for name, value in scope["headers"]:
                if name not in HOP_BY_HOP:
                    connection.putheader(name.decode("latin-1"), value)
            connection.putheader("Content-Length", str(len(body)))
            connection.putheader("Connection", "close")
            connection.endheaders(body)
            answer = connection.getresponse()
            data = answer.read()
            headers = [(n.lower().encode("latin-1"), v.encode("latin-1")) for n, v in answer.getheaders()]
            own = HOP_BY_HOP | {b"date", b"server"}
            return answer.status, [header for header in headers if header[0] not in own], data
        finally:
            connection.close()


class _UnixConnection(HTTPConnection):
    """A connection of http.client over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=SECONDS)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket of the background process."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
