"""Following pictures by their content: a file at a new place may be one that is known and is gone from its old place.

A moved or renamed file keeps its row, and with it all its codes; a copy of a known picture gets codes of its own
without being decoded. Bytes decide, not names or times.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass, field
from threading import Lock

from sqlalchemy import Connection, and_, insert, select

from hashae.db import Database, inserted_id
from hashae.db.schema import codes, images, sources
from hashae.indexer.there import holds_anything
from hashae.object_store import exists, is_address

_CODED = (
    # "+ 0" keeps SQLite from reading all codes of the encoder: it is to look the content up, then the image.
    "SELECT 1 FROM images JOIN codes ON codes.image = images.id AND codes.encoder + 0 = ? "
    "WHERE images.content = ? AND codes.detail IS NOT NULL LIMIT 1"
)

_COPIED = ("content", "pixels", "width", "height", "format")
_CODE = ("encoder", "key", "code", "confidence", "detail")


@dataclass
class Whereabouts:
    """Where the pictures of a collection were, and which of them are not there any more.

    Parameters
    ----------
    database
        Open collection file.
    source, encoder
        Row ids: the source that is looked at, the encoder in use.
    vanished
        Ids of the images that a scan of the source did not find any more; those that turn up elsewhere are taken out.
    claimed
        Ids of the images that turned up elsewhere.
    """

    database: Database
    source: int
    encoder: int
    vanished: set[int] = field(default_factory=set)
    claimed: set[int] = field(default_factory=set)
    _lock: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        # A new collection has nothing that a file could be a copy of: its first run is not slowed down.
        self.empty = not self.database.look_up("SELECT 1 FROM images LIMIT 1", ())

    def coded(self, content: bytes) -> bool:
        """Tell whether there is a code for this content already; from any thread."""
        if self.empty:
            return False
        with self._lock:
            return bool(self.database.look_up(_CODED, (self.encoder, content)))

    def claim(self, connection: Connection, content: bytes, path: str) -> int | None:
        """Return the image of this content whose file is gone, now to be found at `path`; None if there is none.

        Of several, one with the name of the file is taken, else one that vanished just now.
        """
        if self.empty:
            return None
        mine = select(sources.c.collection).where(sources.c.id == self.source).scalar_subquery()
        query = (
            select(images.c.id, sources.c.path, images.c.path, images.c.missing)
            .select_from(images.join(sources))
            .where(images.c.content == content, sources.c.collection == mine)
            .order_by(images.c.id)
        )
        rows = connection.execute(query).all()
        name = os.path.basename(path)
        gone = []
        for id_, root, at, missing in rows:
            its = os.path.join(root, at)
            if id_ in self.vanished or (_is_gone(its, missing=missing) and (missing or holds_anything(root))):
                gone.append((os.path.basename(at) != name, bool(missing), id_))
        if not gone:
            return None
        found: int = min(gone)[2]
        self.vanished.discard(found)
        self.claimed.add(found)
        return found

    def copy(self, connection: Connection, content: bytes, to: tuple[str, int, int]) -> bool:
        """Add an image with this content at `to` (path, bytes, time) with the codes of another; False if none is left.

        Pixels, size and codes of every encoder follow from the content.
        """
        coded = and_(codes.c.image == images.c.id, codes.c.encoder == self.encoder, codes.c.detail.is_not(None))
        columns = [images.c[name] for name in _COPIED]
        query = select(images.c.id, *columns).select_from(images.join(codes, coded)).where(images.c.content == content)
        twin = connection.execute(query.limit(1)).mappings().first()
        if twin is None:
            return False
        path, size, mtime_ns = to
        known = {name: twin[name] for name in _COPIED}
        values = {"source": self.source, "path": path, "size": size, "mtime_ns": mtime_ns, "missing": False}
        made = inserted_id(connection.execute(insert(images).values(**values, **known)))
        its = select(*(codes.c[name] for name in _CODE)).where(codes.c.image == twin["id"])
        rows = connection.execute(its).mappings().all()
        connection.execute(insert(codes), [{**row, "image": made} for row in rows])
        return True


def is_hidden(path: str, blocked: Collection[str]) -> bool:
    """Tell whether a path lies in a folder that could not be listed: nobody looked, so it is not gone."""
    return any(path == name or path.startswith(f"{name}/") or name == "" for name in blocked)


def _is_gone(path: str, *, missing: bool) -> bool:
    """Tell whether there is surely nothing at a path; what may not be looked at is not gone.

    A store is asked only for what was missing before: each question takes as long as reading a small file.
    """
    if is_address(path):
        return missing and not exists(path)
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
