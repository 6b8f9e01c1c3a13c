"""The encoders in a collection file: weights, decoder and history, as bytes and JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, insert, select, update

from hashae.db import Database, inserted_id
from hashae.db.schema import codes, collections, encoders
from hashae.indexer.calibrated import Calibration


@dataclass(frozen=True)
class StoredEncoder:
    """An encoder as it lies in the file."""

    id: int
    name: str
    weights: bytes
    decoder: bytes | None


@dataclass(frozen=True)
class NewEncoder:
    """An encoder to be put into the file; `info` is the JSON text of its metadata."""

    name: str
    bits: int
    fingerprint: str
    info: str
    weights: bytes
    decoder: bytes | None


class Shelf:
    """The encoders of one collection.

    Parameters
    ----------
    database
        Open collection file.
    collection
        Row id of the collection.
    """

    def __init__(self, database: Database, collection: int) -> None:
        self._database, self._collection = database, collection

    def default(self) -> int | None:
        """Return the row id of the encoder in use, or None."""
        query = select(collections.c.encoder).where(collections.c.id == self._collection)
        with self._database.read() as connection:
            found = connection.execute(query).scalar()
        return None if found is None else int(found)

    def load(self, id_: int) -> StoredEncoder:
        """Return an encoder with its weights."""
        query = select(encoders.c.name, encoders.c.weights, encoders.c.decoder).where(encoders.c.id == id_)
        with self._database.read() as connection:
            name, weights, decoder = connection.execute(query).one()
        return StoredEncoder(id_, name, weights, decoder)

    def use(self, encoder: NewEncoder, when: str) -> None:
        """Make an encoder the one in use; it is added if the file does not hold it yet."""
        mine = (encoders.c.collection == self._collection) & (encoders.c.fingerprint == encoder.fingerprint)
        with self._database.write() as connection:
            found = connection.execute(select(encoders.c.id).where(mine)).scalar()
            if found is None:
                values = {**encoder.__dict__, "collection": self._collection, "added": when}
                found = inserted_id(connection.execute(insert(encoders).values(values)))
            connection.execute(
                update(collections)
                .where(collections.c.id == self._collection)
                .values(encoder=found, generation=collections.c.generation + 1)
            )

    def calibration(self, id_: int) -> str | None:
        """Return the JSON text of the calibration of an encoder in this collection, or None."""
        query = select(encoders.c.calibration).where(encoders.c.id == id_)
        with self._database.read() as connection:
            found: str | None = connection.execute(query).scalar()
        return found

    def keep_calibration(self, id_: int, text: str) -> None:
        """Store the calibration of an encoder; an earlier one is forgotten."""
        with self._database.write() as connection:
            connection.execute(update(encoders).where(encoders.c.id == id_).values(calibration=text))

    def listed(self) -> list[dict[str, Any]]:
        """Return name, bits, radius, calibration, number of codes and history of each encoder, oldest first."""
        default = self.default()
        count = select(func.count()).where(codes.c.encoder == encoders.c.id).scalar_subquery()
        columns = (encoders.c.id, encoders.c.name, encoders.c.fingerprint, encoders.c.info, encoders.c.added, count)
        query = (
            select(*columns, encoders.c.calibration)
            .where(encoders.c.collection == self._collection)
            .order_by(encoders.c.id)
        )
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        shown = []
        for id_, name, fingerprint, text, added, coded, calibration in rows:
            info = json.loads(text)
            found = None if calibration is None else Calibration.from_json(calibration).to_dict()
            head = {"name": name, "default": id_ == default, "bits": info["bits"], "radius": info["radius"]}
            rest = {"fingerprint": fingerprint, "added": added, "codes": coded, "canonical": info["form"]["name"]}
            shown.append({**head, **rest, "calibration": found, "health": info["health"], "made": info["made"]})
        return shown
