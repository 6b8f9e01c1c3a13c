"""What a collection is made of, put together in one place."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hashae.db import Database
from hashae.encoder import Encoder
from hashae.images.detail import FEATURELESS
from hashae.indexer.catalogue import Catalogue
from hashae.indexer.facts import Fact, FactBook
from hashae.indexer.file_search import FileSearch
from hashae.indexer.own_encoder import OwnEncoder
from hashae.indexer.radius_rule import RadiusRule, choose_rule
from hashae.indexer.shelf import Shelf
from hashae.indexer.sources import SourceBook

# What holds all codes in memory is loaded when it is first asked for: many questions the file answers alone.
if TYPE_CHECKING:
    from hashae.indexer.calibrator import Calibrator
    from hashae.indexer.code_table import CodeTable, CodeTables
    from hashae.indexer.kept_index import KeptIndex


class Parts:
    """The parts of one collection.

    Parameters
    ----------
    database
        Open collection file.
    collection
        Row id of the collection.
    threads
        CPU threads of encoder and search.
    """

    def __init__(self, database: Database, collection: int, *, threads: int) -> None:
        self.database, self.id, self.threads = database, collection, threads
        self.sources = SourceBook(database, collection)
        self.shelf = Shelf(database, collection)
        self.encoder = OwnEncoder(self.shelf, database.path, threads=threads)
        self.catalogue = Catalogue(database, collection)
        self.facts = FactBook(database, collection)
        self.file = FileSearch(database)

    @cached_property
    def indexes(self) -> KeptIndex:
        """The index in memory, mapped from a file beside the collection."""
        from hashae.indexer.kept_index import KeptIndex

        return KeptIndex(self.database, self.id, threads=self.threads)

    @cached_property
    def tables(self) -> CodeTables:
        """Index and crowding, kept until the collection changes."""
        from hashae.indexer.code_table import CodeTables

        return CodeTables(self.catalogue, self.facts, self.indexes, threads=self.threads)

    @cached_property
    def calibrator(self) -> Calibrator:
        """Measures and stores which radius keeps a promise."""
        from hashae.indexer.calibrator import Calibrator

        return Calibrator(self.shelf, self.catalogue, self.facts, self.tables)

    def table(self) -> tuple[int, Encoder, CodeTable]:
        """Return row id and encoder in use, and all codes that it made.

        Raises
        ------
        CollectionError
            If there is no encoder.
        """
        id_, encoder = self.encoder.open()
        return id_, encoder, self.tables.current(id_, encoder.bits)

    def rule(self, id_: int, encoder: Encoder, images: int, radius: int | None = None) -> RadiusRule:
        """Return when two images match: by `radius` if given, else as calibrated, else as the encoder knows.

        Parameters
        ----------
        id_, encoder
            Row id and encoder in use.
        images
            In the collection.
        radius
            Of a person.
        """
        info, calibration = encoder.info, None if radius is not None else self.calibrator.stored(id_)
        return choose_rule(images, radius=radius, fallback=info.radius, tail=info.tail, calibration=calibration)

    def featureless(self, id_: int) -> NDArray[np.int64]:
        """Return the ids of the images that show next to nothing, ``int64 (n,)``, by the encoder of this row id."""
        return self.facts.featureless(id_, FEATURELESS)

    @staticmethod
    def is_featureless(fact: Fact) -> bool:
        """Tell whether a picture shows next to nothing; one that was never measured is not said to."""
        return fact.detail is not None and fact.detail < FEATURELESS
