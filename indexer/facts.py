"""What is stored beside each code: how sure it is, how crowded its surroundings are, how much its picture shows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hashae.codes import Codes, keys
from hashae.db import Database, sql
from hashae.indexer.lookups import look_up_many

if TYPE_CHECKING:
    from sqlalchemy import Connection

CHUNK = 5000
"""Rows that are updated with one statement."""

FACTS = "SELECT image, confidence, detail FROM codes WHERE encoder + 0 = ? AND image IN ({})"
"""``+ 0`` keeps a database from reading all codes of the encoder: it is to look the images up."""


@dataclass(frozen=True, slots=True)
class Fact:
    """What is known of one code.

    Attributes
    ----------
    confidence
        How sure its least certain bits are, 0 to 1; see :class:`hashae.encoder.Encoded`.
    detail
        How much there is to see in the picture, in grey levels; None if it was encoded before that was measured.
    """

    confidence: float
    detail: float | None


class FactBook:
    """The facts about the codes of one collection.

    Parameters
    ----------
    database
        Open collection file.
    collection
        Row id of the collection.
    """

    def __init__(self, database: Database, collection: int) -> None:
        self._database, self._collection = database, collection

    def of(self, encoder: int, ids: Iterable[int]) -> dict[int, Fact]:
        """Return what is known of the codes of these images, by image id."""
        return {
            id_: Fact(confidence, detail)
            for part in look_up_many(self._database, FACTS, (encoder,), sorted(ids))
            for id_, confidence, detail in part
        }

    def featureless(self, encoder: int, below: float) -> NDArray[np.int64]:
        """Return the ids of present images with less detail than that, in grey levels: ``int64 (n,)``, ascending."""
        query = (
            sql.select(sql.codes.c.image)
            .select_from(sql.codes.join(sql.images))
            .where(sql.codes.c.encoder == encoder, sql.codes.c.detail < below, sql.images.c.missing.is_(False))
            .order_by(sql.codes.c.image)
        )
        with self._database.read() as connection:
            return np.array(connection.execute(query).scalars().all(), np.int64)

    def crowding(self, encoder: int, ids: NDArray[np.int64]) -> NDArray[np.float32] | None:
        """Return the stored crowding of all present images, or None if the collection changed since it was computed.

        Parameters
        ----------
        encoder
            Row id.
        ids
            ``int64 (n,)``, ascending: the images it is wanted for; others than the present ones give None.
        """
        query = (
            "SELECT codes.image, codes.crowding FROM codes JOIN images ON images.id = codes.image "
            "WHERE codes.encoder = :encoder AND NOT images.missing ORDER BY codes.image"
        )
        with self._database.read() as connection:
            if not self._is_current(connection, encoder):
                return None
            rows = connection.execute(sql.text(query), {"encoder": encoder}).fetchall()
        if [row[0] for row in rows] != ids.tolist():
            return None
        return np.fromiter((row[1] for row in rows), np.float32, len(rows))

    def crowding_is_current(self, encoder: int) -> bool:
        """Tell whether the collection is as it was when the stored crowding was computed."""
        with self._database.read() as connection:
            return self._is_current(connection, encoder)

    def remember_crowding(
        self, encoder: int, ids: NDArray[np.int64], codes: Codes, values: NDArray[np.float32], generation: int
    ) -> bool:
        """Store the crowding of all present images, unless the collection is not what it was computed from any more.

        Parameters
        ----------
        encoder
            Row id.
        ids, codes, values
            ``int64 (n,)``, ``uint8 (n, bytes)``, ``float32 (n,)``: images, their codes, their crowding.
        generation
            Of the collection, read before its codes were.

        Returns
        -------
        True if it was stored.
        """
        at = keys(codes)
        order = np.argsort(at)  # in the order of the table
        with self._database.write() as connection:
            if self._generation(connection) != generation:
                return False
            at_row = (sql.codes.c.key == sql.bindparam("at")) & (sql.codes.c.image == sql.bindparam("row"))
            statement = (
                sql.update(sql.codes)
                .where(sql.codes.c.encoder == encoder, at_row)
                .values(crowding=sql.bindparam("value"))
            )
            for start in range(0, len(order), CHUNK):  # rows of a million images at once would take half a gigabyte
                some = order[start : start + CHUNK]
                rows = zip(values[some].tolist(), at[some].tolist(), ids[some].tolist(), strict=True)
                connection.execute(statement, [{"value": value, "at": key, "row": id_} for value, key, id_ in rows])
            mine = sql.encoders.c.id == encoder
            connection.execute(sql.update(sql.encoders).where(mine).values(crowding_generation=generation))
        return True

    def _generation(self, connection: Connection) -> int:
        query = sql.select(sql.collections.c.generation).where(sql.collections.c.id == self._collection)
        return int(connection.execute(query).scalar_one())

    def _is_current(self, connection: Connection, encoder: int) -> bool:
        made = connection.execute(
            sql.select(sql.encoders.c.crowding_generation).where(sql.encoders.c.id == encoder)
        ).scalar()
        return made is not None and made == self._generation(connection)
