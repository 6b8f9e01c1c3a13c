"""Sentences for what goes wrong with a server."""

from __future__ import annotations

from hashae.errors import CollectionError, ConnectionLost
from hashae.place import ServerUrl

LOST = frozenset({"57P01", "57P02", "57P05", "08000", "08001", "08003", "08004", "08006"})
"""States of SQL that say that a connection is gone, also because the server was stopped."""

STARTING = frozenset({"57P03", "53300"})
"""The server is there and takes nobody yet: it starts, stops, recovers, or has as many connections as it may."""

READ_ONLY = "25006"
"""What was to be written cannot be: the server is a replica, or its user may only read."""

# State of SQL, or its class, -> what follows the URL.
_SENTENCES = {
    "3D000": "does not exist on its server; make it there: createdb {name}",
    "28": "refuses the user ({text}); check user and password in the URL, or in ~/.pgpass",
    "42501": "does not let its user do this ({text}); grant what is missing, or take another user",
    READ_ONLY: "takes no changes: it is a replica, or read-only; give the URL of the server that is written to",
    "40001": "broke off a question that kept its replica from following its primary ({text}); ask again",
    "53100": "cannot grow: the disk of the server is full; free some space and run the command again",
    "55P03": "is in use by another process; try again later",
    "XX": "is damaged, or its server is broken ({text}); see the log of the server",
}


def state_of(error: BaseException) -> str:
    """Return the state of SQL of an error, five signs; empty where none was told."""
    return getattr(error, "sqlstate", None) or ""


def is_lost(error: BaseException) -> bool:
    """Tell whether an error says that the connection is gone, or could not be made."""
    import psycopg

    if isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)):
        state = state_of(error)
        if state:
            return state in LOST
        # The client library tells of these only by words.
        return not any(word in str(error) for word in ("does not exist", "authentication", "no password", "password"))
    return False


def is_starting(error: BaseException) -> bool:
    """Tell whether the server is there but takes no connection yet."""
    return state_of(error) in STARTING or "the database system is" in str(error)


def translate(url: ServerUrl, error: BaseException) -> CollectionError:
    """Return the sentence for an error of PostgreSQL."""
    text = " ".join(str(error).split("\n")[0].split()) or type(error).__name__
    state = state_of(error)
    if is_starting(error):
        return ConnectionLost(f"{url} takes no connection now ({text}); try again later")
    if is_lost(error):
        if "onnection refused" in str(error) or "No such file" in str(error) or "could not translate" in str(error):
            return ConnectionLost(f"{url} cannot be reached ({text}); is the server running, and the address right?")
        return ConnectionLost(
            f"the connection to {url} was lost ({text}); what was stored before is safe, run the command again"
        )
    if not state and "does not exist" in str(error):
        state = "3D000" if "database" in str(error) else "28"
    if not state and ("authentication" in str(error) or "password" in str(error)):
        state = "28"
    if "during recovery" in str(error):  # a replica refuses some statements before it looks whether they write
        state = READ_ONLY
    sentence = _SENTENCES.get(state) or _SENTENCES.get(state[:2])
    if sentence is None:
        return CollectionError(f"{url}: {text}")
    return CollectionError(f"{url} {sentence.format(text=text, name=url.name)}")
