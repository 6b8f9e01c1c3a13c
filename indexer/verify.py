"""Is a collection what it says? What contradicts itself, the pictures or the files on disk; and putting it right.

The file itself must be sound: see :mod:`hashae.db.salvage` for one that is not.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from sqlalchemy import Connection, delete, select, text, update

from hashae.codes import keys
from hashae.db import Database
from hashae.db.band_triggers import BANDS, slot
from hashae.db.schema import codes, collections, encoders, images, sources
from hashae.errors import HashaeError
from hashae.indexer.band_rows import forget_rows, write_rows
from hashae.indexer.cache import Unusable, cache_path, read_arrays
from hashae.indexer.content import content_hash
from hashae.indexer.ledger import NEVER
from hashae.indexer.parts import Parts
from hashae.indexer.summary import Progress
from hashae.indexer.there import are_there, holds_anything

SAMPLE = 100
"""Images that are read and encoded again to compare."""

BLOCK = 1 << 13
"""Codes read at a time."""

OLD = 3600.0
"""Seconds after which a file that a killed run left behind is called left over."""


@dataclass(frozen=True)
class Finding:
    """Something that is wrong.

    Attributes
    ----------
    kind
        ``orphans``, ``codes``, ``bands``, ``pictures``, ``files``, ``uncoded``, ``cache`` or ``leftovers``.
    count
        How many.
    text
        For people.
    read_again
        True if repairing it takes another run of indexing.
    """

    kind: str
    count: int
    text: str
    read_again: bool = False


@dataclass
class Check:
    """What was found, and what has to be known to repair it."""

    findings: list[Finding] = field(default_factory=list)
    sampled: int = 0
    bad_codes: list[tuple[int, int, int]] = field(default_factory=list)  # encoder, key, image
    changed: list[int] = field(default_factory=list)  # images whose file is not what was encoded
    bands_of: set[int] = field(default_factory=set)
    caches: list[Path] = field(default_factory=list)

    def add(self, kind: str, count: int, text: str, *, read_again: bool = False) -> None:
        """Note a finding if there is anything to it."""
        if count:
            self.findings.append(Finding(kind, count, text, read_again))

    @property
    def reads_again(self) -> bool:
        """True if a run of indexing has to follow the repair."""
        return any(finding.read_again for finding in self.findings)


def verify(
    parts: Parts, *, sample: int = SAMPLE, seed: int = 0, on_progress: Callable[[Progress], None] | None = None
) -> Check:
    """Look through a collection; nothing is changed.

    Parameters
    ----------
    parts
        Of the collection.
    sample
        Most images to encode again.
    seed
        Which ones.
    on_progress
        Called from this thread.

    Raises
    ------
    CollectionError
        If the file cannot be read.
    """
    found, tell = Check(), on_progress or (lambda _progress: None)
    with parts.database.read() as connection:
        orphans = parts.database.orphans(connection)
        found.add("orphans", orphans, f"{orphans:,} rows belong to nothing")
        for encoder in connection.execute(select(encoders.c.id)).scalars().all():
            _check_codes(parts.database, connection, encoder, found)
            _check_bands(connection, encoder, found)
    count = len(found.bad_codes)
    found.add("codes", count, f"{count:,} codes are damaged; their pictures are read again", read_again=True)
    found.add("bands", len(found.bands_of), f"the bands of {len(found.bands_of)} encoders do not fit their codes")
    _check_files(parts, found)
    if parts.shelf.default() is not None:
        _check_pictures(parts, found, sample, seed, tell)
        _check_caches(parts, found)
    _check_leftovers(parts, found)
    return found


def repair(parts: Parts, found: Check) -> None:
    """Put right what :func:`verify` found, but for pictures that have to be read again: indexing does that."""
    for path in found.caches:
        path.unlink(missing_ok=True)
    if {finding.kind for finding in found.findings} <= {"cache", "leftovers", "files", "uncoded"}:
        return
    with parts.database.write(durable=True) as connection:
        if any(finding.kind == "orphans" for finding in found.findings):
            _delete_orphans(parts.database, connection)
        for encoder, key, image in found.bad_codes:
            mine = (codes.c.encoder == encoder) & (codes.c.key == key) & (codes.c.image == image)
            connection.execute(delete(codes).where(mine))
        for image in found.changed:
            connection.execute(update(images).where(images.c.id == image).values(size=NEVER))
        for encoder in found.bands_of | {encoder for encoder, _, _ in found.bad_codes}:
            forget_rows(connection, encoder)
            write_rows(connection, encoder)
        connection.execute(update(collections).values(generation=collections.c.generation + 1))


def _check_codes(database: Database, connection: Connection, encoder: int, found: Check) -> None:
    """Look for codes of another width, and keys that are not the beginning of their code."""
    width = connection.execute(select(encoders.c.bits).where(encoders.c.id == encoder)).scalar_one() // 8
    query = 'SELECT image, "key", code FROM codes WHERE encoder = ?'
    for block in database.stream(connection, query, (encoder,), BLOCK):
        good = [row for row in block if isinstance(row[2], bytes) and len(row[2]) == width]
        if good:
            values = np.frombuffer(b"".join(code for _, _, code in good), np.uint8).reshape(-1, width)
            wrong = keys(values) != np.array([key for _, key, _ in good], np.int64)
            found.bad_codes += [(encoder, good[row][1], good[row][0]) for row in np.flatnonzero(wrong).tolist()]
        if len(good) < len(block):
            kept = {(image, key) for image, key, _ in good}
            found.bad_codes += [(encoder, key, image) for image, key, _ in block if (image, key) not in kept]


def _check_bands(connection: Connection, encoder: int, found: Check) -> None:
    """Count the band rows that each code must have, and all there are."""
    where = "bands.encoder = codes.encoder AND bands.image = codes.image"
    lacking = f"""SELECT count(*) FROM codes JOIN band_masks ON band_masks.encoder = codes.encoder
        WHERE codes.encoder = :encoder
        AND codes.image NOT IN (SELECT image FROM pending_bands WHERE encoder = codes.encoder)
        AND NOT EXISTS (SELECT 1 FROM bands WHERE {where} AND bands.slot = {slot('codes."key"')}
        AND bands."key" = codes."key")"""
    mine = {"encoder": encoder}
    number = {
        table: connection.execute(text(f"SELECT count(*) FROM {table} WHERE encoder = :encoder"), mine).scalar_one()
        for table in ("codes", "bands", "pending_bands", "band_masks")
    }
    if (
        number["band_masks"] == BANDS
        and number["bands"] == BANDS * (number["codes"] - number["pending_bands"])
        and not connection.execute(text(lacking), mine).scalar_one()
    ):
        return
    found.bands_of.add(encoder)


def _check_files(parts: Parts, found: Check) -> None:
    """Look whether each file is there; those of a folder that is missing or empty may be on a drive that is away."""
    query = (
        select(sources.c.path, images.c.path)
        .select_from(images.join(sources))
        .where(sources.c.collection == parts.id, images.c.missing.is_(False))
    )
    with parts.database.read() as connection:
        rows = connection.execute(query).all()
    names: dict[str, list[str]] = {}
    for root, below in rows:
        names.setdefault(root, []).append(below)
    there = {root for root in names if holds_anything(root)}
    gone = sum(not is_ for root in there for is_ in are_there(root, names[root]))
    away = sum(len(names[root]) for root in names.keys() - there)
    found.add("files", gone, f"{gone:,} files are gone since the last run of index", read_again=True)
    found.add("files", away, f"{away:,} pictures lie in folders that are missing or empty now; is a drive away?")
    default = parts.shelf.default()
    if default is not None:
        lacking = parts.shelf.lacking(default)
        found.add("uncoded", lacking, f"{lacking:,} pictures have no code of the encoder in use", read_again=True)


def _check_pictures(parts: Parts, found: Check, sample: int, seed: int, tell: Callable[[Progress], None]) -> None:
    """Read some pictures, encode them again and compare."""
    id_, encoder = parts.encoder.open()
    here = (codes.c.encoder == id_, images.c.missing.is_(False))
    of_images = codes.join(images, images.c.id == codes.c.image)
    query = select(codes.c.image, codes.c.code, codes.c.key).select_from(of_images).where(*here)
    with parts.database.read() as connection:
        ids = connection.execute(select(codes.c.image).select_from(of_images).where(*here)).scalars().all()
        chosen = sorted(random.Random(seed).sample(ids, min(sample, len(ids))))
        stored: dict[int, tuple[bytes, int]] = {}
        for start in range(0, len(chosen), 500):
            some = images.c.id.in_(chosen[start : start + 500])
            stored.update((row[0], (row[1], row[2])) for row in connection.execute(query.where(some)))
    rows, other = parts.catalogue.rows(chosen), 0
    for number, image in enumerate(chosen):
        tell(Progress("verify", number, len(chosen)))
        try:
            same = content_hash(rows[image].path) == rows[image].content
            code = encoder.encode_file(rows[image].path).codes[0].tobytes() if same else b""
        except (HashaeError, OSError):
            continue  # a file that is gone or closed now is told elsewhere
        found.sampled += 1
        if not same:
            found.changed.append(image)
        elif code != stored[image][0]:
            other += 1
            found.bad_codes.append((id_, stored[image][1], image))
    found.add(
        "pictures",
        len(found.changed),
        f"{len(found.changed):,} of {found.sampled:,} files looked at have other bytes, but time and size as before",
        read_again=True,
    )
    text = f"{other:,} of {found.sampled:,} pictures encoded again have another code than the stored one"
    found.add("codes", other, text, read_again=True)


def _check_caches(parts: Parts, found: Check) -> None:
    """Compare the index beside the file with the tables; one that is only older than they are is no fault."""
    id_, encoder = parts.encoder.open()
    path = cache_path(parts.database.beside, parts.id)
    if not path.exists():
        return
    stamp = parts.indexes.stamp(id_, encoder.bits, parts.catalogue.generation())
    try:
        arrays = read_arrays(path, stamp, thorough=True)
        ids, codes = parts.catalogue.codes(id_, encoder.bits)
        why = (
            "" if np.array_equal(arrays["ids"], ids) and np.array_equal(arrays["codes"], codes) else "holds other codes"
        )
    except Unusable as error:
        why = "" if error.harmless else str(error)
    except OSError as error:
        why = f"cannot be read ({error.strerror or error})"
    if why:
        found.caches.append(path)
        found.add("cache", 1, f"the index {path} {why}; it is made anew")


def _check_leftovers(parts: Parts, found: Check) -> None:
    """Look for unfinished files of runs that were killed."""
    folder, now = parts.database.beside.parent, time.time()
    for path in sorted(folder.glob(".hashae-*.tmp")):
        if path.is_file() and now - path.stat().st_mtime > OLD:
            found.caches.append(path)
            found.add("leftovers", 1, f"{path} is left over from a run that was killed")


def _delete_orphans(database: Database, connection: Connection) -> None:
    connection.execute(
        text("DELETE FROM codes WHERE image NOT IN (SELECT id FROM images) OR encoder NOT IN (SELECT id FROM encoders)")
    )
    database.delete_orphans(connection)
