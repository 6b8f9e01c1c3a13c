"""A collection: pictures, encoder, database and index meet here, and nowhere else.

with Collection.open("photos.db") as collection:
    collection.set_encoder(Encoder.load("photo.onnx"))
    collection.index("~/Pictures")
    collection.query("beach.jpg", k=10)
    collection.dedup()
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from hashae.codes import Codes, check_codes
from hashae.db import Database, open_database
from hashae.encoder import Encoder
from hashae.errors import CollectionError, ConfigError, SourceError, UnknownName
from hashae.images.detail import FEATURELESS
from hashae.images.scan import check_folder
from hashae.indexer.answer import Answer, ImageMatch
from hashae.indexer.calibrated import Calibration
from hashae.indexer.calibrator import Calibrator
from hashae.indexer.catalogue import Catalogue, collection_id
from hashae.indexer.code_table import CodeTables
from hashae.indexer.collection_health import CollectionHealth, collection_health
from hashae.indexer.decisions import VerdictBook
from hashae.indexer.duplicates import group_codes, report_groups
from hashae.indexer.executor import Executor
from hashae.indexer.facts import FactBook
from hashae.indexer.featureless import group_featureless
from hashae.indexer.file_search import FileAnswer, FileSearch
from hashae.indexer.index import HashIndex
from hashae.indexer.ingest import ingest_sources
from hashae.indexer.judged import judge_groups
from hashae.indexer.keep_rules import KeepPolicy
from hashae.indexer.kept_index import KeptIndex, TooLittleMemory
from hashae.indexer.match import Match
from hashae.indexer.own_matches import matches_by_rule
from hashae.indexer.pixels import file_pixel_hash, hash_pixels, metadata_reader, thumbnail
from hashae.indexer.radius_rule import RadiusRule, choose_rule
from hashae.indexer.report import DedupReport, Failure
from hashae.indexer.scan import check_radius
from hashae.indexer.shelf import NewEncoder, Shelf
from hashae.indexer.sources import SourceBook, absolute_path, is_below
from hashae.indexer.summary import IndexSummary, Progress

if TYPE_CHECKING:
    from hashae.indexer.calibrate import Measurement, Sampling


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
        self._database, self._threads = database, threads
        self._id = collection_id(database, name, _now())
        self._sources = SourceBook(database, self._id)
        self._shelf = Shelf(database, self._id)
        self._catalogue = Catalogue(database, self._id)
        self._facts = FactBook(database, self._id)
        self._indexes = KeptIndex(database, self._id, threads=threads)
        self._tables = CodeTables(self._catalogue, self._facts, self._indexes, threads=threads)
        self._file = FileSearch(database)
        self._calibrator = Calibrator(self._shelf, self._catalogue, self._facts, self._tables)
        self._encoder: tuple[int, Encoder] | None = None

    @classmethod
    def open(cls, path: str | Path, *, create: bool = True, name: str = "default", threads: int = 2) -> Collection:
        """Open a collection file.

        Parameters
        ----------
        path
            Of the file.
        create
            Make it if it is missing; its folder must exist.
        name
            One file can hold several collections.
        threads
            CPU threads of encoder and search.

        Raises
        ------
        CollectionError
            If the file is missing, foreign, newer or damaged.
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
        self._database.close()

    @property
    def path(self) -> Path:
        """The collection file."""
        return self._database.path

    def __repr__(self) -> str:
        return f"Collection({str(self.path)!r})"

    @property
    def verdicts(self) -> VerdictBook:
        """What people decided about pictures."""
        return VerdictBook(self._database, self._id)

    @property
    def actions(self) -> Executor:
        """Acts on the files of a plan, and takes it back."""
        return Executor(self._database, self._id, file_pixel_hash)

    @property
    def has_encoder(self) -> bool:
        """True if an encoder was set."""
        return self._shelf.default() is not None

    @property
    def encoder(self) -> Encoder:
        """The encoder of the collection, as it is stored in the file.

        Raises
        ------
        CollectionError
            If none was set.
        """
        return self._open_encoder()[1]

    def set_encoder(self, encoder: Encoder) -> None:
        """Make `encoder` the one of this collection; it is stored in the file.

        With another encoder than before, the next :meth:`index` encodes every image again: codes of two encoders are
        never compared. The old encoder and its codes stay in the file.
        """
        new = NewEncoder(
            name=encoder.name,
            bits=encoder.bits,
            fingerprint=encoder.fingerprint,
            info=encoder.info.to_json(),
            weights=encoder.data,
            decoder=encoder.decoder_data,
        )
        self._shelf.use(new, _now())
        self._encoder = None

    def list_encoders(self) -> list[dict[str, Any]]:
        """Return name, bits, fingerprint, radius, number of codes and history of each encoder in the file."""
        return self._shelf.listed()

    def index(
        self,
        folder: str | Path | None = None,
        *,
        workers: int = 2,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> IndexSummary:
        """Bring a folder, or all folders of the collection, up to date.

        Files are told apart by size and time, and by the hash of their content where those differ.

        Parameters
        ----------
        folder
            Becomes a source of the collection if it is not one, or lies in one, already; None takes all sources.
        workers
            Threads that read and decode.
        on_progress
            Called from this thread.

        Raises
        ------
        SourceError
            If the folder, or every folder of the collection, is missing, or there is no source yet.
        CollectionError
            If there is no encoder, or the file cannot be written.
        """
        encoder = self._open_encoder()
        targets = self._sources.all() if folder is None else [self._sources.claim(check_folder(folder))]
        if not targets:
            raise SourceError(f"{self.path} has no folder yet; give one: hashae index FOLDER")
        summary = ingest_sources(
            self._database,
            targets,
            encoder,
            on_done=lambda source: self._sources.mark_indexed(source, _now()),
            workers=workers,
            on_progress=on_progress,
        )
        self._tables.settle(encoder[0], encoder[1].bits, summary.encoded, on_progress)
        return summary

    def remove(self, path: str | Path) -> int:
        """Forget an image, or all images of a folder; the files are not touched. Return how many.

        Raises
        ------
        UnknownName
            If the collection knows nothing at that path.
        """
        return self._sources.forget(absolute_path(path))

    def __len__(self) -> int:
        return self._catalogue.count()

    def query(
        self,
        image: str | Path,
        *,
        exact: bool = False,
        radius: int | None = None,
        k: int | None = None,
        matches: bool = False,
        explain: bool = False,
    ) -> Answer:
        """Find images whose codes are those of `image`, or near it. Give one of `exact`, `radius`, `k` and `matches`.

        Parameters
        ----------
        image
            File; it need not be in the collection.
        exact
            Every image with exactly this code.
        radius
            Every image at most so many bits away.
        k
            So many images with the fewest differing bits.
        matches
            Every image that :meth:`dedup` would take for the same picture: each by a radius of its own.
        explain
            Say how the answer was found.

        Raises
        ------
        ImageError
            If the file cannot be read.
        ConfigError
            If not exactly one question is asked, or a number is out of range.
        """
        if exact + (radius is not None) + (k is not None) + matches != 1:
            raise ConfigError("a query takes exactly one of exact, radius, k and matches")
        encoder_id, encoder = self._open_encoder()
        encoded = encoder.encode_file(image)
        code, rule, how, allowed = encoded.codes[0], None, None, None
        asked = self._ask_file(encoder_id, encoder.bits, code.tobytes(), 0 if exact else radius)
        if asked is None and not matches:
            asked = self._ask_blocks(encoder_id, encoder.bits, encoded.codes, radius, k)
        if asked is not None:
            found, how = asked.matches, asked.explanation if explain else None
        else:
            table = self._tables.current(encoder_id, encoder.bits)
            index = table.index
            if matches:
                rule = self._rule(encoder, len(index))
                known = self._tables.stored_crowding(table)
                ruled = matches_by_rule(index, code, rule, crowding=known, threads=self._threads)
                found, allowed, radius = ruled.matches, ruled.allowed, ruled.searched
            else:
                found = index.nearest(code, k) if k is not None else index.within(code, radius or 0)
            if explain:
                how = replace(index.explain(code, radius=radius, k=k), answers=len(found))
        return Answer(
            matches=self._describe(encoder_id, found, allowed),
            bits=encoder.bits,
            code=code.tobytes().hex(),
            confidence=float(encoded.confidence[0]),
            featureless=bool(encoded.detail[0] < FEATURELESS),
            rule=None if rule is None else str(rule),
            explanation=how,
        )

    def exact_many(self, codes: ArrayLike) -> list[list[int]]:
        """Return for each of `codes`, ``uint8 (m, bits // 8)``, the ids of the images that have it, ascending.

        Raises
        ------
        CodeError
            If these are no codes of the width of the collection's encoder.
        CollectionError
            If there is no encoder.
        """
        encoder_id, encoder = self._open_encoder()
        return self._catalogue.exact_many(encoder_id, check_codes(codes, encoder.bits))

    def hash_index(self) -> HashIndex:
        """Return the codes of all present images as an index; kept until the collection changes."""
        encoder_id, encoder = self._open_encoder()
        return self._tables.current(encoder_id, encoder.bits).index

    def dedup(
        self,
        folder: str | Path | None = None,
        *,
        radius: int | None = None,
        policy: KeepPolicy | None = None,
        on_progress: Callable[[Progress], None] | None = None,
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
        policy
            Which image of a group to keep, and of which folders nothing may go; default: the default rules. What the
            verdicts of the collection say comes before it.
        on_progress
            Called from this thread.

        Raises
        ------
        CollectionError
            If there is no encoder yet.
        UnknownName
            If the collection knows nothing of the folder.
        """
        encoder_id, encoder = self._open_encoder()
        table, bad = self._tables.current(encoder_id, encoder.bits), self.failures()
        whole = table.index
        chosen = np.ones(len(whole), np.bool_)
        if folder is not None:
            chosen = np.isin(whole.ids, self._inside(folder))
            bad = [failure for failure in bad if is_below(failure.path, absolute_path(folder))]
        plain = chosen & np.isin(whole.ids, self._facts.featureless(encoder_id, FEATURELESS))
        seen = chosen & ~plain
        rule = self._rule(encoder, len(whole), radius)
        crowding = None if rule.tau is None else self._tables.crowding(table, on_progress)[seen]
        find = partial(group_codes, rule=rule)
        groups, used = find(table.part(seen), crowding=crowding)
        hashing = partial(hash_pixels, threads=self._threads, on_progress=on_progress)
        groups += group_featureless(whole.ids[plain], whole, self._catalogue, hashing)
        rulings = self.verdicts.rulings()
        policy = replace(policy or KeepPolicy(), kept=rulings.kept, metadata=metadata_reader())
        judged = judge_groups(
            groups,
            table.part(seen),
            crowding,
            catalogue=self._catalogue,
            rulings=rulings,
            rule=rule,
            find=lambda index, own: find(index, crowding=own),
        )
        report = DedupReport(
            collection=str(self.path),
            folder=None if folder is None else absolute_path(folder),
            encoder=encoder.name,
            bits=encoder.bits,
            radius=used,
            own_radius=rule.tau is not None,
            images=int(chosen.sum()),
            created=_now(),
            groups=report_groups(judged.groups, whole, self._catalogue, hashing, policy),
            failures=tuple(bad),
            calibration=rule.calibration,
            keep_rules=policy.rules,
            ignored=judged.ignored,
            separated=judged.separated,
            featureless=tuple(sorted(row.path for row in self._catalogue.rows(whole.ids[plain].tolist()).values())),
        )
        facts = self._facts.of(encoder_id, (image.id for group in report.groups for image in group.images))
        return report.with_confidence({id_: fact.confidence for id_, fact in facts.items()})

    @property
    def calibration(self) -> Calibration | None:
        """What was measured with the encoder in use, or None; see :meth:`calibrate`."""
        id_ = self._shelf.default()
        return None if id_ is None else self._calibrator.stored(id_)

    @property
    def calibration_due(self) -> bool:
        """True if there are images enough and there is no calibration yet, or their number has changed by half."""
        return self.has_encoder and self._calibrator.due(*self._open_encoder())

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
        return self._calibrator.run(
            *self._open_encoder(),
            sampling,
            inside=None if folder is None else self._inside(folder),
            date=_now(),
            workers=workers,
            on_progress=on_progress,
        )

    def failures(self) -> list[Failure]:
        """Return the files that cannot be used, and why, ordered by path."""
        return self._catalogue.failures()

    def stats(self) -> dict[str, Any]:
        """Return counts and sizes of the collection, its folders, encoders and failures."""
        folders = self._catalogue.folders()
        return {
            "collection": str(self.path),
            "file_bytes": self.path.stat().st_size,
            "images": sum(folder["images"] for folder in folders),
            "bytes": sum(folder["bytes"] for folder in folders),
            "missing": sum(folder["missing"] for folder in folders),
            "generation": self._catalogue.generation(),
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
        encoder_id, encoder = self._open_encoder()
        table = self._tables.current(encoder_id, encoder.bits)
        if len(table.index) < 2:
            raise CollectionError(f"{self.path} holds {len(table.index)} images; its health needs two or more")
        rule = self._rule(encoder, len(table.index))
        if rule.tau is not None:
            self._tables.crowding(table, on_progress)
        featureless = len(self._facts.featureless(encoder_id, FEATURELESS))
        return collection_health(table, encoder.name, encoder.info.health, rule, featureless)

    def thumbnail(self, path: str) -> bytes | None:
        """Return a small JPEG of an image file, or None if it cannot be read; for reports."""
        return thumbnail(path)

    def _ask_file(self, encoder: int, bits: int, code: bytes, radius: int | None) -> FileAnswer | None:
        """Return what the file answers by itself, or None where an index in memory is there, or is worth making."""
        if radius is None:
            return None
        if check_radius(radius, bits) == 0:
            return self._file.exact(encoder, code)
        return None if self._tables.loaded(encoder) else self._file.within(encoder, bits, code, radius)

    def _ask_blocks(self, encoder: int, bits: int, code: Codes, radius: int | None, k: int | None) -> FileAnswer | None:
        """Read the file block by block where all codes together do not fit into memory; else return None."""
        try:
            self._tables.current(encoder, bits)
        except TooLittleMemory:
            return self._indexes.search(encoder, bits, code, radius=radius, k=k)
        return None

    def _rule(self, encoder: Encoder, images: int, radius: int | None = None) -> RadiusRule:
        info, calibration = encoder.info, None if radius is not None else self.calibration
        return choose_rule(images, radius=radius, fallback=info.radius, tail=info.tail, calibration=calibration)

    def _inside(self, folder: str | Path) -> list[int]:
        absolute = absolute_path(folder)
        inside = self._sources.images_at(absolute)
        if not inside and self._sources.exact(absolute) is None:
            raise UnknownName(f"{self.path} knows no pictures in {absolute}; run: hashae index {absolute}")
        return inside

    def _describe(
        self, encoder: int, found: Sequence[Match], allowed: Sequence[float | None] | None
    ) -> tuple[ImageMatch, ...]:
        """Return what is known of the images found."""
        rows = self._catalogue.rows(match.id for match in found)
        facts = self._facts.of(encoder, rows)
        return tuple(
            ImageMatch(
                *(row.id, row.path, match.distance, row.size, row.width, row.height, row.format),
                confidence=fact.confidence,
                featureless=fact.detail is not None and fact.detail < FEATURELESS,
                allowed=most,
            )
            for match, most in zip(found, allowed or [None] * len(found), strict=True)
            if (row := rows.get(match.id)) is not None and (fact := facts.get(match.id)) is not None
        )

    def _open_encoder(self) -> tuple[int, Encoder]:
        id_ = self._shelf.default()
        if id_ is None:
            raise CollectionError(
                f"{self.path} has no encoder yet; run: hashae index FOLDER, or give one with --encoder FILE"
            )
        if self._encoder is None or self._encoder[0] != id_:
            stored = self._shelf.load(id_)
            origin = f"encoder {stored.name!r} in {self.path}"
            self._encoder = (id_, Encoder(stored.weights, stored.decoder, threads=self._threads, origin=origin))
        return self._encoder


def _now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
