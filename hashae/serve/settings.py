"""Settings of a server, and what of them follows from its address."""

from __future__ import annotations

import ipaddress
import re
import secrets
import socket
from dataclasses import dataclass, field
from pathlib import Path

from hashae.errors import ConfigError
from hashae.place import Place

MIB = 1 << 20


@dataclass(frozen=True)
class ServeSettings:
    """How a collection, or several, are served.

    Attributes
    ----------
    collection
        Collection file, or URL of its database; it must exist.
    others
        More of them. A server of several has each below ``/c/NAME``, see :attr:`names`.
    host, port
        Address to listen on. Other than loopback needs an access token.
    token
        Access token that every request has to show; empty: none is asked for.
    allow_hosts
        Names, beside the address, by which browsers may call the server.
    max_bytes, max_pixels, max_seconds
        Limits of an uploaded picture: bytes of the request, width x height, and the time until its answer.
    threads
        CPU threads of encoder and search.
    session
        What a page has to show to change anything; made anew for each start.
    read_only
        Refuse whatever would change the collection or its files.
    workers
        Processes that answer; above one, another one runs jobs, see :mod:`hashae.serve.workers`.
    folder
        Private folder of the processes of one server; None where it is one process.
    forwards
        True in a process that leaves jobs and review to the background process of its server.

    Raises
    ------
    ConfigError
        If the address is not loopback and there is no token, or the token is short, or a collection is named twice.
    """

    collection: Place
    host: str = "127.0.0.1"
    port: int = 8765
    token: str = field(default="", repr=False)
    allow_hosts: tuple[str, ...] = ()
    max_bytes: int = 64 * MIB
    max_pixels: int = 100_000_000
    max_seconds: float = 30.0
    threads: int = 2
    session: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    others: tuple[Place, ...] = ()
    read_only: bool = False
    workers: int = 1
    folder: Path | None = None
    forwards: bool = False

    def __post_init__(self) -> None:
        if not self.token and not is_loopback(self.host):
            raise ConfigError(f"{self.host} can be reached from other machines; an access token is needed")
        if self.token and len(self.token) < 16:
            raise ConfigError(f"the access token has {len(self.token)} characters; expected 16 or more")
        files = [path.resolve() if isinstance(path, Path) else path for path in self.collections]
        for path in files:
            if files.count(path) > 1:
                raise ConfigError(f"{path} is named twice; name each collection once")

    @property
    def collections(self) -> tuple[Place, ...]:
        """Places of all collections."""
        return (self.collection, *self.others)

    @property
    def background(self) -> Path:
        """Unix socket of the background process.

        Raises
        ------
        ConfigError
            If this server is one process.
        """
        if self.folder is None:
            raise ConfigError("a server of one process has no background process; give 2 workers or more")
        return self.folder / "background.sock"

    @property
    def names(self) -> dict[str, Place]:
        """Name of each collection in addresses, made from that of its file: ASCII letters and digits, all different.

        Examples
        --------
        >>> list(ServeSettings(Path("a/My Photos.db"), others=(Path("b/my photos.db"), Path("émoi.db"))).names)
        ['my-photos', 'my-photos-2', 'moi']
        """
        found: dict[str, Place] = {}
        for path in self.collections:
            stem = re.sub("[^a-z0-9]+", "-", Path(path.name).stem.lower()).strip("-") or "collection"
            name, number = stem, 2
            while name in found:
                name, number = f"{stem}-{number}", number + 1
            found[name] = path
        return found

    @property
    def host_names(self) -> frozenset[str]:
        """Names that the Host header of a request may have, lower case, without port."""
        names = {"localhost", "127.0.0.1", "::1", *(name.lower() for name in self.allow_hosts)}
        if not is_loopback(self.host):
            names.add(socket.gethostname().lower())
        return frozenset(names | {self.host.lower()})

    @property
    def any_address(self) -> bool:
        """True if a request may name the server by any IP address: names can be pointed elsewhere, addresses cannot."""
        return not is_loopback(self.host)

    @property
    def url(self) -> str:
        """Address to open in a browser, with the access token if there is one."""
        return self.url_of("/")

    def url_of(self, path: str) -> str:
        """Return the address of one page, with the access token if there is one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        if self.host in {"0.0.0.0", "::", ""}:
            host = socket.gethostname()
        return f"http://{host}:{self.port}{path}" + (f"?token={self.token}" if self.token else "")


def is_loopback(host: str) -> bool:
    """Tell whether an address can be reached from this machine only.

    Examples
    --------
    >>> [is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "0.0.0.0", "192.168.1.7")]
    [True, True, True, False, False]
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
