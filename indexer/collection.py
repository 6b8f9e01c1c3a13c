"""A collection: pictures, encoder, database and index meet here, and nowhere else.

with Collection.open("photos.db") as collection:
    collection.set_encoder(Encoder.load("photo.onnx"))
    collection.index("~/Pictures")
    collection.query("beach.jpg", k=10)
    collection.dedup()
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from sqlalchemy import delete, func, insert, select, update

from hashae.codes import Codes, keys
from hashae.db import Database, open_database
from hashae.db.schema import codes as codes_table
from hashae.db.schema import collections, encoders, failures, images, sources
from hashae.encoder import Encoder
from hashae.errors import CollectionError, ConfigError, ImageError, SourceError, UnknownName
from hashae.images.decode import large_images_allowed, pixel_hash, read_bytes
from hashae.images.decode import thumbnail as make_thumbnail
from hashae.images.scan import check_folder
from hashae.indexer.index import HashIndex
from hashae.indexer.ingest import IndexSummary, Ingest, Progress
from hashae.indexer.match import Match
from hashae.indexer.planner import Explanation
from hashae.indexer.report import DedupReport, Failure, ReportGroup
from hashae.indexer.sources import SourceBook
from hashae.indexer.verdict import ImageRow, describe


@dataclass(frozen=True, slots=True)
class ImageMatch:
    """One answer to a query.

    Attributes
    ----------
    id, path
        The image.
    distance
        Hamming distance to the query in bits.
    size, width, height, format
        Of the file.
    """

    id: int
    path: str
    distance: int
    size: int
    width: int
    height: int
    format: str


@dataclass(frozen=True)
class Answer:
    """What a query answers.

    Attributes
    ----------
    matches
        Ordered by (distance, id).
    bits
        Code length the distances refer to.
    code
        Code of the query image, hexadecimal.
    confidence
        Of the query's code, 0 to 1.
    explanation
        How the answer was found, if it was asked for.
    """

    matches: tuple[ImageMatch, ...]
    bits: int
    code: str
    confidence: float
    explanation: Explanation | None = None


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
        self._id = self._ensure(name)
        self._sources = SourceBook(database, self._id)
        self._encoder: tuple[int, Encoder] | None = None
        self._index: tuple[int, HashIndex] | None = None

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
        return cls(open_database(path, create=create), name, threads=threads)

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

    # --- encoder ------------------------------------------------------------------------------------------------

    @property
    def has_encoder(self) -> bool:
        """True if an encoder was set."""
        return self._encoder_id() is not None

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
        with self._database.write() as connection:
            found = connection.execute(
                select(encoders.c.id).where(
                    encoders.c.collection == self._id, encoders.c.fingerprint == encoder.fingerprint
                )
            ).scalar()
            if found is None:
                result = connection.execute(
                    insert(encoders).values(
                        collection=self._id,
                        name=encoder.name,
                        bits=encoder.bits,
                        fingerprint=encoder.fingerprint,
                        info=encoder.info.to_json(),
                        added=_now(),
                        weights=encoder.data,
                        decoder=encoder.decoder_data,
                    )
                )
                found = result.inserted_primary_key[0]
            connection.execute(
                update(collections)
                .where(collections.c.id == self._id)
                .values(encoder=found, generation=collections.c.generation + 1)
            )
        self._encoder = None
        self._index = None

    def list_encoders(self) -> list[dict[str, Any]]:
        """Return name, bits, fingerprint, radius, number of codes and history of each encoder in the file."""
        default = self._encoder_id()
        count = select(func.count()).where(codes_table.c.encoder == encoders.c.id).scalar_subquery()
        columns = (encoders.c.id, encoders.c.name, encoders.c.fingerprint, encoders.c.info, encoders.c.added, count)
        listed = []
        with self._database.read() as connection:
            rows = connection.execute(
                select(*columns).where(encoders.c.collection == self._id).order_by(encoders.c.id)
            ).all()
        for id_, name, fingerprint, text, added, coded in rows:
            info = _info(text)
            listed.append(
                {
                    "name": name,
                    "default": id_ == default,
                    "bits": info["bits"],
                    "radius": info["radius"],
                    "fingerprint": fingerprint,
                    "added": added,
                    "codes": coded,
                    "canonical": info["form"]["name"],
                    "health": info["health"],
                    "made": info["made"],
                }
            )
        return listed

    # --- images -------------------------------------------------------------------------------------------------

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
            If the folder is missing, or there is no source yet.
        CollectionError
            If there is no encoder, or the file cannot be written.
        """
        encoder = self._open_encoder()
        targets = self._sources.all() if folder is None else [self._sources.claim(check_folder(folder))]
        if not targets:
            raise SourceError(f"{self.path} has no folder yet; give one: hashae index FOLDER")
        total = IndexSummary()
        for source, below in targets:
            part = Ingest(
                self._database, (source.id, source.path), encoder, workers=workers, on_progress=on_progress
            ).run(below)
            self._sources.mark_indexed(source, _now())
            total.added += part.added
            total.changed += part.changed
            total.unchanged += part.unchanged
            total.missing += part.missing
            total.encoded += part.encoded
            total.seconds += part.seconds
            total.failed += part.failed
        return total

    def remove(self, path: str | Path) -> int:
        """Forget an image, or all images of a folder; the files are not touched. Return how many.

        Raises
        ------
        UnknownName
            If the collection knows nothing at that path.
        """
        absolute = os.path.abspath(path)
        found = self._sources.images_at(absolute)
        if not found and self._sources.exact(absolute) is None:
            raise UnknownName(f"{self.path} holds no image at {absolute}; see the folders with: hashae stats")
        with self._database.write() as connection:
            for start in range(0, len(found), 500):
                connection.execute(delete(images).where(images.c.id.in_(found[start : start + 500])))
            source = self._sources.exact(absolute)
            if source is not None:
                connection.execute(delete(sources).where(sources.c.id == source.id))
            connection.execute(
                update(collections).where(collections.c.id == self._id).values(generation=collections.c.generation + 1)
            )
        self._index = None
        return len(found)

    def __len__(self) -> int:
        query = (
            select(func.count())
            .select_from(images.join(sources))
            .where(sources.c.collection == self._id, images.c.missing.is_(False))
        )
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one())

    # --- questions ----------------------------------------------------------------------------------------------

    def query(
        self,
        image: str | Path,
        *,
        exact: bool = False,
        radius: int | None = None,
        k: int | None = None,
        explain: bool = False,
    ) -> Answer:
        """Find images whose codes are those of `image`, or near it. Give one of `exact`, `radius` and `k`.

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
        explain
            Say how the answer was found.

        Raises
        ------
        ImageError
            If the file cannot be read.
        ConfigError
            If not exactly one question is asked, or a number is out of range.
        """
        if exact + (radius is not None) + (k is not None) != 1:
            raise ConfigError("a query takes exactly one of exact, radius and k")
        encoder_id, encoder = self._open_encoder()
        encoded = encoder.encode_file(image)
        code = encoded.codes[0]
        how = None
        if exact and not explain:
            matches = self._exact(encoder_id, encoded.codes)
        else:
            index = self.hash_index()
            matches = index.nearest(code, k) if k is not None else index.within(code, 0 if exact else radius or 0)
            if explain:
                how = index.explain(code, k=k) if k is not None else index.explain(code, radius=0 if exact else radius)
        rows = self._rows([match.id for match in matches])
        answers = tuple(
            ImageMatch(row.id, row.path, match.distance, row.size, row.width, row.height, row.format)
            for match in matches
            if (row := rows.get(match.id)) is not None
        )
        return Answer(answers, encoder.bits, code.tobytes().hex(), float(encoded.confidence[0]), how)

    def hash_index(self) -> HashIndex:
        """Return the codes of all present images as an index; kept until the collection changes."""
        generation = self._generation()
        if self._index is None or self._index[0] != generation:
            encoder_id, encoder = self._open_encoder()
            index = HashIndex(encoder.bits, threads=self._threads)
            ids, codes = self._codes(encoder_id, encoder.bits)
            index.add(ids, codes)
            self._index = (generation, index)
        return self._index[1]

    def dedup(
        self,
        folder: str | Path | None = None,
        *,
        radius: int | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> DedupReport:
        """Find groups of images that show the same picture. Nothing is changed on disk.

        Parameters
        ----------
        folder
            Look only at the images of this folder; None takes all.
        radius
            Hamming distance, inclusive; None takes the one calibrated with the encoder.

        Raises
        ------
        CollectionError
            If there is no encoder yet.
        """
        encoder = self.encoder
        radius = encoder.info.radius if radius is None else radius
        index = self.hash_index()
        bad = self.failures()
        if folder is not None:
            absolute = os.path.abspath(folder)
            chosen = np.isin(index.ids, self._sources.images_at(absolute))
            whole, index = index, HashIndex(encoder.bits, threads=self._threads)
            index.add(whole.ids[chosen], whole.codes[chosen])
            bad = [failure for failure in bad if _below(failure.path, absolute)]
        groups = index.duplicates(radius)
        wanted = {id_ for group in groups for id_ in group.members}
        rows = self._rows(wanted)
        place = np.searchsorted(index.ids, sorted(wanted))
        codes = dict(zip(sorted(wanted), index.codes[place], strict=True))
        hashes = self._pixel_hashes(groups, rows, codes, on_progress)
        described = [describe(group, rows, codes, lambda image: hashes.get(image.id)) for group in groups]
        described.sort(key=lambda group: (-group.bytes_to_free, group.keeper.path))
        numbered = (_numbered(group, number) for number, group in enumerate(described, 1))
        return DedupReport(
            collection=str(self.path),
            folder=None if folder is None else os.path.abspath(folder),
            encoder=encoder.name,
            bits=encoder.bits,
            radius=radius,
            images=len(index),
            created=_now(),
            groups=tuple(numbered),
            failures=tuple(bad),
        )

    def failures(self) -> list[Failure]:
        """Return the files that cannot be used, and why, ordered by path."""
        query = (
            select(sources.c.path, failures.c.path, failures.c.reason)
            .select_from(failures.join(sources))
            .where(sources.c.collection == self._id)
        )
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return sorted((Failure(os.path.join(root, path), reason) for root, path, reason in rows), key=lambda f: f.path)

    def stats(self) -> dict[str, Any]:
        """Return counts and sizes of the collection, its folders, encoders and failures."""
        present = images.c.missing.is_(False)
        per_source = (
            select(
                sources.c.path,
                sources.c.indexed,
                func.count(images.c.id).filter(present),
                func.coalesce(func.sum(images.c.size).filter(present), 0),
                func.count(images.c.id).filter(images.c.missing),
            )
            .select_from(sources.outerjoin(images))
            .where(sources.c.collection == self._id)
            .group_by(sources.c.id)
            .order_by(sources.c.path)
        )
        with self._database.read() as connection:
            listed = connection.execute(per_source).all()
        bad = self.failures()
        folders = [
            {"path": path, "indexed": when, "images": count, "bytes": size, "missing": gone}
            for path, when, count, size, gone in listed
        ]
        return {
            "collection": str(self.path),
            "file_bytes": self.path.stat().st_size,
            "images": sum(row[2] for row in listed),
            "bytes": int(sum(row[3] for row in listed)),
            "missing": sum(row[4] for row in listed),
            "generation": self._generation(),
            "folders": folders,
            "encoders": self.list_encoders(),
            "failures": [{"path": failure.path, "reason": failure.reason} for failure in bad],
        }

    def thumbnail(self, path: str) -> bytes | None:
        """Return a small JPEG of an image file, or None if it cannot be read; for reports."""
        try:
            return make_thumbnail(read_bytes(path), path)
        except ImageError:
            return None

    # --- inside -------------------------------------------------------------------------------------------------

    def _ensure(self, name: str) -> int:
        query = select(collections.c.id).where(collections.c.name == name)
        with self._database.read() as connection:
            found = connection.execute(query).scalar()
        if found is not None:
            return int(found)
        with self._database.write() as connection:
            found = connection.execute(query).scalar()
            if found is None:
                values = insert(collections).values(name=name, created=_now(), generation=0)
                found = connection.execute(values).inserted_primary_key[0]
        return int(found)

    def _encoder_id(self) -> int | None:
        with self._database.read() as connection:
            found = connection.execute(select(collections.c.encoder).where(collections.c.id == self._id)).scalar()
        return None if found is None else int(found)

    def _generation(self) -> int:
        with self._database.read() as connection:
            query = select(collections.c.generation).where(collections.c.id == self._id)
            return int(connection.execute(query).scalar_one())

    def _open_encoder(self) -> tuple[int, Encoder]:
        id_ = self._encoder_id()
        if id_ is None:
            raise CollectionError(
                f"{self.path} has no encoder yet; run: hashae index FOLDER, or give one with --encoder FILE"
            )
        if self._encoder is None or self._encoder[0] != id_:
            query = select(encoders.c.weights, encoders.c.decoder, encoders.c.name).where(encoders.c.id == id_)
            with self._database.read() as connection:
                weights, decoder, name = connection.execute(query).one()
            origin = f"encoder {name!r} in {self.path}"
            self._encoder = (id_, Encoder(weights, decoder, threads=self._threads, origin=origin))
        return self._encoder

    def _exact(self, encoder_id: int, code: Codes) -> list[Match]:
        """Look one code ``(1, bytes)`` up in the hash table: no index in memory is needed."""
        query = (
            select(codes_table.c.image)
            .select_from(codes_table.join(images))
            .where(
                codes_table.c.encoder == encoder_id,
                codes_table.c.key == int(keys(code)[0]),
                codes_table.c.code == code.tobytes(),
                images.c.missing.is_(False),
            )
            .order_by(codes_table.c.image)
        )
        with self._database.read() as connection:
            return [Match(0, int(id_)) for id_ in connection.execute(query).scalars()]

    def _codes(self, encoder_id: int, bits: int) -> tuple[Any, Codes]:
        """Return ids ``int64 (n,)`` and codes ``uint8 (n, bits // 8)`` of all present images."""
        query = (
            "SELECT codes.image, codes.code FROM codes JOIN images ON images.id = codes.image "
            "WHERE codes.encoder = ? AND NOT images.missing ORDER BY codes.image"
        )
        with self._database.read() as connection:
            rows = connection.exec_driver_sql(query, (encoder_id,)).fetchall()
        ids = np.fromiter((row[0] for row in rows), np.int64, len(rows))
        return ids, np.frombuffer(b"".join(row[1] for row in rows), np.uint8).reshape(-1, bits // 8)

    def _rows(self, ids: Iterable[int]) -> dict[int, ImageRow]:
        columns = (images.c.id, sources.c.path, images.c.path, images.c.size, images.c.mtime_ns)
        more = (images.c.width, images.c.height, images.c.format, images.c.content)
        listed = sorted(ids)
        found: dict[int, ImageRow] = {}
        with self._database.read() as connection:
            for start in range(0, len(listed), 5000):
                part = images.c.id.in_(listed[start : start + 5000])
                for row in connection.execute(select(*columns, *more).select_from(images.join(sources)).where(part)):
                    found[row[0]] = ImageRow(row[0], os.path.join(row[1], row[2]), *row[3:])
        return found

    def _pixel_hashes(
        self,
        groups: list[Any],
        rows: dict[int, ImageRow],
        codes: dict[int, Codes],
        on_progress: Callable[[Progress], None] | None,
    ) -> dict[int, bytes]:
        """Return hashes of decoded pixels where they can decide: equal codes and sizes, different files."""
        wanted: set[int] = set()
        for group in groups:
            alike: dict[tuple[bytes, int, int], list[ImageRow]] = {}
            for id_ in group.members:
                row = rows[id_]
                alike.setdefault((codes[id_].tobytes(), row.width, row.height), []).append(row)
            for same in alike.values():
                if len({row.content for row in same}) > 1:
                    wanted.update(row.id for row in same)
        known: dict[int, bytes] = {}
        listed = sorted(wanted)
        with self._database.read() as connection:
            for start in range(0, len(listed), 5000):
                query = select(images.c.id, images.c.pixels).where(images.c.id.in_(listed[start : start + 5000]))
                known.update({row[0]: row[1] for row in connection.execute(query) if row[1] is not None})
        missing = [rows[id_] for id_ in listed if id_ not in known]
        fresh: list[dict[str, Any]] = []
        with large_images_allowed(), ThreadPoolExecutor(self._threads) as pool:
            for number, (row, value) in enumerate(zip(missing, pool.map(_hash_pixels, missing), strict=True), 1):
                if value is not None:
                    known[row.id] = value
                    fresh.append({"row": row.id, "value": value})
                if on_progress:
                    on_progress(Progress("pixels", number, len(missing)))
        if fresh:
            with self._database.write() as connection:
                connection.exec_driver_sql(
                    "UPDATE images SET pixels = ? WHERE id = ?", [(item["value"], item["row"]) for item in fresh]
                )
        return known


def _hash_pixels(row: ImageRow) -> bytes | None:
    try:
        return pixel_hash(read_bytes(row.path), row.path)
    except ImageError:
        return None


def _numbered(group: ReportGroup, number: int) -> ReportGroup:
    return ReportGroup(number, group.tier, group.images, group.representative, group.diameter, group.chained)


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _info(text: str) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(text)
    return values


def _now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
