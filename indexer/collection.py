"""A collection: pictures, encoder, database and index meet here, and nowhere else.

with Collection.open("photos.db") as collection:
    collection.set_encoder(Encoder.load("photo.onnx"))
    collection.index("~/Pictures")
    collection.query("beach.jpg", k=10)
    collection.dedup()
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from hashae.codes import check_codes
from hashae.db import Database, open_database
from hashae.encoder import Encoder
from hashae.errors import SourceError
from hashae.images.scan import check_source
from hashae.indexer.answer import Answer
from hashae.indexer.answer_query import Question, answer_query
from hashae.indexer.catalogue import collection_id
from hashae.indexer.facts import Fact
from hashae.indexer.parts import Parts
from hashae.indexer.sources import absolute_path
from hashae.place import Place, ServerUrl

# Of what only some commands need, each is loaded by the method that uses it: a query answers in half the time.
if TYPE_CHECKING:
    from hashae.indexer.calibrate import Measurement, Sampling
    from hashae.indexer.calibrated import Calibration
    from hashae.indexer.cluster import Cluster
    from hashae.indexer.collection_health import CollectionHealth
    from hashae.indexer.decisions import VerdictBook
    from hashae.indexer.executor import Executor
    from hashae.indexer.index import HashIndex
    from hashae.indexer.keep_rules import KeepPolicy
    from hashae.indexer.overlap import OverlapReport
    from hashae.indexer.prune import Missing
    from hashae.indexer.remote import Reader
    from hashae.indexer.report import DedupReport, Failure
    from hashae.indexer.summary import IndexSummary, Progress
    from hashae.indexer.verify import Check


class Collection:
    """An open collection; make one with :meth:`open`.

    Parameters
    ----------
    database
        Open collection file.
    name
        Of the collection in the file.
    threads
        CPU threads of encoder and search.
    """

    def __init__(self, database: Database, name: str = "default", *, threads: int = 2) -> None:
        self._parts = Parts(database, collection_id(database, name, _now()), threads=threads)

    @classmethod
    def open(
        cls, path: str | Path | ServerUrl, *, create: bool = True, name: str = "default", threads: int = 2
    ) -> Collection:
        """Open a collection: a file, or a database of a PostgreSQL server.

        Parameters
        ----------
        path
            Of the file, or ``"postgresql+psycopg://USER@HOST/DATABASE"``.
        create
            Make it if it is missing; its folder, or its database, must exist.
        name
            One file, or database, can hold several collections.
        threads
            CPU threads of encoder and search.

        Raises
        ------
        CollectionError
            If the file is missing, foreign, newer or damaged, or the server cannot be reached.
        ConfigError
            If it is a URL of something else.
        """
        database = open_database(path, create=create)
        try:
            return cls(database, name, threads=threads)
        except BaseException:
            database.close()
            raise

    def __enter__(self) -> Collection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._parts.database.close()

    @property
    def path(self) -> Place:
        """The collection file, or the URL of its database; as text that shows no password."""
        return self._parts.database.path

    def __repr__(self) -> str:
        return f"Collection({str(self.path)!r})"

    @property
    def verdicts(self) -> VerdictBook:
        """What people decided about pictures."""
        from hashae.indexer.decisions import VerdictBook

        return VerdictBook(self._parts.database, self._parts.id)

    @property
    def actions(self) -> Executor:
        """Acts on the files of a plan, and takes it back."""
        from hashae.indexer.executor import Executor
        from hashae.indexer.pixels import file_pixel_hash

        return Executor(self._parts.database, self._parts.id, file_pixel_hash)

    @property
    def has_encoder(self) -> bool:
        """True if an encoder was set."""
        return self._parts.shelf.default() is not None

    @property
    def encoder(self) -> Encoder:
        """The encoder of the collection, as it is stored in the file.

        Raises
        ------
        CollectionError
            If none was set.
        """
        return self._parts.encoder.open()[1]

    def set_encoder(self, encoder: Encoder) -> None:
        """Make `encoder` the one of this collection; it is stored in the file.

        With another encoder than before, the next :meth:`index` encodes every image again: codes of two encoders are
        never compared. The old encoder and its codes stay in the file.
        """
        self._parts.encoder.set(encoder, _now())

    def add_encoder(self, encoder: Encoder) -> None:
        """Store `encoder` beside the one in use, which it follows when :meth:`index` has encoded every image with it.

        Until then all answers come from the old one, whatever interrupts the work. Without any image, or any encoder,
        it is the one in use at once.
        """
        if self.has_encoder and len(self):
            self._parts.encoder.let_follow(encoder, _now())
        else:
            self.set_encoder(encoder)

    @property
    def changes_encoder(self) -> bool:
        """True if an encoder was added that has not encoded every image yet."""
        return self._parts.shelf.next() is not None

    def use_encoder(self, name: str) -> None:
        """Make an encoder of the file the one in use at once, by name or start of fingerprint.

        Images that it has not encoded are not found until :meth:`index` did.

        Raises
        ------
        UnknownName
            If there is none, or more than one, of that name.
        """
        self._parts.shelf.switch(self._parts.shelf.find(name))

    def remove_encoder(self, name: str) -> None:
        """Delete an encoder and its codes from the file, by name or start of fingerprint.

        Raises
        ------
        ConfigError
            If it is the one in use.
        UnknownName
            If there is none, or more than one, of that name.
        """
        self._parts.shelf.remove(self._parts.shelf.find(name))

    def list_encoders(self) -> list[dict[str, Any]]:
        """Return name, bits, fingerprint, radius, number of codes and history of each encoder in the file."""
        return self._parts.shelf.listed()

    def index(
        self,
        folder: str | Path | None = None,
        *,
        workers: int = 2,
        prune: bool = False,
        isolate: bool = False,
        on_progress: Callable[[Progress], None] | None = None,
        cluster: Cluster | None = None,
    ) -> IndexSummary:
        """Bring a folder, or all folders of the collection, up to date.

        Files are told apart by size and time, and by the hash of their content where those differ. A file that moved
        keeps what is known of it. A folder that is missing, or empty and was not, is passed over: its drive is away.

        Parameters
        ----------
        folder
            Becomes a source of the collection if it is not one, or lies in one, already; None takes all sources. The
            address of an object store, such as ``"s3://bucket/folder"``, is given as text.
        workers
            Threads that read and decode.
        prune
            Forget the images that are gone at once, also those of a folder that is empty now.
        isolate
            Decode in other processes: a decoder that crashes or hangs costs one picture. Else it ends the run, and the
            next one decodes what was being decoded in another process.
        on_progress
            Called from this thread.
        cluster
            Reads, decodes and encodes; what comes of it is the same. Every node has to see the folder at one place.

        Raises
        ------
        SourceError
            If the folder, or every folder of the collection, is missing (or empty), or there is no source yet.
        CollectionError
            If there is no encoder, or the file cannot be written.
        """
        from hashae.indexer.ingest import ingest_sources
        from hashae.indexer.prune import find_missing

        encoder = self._parts.encoder.for_indexing()
        targets = self._parts.sources.all() if folder is None else [self._parts.sources.claim(check_source(folder))]
        if not targets:
            raise SourceError(f"{self.path} has no folder yet; give one: hashae index FOLDER")
        summary = ingest_sources(
            self._parts.database,
            targets,
            encoder,
            on_done=lambda source: self._parts.sources.mark_indexed(source, _now()),
            workers=workers,
            isolate=isolate,
            allow_empty=prune,
            on_progress=on_progress,
            reader=_reader_on(cluster, encoder[1], isolate),
        )
        if prune:
            place = None if folder is None else check_source(folder)
            found = find_missing(self._parts.database, self._parts.id, place, allow_empty=True)
            summary.pruned = self.forget_missing(found)
        if self.changes_encoder:
            summary.waiting = self._parts.shelf.lacking(encoder[0])
            if not summary.waiting:
                self._parts.shelf.switch(encoder[0])
        if encoder[0] == self._parts.shelf.default():
            self._parts.tables.settle(encoder[0], encoder[1].bits, summary.encoded, on_progress)
        return summary

    def missing(self, folder: str | Path | None = None) -> Missing:
        """Return the images that are gone, of a folder or of all: what :meth:`forget_missing` would forget."""
        from hashae.indexer.prune import find_missing

        place = None if folder is None else absolute_path(folder)
        return find_missing(self._parts.database, self._parts.id, place)

    def forget_missing(self, missing: Missing) -> int:
        """Forget images that are gone; return how many. Verdicts stay: they belong to the content."""
        if not missing.gone:
            return 0
        from hashae.indexer.prune import forget_images

        return forget_images(self._parts.database, self._parts.id, [id_ for id_, _ in missing.gone])

    def remove(self, path: str | Path) -> int:
        """Forget an image, or all images of a folder; the files are not touched. Return how many.

        Raises
        ------
        UnknownName
            If the collection knows nothing at that path.
        """
        return self._parts.sources.forget(absolute_path(path))

    def __len__(self) -> int:
        return self._parts.catalogue.count()

    def query(
        self,
        image: str | Path,
        *,
        exact: bool = False,
        radius: int | None = None,
        k: int | None = None,
        matches: bool = False,
        mirror: bool = False,
        views: bool = False,
        pgvector: bool = False,
        explain: bool = False,
    ) -> Answer:
        """Find images whose codes are those of `image`, or near it. Give one of `exact`, `radius`, `k` and `matches`.

        Parameters
        ----------
        image
            File, or the address of an object; it need not be in the collection.
        exact
            Every image with exactly this code.
        radius
            Every image at most so many bits away.
        k
            So many images with the fewest differing bits.
        matches
            Every image that :meth:`dedup` would take for the same picture: each by a radius of its own.
        mirror
            Ask for the mirror image, too, and put the two answers into one. A code tells left from right, unless its
            encoder was trained not to.
        views
            Ask for the picture a little turned and as a part of a larger one, too, and put the answers into one: copies
            that were cut or turned are found that one code misses. See :mod:`hashae.images.query_views`.
        pgvector
            Find the `k` nearest by the index of pgvector, an extension of a PostgreSQL server: it may miss some, and
            what share it finds is measured and told. It is made with the first such question after a change.
        explain
            Say how the answer was found.

        Raises
        ------
        ImageError
            If the file cannot be read.
        ConfigError
            If not exactly one question is asked, or a number is out of range.
        """
        question = Question(exact, radius, k, matches, pgvector)
        encoder = self._parts.encoder.open()
        encoded = encoder[1].encode_file(image, mirror=mirror, views=views)
        answers = [
            answer_query(self._parts, encoder, code, Fact(float(sure), float(detail)), question, explain=explain)
            for code, sure, detail in zip(encoded.codes, encoded.confidence, encoded.detail, strict=True)
        ]
        if not mirror and not views:
            return answers[0]
        from hashae.images.query_views import QUERY_VIEWS
        from hashae.indexer.joined_answers import join_answers

        names = [None, *(view.name for view in QUERY_VIEWS if views)]
        ways = [(mirrored, name) for mirrored in ([False, True] if mirror else [False]) for name in names]
        return join_answers(answers, ways, k=k)

    def exact_many(self, codes: ArrayLike) -> list[list[int]]:
        """Return for each of `codes`, ``uint8 (m, bits // 8)``, the ids of the images that have it, ascending.

        Raises
        ------
        CodeError
            If these are no codes of the width of the collection's encoder.
        CollectionError
            If there is no encoder.
        """
        encoder_id, encoder = self._parts.encoder.open()
        return self._parts.catalogue.exact_many(encoder_id, check_codes(codes, encoder.bits))

    def hash_index(self) -> HashIndex:
        """Return the codes of all present images as an index; kept until the collection changes."""
        return self._parts.table()[2].index

    def dedup(
        self,
        folder: str | Path | None = None,
        *,
        radius: int | None = None,
        linkage: str = "star",
        method: str = "auto",
        policy: KeepPolicy | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        cluster: Cluster | None = None,
    ) -> DedupReport:
        """Find groups of images that show the same picture. Nothing is changed on disk.

        Featureless images (blank pages, black frames) are in a group only with others of the same bytes or pixels.

        Parameters
        ----------
        folder
            Look only at the images of this folder; None takes all. What matches is what matches in the collection.
        radius
            One Hamming distance for all images, inclusive; None takes the calibration (see :meth:`calibrate`), or,
            without one, gives every image its own by what was learned with the encoder (:mod:`hashae.calibration`).
        linkage
            ``"star"``: every image of a group matches its representative. ``"complete"``: every two match.
            ``"component"``: whatever is joined through others is one group; chains are marked.
        method
            ``"exact"``, ``"approximate"`` (faster for millions of images; the report tells the measured share of
            matching pairs that it found), or ``"auto"``: exact up to a million images.
        policy
            Which image of a group to keep, and of which folders nothing may go; default: the default rules. What the
            verdicts of the collection say comes before it.
        on_progress
            Called from this thread.
        cluster
            Compares the codes; None does it here. The answer is the same.

        Raises
        ------
        CollectionError
            If there is no encoder yet.
        UnknownName
            If the collection knows nothing of the folder.
        """
        from hashae.indexer.duplicate_search import search_duplicates

        return search_duplicates(
            self._parts,
            self.verdicts.rulings(),
            folder=folder,
            radius=radius,
            linkage=linkage,
            method=method,
            policy=policy,
            when=_now(),
            on_progress=on_progress,
            cluster=cluster,
        )

    def overlap(
        self,
        folder: str | Path | None,
        against: str | Path | Collection,
        *,
        radius: int | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> OverlapReport:
        """Find which images of a folder are in another folder, or in another collection. Nothing is changed on disk.

        Parameters
        ----------
        folder
            Of the images; None takes all of the collection (but those in `against`).
        against
            The other set: a folder of this collection, or another collection with the same encoder. Of two folders,
            one inside the other, the outer one counts without the inner one.
        radius
            As of :meth:`dedup`.
        on_progress
            Called from this thread.

        Raises
        ------
        CollectionError
            If there is no encoder yet.
        ConfigError
            If both sets are the same folder.
        EncoderMismatch
            If the other collection has another encoder.
        UnknownName
            If the collection knows nothing of a folder.
        """
        from hashae.indexer.across import search_across

        other, place = (against._parts, None) if isinstance(against, Collection) else (self._parts, against)
        return search_across(
            self._parts, other, folder=folder, against=place, radius=radius, when=_now(), on_progress=on_progress
        )

    @property
    def calibration(self) -> Calibration | None:
        """What was measured with the encoder in use, or None; see :meth:`calibrate`."""
        id_ = self._parts.shelf.default()
        return None if id_ is None else self._parts.calibrator.stored(id_)

    @property
    def calibration_due(self) -> bool:
        """True if there are images enough and there is no calibration yet, or their number has changed by half."""
        return self.has_encoder and self._parts.calibrator.due(*self._parts.encoder.open())

    def calibrate(
        self,
        folder: str | Path | None = None,
        sampling: Sampling | None = None,
        *,
        workers: int = 2,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Measurement:
        """Choose the radius that keeps a promised precision, on edited copies of a sample of images; it is stored.

        Parameters
        ----------
        folder
            Edit only images of this folder; None takes all.
        sampling
            What to promise and to measure; None promises 99.9 %.
        workers
            Threads that edit.
        on_progress
            Called from this thread.

        Raises
        ------
        CollectionError
            If there is no encoder, or too few images.
        SourceError
            If no image can be read.
        UnknownName
            If the collection knows nothing of the folder.
        """
        return self._parts.calibrator.run(
            *self._parts.encoder.open(),
            sampling,
            inside=None if folder is None else self._parts.sources.inside(folder),
            date=_now(),
            workers=workers,
            on_progress=on_progress,
        )

    def verify(self, *, sample: int = 100, on_progress: Callable[[Progress], None] | None = None) -> Check:
        """Look whether codes, bands, pictures and index agree, see :mod:`hashae.indexer.verify`; nothing is changed.

        Parameters
        ----------
        sample
            Most images to encode again.
        on_progress
            Called from this thread.
        """
        from hashae.indexer.verify import verify

        return verify(self._parts, sample=sample, on_progress=on_progress)

    def repair(self, check: Check) -> None:
        """Put right what :meth:`verify` found; if it `reads_again`, a run of :meth:`index` must follow."""
        from hashae.indexer.verify import repair

        repair(self._parts, check)

    def failures(self) -> list[Failure]:
        """Return the files that cannot be used, and why, ordered by path."""
        return self._parts.catalogue.failures()

    def stats(self) -> dict[str, Any]:
        """Return counts and sizes of the collection, its folders, encoders and failures."""
        folders = self._parts.catalogue.folders()
        return {
            "collection": str(self.path),
            "file_bytes": self._parts.database.size(),
            "images": sum(folder["images"] for folder in folders),
            "bytes": sum(folder["bytes"] for folder in folders),
            "missing": sum(folder["missing"] for folder in folders),
            "generation": self._parts.catalogue.generation(),
            "folders": folders,
            "encoders": self.list_encoders(),
            "failures": [{"path": failure.path, "reason": failure.reason} for failure in self.failures()],
        }

    def health(self, on_progress: Callable[[Progress], None] | None = None) -> CollectionHealth:
        """Measure what the codes of the collection are worth, see :mod:`hashae.health`.

        Raises
        ------
        CollectionError
            If there is no encoder, or fewer than two images.
        """
        from hashae.indexer.collection_health import collection_health

        return collection_health(self._parts, on_progress)

    def thumbnail(self, path: str) -> bytes | None:
        """Return a small JPEG of an image file, or None if it cannot be read; for reports."""
        from hashae.indexer.pixels import thumbnail

        return thumbnail(path)


def _reader_on(cluster: Cluster | None, encoder: Encoder, isolate: bool) -> Reader | None:
    """Return what reads files on a cluster; None without one."""
    if cluster is None:
        return None
    from hashae.indexer.cluster.reading import ClusterReader

    return ClusterReader(cluster, encoder, isolate=isolate)


def _now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
