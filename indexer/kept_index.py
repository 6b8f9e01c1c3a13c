"""The index of a collection in memory: mapped from the file beside it, or made from its tables and kept there."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from time import perf_counter

import numpy as np

from hashae.codes import Codes
from hashae.db import Database
from hashae.indexer.cache import Stamp, cache_path, load_index, save_index, stamp_of
from hashae.indexer.catalogue import Catalogue
from hashae.indexer.file_search import FileAnswer
from hashae.indexer.index import HashIndex
from hashae.indexer.lookups import look_up_many
from hashae.indexer.match import Match
from hashae.indexer.memory import TooLittleMemory, memory_left
from hashae.indexer.planner import Explanation

KEPT_FROM = 20_000
"""Codes from which the index is kept on disk: fewer are read and sorted before a person notices."""
COMPARED = 100
"""Codes of a kept index that are compared with the tables, half of them the newest."""

_log = logging.getLogger(__name__)


class KeptIndex:
    """Makes and keeps the index of one collection.

    Parameters
    ----------
    database
        Open collection file.
    collection
        Row id of the collection.
    threads
        Of searches.
    """

    def __init__(self, database: Database, collection: int, *, threads: int) -> None:
        self._database, self._collection, self._threads = database, collection, threads
        self._catalogue = Catalogue(database, collection)

    def load(self, encoder: int, bits: int, generation: int) -> HashIndex:
        """Return the index of all present images.

        A large one comes from the file beside the collection if that was made from this very state of it. If not, it is
        made from the tables and written there; where that fails, nothing is lost but time.

        Parameters
        ----------
        encoder
            Row id.
        bits
            Code length.
        generation
            Of the collection.

        Raises
        ------
        TooLittleMemory
            If the codes do not fit.
        """
        path, stamp = cache_path(self._database.beside, self._collection), self.stamp(encoder, bits, generation)
        index = load_index(path, stamp, threads=self._threads)
        if index is not None:
            if self._agrees(index, encoder):
                return index
            _log.warning("index %s is not that of the collection; made anew", path)
        if lacking := self.lacking_memory(bits):
            raise TooLittleMemory(lacking)
        ids, codes = self._catalogue.codes(encoder, bits)
        index = HashIndex.from_sorted(bits, ids, codes, threads=self._threads)
        if len(index) >= KEPT_FROM and save_index(path, index, stamp):
            # What was just written is mapped: its pages are shared with every other process that does.
            return load_index(path, stamp, threads=self._threads) or index
        return index

    def newer(self, encoder: int, bits: int, than: int, current: int) -> tuple[int, HashIndex] | None:
        """Return the index that another process has kept since, and its generation; None if there is none.

        Parameters
        ----------
        encoder
            Row id.
        bits
            Code length.
        than
            Generation that it has to be newer than.
        current
            Generation of the collection, which it may not have reached yet.
        """
        path = cache_path(self._database.beside, self._collection)
        found = stamp_of(path)
        if found is None or not than < found.generation <= current:
            return None
        wanted = self.stamp(encoder, bits, found.generation)
        index = load_index(path, wanted, threads=self._threads) if found == wanted else None
        return None if index is None else (found.generation, index)

    def lacking_memory(self, bits: int) -> str:
        """Return the sentence that says how much memory the codes need, if there is too little; else nothing."""
        count, left = self._catalogue.count(), memory_left()
        needed = count * 3 * (8 + bits // 8)  # blocks as they are read, one array of them, and that in order
        if left is None or needed <= left:
            return ""
        return (
            f"{self._database.path} holds {count:,} codes, which need {needed / 2**20:,.0f} MiB of memory; "
            f"{left / 2**20:,.0f} MiB are free: close other programs, or ask with --radius or -k, which read the file"
        )

    def search(self, encoder: int, bits: int, code: Codes, *, radius: int | None, k: int | None) -> FileAnswer:
        """Answer from the tables block by block, where there is too little memory for all codes.

        Parameters
        ----------
        encoder
            Row id.
        bits
            Code length.
        code
            ``uint8 (1, bytes)``.
        radius, k
            One of the two: every code within a radius, or the k nearest.
        """
        start, found, read = perf_counter(), list[Match](), 0
        for ids, codes in self._catalogue.code_blocks(encoder, bits):
            order = np.argsort(ids)
            block = HashIndex.from_sorted(bits, ids[order], codes[order], compiled=False)
            read += len(block)
            if k is not None:
                found = sorted(found + block.nearest(code, k, method="scan"))[:k]
            else:
                found += block.within(code, radius or 0, method="scan")
        why = "there is too little memory for an index: all codes were read from the file, block by block"
        return FileAnswer(sorted(found), Explanation("blocks", why, 0, read, perf_counter() - start, len(found)))

    def stamp(self, encoder: int, bits: int, generation: int) -> Stamp:
        """Return what an index of this encoder's codes, made at this generation, is stamped with."""
        query = "SELECT fingerprint, created FROM encoders, collections WHERE encoders.id = ? AND collections.id = ?"
        fingerprint, created = self._database.row(query, (encoder, self._collection))
        return Stamp(fingerprint, self._collection, created, generation, bits)

    def _agrees(self, index: HashIndex, encoder: int) -> bool:
        """Compare some codes of a kept index with the tables.

        Generations are counted in the file: a backup that was put back and then grew in another way can reach the same
        number. Its newest codes differ.
        """
        n = len(index)
        some = np.linspace(0, n - 1, min(n, COMPARED // 2)).astype(np.int64)
        rows = np.union1d(some, np.arange(max(0, n - COMPARED // 2), n))
        ids, codes = index.ids[rows].tolist(), index.codes[rows]
        stored = self._stored(encoder, ids)
        return all(stored.get(id_) == code.tobytes() for id_, code in zip(ids, codes, strict=True))

    def _stored(self, encoder: int, ids: Iterable[int]) -> dict[int, bytes]:
        query = "SELECT image, code FROM codes WHERE encoder + 0 = ? AND image IN ({})"  # by the images, not all codes
        return {
            image: bytes(code)
            for rows in look_up_many(self._database, query, (encoder,), list(ids))
            for image, code in rows
        }
