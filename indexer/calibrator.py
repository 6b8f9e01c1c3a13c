"""The calibration of a collection: stored, due, made."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashae.encoder import Encoder
from hashae.images.detail import FEATURELESS
from hashae.indexer.calibrated import Calibration
from hashae.indexer.catalogue import Catalogue
from hashae.indexer.code_table import CodeTable, CodeTables
from hashae.indexer.facts import FactBook
from hashae.indexer.shelf import Shelf
from hashae.indexer.summary import Progress

if TYPE_CHECKING:
    from hashae.indexer.calibrate import Measurement, Sampling


class Calibrator:
    """Calibrates one collection with any of its encoders.

    Parameters
    ----------
    shelf, catalogue, facts, tables
        Of the collection.
    """

    def __init__(self, shelf: Shelf, catalogue: Catalogue, facts: FactBook, tables: CodeTables) -> None:
        self._shelf, self._catalogue, self._facts, self._tables = shelf, catalogue, facts, tables

    def stored(self, encoder: int) -> Calibration | None:
        """Return what was measured with the encoder of this row id, or None."""
        text = self._shelf.calibration(encoder)
        return None if text is None else Calibration.from_json(text)

    def due(self, id_: int, encoder: Encoder) -> bool:
        """Return True if the collection should be calibrated unasked, see :func:`hashae.indexer.calibrate.is_due`.

        Parameters
        ----------
        id_
            Row id of the encoder.
        encoder
            The encoder.
        """
        from hashae.indexer.calibrate import is_due

        stored = self.stored(id_)
        if not is_due(stored, self._catalogue.count(), encoder.fingerprint):
            return False  # without a look at the codes
        return is_due(stored, int(self._seen(self._tables.current(id_, encoder.bits)).sum()), encoder.fingerprint)

    def run(
        self,
        id_: int,
        encoder: Encoder,
        sampling: Sampling | None,
        *,
        inside: ArrayLike | None,
        date: str,
        workers: int,
        on_progress: Callable[[Progress], None] | None,
    ) -> Measurement:
        """Measure, and store what was found; a part of the collection without features is left out.

        Parameters
        ----------
        id_, encoder
            As in :meth:`due`.
        sampling
            What to measure; None is the usual.
        inside
            Ids of the images to edit; None takes all.
        date, workers, on_progress
            As in :func:`hashae.indexer.calibrate.measure`, `workers` being its threads.
        """
        from hashae.indexer import calibrate  # what edits pictures is loaded for this alone

        table = self._tables.current(id_, encoder.bits)
        seen = self._seen(table)
        calibrate.check_enough(int(seen.sum()), encoder)
        index, crowding = table.part(seen), self._tables.crowding(table, on_progress)[seen]
        ids = index.ids if inside is None else np.intersect1d(index.ids, np.asarray(inside, np.int64))
        rows = self._catalogue.rows(ids.tolist())
        found = calibrate.measure(
            *(index, crowding, encoder, rows, sampling or calibrate.Sampling()),
            date=date,
            threads=workers,
            on_progress=on_progress,
        )
        self._shelf.keep_calibration(id_, found.calibration.to_json())
        return found

    def _seen(self, table: CodeTable) -> NDArray[np.bool_]:
        """Tell which images a duplicate search compares by code."""
        seen: NDArray[np.bool_] = ~np.isin(table.index.ids, self._facts.featureless(table.encoder, FEATURELESS))
        return seen
