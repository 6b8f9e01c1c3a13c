"""What a collection file says about images: rows, codes, failures, counts.

Reads only, but for the row of the collection itself and for pixel hashes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hashae.codes import Codes
from hashae.db import Database, inserted_id, sql
from hashae.db.marks import UNFINISHED
from hashae.errors import CollectionError
from hashae.indexer.image_row import ImageRow
from hashae.indexer.lookups import find_code, find_codes, look_up_many
from hashae.indexer.match import Match

if TYPE_CHECKING:
    from hashae.indexer.report import Failure

CODES = 1 << 13
"""Codes read from the file at a time."""
CHUNK = 5000
"""Ids in one IN list; SQLite takes 32,766 parameters."""

ROWS = """SELECT images.id, sources.path, images.path, size, mtime_ns, width, height, format, content
FROM images JOIN sources ON sources.id = images.source WHERE images.id IN ({})"""
"""A look-up, not a statement of SQLAlchemy: that would take longer than finding 24 images."""


def collection_id(database: Database, name: str, when: str) -> int:
    """Return the row id of the collection of that name; made at the time `when` if the file has none.

    Raises
    ------
    CollectionError
        If it is being copied from elsewhere, and not all of it is there.
    """
    rows = database.look_up("SELECT id FROM collections WHERE name = ?", (name,))
    if rows:
        return int(rows[0][0])
    query = sql.select(sql.collections.c.id).where(sql.collections.c.name == name)
    with database.write() as connection:
        if connection.execute(
            sql.select(sql.collections.c.id).where(sql.collections.c.name.startswith(UNFINISHED))
        ).first():
            raise CollectionError(f"{database.path} holds an unfinished copy; run the same again: hashae copy FROM TO")
        found = connection.execute(query).scalar()
        if found is None:
            found = inserted_id(
                connection.execute(sql.insert(sql.collections).values(name=name, created=when, generation=0))
            )
    return int(found)


class Catalogue:
    """The images of one collection.

    Parameters
    ----------
    database
        Open collection file.
    collection
        Row id of the collection.
    """

    def __init__(self, database: Database, collection: int) -> None:
        self._database, self._collection = database, collection

    def generation(self) -> int:
        """Return the number that grows with every change; caches carry the one they were made at."""
        return int(self._database.row("SELECT generation FROM collections WHERE id = ?", (self._collection,))[0])

    def count(self) -> int:
        """Return the number of present images."""
        query = (
            "SELECT count(*) FROM images JOIN sources ON sources.id = images.source "
            "WHERE sources.collection = ? AND NOT images.missing"
        )
        return int(self._database.look_up(query, (self._collection,))[0][0])

    def exact(self, encoder: int, code: Codes) -> list[Match]:
        """Look one code ``(1, bytes)`` up in the hash table: one descent, no index in memory."""
        return find_code(self._database, encoder, code.tobytes())

    def exact_many(self, encoder: int, codes: Codes) -> list[list[int]]:
        """Look many codes ``uint8 (m, bytes)`` up in the hash table; return the ids of the images of each."""
        return find_codes(self._database, encoder, codes)

    def codes(self, encoder: int, bits: int) -> tuple[NDArray[np.int64], Codes]:
        """Return ids ``int64 (n,)``, ascending, and codes ``uint8 (n, bits // 8)`` of all present images."""
        parts = list(self.code_blocks(encoder, bits))
        ids = np.concatenate([np.empty(0, np.int64), *(part[0] for part in parts)])
        codes = np.concatenate([np.empty((0, bits // 8), np.uint8), *(part[1] for part in parts)])
        order = np.argsort(ids)
        return ids[order], codes[order]

    def code_blocks(self, encoder: int, bits: int) -> Iterator[tuple[NDArray[np.int64], Codes]]:
        """Yield ids and codes of all present images block by block, in the order of the hash table.

        Two tables read from end to end are several times faster than joining them row by row.
        """
        with self._database.read() as connection:
            gone = connection.execute(sql.text("SELECT id FROM images WHERE missing")).scalars().all()
            missing = np.array(gone, np.int64)
            query = "SELECT image, code FROM codes WHERE encoder = ?"
            for block in self._database.stream(connection, query, (encoder,), CODES):
                images_of_block, blobs = zip(*block, strict=True)
                ids = np.array(images_of_block, np.int64)
                codes = np.frombuffer(b"".join(blobs), np.uint8).reshape(-1, bits // 8)
                present = ~np.isin(ids, missing)
                yield (ids, codes) if present.all() else (ids[present], codes[present])

    def rows(self, ids: Iterable[int]) -> dict[int, ImageRow]:
        """Return what is known of the given images, by id."""
        return {
            row[0]: ImageRow(row[0], os.path.join(os.fsdecode(row[1]), os.fsdecode(row[2])), *row[3:])
            for part in look_up_many(self._database, ROWS, (), sorted(ids))
            for row in part
        }

    def images_of(self, contents: Iterable[bytes]) -> dict[int, bytes]:
        """Return the present images with one of these contents: id -> content."""
        query = (
            sql.select(sql.images.c.id, sql.images.c.content)
            .select_from(sql.images.join(sql.sources))
            .where(sql.sources.c.collection == self._collection, sql.images.c.missing.is_(False))
        )
        listed = sorted(contents)
        found: dict[int, bytes] = {}
        with self._database.read() as connection:
            for start in range(0, len(listed), CHUNK):
                some = sql.images.c.content.in_(listed[start : start + CHUNK])
                found.update((id_, content) for id_, content in connection.execute(query.where(some)))
        return found

    def pixel_hashes(self, ids: Iterable[int]) -> dict[int, bytes]:
        """Return the pixel hashes that are known, by id."""
        listed = sorted(ids)
        known: dict[int, bytes] = {}
        with self._database.read() as connection:
            for start in range(0, len(listed), CHUNK):
                query = sql.select(sql.images.c.id, sql.images.c.pixels).where(
                    sql.images.c.id.in_(listed[start : start + CHUNK])
                )
                known.update({row[0]: row[1] for row in connection.execute(query) if row[1] is not None})
        return known

    def remember_pixel_hashes(self, hashes: Mapping[int, bytes]) -> None:
        """Store pixel hashes, by id; a later change of the file forgets them."""
        if not hashes:
            return
        with self._database.write() as connection:
            statement = (
                sql.update(sql.images)
                .where(sql.images.c.id == sql.bindparam("row"))
                .values(pixels=sql.bindparam("hash"))
            )
            connection.execute(statement, [{"row": id_, "hash": value} for id_, value in hashes.items()])

    def failures(self) -> list[Failure]:
        """Return the files that cannot be used, and why, ordered by path."""
        from hashae.indexer.report import Failure

        query = (
            sql.select(sql.sources.c.path, sql.failures.c.path, sql.failures.c.reason)
            .select_from(sql.failures.join(sql.sources))
            .where(sql.sources.c.collection == self._collection)
        )
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return sorted((Failure(os.path.join(root, path), reason) for root, path, reason in rows), key=lambda f: f.path)

    def folders(self) -> list[dict[str, Any]]:
        """Return path, time of the last run, images, bytes and missing images of each source."""
        present = sql.images.c.missing.is_(False)
        query = (
            sql.select(
                sql.sources.c.path,
                sql.sources.c.indexed,
                sql.func.count(sql.images.c.id).filter(present),
                sql.func.coalesce(sql.func.sum(sql.images.c.size).filter(present), 0),
                sql.func.count(sql.images.c.id).filter(sql.images.c.missing),
            )
            .select_from(sql.sources.outerjoin(sql.images))
            .where(sql.sources.c.collection == self._collection)
            .group_by(sql.sources.c.id)
            .order_by(sql.sources.c.path)
        )
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        # A server adds up whole numbers of 64 bits in decimals.
        return [
            {"path": path, "indexed": when, "images": present_, "bytes": int(size), "missing": missing}
            for path, when, present_, size, missing in rows
        ]
