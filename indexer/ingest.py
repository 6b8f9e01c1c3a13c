"""Bring one source folder of a collection up to date: scan, read, decode, encode, store.

Threads read and decode; the calling thread encodes and stores in batches, each batch one transaction. Whatever happens,
the batches before are safe and the next run goes on after them.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from itertools import islice
from typing import Any, TypeAlias

import numpy as np

from hashae.db import Database
from hashae.db.band_triggers import BANDS
from hashae.db.claims import Claims
from hashae.encoder import Encoded, Encoder
from hashae.errors import ImageError, SourceError
from hashae.images.ahead import reading_ahead
from hashae.images.decode import DecodedImage, decode, large_images_allowed, read_bytes
from hashae.images.isolated import IsolatedDecoder
from hashae.images.scan import FoundFile, Problem, scan
from hashae.indexer.in_flight import GUARDED, ISOLATING, InFlight
from hashae.indexer.ledger import FailedFile, FileState, KnownFile, Ledger, ReadImage, SameFile, Twin
from hashae.indexer.remote import Outcome, Reader, Wanted, lies_in_the_content
from hashae.indexer.report import Failure
from hashae.indexer.sources import Source
from hashae.indexer.summary import IndexSummary, Progress
from hashae.indexer.whereabouts import is_hidden

BATCH = 512
"""Images in one transaction: what kill -9 can cost."""

PART = 64
"""Images in one call of the encoder."""

IN_FLIGHT = 256
"""Decoded images per worker that may wait to be encoded: some kilobytes each, and decoding never waits for storing."""

HANDFUL = 8
"""Files in one task of a worker: handing a task over costs a tenth of what decoding a small file does."""


CLAIMED = 64
"""Files that are claimed at a time where other machines index into the same database."""

PATIENCE = 0.2
"""Seconds after which it is looked again whether what others are at is done."""

SEGMENT = 1 << 14
"""Files of a new collection that are indexed before the scan goes on: a million paths would take a gigabyte."""

SEGMENT_ELSEWHERE = 1 << 20
"""The same, where processes elsewhere read: starting them takes seconds, so it pays to know more files at once."""

SECONDS = 60.0
"""After which a picture in another process is given up, and one in this process where another would go on."""

LOOKED = 2.0
"""Seconds between two looks whether a decoder hangs."""


@dataclass(frozen=True, slots=True)
class _Job:
    file: FoundFile
    known: KnownFile | None

    @property
    def state(self) -> FileState:
        return FileState(self.file.relative, self.file.size, self.file.mtime_ns)


@dataclass(frozen=True, slots=True)
class _Done:
    """A job after reading: decoded, or only looked at (`image` None: content seen before, here or not), or failed.

    A failure that `lasts` lies in the content: it is not tried again until size or time change.
    """

    job: _Job
    content: bytes = b""
    image: DecodedImage | None = None
    reason: str | None = None
    lasts: bool = True


_Part: TypeAlias = "tuple[list[_Done], Future[Encoded | None]]"
"""Jobs that are done, and the codes of those that were decoded."""

_NO_THUMB = np.empty((1, 0, 0), np.uint8)
"""Of a picture that was decoded and encoded elsewhere."""

_Read: TypeAlias = "Callable[[str], AbstractContextManager[tuple[bytes, Callable[[], DecodedImage]]]]"
"""Reads a file: its content hash, and how to go on and decode it."""


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
    in_flight
        Notes what is decoded, and knows what a run before this one did not survive.
    workers
        Threads that read and decode.
    isolate
        Decode every file in another process, not only those that are suspected.
    on_progress
        Called from the calling thread.
    reader
        Reads, decodes and encodes elsewhere; None does it here, with `workers` threads.
    """

    def __init__(
        self,
        database: Database,
        source: tuple[int, str],
        encoder: tuple[int, Encoder],
        in_flight: InFlight,
        *,
        workers: int = 2,
        isolate: bool = False,
        on_progress: Callable[[Progress], None] | None = None,
        reader: Reader | None = None,
    ) -> None:
        self._reader = reader
        self._workers, self._in_flight = workers, in_flight
        self._isolate = isolate or os.environ.get(GUARDED) == ISOLATING
        self._idle: list[IsolatedDecoder] = []
        self._database, self._source = database, source[0]
        self._folder, self._encoder = source[1], encoder[1]
        self._claims: Claims | None = None
        self._ledger = Ledger(database, source[0], encoder[0])
        self._progress = on_progress or (lambda _progress: None)
        self.summary = IndexSummary()
        self.lost: set[int] = set()
        self._taken = 0

    def run(self, below: str = "", *, allow_empty: bool = False) -> IndexSummary:
        """Index the source, or only what lies in its folder `below`.

        Parameters
        ----------
        below
            Path in the source.
        allow_empty
            Believe a source in which there is not one picture any more: all of its images are missing then.

        Raises
        ------
        SourceError
            If the folder is missing or cannot be listed, or is empty and was not: the place where a drive is mounted
            is an empty folder while the drive is away.
        CollectionError
            If the collection cannot be written.
        """
        claims = Claims.of(self._database, self._source)
        with claims or nullcontext():
            self._claims = claims
            return self._run(below, allow_empty=allow_empty)

    def _run(self, below: str, *, allow_empty: bool) -> IndexSummary:
        started = time.monotonic()
        known, broken = self._ledger.load(below)
        jobs: list[_Job] = []
        problems: list[Problem] = []
        seen_broken: set[str] = set()
        root, number = f"{self._folder.rstrip('/')}/{below}" if below else self._folder, -1
        segment = SEGMENT if self._reader is None else SEGMENT_ELSEWHERE
        for number, found in enumerate(scan(root, problems.append)):
            relative = f"{below}/{found.relative}" if below else found.relative
            file = FoundFile(found.path, relative, found.size, found.mtime_ns)
            before = known.pop(relative, None)
            state = (file.size, file.mtime_ns)
            if before and before.coded and not before.missing and (before.size, before.mtime_ns) == state:
                self.summary.unchanged += 1
            elif (bad := broken.get(relative)) and (bad.size, bad.mtime_ns) == state and not _curable(bad.reason):
                seen_broken.add(relative)
                self.summary.failed.append(Failure(file.path, bad.reason))
            else:
                jobs.append(_Job(file, before))
            if number % 512 == 0:
                self._progress(Progress("scan", number, None))
            # A new collection has nothing that a file could have been before: no need to know all files at once.
            if len(jobs) >= segment and not known and not broken and self._ledger.whereabouts.empty:
                jobs = self._process(jobs, more=True)
        if number < 0 and not problems and not allow_empty:
            self._refuse_empty(root, sum(not file.missing for file in known.values()))
        blocked = {f"{below}/{p.relative}" if below else p.relative: p.reason for p in problems}
        for problem in problems:
            self.summary.failed.append(Failure(problem.path, problem.reason))
        lost = {known_.id for path, known_ in known.items() if not (known_.missing or is_hidden(path, blocked))}
        self._ledger.whereabouts.vanished |= lost
        left = self._process(jobs)
        while left and self._claims is not None:  # others are at these: they are done by them, or free when they died
            time.sleep(PATIENCE)
            self._claims.free_the_dead()
            self._taken -= len(left)
            left = self._process(left)
        told = {path: failure.reason for path, failure in broken.items()}
        self._ledger.note_blocked({path: reason for path, reason in blocked.items() if told.get(path) != reason})
        over = set(broken) - seen_broken - {job.file.relative for job in jobs}
        lost &= self._ledger.whereabouts.vanished  # those that did not turn up elsewhere
        self.summary.missing, self.lost = len(lost), lost
        self._ledger.finish(sorted(lost), [path for path in over if not is_hidden(path, blocked)])
        self._ledger.write_bands(lambda band: self._progress(Progress("bands", band, BANDS)))
        self.summary.failed.sort(key=lambda failure: failure.path)
        self.summary.seconds = time.monotonic() - started
        return self.summary

    @property
    def claimed(self) -> set[int]:
        """Ids of the images whose files turned up elsewhere."""
        return self._ledger.whereabouts.claimed

    def _process(self, jobs: list[_Job], *, more: bool = False) -> list[_Job]:
        """Read, encode and store all jobs, batch by batch, in their order; how many come after them may not be known.

        While this thread stores and waits, others decode, and one encodes what is decoded, part by part; or processes
        elsewhere do both.

        Returns
        -------
        The jobs that other programs are at.
        """
        batch: list[_Part] = []
        left: list[_Job] = []
        before, self._taken = self._taken, self._taken + len(jobs)
        total = None if more else self._taken
        self._progress(Progress("index", before, total))
        mine, number = self._claimed(jobs, left), 0
        parts = self._parts_here(mine, before, total) if self._reader is None else self._parts_elsewhere(list(mine))
        for part in parts:
            batch.append(part)
            number += len(part[0])
            if number % BATCH == 0:
                self._store(batch)
                batch = []
                self._progress(Progress("index", before + number, total))
        if batch:
            self._store(batch)
        self._progress(Progress("index", self._taken - len(left), total))
        return left

    def _parts_here(self, jobs: Iterable[_Job], before: int, total: int | None) -> Iterator[_Part]:
        """Yield jobs done by threads, `PART` at a time and never across two batches, with their codes to come."""
        part: list[_Done] = []
        with ThreadPoolExecutor(1, thread_name_prefix="hashae-encode") as encoding:
            for number, done in enumerate(self._read_all(jobs), 1):
                part.append(done)
                if len(part) == PART or number % BATCH == 0:
                    yield part, encoding.submit(self._encode, part)
                    part = []
                elif number % 16 == 0:
                    self._progress(Progress("index", before + number, total))
            if part:
                yield part, encoding.submit(self._encode, part)

    def _parts_elsewhere(self, jobs: list[_Job]) -> Iterator[_Part]:
        """Yield jobs done by processes elsewhere."""
        assert self._reader is not None
        suspects = self._in_flight.suspects
        wanted = [
            Wanted(
                job.file.path,
                job.known.content if job.known and job.known.coded else None,
                self._isolate or job.file.path in suspects,
            )
            for job in jobs
        ]
        at = 0
        for outcomes, codes in self._reader.read(self._folder, wanted):
            these = jobs[at : at + len(outcomes)]
            at += len(outcomes)
            part = [self._done_elsewhere(job, outcome) for job, outcome in zip(these, outcomes, strict=True)]
            encoded: Future[Encoded | None] = Future()
            if codes is None:
                encoded.set_result(None)
            else:  # of twins the codes are known
                decoded = [outcome.image is not None for outcome in outcomes]
                kept = np.array([done.image is not None for done in part])[decoded]
                some = Encoded(codes.codes[kept], codes.confidence[kept], codes.detail[kept])
                encoded.set_result(some if kept.any() else None)
            yield part, encoded
        assert at == len(jobs), "every file comes back"

    def _done_elsewhere(self, job: _Job, outcome: Outcome) -> _Done:
        """Decide as :meth:`_look` does, which can ask the collection before it decodes."""
        if outcome.image is None or (job.known is None and self._ledger.whereabouts.coded(outcome.content)):
            return _Done(job, outcome.content, reason=outcome.reason, lasts=outcome.lasts)
        return _Done(job, outcome.content, DecodedImage(_NO_THUMB, *outcome.image))

    def _claimed(self, jobs: list[_Job], left: list[_Job]) -> Iterator[_Job]:
        """Yield the jobs that nobody else is at, and that nobody has done meanwhile; add the others to `left`."""
        if self._claims is None:
            yield from jobs
            return
        for start in range(0, len(jobs), CLAIMED):
            some = jobs[start : start + CLAIMED]
            mine = self._claims.take(job.file.relative for job in some)
            left += [job for job in some if job.file.relative not in mine]
            known, broken = self._ledger.load(paths=sorted(mine))
            over = []
            for job in some:
                path, state = job.file.relative, (job.file.size, job.file.mtime_ns)
                if path not in mine:
                    continue
                now = known.get(path)
                if now and now.coded and not now.missing and (now.size, now.mtime_ns) == state:
                    self.summary.unchanged += 1
                    over.append(path)
                elif (bad := broken.get(path)) and (bad.size, bad.mtime_ns) == state and not _curable(bad.reason):
                    self.summary.failed.append(Failure(job.file.path, bad.reason))
                    over.append(path)
                else:
                    yield _Job(job.file, now)
            if over:
                self._claims.give_back(over)

    def _read_all(self, jobs: Iterable[_Job]) -> Iterator[_Done]:
        """Yield jobs read and decoded, in order, a bounded number ahead."""
        pending: deque[Future[list[_Done]]] = deque()
        pool, remaining = ThreadPoolExecutor(self._workers, thread_name_prefix="hashae-decode"), iter(jobs)
        try:
            with large_images_allowed():
                while handful := list(islice(remaining, HANDFUL)):
                    pending.append(pool.submit(self._read_some, handful))
                    if len(pending) * HANDFUL >= IN_FLIGHT * self._workers:
                        yield from self._done_reading(pending.popleft())
                while pending:
                    yield from self._done_reading(pending.popleft())
        finally:
            pool.shutdown(cancel_futures=True)
            while self._idle:
                self._idle.pop().close()

    def _done_reading(self, future: Future[list[_Done]]) -> list[_Done]:
        while not wait([future], timeout=LOOKED).done:
            self._in_flight.end_if_hung(SECONDS)
        return future.result()

    def _read_some(self, jobs: list[_Job]) -> list[_Done]:
        with reading_ahead([job.file.path for job in jobs], read_bytes) as fetch:
            return [self._read(job, fetch) for job in jobs]

    def _read(self, job: _Job, fetch: Callable[[str], bytes] | None = None, *, anew: bool = False) -> _Done:
        alone = self._isolate or job.file.path in self._in_flight.suspects
        try:
            return self._look(
                job, self._read_apart if alone else partial(self._read_here, fetch or read_bytes), anew=anew
            )
        except ImageError as error:
            return _Done(job, reason=error.reason, lasts=lies_in_the_content(error))

    def _look(self, job: _Job, read: _Read, *, anew: bool) -> _Done:
        """Read a file, and decode it if its content is new."""
        known = job.known
        with read(job.file.path) as (content, decoded):
            if known and known.coded and known.content == content:
                return _Done(job, content)
            if known is None and not anew and self._ledger.whereabouts.coded(content):
                return _Done(job, content)
            return _Done(job, content, decoded())

    @contextmanager
    def _read_here(
        self, fetch: Callable[[str], bytes], path: str
    ) -> Iterator[tuple[bytes, Callable[[], DecodedImage]]]:
        data, form = fetch(path), self._encoder.form

        def decoded() -> DecodedImage:
            with self._in_flight.note(path):
                return decode(data, path, side=form.thumb, channels=form.channels)

        yield hashlib.sha256(data).digest()[:16], decoded

    @contextmanager
    def _read_apart(self, path: str) -> Iterator[tuple[bytes, Callable[[], DecodedImage]]]:
        """Do it in a process that may be lost; one for each thread."""
        decoder = self._idle.pop() if self._idle else IsolatedDecoder(seconds=SECONDS)
        form = self._encoder.form
        try:
            content = decoder.read(path)[:16]
            yield content, lambda: decoder.decode(path, side=form.thumb, channels=form.channels)
        finally:
            self._idle.append(decoder)

    def _encode(self, part: list[_Done]) -> Encoded | None:
        """Return codes, confidence and detail of the decoded images of a part, or None if there are none."""
        thumbs = [done.image.thumb for done in part if done.image is not None]
        return self._encoder.encode_thumbs(np.stack(thumbs)) if thumbs else None

    def _store(self, batch: list[_Part]) -> None:
        """Write a batch in one transaction."""
        every = [done for part, _ in batch for done in part]
        encoded = [result for _, future in batch if (result := future.result()) is not None]
        read = [
            ReadImage(done.job.state, done.content, done.image.width, done.image.height, done.image.format)
            for done in every
            if done.image is not None
        ]
        failed, same, twins = [], [], list[Twin]()
        for done in every:
            known = done.job.known
            if done.reason is not None:
                failed.append(FailedFile(done.job.state, done.reason, done.lasts, known.id if known else None))
                self.summary.failed.append(Failure(done.job.file.path, done.reason))
                self.summary.unreadable += known is not None and not known.missing
            elif done.image is None and known is not None:
                same.append(SameFile(done.job.state, known.id))
            elif done.image is None:
                twins.append(Twin(done.job.state, done.content))
        counts = self._ledger.store(
            read,
            np.concatenate([result.codes for result in encoded]) if encoded else None,
            [sure for result in encoded for sure in result.confidence.tolist()],
            [grey for result in encoded for grey in result.detail.tolist()],
            failed,
            same,
            twins,
        )
        self.summary.encoded += len(read)
        self.summary.added += counts.added
        self.summary.changed += counts.changed
        self.summary.moved += counts.moved
        self.summary.unchanged += counts.unchanged
        if self._claims is not None:
            self._claims.give_back(done.job.file.relative for done in every)
        if counts.left:  # what they were twins of is gone since they were read
            gone = {twin.file.path for twin in counts.left}
            again = [self._read(done.job, anew=True) for done in every if done.job.file.relative in gone]
            with ThreadPoolExecutor(1) as encoding:
                self._store([(again, encoding.submit(self._encode, again))])

    def _refuse_empty(self, folder: str, known: int) -> None:
        if known:
            raise SourceError(
                f"{folder} holds no pictures now, and the collection knows {known:,} of it: they are kept; if a drive "
                f"belongs there, mount it; if they are gone for good, run: hashae index {folder} --prune"
            )


