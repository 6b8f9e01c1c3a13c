"""The folders a collection is made of; no picture belongs to two of them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from hashae.db import Database, inserted_id, sql
from hashae.errors import UnknownName
from hashae.object_store import is_address, spelled

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass(frozen=True, slots=True)
class Source:
    """A folder of a collection: an absolute path, or the address of an object store."""

    id: int
    path: str


class SourceBook:
    """The sources of one collection.

    Parameters
    ----------
    database
        Open collection file.
    collection
        Row id of the collection.
    """

    def __init__(self, database: Database, collection: int) -> None:
        self._database, self._collection = database, collection

    def all(self) -> list[tuple[Source, str]]:
        """Return every source, ordered by path, with the empty string: all of it."""
        with self._database.read() as connection:
            return [(source, "") for source in self._listed(connection)]

    def exact(self, folder: str | Path) -> Source | None:
        """Return the source whose folder this is, or None."""
        with self._database.read() as connection:
            return next((source for source in self._listed(connection) if source.path == os.fspath(folder)), None)

    def claim(self, folder: str | Path) -> tuple[Source, str]:
        """Return the source a folder belongs to and the part of it, made if there is none.

        A folder inside a source stays part of it. A folder around sources takes them over, with their images: a picture
        in two sources would be its own duplicate. A hidden folder is a source of its own: what is around it skips it.
        """
        place = os.fspath(folder)
        with self._database.write() as connection:
            listed = self._listed(connection)
            for source in listed:
                if source.path == place:
                    return source, ""
                part = _part(place, source.path)
                if part is not None:
                    return source, part
            made = connection.execute(sql.insert(sql.sources).values(collection=self._collection, path=place))
            mine = Source(inserted_id(made), place)
            for source in listed:
                prefix = _part(source.path, place)
                if prefix is not None:
                    _take_over(connection, source, mine, prefix)
            return mine, ""

    def mark_indexed(self, source: Source, when: str) -> None:
        """Note when a source was last indexed to its end."""
        with self._database.write() as connection:
            connection.execute(sql.update(sql.sources).where(sql.sources.c.id == source.id).values(indexed=when))

    def images_at(self, path: str | Path) -> list[int]:
        """Return the ids of the image at `path`, or of all images below it."""
        found: list[int] = []
        absolute = os.fspath(path)
        with self._database.read() as connection:
            for source in self._listed(connection):
                root = source.path
                rows = connection.execute(
                    sql.select(sql.images.c.id, sql.images.c.path).where(sql.images.c.source == source.id)
                )
                if absolute == root or root.startswith(absolute.rstrip(os.sep) + os.sep):
                    found += [id_ for id_, _ in rows]
                elif absolute.startswith(root.rstrip(os.sep) + os.sep):
                    relative = absolute[len(root.rstrip(os.sep)) + 1 :].replace(os.sep, "/")
                    found += [id_ for id_, name in rows if name == relative or name.startswith(f"{relative}/")]
        return found

    def inside(self, folder: str | Path) -> list[int]:
        """Return the ids of all images of a folder.

        Raises
        ------
        UnknownName
            If the collection knows nothing of it.
        """
        absolute = absolute_path(folder)
        found = self.images_at(absolute)
        if not found and self.exact(absolute) is None:
            raise UnknownName(f"{self._database.path} knows no pictures in {absolute}; run: hashae index {absolute}")
        return found

    def forget(self, path: str) -> int:
        """Delete the rows of an image, or of all images of a folder; the files are not touched. Return how many.

        Raises
        ------
        UnknownName
            If nothing is known at that absolute path.
        """
        found, source = self.images_at(path), self.exact(path)
        if not found and source is None:
            raise UnknownName(f"{self._database.path} holds no image at {path}; see the folders with: hashae stats")
        with self._database.write() as connection:
            for start in range(0, len(found), 500):
                connection.execute(sql.delete(sql.images).where(sql.images.c.id.in_(found[start : start + 500])))
            if source is not None:
                connection.execute(sql.delete(sql.sources).where(sql.sources.c.id == source.id))
            mine = sql.collections.c.id == self._collection
            connection.execute(
                sql.update(sql.collections).where(mine).values(generation=sql.collections.c.generation + 1)
            )
        return len(found)

    def _listed(self, connection: Connection) -> list[Source]:
        query = (
            sql.select(sql.sources.c.id, sql.sources.c.path)
            .where(sql.sources.c.collection == self._collection)
            .order_by(sql.sources.c.path)
        )
        return [Source(id_, path) for id_, path in connection.execute(query)]


def absolute_path(path: str | Path) -> str:
    """Return the absolute path of a file or folder, its folders without links, as the sources spell it.

    That of an object store is its address.
    """
    if is_address(path):
        return spelled(str(path))
    absolute = os.path.abspath(path)
    if os.path.isdir(absolute):
        return os.path.realpath(absolute)
    return os.path.join(os.path.realpath(os.path.dirname(absolute)), os.path.basename(absolute))


def is_below(path: str, folder: str) -> bool:
    """Tell whether an absolute path is that folder, or lies in it."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _part(inner: str, outer: str) -> str | None:
    """Return where `inner` lies below `outer`, or None if a scan of `outer` does not come there."""
    if PurePath(outer) not in PurePath(inner).parents:
        return None
    parts = PurePath(inner).relative_to(outer).parts
    return None if any(part.startswith(".") for part in parts) else "/".join(parts)


def _take_over(connection: Connection, inner: Source, outer: Source, prefix: str) -> None:
    """Move images and failures of `inner` into `outer`, and delete `inner`."""
    for table, key in ((sql.images, sql.images.c.id), (sql.failures, sql.failures.c.path)):
        rows = connection.execute(sql.select(key, table.c.path).where(table.c.source == inner.id)).all()
        if rows:
            statement = (
                sql.update(table)
                .where(table.c.source == inner.id, key == sql.bindparam("row"))
                .values(source=outer.id, path=sql.bindparam("name"))
            )
            connection.execute(statement, [{"row": row, "name": f"{prefix}/{name}"} for row, name in rows])
    connection.execute(sql.delete(sql.sources).where(sql.sources.c.id == inner.id))
