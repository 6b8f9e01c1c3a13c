"""The folders a collection is made of; no picture belongs to two of them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from hashae.db import Database, inserted_id
from hashae.db.schema import collections, failures, images, sources
from hashae.errors import UnknownName


@dataclass(frozen=True, slots=True)
class Source:
    """A folder of a collection."""

    id: int
    path: Path


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
            return next((source for source in self._listed(connection) if source.path == Path(folder)), None)

    def claim(self, folder: Path) -> tuple[Source, str]:
        """Return the source a folder belongs to and the part of it, made if there is none.

        A folder inside a source stays part of it. A folder around sources takes them over, with their images: a picture
        in two sources would be its own duplicate. A hidden folder is a source of its own: what is around it skips it.
        """
        with self._database.write() as connection:
            listed = self._listed(connection)
            for source in listed:
                if source.path == folder:
                    return source, ""
                part = _part(folder, source.path)
                if part is not None:
                    return source, part
            made = connection.execute(insert(sources).values(collection=self._collection, path=str(folder)))
            mine = Source(inserted_id(made), folder)
            for source in listed:
                prefix = _part(source.path, folder)
                if prefix is not None:
                    _take_over(connection, source, mine, prefix)
            return mine, ""

    def mark_indexed(self, source: Source, when: str) -> None:
        """Note when a source was last indexed to its end."""
        with self._database.write() as connection:
            connection.execute(update(sources).where(sources.c.id == source.id).values(indexed=when))

    def images_at(self, path: str | Path) -> list[int]:
        """Return the ids of the image at `path`, or of all images below it."""
        found: list[int] = []
        absolute = os.fspath(path)
        with self._database.read() as connection:
            for source in self._listed(connection):
                root = str(source.path)
                rows = connection.execute(select(images.c.id, images.c.path).where(images.c.source == source.id))
                if absolute == root or root.startswith(absolute.rstrip(os.sep) + os.sep):
                    found += [id_ for id_, _ in rows]
                elif absolute.startswith(root.rstrip(os.sep) + os.sep):
                    relative = os.path.relpath(absolute, root).replace(os.sep, "/")
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
                connection.execute(delete(images).where(images.c.id.in_(found[start : start + 500])))
            if source is not None:
                connection.execute(delete(sources).where(sources.c.id == source.id))
            mine = collections.c.id == self._collection
            connection.execute(update(collections).where(mine).values(generation=collections.c.generation + 1))
        return len(found)

    def _listed(self, connection: Connection) -> list[Source]:
        query = (
            select(sources.c.id, sources.c.path)
            .where(sources.c.collection == self._collection)
            .order_by(sources.c.path)
        )
        return [Source(id_, Path(path)) for id_, path in connection.execute(query)]


def absolute_path(path: str | Path) -> str:
    """Return the absolute path of a file or folder, its folders without links, as the sources spell it."""
    absolute = os.path.abspath(path)
    if os.path.isdir(absolute):
        return os.path.realpath(absolute)
    return os.path.join(os.path.realpath(os.path.dirname(absolute)), os.path.basename(absolute))


def is_below(path: str, folder: str) -> bool:
    """Tell whether an absolute path is that folder, or lies in it."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _part(inner: Path, outer: Path) -> str | None:
    """Return where `inner` lies below `outer`, or None if a scan of `outer` does not come there."""
    if outer not in inner.parents:
        return None
    parts = inner.relative_to(outer).parts
    return None if any(part.startswith(".") for part in parts) else "/".join(parts)


def _take_over(connection: Connection, inner: Source, outer: Source, prefix: str) -> None:
    """Move images and failures of `inner` into `outer`, and delete `inner`."""
    for table, key in ((images, images.c.id), (failures, failures.c.path)):
        rows = connection.execute(select(key, table.c.path).where(table.c.source == inner.id)).all()
        if rows:
            statement = (
                update(table)
                .where(table.c.source == inner.id, key == bindparam("row"))
                .values(source=outer.id, path=bindparam("name"))
            )
            connection.execute(statement, [{"row": row, "name": f"{prefix}/{name}"} for row, name in rows])
    connection.execute(delete(sources).where(sources.c.id == inner.id))
