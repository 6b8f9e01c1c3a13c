"""The hash table: who has this code. One prepared statement on a connection that stays open."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from hashae.codes import KEY_BITS, Codes, keys
from hashae.db import Database
from hashae.indexer.match import Match, new_tuple

KEY_BYTES = KEY_BITS // 8

_ELEMENTS = {4: (23, "ii"), 8: (20, "iq")}
"""Numbers of the types int4 and int8, which PostgreSQL never changes, and how to pack the size and value of one."""

CHUNK = 4096
"""Most values in one IN list; SQLite takes 32,766 parameters."""

LISTED = "IN ({})"
"""Where the list stands in a statement of :func:`look_up_many`."""

HERE = """(NOT EXISTS (SELECT 1 FROM images INDEXED BY ix_images_missing WHERE images.missing)
    OR NOT EXISTS (SELECT 1 FROM images INDEXED BY ix_images_missing WHERE images.missing AND images.id = {}.image))"""
"""That an image is not missing: an index of a few rows is asked, not the rows of images, one page each.

Whether any is missing is asked once for a statement, and mostly settles it.
"""

EXACT = f"""SELECT image FROM codes
WHERE encoder = ? AND "key" = ? AND code = ? AND {HERE.format("codes")} ORDER BY image"""

BY_KEYS = f"""SELECT code, image FROM codes
WHERE encoder = ? AND "key" IN ({{}}) AND {HERE.format("codes")} ORDER BY "key", image"""

IN_KEYS = BY_KEYS.replace("code,", '"key",', 1)
"""The same where the key is all of the code."""


def find_code(database: Database, encoder: int, code: bytes) -> list[Match]:
    """Return every present image with this code, by id.

    Parameters
    ----------
    database
        Open collection file.
    encoder
        Row id of the encoder that made the codes.
    code
        The bytes of one code.

    Raises
    ------
    CollectionError
        If the file cannot be read.
    """
    return [new_tuple(Match, (0, id_)) for (id_,) in database.look_up(EXACT, (encoder, key_of(code), code))]


def find_codes(database: Database, encoder: int, codes: Codes) -> list[list[int]]:
    """Return for each code the ids of the present images that have it, ascending.

    Parameters
    ----------
    database, encoder
        As in :func:`find_code`.
    codes
        ``uint8 (m, bytes)``. Equal codes share one list in the answer.

    Raises
    ------
    CollectionError
        If the file cannot be read.
    """
    found: dict[bytes | int, list[int]] = {}
    asked: list[int] = keys(codes).tolist()
    whole = codes.shape[1] > KEY_BYTES
    for rows in look_up_many(
        database, BY_KEYS if whole else IN_KEYS, (encoder,), list(dict.fromkeys(asked)) if len(asked) > CHUNK else asked
    ):
        for code, id_ in rows:
            if code in found:
                found[code].append(id_)
            else:
                found[code] = [id_]
    listed: list[bytes] | list[int] = codes.view(f"V{codes.shape[1]}").reshape(-1).tolist() if whole else asked
    return [ids or [] for ids in map(found.get, listed)]


def key_of(code: bytes) -> int:
    """Return the key of one code, as :func:`hashae.codes.keys` does for many.

    Examples
    --------
    >>> key_of(bytes([0x83])), key_of(bytes([0xFF] * 32))
    (131, -1)
    """
    return int.from_bytes(code[:KEY_BYTES], "big", signed=len(code) >= KEY_BYTES)


def look_up_many(
    database: Database, statement: str, before: tuple[Any, ...], values: list[int]
) -> Iterator[list[tuple[Any, ...]]]:
    """Run a SELECT with an IN list of many values, in parts, and yield the rows of each.

    Parameters
    ----------
    database
        Open collection file.
    statement
        With `LISTED` in place of the list.
    before
        Parameters before those of the list.
    values
        Of the list. A part is filled up to a power of two with its first value, which changes no answer: few different
        statements stay prepared. A value that is there twice answers twice if it is in two parts.
    """
    for start in range(0, len(values), CHUNK):
        part = values[start : start + CHUNK]
        if database.is_server:  # one parameter holds them all
            yield database.look_up(statement.replace(LISTED, "= ANY (?::bigint[])"), (*before, as_array(part, 8)))
            continue
        size = 1 << (len(part) - 1).bit_length()
        yield database.look_up(_with_places(statement, size), (*before, *part, *part[:1] * (size - len(part))))


def as_array(values: Sequence[int], size: int) -> bytes:
    """Return an array of PostgreSQL as its protocol has it: one parameter, however many numbers.

    Parameters
    ----------
    values
        At least one.
    size
        Bytes of each on the server: 4 for ``int[]``, 8 for ``bigint[]``.

    Examples
    --------
    >>> as_array([3, -1], 4).hex(" ", 4)
    '00000001 00000000 00000017 00000002 00000001 00000004 00000003 00000004 ffffffff'
    """
    oid, code = _ELEMENTS[size]
    of_each = [part for value in values for part in (size, value)]
    return struct.pack(f">5i{code * len(values)}", 1, 0, oid, len(values), 1, *of_each)


@lru_cache(maxsize=256)
def _with_places(statement: str, size: int) -> str:
    return statement.format(",".join("?" * size))
