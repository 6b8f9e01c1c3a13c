"""The encoders in a collection file: weights, decoder and history, as bytes and JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hashae.db import Database, inserted_id, sql
from hashae.errors import ConfigError, UnknownName
from hashae.indexer.calibrated import Calibration

if TYPE_CHECKING:
    from sqlalchemy import Connection


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
        rows = self._database.look_up("SELECT encoder FROM collections WHERE id = ?", (self._collection,))
        return None if not rows or rows[0][0] is None else int(rows[0][0])

    def load(self, id_: int) -> StoredEncoder:
        """Return an encoder with its weights."""
        query = "SELECT name, weights, decoder FROM encoders WHERE id = ?"
        name, weights, decoder = self._database.row(query, (id_,))
        return StoredEncoder(id_, name, weights, decoder)

    def next(self) -> int | None:
        """Return the row id of the encoder that is to follow the one in use, or None."""
        query = sql.select(sql.collections.c.next_encoder).where(sql.collections.c.id == self._collection)
        with self._database.read() as connection:
            found = connection.execute(query).scalar()
        return None if found is None else int(found)

    def use(self, encoder: NewEncoder, when: str) -> None:
        """Make an encoder the one in use; it is added if the file does not hold it yet."""
        with self._database.write() as connection:
            self._switch(connection, self._added(connection, encoder, when))

    def stage(self, encoder: NewEncoder, when: str) -> None:
        """Let an encoder follow the one in use when it has encoded every image; it is added if the file has it not."""
        with self._database.write() as connection:
            id_ = self._added(connection, encoder, when)
            mine = sql.collections.c.id == self._collection
            follows = (
                None if id_ == connection.execute(sql.select(sql.collections.c.encoder).where(mine)).scalar() else id_
            )
            connection.execute(sql.update(sql.collections).where(mine).values(next_encoder=follows))

    def lacking(self, id_: int) -> int:
        """Return how many present images an encoder has still to encode."""
        coded = sql.and_(
            sql.codes.c.image == sql.images.c.id, sql.codes.c.encoder == id_, sql.codes.c.detail.is_not(None)
        )
        query = (
            sql.select(sql.func.count())
            .select_from(sql.images.join(sql.sources).outerjoin(sql.codes, coded))
            .where(
                sql.sources.c.collection == self._collection,
                sql.images.c.missing.is_(False),
                sql.codes.c.image.is_(None),
            )
        )
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one())

    def switch(self, id_: int) -> None:
        """Make an encoder of the file the one in use."""
        with self._database.write() as connection:
            self._switch(connection, id_)

    def find(self, name: str) -> int:
        """Return the encoder of a name, or whose fingerprint begins so.

        Raises
        ------
        UnknownName
            If there is none, or more than one.
        """
        listed = self.listed()
        found = [entry for entry in listed if name == entry["name"] or (name and entry["fingerprint"].startswith(name))]
        if len(found) != 1:
            known = ", ".join(f"{entry['name']} ({entry['fingerprint'][:12]})" for entry in listed) or "none"
            what = "more than one encoder is" if found else "no encoder is"
            raise UnknownName(f"{what} called {name!r}; expected a name or the start of a fingerprint of: {known}")
        query = sql.select(sql.encoders.c.id).where(
            sql.encoders.c.collection == self._collection, sql.encoders.c.fingerprint == found[0]["fingerprint"]
        )
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one())

    def remove(self, id_: int) -> None:
        """Delete an encoder and all its codes.

        Raises
        ------
        ConfigError
            If it is the one in use.
        """
        if id_ == self.default():
            raise ConfigError("this encoder is in use; let another take its place first: hashae index --encoder NAME")
        with self._database.write() as connection:
            # First what triggers would delete row by row.
            for table in (sql.bands, sql.pending_bands, sql.codes):
                connection.execute(sql.delete(table).where(table.c.encoder == id_))
            connection.execute(sql.delete(sql.encoders).where(sql.encoders.c.id == id_))
            mine = (sql.collections.c.id == self._collection) & (sql.collections.c.next_encoder == id_)
            connection.execute(sql.update(sql.collections).where(mine).values(next_encoder=None))

    def _added(self, connection: Connection, encoder: NewEncoder, when: str) -> int:
        """Return the row id of an encoder, added if the file does not hold it yet."""
        mine = (sql.encoders.c.collection == self._collection) & (sql.encoders.c.fingerprint == encoder.fingerprint)
        found = connection.execute(sql.select(sql.encoders.c.id).where(mine)).scalar()
        if found is None:
            values = {**encoder.__dict__, "collection": self._collection, "added": when}
            found = inserted_id(connection.execute(sql.insert(sql.encoders).values(values)))
        return int(found)

    def _switch(self, connection: Connection, id_: int) -> None:
        values = {"encoder": id_, "next_encoder": None, "generation": sql.collections.c.generation + 1}
        connection.execute(sql.update(sql.collections).where(sql.collections.c.id == self._collection).values(values))

    def calibration(self, id_: int) -> str | None:
        """Return the JSON text of the calibration of an encoder in this collection, or None."""
        rows = self._database.look_up("SELECT calibration FROM encoders WHERE id = ?", (id_,))
        found: str | None = rows[0][0] if rows else None
        return found

    def keep_calibration(self, id_: int, text: str) -> None:
        """Store the calibration of an encoder; an earlier one is forgotten."""
        with self._database.write() as connection:
            connection.execute(sql.update(sql.encoders).where(sql.encoders.c.id == id_).values(calibration=text))

    def listed(self) -> list[dict[str, Any]]:
        """Return name, bits, radius, calibration, number of codes and history of each encoder, oldest first."""
        default, following = self.default(), self.next()
        count = sql.select(sql.func.count()).where(sql.codes.c.encoder == sql.encoders.c.id).scalar_subquery()
        columns = (
            sql.encoders.c.id,
            sql.encoders.c.name,
            sql.encoders.c.fingerprint,
            sql.encoders.c.info,
            sql.encoders.c.added,
            count,
        )
        query = (
            sql.select(*columns, sql.encoders.c.calibration)
            .where(sql.encoders.c.collection == self._collection)
            .order_by(sql.encoders.c.id)
        )
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        shown = []
        for id_, name, fingerprint, text, added, coded, calibration in rows:
            info = json.loads(text)
            found = None if calibration is None else Calibration.from_json(calibration).to_dict()
            head = {
                "name": name,
                "default": id_ == default,
                "next": id_ == following,
                "bits": info["bits"],
                "radius": info["radius"],
            }
            rest = {"fingerprint": fingerprint, "added": added, "codes": coded, "canonical": info["form"]["name"]}
            shown.append({**head, **rest, "calibration": found, "health": info["health"], "made": info["made"]})
        return shown
