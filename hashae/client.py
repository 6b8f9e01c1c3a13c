"""A client of ``hashae serve``: questions about pictures, from any program. Only the standard library is needed.

::

    from hashae.client import Client

    client = Client("http://127.0.0.1:8765")
    for match in client.query("beach.jpg", matches=True)["matches"]:
        print(match["distance"], match["path"])
    client.look_up(["00" * 32])                      # [[]]: no image has this code
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import ProxyHandler, Request, build_opener

from hashae.errors import ConfigError, HashaeError

SESSION_HEADER = "X-Hashae-Session"


class ServerError(HashaeError):
    """A server refuses a request, or does not answer.

    Parameters
    ----------
    status
        Of HTTP; 0 if there was no answer.
    message
        What it says.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Client:
    """Asks one server.

    Parameters
    ----------
    url
        Its address, for example ``http://127.0.0.1:8765``; of one of several collections, with its name:
        ``http://127.0.0.1:8765/c/photos``.
    token
        Access token, if the server asks for one.
    timeout
        Seconds to wait for an answer.

    Raises
    ------
    ConfigError
        If the address is not one of HTTP.
    """

    def __init__(self, url: str, *, token: str = "", timeout: float = 60.0) -> None:
        if urlsplit(url).scheme not in {"http", "https"}:
            raise ConfigError(f"{url!r} is no address of a server; expected for example http://127.0.0.1:8765")
        self._url, self._token, self._timeout = url.rstrip("/"), token, timeout
        self._session = ""
        self._opener = build_opener(ProxyHandler({}))  # a proxy would only see loopback addresses that are its own

    def query(
        self,
        image: str | Path | bytes | int,
        *,
        exact: bool = False,
        radius: int | None = None,
        k: int | None = None,
        matches: bool = False,
    ) -> dict[str, Any]:
        """Ask about a picture; give at most one of `exact`, `radius`, `k` and `matches`.

        Parameters
        ----------
        image
            Path of a file, the bytes of one, or the id of an image of the collection.
        exact, radius, k, matches
            As of :meth:`hashae.indexer.collection.Collection.query`; none asks for the 24 nearest.

        Returns
        -------
        ``matches`` (each with ``id``, ``path``, ``distance`` ...), ``bits``, ``code`` and how it was found

        Raises
        ------
        ServerError
            If the server refuses or does not answer.
        """
        asked = {"exact": exact or None, "radius": radius, "k": k, "matches": matches or None}
        tail = urlencode({name: str(value).lower() for name, value in asked.items() if value is not None})
        if isinstance(image, int):
            return self._json("GET", f"/images/{image}/matches?{tail}")
        data = image if isinstance(image, bytes) else Path(image).read_bytes()
        border = secrets.token_hex(16)
        head = f'--{border}\r\nContent-Disposition: form-data; name="image"; filename="image"\r\n'
        body = (
            head.encode() + b"Content-Type: application/octet-stream\r\n\r\n" + data + f"\r\n--{border}--\r\n".encode()
        )
        return self._json("POST", f"/query?{tail}", body, f"multipart/form-data; boundary={border}")

    def look_up(self, codes: Sequence[str]) -> list[list[int]]:
        """Return for each of up to 1,000 hexadecimal codes the ids of the images that have it."""
        found = self._json("POST", "/codes/look-up", json.dumps({"codes": list(codes)}).encode())
        images: list[list[int]] = found["images"]
        return images

    def image(self, id_: int) -> dict[str, Any]:
        """Return what is known of an image, its code among it."""
        return self._json("GET", f"/images/{id_}")

    def stats(self) -> dict[str, Any]:
        """Return counts and sizes of the collection."""
        return self._json("GET", "/stats")

    def collections(self) -> list[dict[str, Any]]:
        """Return the collections of the server: ``name``, ``file``, ``images``, and the ``base`` of their paths.

        The address of this client has to be that of the server itself.
        """
        found = self._json("GET", "/collections")
        listed: list[dict[str, Any]] = found["collections"]
        return listed

    def health(self) -> dict[str, Any]:
        """Return what the codes of the collection are worth."""
        return self._json("GET", "/health")

    def groups(self, *, offset: int = 0, limit: int = 20) -> dict[str, Any]:
        """Return some groups of the newest search for duplicates."""
        return self._json("GET", f"/duplicates/groups?offset={offset}&limit={limit}")

    def find_duplicates(self, **search: Any) -> dict[str, Any]:
        """Start a search for duplicates; see ``SearchBody`` in the description of the API. Return its job."""
        return self._json("POST", "/duplicates", json.dumps(search).encode())

    def job(self, name: str) -> dict[str, Any]:
        """Return how far a job is: ``duplicates``, ``index``, ``calibrate``, ``apply`` or ``undo``."""
        return self._json("GET", f"/jobs/{name}")

    def judge(self, kind: str, images: Sequence[int]) -> dict[str, Any]:
        """Store a verdict, ``keep``, ``distinct`` or ``ignore``, about some images."""
        return self._json("POST", "/verdicts", json.dumps({"kind": kind, "images": list(images)}).encode())

    def _json(
        self, method: str, path: str, body: bytes | None = None, media: str = "application/json"
    ) -> dict[str, Any]:
        headers = {"Content-Type": media} if body is not None else {}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        if method != "GET":
            if not self._session:
                self._session = self._json("GET", "/session")["session"]
            headers[SESSION_HEADER] = self._session
        request = Request(f"{self._url}/api/v1{path}", data=body, headers=headers, method=method)
        try:
            with self._opener.open(request, timeout=self._timeout) as answer:
                value: dict[str, Any] = json.load(answer)
        except HTTPError as error:
            with error:
                raise ServerError(error.code, _sentence(error.read(), error.code)) from error
        except (URLError, TimeoutError, ConnectionError) as error:
            raise ServerError(0, f"{self._url} does not answer ({error}); is hashae serve running?") from error
        return value


def _sentence(body: bytes, status: int) -> str:
    try:
        return str(json.loads(body)["detail"])
    except (ValueError, KeyError, TypeError):
        return f"the server says {status}"
