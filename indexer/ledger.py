"""What indexing writes down: rows of images, codes and failures of one source, batch by batch.

A batch is one transaction. Nothing here looks at a picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, and_, bindparam, delete, insert, select, update

from hashae.codes import Codes, keys
from hashae.db import Database
from hashae.db.schema import codes as codes_table
from hashae.db.schema import collections, failures, images, sources
from hashae.indexer.band_rows import is_due, waiting, write_rows
from hashae.indexer.whereabouts import Whereabouts

NEVER = -1
"""Stored as the size of what failed for a reason outside the file: no file has it, so the next run tries again."""

CHUNK = 512
"""Rows named in one statement."""


@dataclass(frozen=True, slots=True)
class FileState:
    """A file as it was found: path below the source, bytes, modification time."""

    path: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class KnownFile:
    """What the collection knows about a file; `coded` for the encoder in use, detail included."""

    id: int
    size: int
    mtime_ns: int
    content: bytes
    missing: bool
    coded: bool


@dataclass(frozen=True, slots=True)
class KnownFailure:
    """A file that could not be used."""

    size: int
    mtime_ns: int
    reason: str


@dataclass(frozen=True, slots=True)
class ReadImage:
    """A file that was read and decoded."""

    file: FileState
    content: bytes
    width: int
    height: int
    format: str


@dataclass(frozen=True, slots=True)
class FailedFile:
    """A file that could not be used; what `lasts` is not tried again until the file changes."""

    file: FileState
    reason: str
    lasts: bool
    known: int | None


@dataclass(frozen=True, slots=True)
class SameFile:
    """A file with other times but the content it had."""

    file: FileState
    id: int


@dataclass(frozen=True, slots=True)
class Twin:
    """A file at a new place whose content has a code already."""

    file: FileState
    content: bytes


@dataclass
class Counts:
    """How many rows were added, changed, moved, or only confirmed; `left` are twins that could not be placed."""

    added: int = 0
    changed: int = 0
    moved: int = 0
    unchanged: int = 0
    left: list[Twin] = field(default_factory=list)


class Ledger:
    """The rows of one source, for one encoder.

    Parameters
    ----------
    database
        Open collection file.
    source, encoder
        Row ids.
    """

    def __init__(self, database: Database, source: int, encoder: int) -> None:
        self._database, self._source, self._encoder = database, source, encoder
        self.whereabouts = Whereabouts(database, source, encoder)

    def load(
        self, below: str = "", paths: Sequence[str] | None = None
    ) -> tuple[dict[str, KnownFile], dict[str, KnownFailure]]:
        """Return what is known of the files in the folder `below`, or of `paths`, and which of them failed; by path."""
        return self._database.again(lambda: self._load(below, paths))

    def _load(self, below: str, paths: Sequence[str] | None) -> tuple[dict[str, KnownFile], dict[str, KnownFailure]]:
        # A code of a file made before schema 0002 has no detail: the picture is read once more.
        coded = and_(codes_table.c.image == images.c.id, codes_table.c.encoder == self._encoder)
        columns = (images.c.path, images.c.id, images.c.size, images.c.mtime_ns, images.c.content, images.c.missing)
        query = (
            select(*columns, codes_table.c.detail.is_not(None))
            .select_from(images.outerjoin(codes_table, coded))
            .where(images.c.source == self._source)
        )
        bad = select(failures.c.path, failures.c.size, failures.c.mtime_ns, failures.c.reason).where(
            failures.c.source == self._source
        )
        if paths is not None:
            query, bad = query.where(images.c.path.in_(paths)), bad.where(failures.c.path.in_(paths))
        prefix = f"{below}/" if below else ""
        with self._database.read() as connection:
            known = {row[0]: KnownFile(*row[1:]) for row in connection.execute(query) if row[0].startswith(prefix)}
            broken = {row[0]: KnownFailure(*row[1:]) for row in connection.execute(bad) if row[0].startswith(prefix)}
        return known, broken

    def store(
        self,
        read: Sequence[ReadImage],
        codes: Codes | None,
        confidence: Sequence[float],
        detail: Sequence[float],
        failed: Sequence[FailedFile],
        same: Sequence[SameFile],
        twins: Sequence[Twin] = (),
    ) -> Counts:
        """Write one batch in one transaction.

        Parameters
        ----------
        read
            Decoded images.
        codes, confidence, detail
            Of these images, in order; None and empty if there are none.
        failed
            Files that could not be used; their rows are kept, marked missing.
        same
            Files whose content was seen before, at their own place.
        twins
            Files at new places whose content was seen before.
        """
        return self._database.again(lambda: self._store(read, codes, confidence, detail, failed, same, twins))

    def _store(
        self,
        read: Sequence[ReadImage],
        codes: Codes | None,
        confidence: Sequence[float],
        detail: Sequence[float],
        failed: Sequence[FailedFile],
        same: Sequence[SameFile],
        twins: Sequence[Twin],
    ) -> Counts:
        counts = Counts(unchanged=len(same))
        with self._database.write() as connection:
            if codes is not None:
                ids = self._store_images(connection, read, counts)
                self._store_codes(connection, ids, codes, zip(confidence, detail, strict=True))
                if is_due(connection, self._encoder):
                    write_rows(connection, self._encoder)
            self._place(connection, twins, counts)
            new = [image.file.path for image in read] + [twin.file.path for twin in twins]
            self._store_states(connection, failed, same, new)
            self._touch(connection)
        return counts

    def note_blocked(self, blocked: Mapping[str, str]) -> None:
        """Record what could not even be looked at, path -> reason: closed folders, broken links."""
        if blocked:
            self._database.again(lambda: self._note_blocked(blocked))

    def _note_blocked(self, blocked: Mapping[str, str]) -> None:
        with self._database.write() as connection:
            for path, reason in blocked.items():
                mine = and_(failures.c.source == self._source, failures.c.path == path)
                connection.execute(delete(failures).where(mine))
                values = {"source": self._source, "path": path, "size": NEVER, "mtime_ns": 0, "reason": reason}
                connection.execute(insert(failures).values(values))

    def finish(self, lost: Sequence[int], over: Sequence[str]) -> None:
        """Mark the images `lost` as missing, by id, and forget the failures that are `over`, by path."""
        if lost or over:
            self._database.again(lambda: self._finish(lost, over))

    def _finish(self, lost: Sequence[int], over: Sequence[str]) -> None:
        with self._database.write() as connection:
            for start in range(0, len(lost), CHUNK):
                part = images.c.id.in_(lost[start : start + CHUNK])
                connection.execute(update(images).where(part).values(missing=True))
            for start in range(0, len(over), CHUNK):
                these = failures.c.path.in_(over[start : start + CHUNK])
                connection.execute(delete(failures).where(failures.c.source == self._source, these))
            self._touch(connection)

    def write_bands(self, on_band: Callable[[int], None]) -> None:
        """Write the band rows of the codes that wait for them, see :func:`hashae.indexer.band_rows.write_rows`."""
        self._database.again(lambda: self._write_bands(on_band))

    def _write_bands(self, on_band: Callable[[int], None]) -> None:
        with self._database.read() as connection:
            if not waiting(connection, self._encoder):
                return
        with self._database.write() as connection:
            write_rows(connection, self._encoder, on_band)

    def _store_images(self, connection: Connection, read: Sequence[ReadImage], counts: Counts) -> list[int]:
        """Write the rows of decoded images and return their ids, in order."""
        rows = {
            image.file.path: {
                "source": self._source,
                "path": image.file.path,
                "size": image.file.size,
                "mtime_ns": image.file.mtime_ns,
                "content": image.content,
                "pixels": None,
                "width": image.width,
                "height": image.height,
                "format": image.format,
                "missing": False,
            }
            for image in read
        }
        # Asked again, inside the transaction: a run beside this one may have stored some of them.
        known, contents = self._stored(connection, list(rows))
        moved = 0
        for image in read:
            if image.file.path not in known and self._move(connection, image.file, image.content):
                moved += 1
        if moved:
            known, contents = self._stored(connection, list(rows))
        new = [row for path, row in rows.items() if path not in known]
        self._database.insert_many(connection, images, new)
        if known:
            names = (name for name in next(iter(rows.values())) if name not in {"source", "path"})
            values: dict[str, Any] = {name: bindparam(name) for name in names}
            statement = update(images).where(images.c.id == bindparam("row")).values(values)
            connection.execute(statement, [{"row": id_, **rows[path]} for path, id_ in known.items()])
        changed = [id_ for path, id_ in known.items() if contents[path] != rows[path]["content"]]
        # The codes of other encoders too: going back to one must not find codes of what the file was before.
        connection.execute(delete(codes_table).where(codes_table.c.image.in_(changed)))
        counts.added += len(new)
        counts.changed += len(changed)
        counts.moved += moved
        counts.unchanged += len(known) - len(changed) - moved
        known |= self._stored(connection, [str(row["path"]) for row in new])[0]
        return [known[path] for path in rows]

    def _stored(self, connection: Connection, paths: list[str]) -> tuple[dict[str, int], dict[str, bytes]]:
        """Return ids and content hashes of those of `paths` that have a row."""
        columns = (images.c.path, images.c.id, images.c.content)
        query = select(*columns).where(images.c.source == self._source, images.c.path.in_(paths))
        rows = connection.execute(query).all()
        return {path: id_ for path, id_, _ in rows}, {path: content for path, _, content in rows}

    def _store_codes(
        self, connection: Connection, ids: list[int], codes: Codes, qualities: Iterable[tuple[float, float]]
    ) -> None:
        """Write codes with confidence and detail; what neighbours they have is found out later."""
        mine = and_(codes_table.c.encoder == self._encoder, codes_table.c.image.in_(ids))
        connection.execute(delete(codes_table).where(mine))
        rows = zip(keys(codes).tolist(), ids, codes, qualities, strict=True)
        new = [
            {"encoder": self._encoder, "key": key, "image": id_, "code": code.tobytes()}
            | {"confidence": confidence, "detail": detail}
            for key, id_, code, (confidence, detail) in rows
        ]
        self._database.insert_many(connection, codes_table, new)

    def _place(self, connection: Connection, twins: Sequence[Twin], counts: Counts) -> None:
        """Give files at new places the rows of their old ones, or rows with the codes of their twins."""
        if not twins:
            return
        stored = self._stored(connection, [twin.file.path for twin in twins])[0]
        for twin in twins:
            state = twin.file
            if state.path in stored:  # by a run beside this one
                counts.left.append(twin)
            elif self._move(connection, state, twin.content):
                counts.moved += 1
            elif self.whereabouts.copy(connection, twin.content, (state.path, state.size, state.mtime_ns)):
                counts.added += 1
            else:
                counts.left.append(twin)

    def _move(self, connection: Connection, file: FileState, content: bytes) -> bool:
        """Move the row of a file that is gone and had this content; False if there is none."""
        found = self.whereabouts.claim(connection, content, file.path)
        if found is None:
            return False
        values = {"source": self._source, "path": file.path, "size": file.size, "mtime_ns": file.mtime_ns}
        connection.execute(update(images).where(images.c.id == found).values(**values, missing=False))
        return True

    def _store_states(
        self, connection: Connection, failed: Sequence[FailedFile], same: Sequence[SameFile], read: list[str]
    ) -> None:
        """Write what is not an image row: failures, failures that are over, new times of unchanged files."""
        looked_at = [*read, *(item.file.path for item in failed), *(item.file.path for item in same)]
        connection.execute(delete(failures).where(failures.c.source == self._source, failures.c.path.in_(looked_at)))
        for item in failed:
            size = item.file.size if item.lasts else NEVER
            values = {"path": item.file.path, "size": size, "mtime_ns": item.file.mtime_ns, "reason": item.reason}
            connection.execute(insert(failures).values(source=self._source, **values))
            if item.known is not None:
                connection.execute(update(images).where(images.c.id == item.known).values(missing=True))
        for entry in same:
            times = {"size": entry.file.size, "mtime_ns": entry.file.mtime_ns, "missing": False}
            connection.execute(update(images).where(images.c.id == entry.id).values(times))

    def _touch(self, connection: Connection) -> None:
        """Move the generation on: caches made before are stale."""
        mine = collections.c.id == select(sources.c.collection).where(sources.c.id == self._source).scalar_subquery()
        connection.execute(update(collections).where(mine).values(generation=collections.c.generation + 1))
