"""The codes of a collection in memory: index and crowding, kept until the collection changes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hashae.calibration import MIN_CODES
from hashae.errors import CollectionError
from hashae.indexer import kept_index
from hashae.indexer.catalogue import Catalogue
from hashae.indexer.crowding import REFERENCE, crowding
from hashae.indexer.facts import FactBook
from hashae.indexer.index import HashIndex
from hashae.indexer.kept_index import KeptIndex
from hashae.indexer.summary import Progress

NEIGHBOURS = 24
"""Nearest codes that a new table is asked for before it answers others: what that needs is made by then."""

WORTH_IT = 0.25
"""Share of new codes from which the crowding of a large collection is computed at once: less work than they were."""


@dataclass
class CodeTable:
    """All codes of a collection at one moment.

    Attributes
    ----------
    encoder
        Row id of the encoder that made them.
    generation
        Of the collection.
    index
        Codes of all present images.
    crowding
        ``float32 (n,)``, in the order of the index; None until it was asked for.
    """

    encoder: int
    generation: int
    index: HashIndex
    crowding: NDArray[np.float32] | None = None

    def part(self, chosen: NDArray[np.bool_]) -> HashIndex:
        """Return the chosen codes, ``bool (n,)``, as an index."""
        if chosen.all():
            return self.index
        index = HashIndex(self.index.bits, threads=self.index.threads)
        index.add(self.index.ids[chosen], self.index.codes[chosen])
        return index


class CodeTables:
    """Makes the code table of a collection, anew whenever the collection has changed.

    Parameters
    ----------
    catalogue, facts, indexes
        Of the collection.
    threads
        Of searches.

    Attributes
    ----------
    followed
        True while a :class:`hashae.indexer.following.Follower` keeps the table current: then questions do not wait
        until a large one was read anew.
    """

    def __init__(self, catalogue: Catalogue, facts: FactBook, indexes: KeptIndex, *, threads: int) -> None:
        self._catalogue, self._facts, self._threads = catalogue, facts, threads
        self._indexes = indexes
        self._kept: CodeTable | None = None
        self.followed = False

    def current(self, encoder: int, bits: int) -> CodeTable:
        """Return the table of the collection as it is; where it is large and followed, that of some seconds ago.

        Parameters
        ----------
        encoder
            Row id.
        bits
            Code length.
        """
        kept = self._kept
        if kept is not None and self._answers(kept, encoder):
            return kept
        generation = self._catalogue.generation()
        kept = self._kept = CodeTable(encoder, generation, self._indexes.load(encoder, bits, generation))
        return kept

    def loaded(self, encoder: int) -> bool:
        """Tell whether :meth:`current` answers from memory."""
        return self._kept is not None and self._answers(self._kept, encoder)

    def behind(self) -> bool:
        """Tell whether the table in memory is followed, and the collection has moved on."""
        kept = self._kept
        return kept is not None and self._is_followed(kept) and kept.generation != self._catalogue.generation()

    def catch_up(self, *, makes: bool) -> bool:
        """Replace the table in memory by a newer one, made ready for questions; tell whether there was one.

        Parameters
        ----------
        makes
            Make it from the tables of the database if need be; else only a newer file beside the collection will do.
        """
        kept = self._kept
        if kept is None:
            return False
        generation, bits = self._catalogue.generation(), kept.index.bits
        if makes:
            index = self._indexes.load(kept.encoder, bits, generation)
        else:
            found = self._indexes.newer(kept.encoder, bits, kept.generation, generation)
            if found is None:
                return False
            generation, index = found
        if len(index):
            index.explained(index.codes[0], k=NEIGHBOURS)
        if self._kept is kept:  # else a question was quicker
            self._kept = CodeTable(kept.encoder, generation, index)
        return True

    def _answers(self, kept: CodeTable, encoder: int) -> bool:
        # Where it is followed nobody asks for the generation but the follower: a question would pay for it three times.
        return kept.encoder == encoder and (self._is_followed(kept) or kept.generation == self._catalogue.generation())

    def _is_followed(self, kept: CodeTable) -> bool:
        # A small one is read anew before anybody notices, and then every answer is of this moment.
        return self.followed and len(kept.index) >= kept_index.KEPT_FROM

    def stored_crowding(self, table: CodeTable) -> NDArray[np.float32] | None:
        """Return the crowding of all images of a table, or None if the collection changed since it was computed."""
        if table.crowding is None:
            table.crowding = self._facts.crowding(table.encoder, table.index.ids)
        return table.crowding

    def crowding(self, table: CodeTable, on_progress: Callable[[Progress], None] | None = None) -> NDArray[np.float32]:
        """Return the crowding of all images of a table: the stored one, or computed and stored for the next time."""
        known = self.stored_crowding(table)
        if known is None:
            known = table.crowding = crowding(table.index.codes, threads=self._threads, on_progress=on_progress)
            # What is asked can be answered without storing it, from a file that is read-only as well.
            with suppress(CollectionError):
                self._facts.remember_crowding(
                    table.encoder, table.index.ids, table.index.codes, known, table.generation
                )
        return known

    def settle(
        self, encoder: int, bits: int, encoded: int, on_progress: Callable[[Progress], None] | None = None
    ) -> None:
        """After indexing: compute the crowding anew if it is worth it, else leave it to the next duplicate search.

        Every new image may be a neighbour of any other, so all values change with the collection. Up to `REFERENCE`
        images that takes a second or less; in a larger collection it waits unless `WORTH_IT` of the images are new.

        Parameters
        ----------
        encoder, bits
            As in :meth:`current`.
        encoded
            Images that were encoded.
        on_progress
            Called from this thread.
        """
        count = self._catalogue.count()
        if MIN_CODES <= count <= max(REFERENCE, encoded / WORTH_IT) and not self._facts.crowding_is_current(encoder):
            self.crowding(self.current(encoder, bits), on_progress)
