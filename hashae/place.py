"""Where a collection is: a file, or a database of a PostgreSQL server.

Nothing heavy is imported here: the command line reads its options by it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias
from urllib.parse import unquote, urlsplit, urlunsplit

from hashae.errors import ConfigError

SCHEME = "postgresql+psycopg"
SCHEMES = (SCHEME, "postgresql", "postgres")
EXPECTED = f"expected a file, or {SCHEME}://USER@HOST/DATABASE"

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_COLLAPSED = re.compile(r"postgres(ql)?(\+\w+)?:/[^/]")


@dataclass(frozen=True)
class ServerUrl:
    """The URL of a database of a PostgreSQL server; as text it is shown without its password.

    Parameters
    ----------
    url
        ``postgresql+psycopg://[USER[:PASSWORD]@][HOST[:PORT]]/DATABASE[?NAME=VALUE]``. A host that is a folder (a Unix
        socket) is given as ``?host=/run/postgresql``. Other parts, such as ``sslmode``, are those of libpq.

    Raises
    ------
    ConfigError
        If it is none.

    Examples
    --------
    >>> str(ServerUrl("postgresql://ann:secret@db.local/photos"))
    'postgresql+psycopg://ann:***@db.local/photos'
    """

    url: str = field(repr=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in SCHEMES:
            raise ConfigError(f"{parts.scheme}:// is no kind of database that holds collections; {EXPECTED}")
        if not unquote(parts.path).strip("/"):
            raise ConfigError(f"{self._shown()} names no database; {EXPECTED}")
        try:
            _ = parts.port
        except ValueError as error:
            raise ConfigError(f"{self._shown()} has no port that is a number; {EXPECTED}") from error
        object.__setattr__(self, "url", urlunsplit((SCHEME, *parts[1:])))

    def _shown(self) -> str:
        parts = urlsplit(self.url)
        before, at, host = parts.netloc.rpartition("@")
        user, colon, _ = before.partition(":")
        query = re.sub(r"(^|&)password=[^&]*", r"\1password=***", parts.query)
        return urlunsplit((SCHEME, f"{user}{colon and ':***'}{at}{host}", parts.path, query, ""))

    def __str__(self) -> str:
        return self._shown()

    @property
    def name(self) -> str:
        """Name of the database."""
        return unquote(urlsplit(self.url).path).strip("/")


Place: TypeAlias = "Path | ServerUrl"
"""Where a collection is."""


def place_of(given: str | Path | ServerUrl) -> Place:
    """Return the place that a text, path or URL names.

    Raises
    ------
    ConfigError
        If it is a URL, but not of PostgreSQL.

    Examples
    --------
    >>> place_of("postgresql:///photos?host=/tmp")
    ServerUrl()
    """
    if isinstance(given, ServerUrl):
        return given
    if isinstance(given, str) and _URL.match(given):
        return ServerUrl(given)
    if _COLLAPSED.match(str(given)):
        raise ConfigError(f"{given} is a URL made into a path, which drops a slash; give it as text; {EXPECTED}")
    return Path(given)
