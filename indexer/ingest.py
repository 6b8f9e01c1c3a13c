"""Bring one source folder of a collection up to date: scan, read, decode, encode, store.

Threads read and decode; the calling thread encodes and stores in batches, each batch one transaction. Whatever happens,
the batches before are safe and the next run goes on after them.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Connection, and_, bindparam, delete, insert, select, update

from hashae.codes import keys
from hashae.db import Database
from hashae.db.schema import codes as codes_table
from hashae.db.schema import collections, failures, images
from hashae.encoder import Encoded, Encoder
from hashae.errors import ImageError
from hashae.images.decode import DecodedImage, decode, large_images_allowed, read_bytes
from hashae.images.scan import FoundFile, Problem, scan
from hashae.indexer.report import Failure

BATCH = 512
"""Images in one transaction: what kill -9 can cost."""

IN_FLIGHT = 16
"""Decoded images per worker that may wait to be encoded; bounds the memory."""

NEVER = -1
"""Stored as the size of what failed for a reason outside the file: no file has it, so the next run tries again."""


@dataclass
class IndexSummary:
    """What one run of indexing did.

    Attributes
    ----------
    added, changed, unchanged
        Files new to the collection, with other content than before, and as they were.
    missing
        Files gone since the last run; they stay in the collection, marked, and take part in nothing.
    failed
        Files that cannot be used, and why, those known from earlier runs included.
    encoded
        Images whose code was computed.
    seconds
        Wall-clock time.
    """

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    missing: int = 0
    failed: list[Failure] = field(default_factory=list)
    encoded: int = 0
    seconds: float = 0.0

    @property
    def images(self) -> int:
        """Number of usable images in the folder."""
        return self.added + self.changed + self.unchanged


@dataclass(frozen=True)
class Progress:
    """How far a run is; `total` is None while the folder is still being scanned."""

    stage: str
    done: int
    total: int | None


@dataclass(frozen=True, slots=True)
class _Known:
    """What the collection knows about a file."""

    id: int
    size: int
    mtime_ns: int
    content: bytes
    missing: bool
    coded: bool


@dataclass(frozen=True, slots=True)
class _Job:
    file: FoundFile
    known: _Known | None


@dataclass(frozen=True, slots=True)
class _Done:
    """A job after reading: decoded, or only looked at (`image` None: same content as before), or failed.

    A failure that `lasts` lies in the content: it is not tried again until size or time change.
    """

    job: _Job
    content: bytes = b""
    image: DecodedImage | None = None
    reason: str | None = None
    lasts: bool = True


class Ingest:
    """One run over one source folder.

    Parameters
    ----------
    database
        Open collection file.
    source
        Id and folder of the source.
    encoder
        Row id and encoder.
    workers
        Threads that read and decode.
    on_progress
        Called from the calling thread.
    """

    def __init__(
        self,
        database: Database,
        source: tuple[int, Path],
        encoder: tuple[int, Encoder],
        *,
        workers: int = 2,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self._database, self._workers = database, workers
        self._source, self._folder = source
        self._encoder_id, self._encoder = encoder
        self._progress = on_progress or (lambda _progress: None)
        self.summary = IndexSummary()

    def run(self, below: str = "") -> IndexSummary:
        """Index the source, or only what lies in its folder `below`.

        Raises
        ------
        SourceError
            If the folder is missing or cannot be listed.
        CollectionError
            If the collection cannot be written.
        """
        started = time.monotonic()
        known, broken = self._load(below)
        jobs: list[_Job] = []
        problems: list[Problem] = []
        seen_broken: set[str] = set()
        root = self._folder / below
        for number, found in enumerate(scan(root, problems.append)):
            relative = f"{below}/{found.relative}" if below else found.relative
            file = FoundFile(found.path, relative, found.size, found.mtime_ns)
            before = known.pop(relative, None)
            state = (file.size, file.mtime_ns)
            if before and before.coded and not before.missing and (before.size, before.mtime_ns) == state:
                self.summary.unchanged += 1
            elif relative in broken and broken[relative][0] == state and not _curable(broken[relative][1]):
                seen_broken.add(relative)
                self.summary.failed.append(Failure(file.path, broken[relative][1]))
            else:
                jobs.append(_Job(file, before))
            if number % 512 == 0:
                self._progress(Progress("scan", number, None))
        blocked = {f"{below}/{p.relative}" if below else p.relative: p.reason for p in problems}
        for problem in problems:
            self.summary.failed.append(Failure(problem.path, problem.reason))
        self._process(jobs)
        self._note_blocked(
            {path: reason for path, reason in blocked.items() if broken.get(path, ("", ""))[1] != reason}
        )
        self._finish(known, set(broken) - seen_broken - {job.file.relative for job in jobs}, blocked)
        self.summary.failed.sort(key=lambda failure: failure.path)
        self.summary.seconds = time.monotonic() - started
        return self.summary

    def _load(self, below: str) -> tuple[dict[str, _Known], dict[str, tuple[tuple[int, int], str]]]:
        """Return what is known of the source's files, and of those that failed: path -> ((size, time), reason)."""
        coded = and_(codes_table.c.image == images.c.id, codes_table.c.encoder == self._encoder_id)
        columns = (images.c.path, images.c.id, images.c.size, images.c.mtime_ns, images.c.content, images.c.missing)
        query = (
            select(*columns, codes_table.c.image.is_not(None))
            .select_from(images.outerjoin(codes_table, coded))
            .where(images.c.source == self._source)
        )
        bad = select(failures.c.path, failures.c.size, failures.c.mtime_ns, failures.c.reason).where(
            failures.c.source == self._source
        )
        prefix = f"{below}/" if below else ""
        with self._database.read() as connection:
            known = {row[0]: _Known(*row[1:]) for row in connection.execute(query) if row[0].startswith(prefix)}
            broken = {
                row[0]: ((row[1], row[2]), row[3]) for row in connection.execute(bad) if row[0].startswith(prefix)
            }
        return known, broken

    def _process(self, jobs: list[_Job]) -> None:
        """Read, encode and store all jobs, batch by batch, in their order."""
        batch: list[_Done] = []
        self._progress(Progress("index", 0, len(jobs)))
        for number, done in enumerate(self._read_all(jobs), 1):
            batch.append(done)
            if len(batch) == BATCH or number == len(jobs):
                self._store(batch)
                batch = []
                self._progress(Progress("index", number, len(jobs)))
            elif number % 16 == 0:
                self._progress(Progress("index", number, len(jobs)))

    def _read_all(self, jobs: list[_Job]) -> Iterator[_Done]:
        """Yield jobs read and decoded, in order, a bounded number ahead."""
        pending: deque[Future[_Done]] = deque()
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="hashae-decode")
        try:
            with large_images_allowed():
                for job in jobs:
                    pending.append(pool.submit(self._read, job))
                    if len(pending) >= IN_FLIGHT * self._workers:
                        yield pending.popleft().result()
                while pending:
                    yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _read(self, job: _Job) -> _Done:
        file, known, form = job.file, job.known, self._encoder.form
        try:
            data = read_bytes(file.path)
            content = hashlib.sha256(data).digest()[:16]
            if known and known.coded and known.content == content:
                return _Done(job, content)
            image = decode(data, file.path, side=form.thumb, channels=form.channels)
        except ImageError as error:
            return _Done(job, reason=error.reason, lasts=_lies_in_the_content(error))
        return _Done(job, content, image)

    def _store(self, batch: list[_Done]) -> None:
        """Encode a batch and write it in one transaction."""
        decoded = [(done, done.image) for done in batch if done.image is not None]
        encoded = self._encoder.encode_thumbs(np.stack([image.thumb for _, image in decoded])) if decoded else None
        with self._database.write() as connection:
            if encoded is not None:
                ids = self._store_images(connection, decoded)
                self._store_codes(connection, ids, encoded)
            self._store_states(connection, batch)
            self._touch(connection)

    def _store_images(self, connection: Connection, decoded: list[tuple[_Done, DecodedImage]]) -> list[int]:
        """Write the rows of decoded images and return their ids, in order."""
        rows = {
            done.job.file.relative: {
                "source": self._source,
                "path": done.job.file.relative,
                "size": done.job.file.size,
                "mtime_ns": done.job.file.mtime_ns,
                "content": done.content,
                "pixels": None,
                "width": image.width,
                "height": image.height,
                "format": image.format,
                "missing": False,
            }
            for done, image in decoded
        }
        # Asked again, inside the transaction: a run beside this one may have stored some of them.
        known, contents = self._stored(connection, list(rows))
        new = [row for path, row in rows.items() if path not in known]
        if new:
            connection.execute(insert(images), new)
        if known:
            values: dict[str, Any] = {
                name: bindparam(name) for name in next(iter(rows.values())) if name not in {"source", "path"}
            }
            statement = update(images).where(images.c.id == bindparam("row")).values(values)
            connection.execute(statement, [{"row": id_, **rows[path]} for path, id_ in known.items()])
        changed = [id_ for path, id_ in known.items() if contents[path] != rows[path]["content"]]
        # The codes of other encoders too: going back to one must not find codes of what the file was before.
        connection.execute(delete(codes_table).where(codes_table.c.image.in_(changed)))
        self.summary.added += len(new)
        self.summary.changed += len(changed)
        self.summary.unchanged += len(known) - len(changed)
        known |= self._stored(connection, [str(row["path"]) for row in new])[0]
        return [known[path] for path in rows]

    def _stored(self, connection: Connection, paths: list[str]) -> tuple[dict[str, int], dict[str, bytes]]:
        """Return ids and content hashes of those of `paths` that have a row."""
        columns = (images.c.path, images.c.id, images.c.content)
        query = select(*columns).where(images.c.source == self._source, images.c.path.in_(paths))
        rows = connection.execute(query).all()
        return {path: id_ for path, id_, _ in rows}, {path: content for path, _, content in rows}

    def _store_codes(self, connection: Connection, ids: list[int], encoded: Encoded) -> None:
        mine = and_(codes_table.c.encoder == self._encoder_id, codes_table.c.image.in_(ids))
        connection.execute(delete(codes_table).where(mine))
        rows = zip(keys(encoded.codes).tolist(), ids, encoded.codes, encoded.confidence.tolist(), strict=True)
        connection.execute(
            insert(codes_table),
            [
                {"encoder": self._encoder_id, "key": key, "image": id_, "code": code.tobytes(), "confidence": sure}
                for key, id_, code, sure in rows
            ],
        )
        self.summary.encoded += len(ids)

    def _store_states(self, connection: Connection, batch: list[_Done]) -> None:
        """Write what is not an image row: failures, failures that are over, new times of unchanged files."""
        paths = [done.job.file.relative for done in batch]
        connection.execute(delete(failures).where(failures.c.source == self._source, failures.c.path.in_(paths)))
        for done in batch:
            file, known = done.job.file, done.job.known
            if done.reason is not None:
                size = file.size if done.lasts else NEVER
                values = {"path": file.relative, "size": size, "mtime_ns": file.mtime_ns, "reason": done.reason}
                connection.execute(insert(failures).values(source=self._source, **values))
                self.summary.failed.append(Failure(file.path, done.reason))
                if known is not None:
                    connection.execute(update(images).where(images.c.id == known.id).values(missing=True))
            elif done.image is None:
                assert known is not None
                self.summary.unchanged += 1
                times = {"size": file.size, "mtime_ns": file.mtime_ns, "missing": False}
                connection.execute(update(images).where(images.c.id == known.id).values(times))

    def _note_blocked(self, blocked: dict[str, str]) -> None:
        """Record what could not even be looked at: closed folders, broken links."""
        if not blocked:
            return
        with self._database.write() as connection:
            for path, reason in blocked.items():
                mine = and_(failures.c.source == self._source, failures.c.path == path)
                connection.execute(delete(failures).where(mine))
                values = {"source": self._source, "path": path, "size": NEVER, "mtime_ns": 0, "reason": reason}
                connection.execute(insert(failures).values(values))

    def _finish(self, gone: dict[str, _Known], repaired: set[str], blocked: Collection[str]) -> None:
        """Mark what was not found any more, and forget failures of files that are gone."""

        def hidden(path: str) -> bool:
            # What lies in a folder that could not be listed is not gone; nobody looked.
            return any(path == name or path.startswith(f"{name}/") or name == "" for name in blocked)

        lost = [known.id for path, known in gone.items() if not known.missing and not hidden(path)]
        self.summary.missing = len(lost)
        over = [path for path in repaired if not hidden(path)]
        if not lost and not over:
            return
        with self._database.write() as connection:
            for start in range(0, len(lost), BATCH):
                part = lost[start : start + BATCH]
                connection.execute(update(images).where(images.c.id.in_(part)).values(missing=True))
            for start in range(0, len(over), BATCH):
                these = failures.c.path.in_(over[start : start + BATCH])
                connection.execute(delete(failures).where(failures.c.source == self._source, these))
            self._touch(connection)

    def _touch(self, connection: Connection) -> None:
        """Move the generation on: caches made before are stale."""
        sources_collection = select(collections.c.id).where(collections.c.encoder == self._encoder_id)
        connection.execute(
            update(collections)
            .where(collections.c.id.in_(sources_collection))
            .values(generation=collections.c.generation + 1)
        )


def _curable(reason: str) -> bool:
    """Return True if the reason was a missing library that is installed now."""
    return "hashae[heif]" in reason and find_spec("pillow_heif") is not None


def _lies_in_the_content(error: ImageError) -> bool:
    """Return False for a file that could not be opened or did not fit into memory: the next time it may."""
    cause = error.__cause__
    return not (isinstance(cause, MemoryError) or (isinstance(cause, OSError) and cause.errno is not None))
