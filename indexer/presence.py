"""Where the images of a collection lie, and which of them were just taken away or brought back."""

from __future__ import annotations

import os
from types import TracebackType

from sqlalchemy import bindparam, select, update

from hashae.db import Database
from hashae.db.schema import collections, images, sources
from hashae.indexer.journal import Entry
from hashae.indexer.sources import is_below

NOTED = 200
"""Files after which the collection is told; what a crash in between leaves untold, the next run of `index` sees."""


class Presence:
    """Tells a collection what became of its files; what is left to tell at the end of the block is told there.

    Parameters
    ----------
    database
        Open collection file.
    collection
        Row id of the collection.
    """

    def __init__(self, database: Database, collection: int) -> None:
        self._database, self._collection = database, collection
        self._noted: list[tuple[Entry, bool]] = []

    def __enter__(self) -> Presence:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tell()

    def folders(self) -> list[str]:
        """Return the folders of the collection."""
        return [path for _, path in self._sources()]

    def place_in(self, folder: str, path: str) -> str:
        """Return where below `folder` a file goes: as it lies below its folder of the collection."""
        inside = [source for source in self.folders() if is_below(path, source)]
        below = os.path.relpath(path, max(inside, key=len)) if inside else os.path.basename(path)
        return os.path.join(folder, below)

    def note(self, entry: Entry, *, missing: bool) -> None:
        """Note that the file of an action is gone, or is back."""
        self._noted.append((entry, missing))
        if len(self._noted) >= NOTED:
            self._tell()

    def _sources(self) -> list[tuple[int, str]]:
        query = select(sources.c.id, sources.c.path).where(sources.c.collection == self._collection)
        with self._database.read() as connection:
            return [(id_, path) for id_, path in connection.execute(query)]

    def _tell(self) -> None:
        known = sorted(self._sources(), key=lambda row: -len(row[1]))
        rows = []
        for entry, missing in self._noted:
            source = next(((id_, path) for id_, path in known if is_below(entry.path, path)), None)
            if source is not None:
                below = os.path.relpath(entry.path, source[1]).replace(os.sep, "/")
                rows.append({"its": source[0], "name": below, "same": entry.content, "gone": missing})
        self._noted.clear()
        if not rows:
            return
        mine = (images.c.source == bindparam("its")) & (images.c.path == bindparam("name"))
        statement = update(images).where(mine & (images.c.content == bindparam("same")))
        generation = update(collections).where(collections.c.id == self._collection)
        with self._database.write() as connection:
            connection.execute(statement.values(missing=bindparam("gone")), rows)
            connection.execute(generation.values(generation=collections.c.generation + 1))