def ingest_sources(
    database: Database,
    targets: Sequence[tuple[Source, str]],
    encoder: tuple[int, Encoder],
    *,
    on_done: Callable[[Source], None],
    workers: int = 2,
    isolate: bool = False,
    allow_empty: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    reader: Reader | None = None,
) -> IndexSummary:
    """Index several sources, one after the other.

    Parameters
    ----------
    database, encoder, workers, isolate, on_progress, reader
        As those of :class:`Ingest`.
    targets
        Each source with the folder in it to look at; the empty string is all of it.
    allow_empty
        As in :meth:`Ingest.run`.
    on_done
        Called with each source that was indexed as a whole.

    Raises
    ------
    SourceError
        If every folder is missing, or empty that was not. One that is (a drive is away) is told; the others go on.
    CollectionError
        If the collection cannot be written.
    """
    total = IndexSummary()
    absent: list[SourceError] = []
    lost: set[int] = set()
    in_flight = InFlight(database.beside, workers)
    settings: dict[str, Any] = {"workers": workers, "isolate": isolate, "on_progress": on_progress, "reader": reader}
    try:
        for source, below in targets:
            run = Ingest(database, (source.id, source.path), encoder, in_flight, **settings)
            try:
                part = run.run(below, allow_empty=allow_empty)
            except SourceError as error:
                absent.append(error)
                empty = "holds no pictures now" in str(error)
                state = "folder is empty now (is its drive mounted?)" if empty else "folder cannot be listed now"
                total.failed.append(Failure(source.path, f"{state}; its images are kept"))
                continue
            if not below:
                on_done(source)
            total.include(part)
            total.missing -= len(lost & run.claimed)  # gone from a source before this one, and found here
            lost |= run.lost
        in_flight.settle()
    finally:
        in_flight.close()
    if targets and len(absent) == len(targets):
        raise absent[0]
    return total


def _curable(reason: str) -> bool:
    """Return True if the reason was a missing library that is installed now."""
    extras = {"hashae[heif]": "pillow_heif", "hashae[raw]": "rawpy"}
    return any(extra in reason and find_spec(library) is not None for extra, library in extras.items())
