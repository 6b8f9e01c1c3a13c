"""Whether a Ray cluster answers at an address, found out within seconds.

Ray itself waits for more than a minute where nobody answers, and then ends the whole program.
"""

from __future__ import annotations

import os
import socket

from hashae.errors import ConfigError

SECONDS = 5.0
"""After which an address counts as one where nobody answers."""

EXPECTED = "expected auto or HOST:PORT of one of which this machine is a node (ray start), or local to start one here"

_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""With which a client of HTTP/2 begins, and its settings: none. Ray's head speaks gRPC, which is HTTP/2."""

_SETTINGS = 4
"""Kind of the frame with which a server of HTTP/2 answers."""


def check_address(address: str) -> str:
    """Return ``HOST:PORT`` of the cluster that an address names.

    Parameters
    ----------
    address
        ``"auto"`` or ``"HOST:PORT"``.

    Raises
    ------
    ConfigError
        If the address is none, or no head of a Ray cluster answers there.
    """
    try:
        found = _current() if address == "auto" else address
    except ConnectionError as error:
        raise nobody_at(address, error) from error
    if "://" in found:
        raise ConfigError(
            f"{found} is the address of a Ray client; run hashae on a node of the cluster, with --ray=auto"
        )
    host, colon, port = found.rpartition(":")
    if not (host and colon and port.isdecimal() and 0 < int(port) < 1 << 16):
        raise ConfigError(f"{found!r} is no address of a Ray cluster; {EXPECTED}")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), SECONDS) as connection:
            connection.settimeout(SECONDS)
            connection.sendall(_HELLO)
            head = connection.recv(9)
    except (OSError, UnicodeError) as error:
        raise nobody_at(address if address == found else f"{address}, {found}", error) from error
    if len(head) < 4 or head[3] != _SETTINGS:
        raise nobody_at(found, "another program listens there")
    return found


def nobody_at(address: str, why: object) -> ConfigError:
    """Return the error for an address at which no cluster answers."""
    text = " ".join(str(why).split())[:200] or type(why).__name__
    return ConfigError(f"no Ray cluster answers at {address} ({text}); {EXPECTED}")


def _current() -> str:
    """Return the address of the cluster that runs on this machine, as Ray finds it."""
    given = os.environ.get("RAY_ADDRESS")
    if given and given != "auto":
        return given
    from ray._private.services import canonicalize_bootstrap_address

    return str(canonicalize_bootstrap_address("auto"))
