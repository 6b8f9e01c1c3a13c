"""JSON files that people keep, edit and hand on: plans and verdicts. What comes in is checked before it is believed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hashae.errors import DocumentError
from hashae.indexer.content import CONTENT_BYTES
from hashae.indexer.new_file import replacing
from hashae.object_store import is_address

MAX_BYTES = 256 << 20
"""Largest file that is read: some 400,000 actions."""


def write_document(path: Path, kind: str, schema: int, body: Mapping[str, Any], *, option: str) -> None:
    """Write a document; an older file is replaced only when the new one is complete.

    Parameters
    ----------
    path
        File to write.
    kind
        ``plan`` or ``verdicts``; it stands at the head of the file.
    schema
        Version of the layout.
    body
        Everything else, ready for :func:`json.dumps`. Names that are no UTF-8 keep their escapes.
    option
        Named in errors.

    Raises
    ------
    ConfigError
        If the folder of `path` does not exist, or `path` is not a file.
    HashaeError
        If the file cannot be written.
    """
    with replacing(path, what=kind, option=option) as file:
        # a lone surrogate leaves the file's error handler as \udcff, which is the JSON escape for it
        json.dump({"hashae": kind, "schema": schema, **body}, file, indent=2, ensure_ascii=False)
        file.write("\n")


def read_document(path: Path, kind: str, schema: int) -> dict[str, Any]:
    """Read a document and return what is in it.

    Raises
    ------
    DocumentError
        If the file cannot be read, is too large, no JSON, of another kind or written by a newer hashae.
    """
    what = "plan" if kind == "plan" else "verdict file"
    try:
        if not path.is_file():
            raise DocumentError(f"{path} is no file; expected a {what}")
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise DocumentError(f"{path} has {size:,} bytes; a {what} has {MAX_BYTES:,} at most")
        value = json.loads(path.read_bytes())
    except DocumentError:
        raise
    except OSError as error:
        raise DocumentError(f"{path} cannot be read ({error.strerror or error})") from error
    except RecursionError as error:
        raise DocumentError(f"{path} is no {what}: it is nested too deeply") from error
    except ValueError as error:  # JSON, UTF-8, and numbers of thousands of digits
        raise DocumentError(f"{path} is no {what}: it is not valid JSON ({error})") from error
    if not isinstance(value, dict) or value.get("hashae") != kind:
        raise DocumentError(f'{path} is no {what}: expected "hashae": "{kind}" at its head')
    found = value.get("schema")
    if not isinstance(found, int) or isinstance(found, bool) or not 1 <= found <= schema:
        raise DocumentError(f"{path} has schema {found!r}; this hashae reads 1 to {schema}: update hashae")
    return value


def entry(value: Any, key: str, kind: type, where: str) -> Any:
    """Return the entry of an object of a document.

    Raises
    ------
    DocumentError
        If the object is none, the entry is missing, or of another type than `kind`.
    """
    if not isinstance(value, dict):
        raise DocumentError(f"{where} is {_shown(value)}; expected an object in braces")
    if key not in value:
        raise DocumentError(f'{where} has no "{key}"')
    found = value[key]
    if not isinstance(found, kind) or (isinstance(found, bool) and kind is not bool):
        words = {str: "a text", int: "a whole number", list: "a list", dict: "an object in braces"}
        raise DocumentError(f'{where}: "{key}" is {_shown(found)}; expected {words.get(kind, kind.__name__)}')
    return found


def content_entry(value: Any, where: str, key: str = "content") -> bytes:
    """Return the content hash of an object of a document.

    Raises
    ------
    DocumentError
        If it is no hash.
    """
    text = entry(value, key, str, where)
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != CONTENT_BYTES or len(text) != 2 * CONTENT_BYTES:
        raise DocumentError(f'{where}: "{key}" is {_shown(text)}; expected {2 * CONTENT_BYTES} hexadecimal digits')
    return found


def path_entry(value: Any, where: str, key: str = "path") -> str:
    """Return an absolute path, or the address of an object of a store, out of an object of a document.

    Raises
    ------
    DocumentError
        If it is neither, or a path that no file system can have.
    """
    text: str = entry(value, key, str, where)
    try:
        usable = b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:  # surrogates that stand for no byte
        usable = False
    if not usable or not (os.path.isabs(text) or is_address(text)):
        raise DocumentError(f'{where}: "{key}" is {_shown(text)}; expected an absolute path')
    return text


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
