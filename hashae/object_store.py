"""Pictures in object stores: addresses such as ``s3://bucket/folder``, listed and read through fsspec.

Endpoint, region and credentials are those that fsspec and the library of the store find by themselves: in their own
environment variables and files. Nothing of them is kept in a collection. A store has no folders: one that holds no
object is empty as long as its bucket is there.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from hashae.errors import HashaeError, ImageError, MissingDependency, SourceError

EXTRAS = {"s3": "s3", "gs": "gcs"}
"""Scheme: extra that brings its library. Others work as well if fsspec knows them and their library is there."""

SECONDS = 5.0
"""After which a store that does not answer is asked once more."""

TRIES = 3
"""How often it is asked."""

CONNECTIONS = 64
"""Most that are open to one store at a time."""

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_COLLAPSED = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/[^/]")
_ALIASES = {"s3a": "s3", "gcs": "gs"}
_NO_STORES = {"file", "local", "http", "https"}
_HINTS = {
    "s3": "AWS_ENDPOINT_URL, AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; a public bucket: "
    "FSSPEC_S3_ANON=true",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS; a public bucket: FSSPEC_GS_TOKEN=anon",
}
_TIMES = ("LastModified", "last_modified", "updated", "mtime", "modified", "created")
_MARKS = ("ETag", "etag", "md5Hash", "generation")
_OF_ONE_OBJECT = {None, "AccessDenied", "403", "InvalidObjectState"}
"""What a store says where it refuses one object, or an archived one; any other refusal is one of the credentials."""


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """An object, or what a store shows as a folder.

    Attributes
    ----------
    name
        Last part of its address.
    is_folder
        True if objects lie below it.
    size
        Bytes.
    mtime_ns
        Modification time in nanoseconds since 1970, in whole seconds; what is below a second stands for the entity tag,
        so that an object that is written twice in a second is seen to be another one.
    """

    name: str
    is_folder: bool
    size: int
    mtime_ns: int


def is_address(path: str | Path) -> bool:
    """Tell whether that is an address of a store, not a path of this machine.

    Examples
    --------
    >>> is_address("s3://bucket/folder"), is_address("/net/bucket/folder")
    (True, False)
    """
    return isinstance(path, str) and _ADDRESS.match(path) is not None


def collapsed(path: str | Path) -> bool:
    """Tell whether an address was made into a path, which drops a slash; nothing lies there."""
    return _COLLAPSED.match(str(path)) is not None and not os.path.lexists(path)


def spelled(address: str) -> str:
    """Return an address as the sources of a collection spell it.

    Raises
    ------
    SourceError
        If it names no bucket, no object store, or has parts that no path can have.

    Examples
    --------
    >>> spelled("S3://bucket/2026/")
    's3://bucket/2026'
    """
    found = _ADDRESS.match(address)
    assert found is not None, "an address"
    scheme, path = found[1].lower(), found[2].rstrip("/")
    scheme = _ALIASES.get(scheme, scheme)
    if scheme in _NO_STORES:
        raise SourceError(f"{address}: {scheme}:// is no object store; expected a folder, or for example s3://BUCKET")
    if not path.strip("/"):
        raise SourceError(f"{address} names no bucket; expected {scheme}://BUCKET or {scheme}://BUCKET/FOLDER")
    if not {"", ".", ".."}.isdisjoint(path.split("/")):
        raise SourceError(f"{address} has an empty part, or one of dots; expected {scheme}://BUCKET/FOLDER")
    return f"{scheme}://{path}"


def check_stored_folder(address: str) -> str:
    """Return the address of a folder as :func:`spelled`, or say why it cannot be listed.

    Raises
    ------
    SourceError
        If the store does not answer or refuses, its bucket is missing, or the address is that of an object.
    MissingDependency
        If the library of the store is not installed.
    """
    address = spelled(address)
    store, path = _opened(address)
    bucket = address[: address.index("://") + 3] + address.split("://", 1)[1].split("/", 1)[0]
    with _reaching(address):
        try:
            kind = store.info(path)["type"]
        except PermissionError as error:
            refused = f"{address} cannot be listed (access denied: {_text(error)})"
            raise SourceError(f"{refused}; {_hint(address)}") from error
        except FileNotFoundError:
            kind = "directory"
            try:
                store.info(_opened(bucket)[1])
            except FileNotFoundError as error:
                raise SourceError(f"{address}: there is no bucket {bucket}; {_hint(address)}") from error
            except PermissionError:  # one may list a part of a bucket only
                pass
    if kind != "directory":
        raise SourceError(f"{address} is an object; expected a folder of pictures")
    return address


def listed(address: str) -> list[StoredEntry]:
    """Return what lies in a folder, ordered by name; nothing if there is none.

    Raises
    ------
    PermissionError
        If this folder may not be listed.
    SourceError
        If the store does not answer, or refuses.
    """
    store, path = _opened(address)
    with _reaching(address):
        try:
            found = store.ls(path, detail=True)
        except FileNotFoundError:
            return []
    entries = []
    for info in found:
        name = str(info["name"])[len(path) :].removeprefix("/")
        # An object may be called like a folder, or have an empty part in its name: no path can say that.
        if name and "/" not in name and name not in {".", ".."}:
            entries.append(StoredEntry(name, info["type"] == "directory", int(info.get("size") or 0), _time_of(info)))
    return sorted(entries, key=lambda entry: entry.name)


def read_stored(address: str, most: int) -> bytes:
    """Read a whole object.

    Parameters
    ----------
    address
        Of the object.
    most
        Bytes; a larger object is refused, not read to its end.

    Raises
    ------
    ImageError
        If it is missing, empty, larger or refused.
    SourceError
        If the store does not answer, or refuses the credentials.
    """
    store, path = _opened(address)
    try:
        with _reaching(address):
            data = bytes(store.cat_file(path, start=0, end=most + 1))
    except FileNotFoundError as error:
        raise ImageError(address, "no such object") from error
    except IsADirectoryError as error:
        raise ImageError(address, "is a folder, not an image") from error
    except PermissionError as error:
        why = OSError(13, _text(error))  # with a number: it is tried again the next time
        raise ImageError(address, f"cannot be read (access denied: {_text(error)})") from why
    except _EmptyError:
        data = b""
    if len(data) > most:
        raise ImageError(address, f"object of more than {most:,} bytes, which is the limit")
    if not data:
        raise ImageError(address, "empty object (0 bytes)")
    return data


def exists(address: str) -> bool:
    """Tell whether there is an object, or a folder, at an address.

    Raises
    ------
    SourceError
        If the store does not answer, or refuses.
    """
    store, path = _opened(address)
    with _reaching(address):
        try:
            store.info(path)
        except FileNotFoundError:
            return False
        except PermissionError:
            return True  # what may not be looked at is not gone
    return True


def names_below(address: str) -> set[str]:
    """Return the names of all objects below a folder, as seen from it.

    Raises
    ------
    SourceError
        If the store does not answer, or refuses.
    """
    store, path = _opened(address)
    with _reaching(address):
        try:
            return {str(name)[len(path) + 1 :] for name in store.find(path)}
        except PermissionError as error:
            raise SourceError(f"{address} cannot be listed (access denied: {_text(error)})") from error


class _EmptyError(Exception):
    """Nothing is there of which a range could be given."""


def _opened(address: str) -> tuple[Any, str]:
    """Return the file system of an address, and the path in it."""
    store = _filesystem(address.split("://", 1)[0], os.getpid())
    return store, str(store._strip_protocol(address)).rstrip("/")


@cache
def _filesystem(scheme: str, _process: int) -> Any:
    """Make the connection of a process to the stores of a scheme, for all of its threads."""
    try:
        import fsspec
    except ModuleNotFoundError as error:
        raise _lacking(scheme) from error
    settings: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True}
    if scheme == "s3":
        # Its library asks for minutes where nobody answers.
        given = fsspec.config.conf.get("s3", {}).get("config_kwargs", {})
        asked = {"connect_timeout": SECONDS, "retries": {"mode": "standard", "max_attempts": TRIES}}
        settings["config_kwargs"] = {**asked, "max_pool_connections": CONNECTIONS, **given}
    try:
        store = fsspec.filesystem(scheme, **settings)
    except ImportError as error:
        if scheme in EXTRAS:
            raise _lacking(scheme) from error
        raise SourceError(f"{scheme}:// needs a library that is not installed ({_text(error)})") from error
    except ValueError as error:
        raise SourceError(f"{scheme}:// is no object store that is known here; expected for example s3://") from error
    # What goes wrong is raised; a log of it, too, is for those who ask for one.
    logging.getLogger(type(store).__module__.split(".")[0]).addHandler(logging.NullHandler())
    return store


def _lacking(scheme: str) -> MissingDependency:
    return MissingDependency(f"reading {scheme}:// addresses", EXTRAS.get(scheme, "s3"))


@contextmanager
def _reaching(address: str) -> Iterator[None]:
    """Let pass what a store says about one object, and make a sentence of what it says about itself."""
    try:
        yield
    except (FileNotFoundError, IsADirectoryError, HashaeError):
        raise
    except PermissionError as error:
        if _code(error) in _OF_ONE_OBJECT:
            raise
        raise SourceError(f"{address}: the credentials are refused ({_text(error)}); {_hint(address)}") from error
    except Exception as error:  # the library of every store has classes of its own
        if isinstance(error, OSError) and str(error).startswith("Forbidden"):  # how that of gs:// says it
            raise PermissionError(_text(error)) from error
        if _code(error) in {"InvalidRange", "416"}:
            raise _EmptyError from error
        raise SourceError(
            f"{address} cannot be reached ({_text(error)}); is the network there? {_hint(address)}"
        ) from error


def _code(error: BaseException) -> str | None:
    """Return the code of an error of a store, as S3 has them."""
    response = getattr(error.__cause__ or error, "response", None)
    code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    return None if code is None else str(code)


def _text(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _hint(address: str) -> str:
    scheme = address.split("://", 1)[0]
    known = _HINTS.get(scheme)
    return f"endpoint and credentials are read from {known}" if known else "look at the configuration of fsspec"


def _time_of(info: dict[str, Any]) -> int:
    value: Any = next((info[key] for key in _TIMES if info.get(key) is not None), 0)
    if isinstance(value, str):
        with suppress(ValueError):
            value = datetime.fromisoformat(value.replace("Z", "+00:00"))
    seconds = value.timestamp() if isinstance(value, datetime) else value if isinstance(value, (int, float)) else 0
    mark = next((str(info[key]) for key in _MARKS if info.get(key)), None)
    if mark is None:
        return int(seconds * 1_000_000) * 1000
    return int(seconds) * 10**9 + int.from_bytes(hashlib.sha256(mark.encode()).digest()[:8], "big") % 10**9
