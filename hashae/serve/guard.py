"""What every request passes before it reaches a page: host, origin, token, size; and the headers of every answer."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
import re
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hashae.serve.settings import ServeSettings

COOKIE = "hashae_token"
SESSION_HEADER = "x-hashae-session"
OPEN = frozenset({"/healthz"})
"""Paths that need no access token: they say nothing about the collection."""

SAFE = frozenset({"GET", "HEAD"})
READING = frozenset({"/api/v1/query", "/api/v1/codes/look-up"})
"""Paths that only read although they are posted to: programs need no session for them."""

READ_ONLY = (
    "this server only answers questions: it was started with --read-only; change the collection by another server, or "
    "by the command line"
)

ONE_OF_SEVERAL = re.compile(r"\A/c/[^/]+(?=/)")
"""What comes before the path where several collections are served."""

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


Refusal = tuple[int, str]
"""Status and sentence."""


class TooLarge(Exception):
    """A request body is over the limit, or came too slowly."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Guard:
    """ASGI middleware around the whole application.

    Parameters
    ----------
    app
        What is guarded.
    settings
        Of the server.
    """

    def __init__(self, app: ASGIApp, settings: ServeSettings) -> None:
        self._app, self._settings, self._names = app, settings, settings.host_names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return  # there are no web sockets here
        headers = Headers(scope=scope)
        started = False
        broken: list[TooLarge] = []

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                _add_headers(message)
            await send(message)

        refusal = self._refuse(scope, headers)
        if refusal is not None:
            await _answer(send_with_headers, *refusal)
            return
        entered = self._entered(scope)
        if entered is not None:
            await _redirect(send_with_headers, *entered)
            return

        async def send_unless_broken(message: Message) -> None:
            # Whoever reads the body may have taken the limit for a fault of the body: what is said then is not sent.
            if started or not broken:
                await send_with_headers(message)

        try:
            await self._app(scope, self._limited(receive, broken), send_unless_broken)
        except TooLarge:
            if started:
                raise
        if broken and not started:
            await _answer(send_with_headers, broken[0].status, str(broken[0]))

    def _refuse(self, scope: Scope, headers: Headers) -> Refusal | None:
        if not self._knows(headers.get("host", "")):
            return 421, "this server does not answer to that host name; see hashae serve --allow-host"
        refusal = _site(scope["method"], headers)
        if refusal is None and scope["path"] not in OPEN and not self._shows_token(scope, headers):
            return 401, "an access token is needed: open the address that hashae serve printed, or send it as a bearer"
        return refusal or (None if scope["method"] in SAFE else self._changing(scope["path"], headers))

    def _changing(self, path: str, headers: Headers) -> Refusal | None:
        """Check a request with a body: it comes from a page of ours, or only reads, and is not too long."""
        from_page = any(name in headers for name in ("sec-fetch-site", "origin", "cookie"))
        session = headers.get(SESSION_HEADER, "")
        reads = ONE_OF_SEVERAL.sub("", path) in READING
        if not reads and self._settings.read_only:
            return 403, READ_ONLY
        if (not reads or from_page) and not _equal(session, self._settings.session):
            return 403, f"the header {SESSION_HEADER} is missing or old; load the page again, or see /api/v1/session"
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit() and len(length) < 20):
            return 400, "the Content-Length of the request is no number"
        if int(length) > self._settings.max_bytes:
            return 413, f"the request has {int(length):,} bytes; the limit is {self._settings.max_bytes:,}"
        return None

    def _knows(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name in self._names:
            return True
        if not self._settings.any_address:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _shows_token(self, scope: Scope, headers: Headers) -> bool:
        token = self._settings.token
        if not token:
            return True
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and _equal(bearer.strip(), token):
            return True
        if _equal(_cookie(headers), token):
            return True
        return scope["method"] in SAFE and _equal(dict(_query(scope)).get("token", ""), token)

    def _entered(self, scope: Scope) -> tuple[str, str] | None:
        """Return where to go, and the cookie to set, for a page that was opened with the token in its address."""
        given = _query(scope)
        if not self._settings.token or scope["method"] != "GET" or "token" not in dict(given):
            return None
        rest = urlencode([(name, value) for name, value in given if name != "token"])
        # Slashes at the beginning would name another host.
        path = "/" + scope["path"].lstrip("/\\")
        cookie = f"{COOKIE}={self._settings.token}; Path=/; HttpOnly; SameSite=Strict"
        return path + (f"?{rest}" if rest else ""), cookie

    def _limited(self, receive: Receive, broken: list[TooLarge]) -> Receive:
        """Count the bytes of the body, and wait for it no longer than is allowed; what is not goes into `broken`."""
        seen, limit = 0, self._settings.max_bytes
        ends: float | None = None

        async def receive_some() -> Message:
            nonlocal seen, ends
            loop = asyncio.get_running_loop()
            if ends is None:
                ends = loop.time() + self._settings.max_seconds
            if seen < 0:  # the body is complete: what follows is only that the asker has gone
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(ends - loop.time(), 0.001))
            except asyncio.TimeoutError:
                broken.append(TooLarge(408, f"the request took longer than {self._settings.max_seconds:g} s"))
                raise broken[-1] from None
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                if seen > limit:
                    broken.append(TooLarge(413, f"the request is larger than {limit:,} bytes"))
                    raise broken[-1]
                if not message.get("more_body", False):
                    seen = -1
            return message

        return receive_some


def _site(method: str, headers: Headers) -> Refusal | None:
    """Refuse what another site had a browser send."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if method in SAFE:
        page = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
        if site in {"cross-site", "same-site"} and not page:  # another port of this machine is another site, too
            return 403, "another site may not load anything from here"
        return None
    if site not in {None, "same-origin", "none"} or (
        origin is not None and not _same_origin(origin, headers.get("host", ""))
    ):
        return 403, "another site may not change anything here"
    return None


def _add_headers(start: Message) -> None:
    """Add what every answer has, unless it says otherwise itself."""
    answer = MutableHeaders(scope=start)
    for name, value in {**HEADERS, "Cache-Control": "no-store"}.items():
        if name not in answer:
            answer[name] = value


def _equal(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())


def _query(scope: Scope) -> list[tuple[str, str]]:
    return parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)


def _cookie(headers: Headers) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return "" if found is None else found.value


def _same_origin(origin: str, host: str) -> bool:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and parts.netloc.lower() == host.lower()


async def _answer(send: Send, status: int, message: str) -> None:
    body = json.dumps({"detail": message}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _redirect(send: Send, target: str, cookie: str) -> None:
    headers = [(b"location", target.encode("latin-1", "replace")), (b"set-cookie", cookie.encode())]
    await send({"type": "http.response.start", "status": 303, "headers": [*headers, (b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})
