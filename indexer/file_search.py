"""Answers from the collection file itself, for a question asked before any index is in memory."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

from hashae.db import Database
from hashae.indexer.lookups import find_code
from hashae.indexer.match import Match
from hashae.indexer.planner import Explanation
from hashae.indexer.stored_bands import StoredBands

CALL = 100_000
"""Python around a search in the file, and the first pages of the file."""
PROBE = 1_000
"""Look one slot up."""
CANDIDATE = 1_000
"""Read a key and count its differing bits."""
LOAD = 1_000
"""Read one code of the collection and put it into an index in memory."""


STEP = 2
"""Bits by which the radius grows that is to hold the nearest images: two more cost little more than one."""
PART_OF_LOAD = 0.25
"""Part of the time of reading all codes that is spent on the nearest images, before all codes are read after all."""


@dataclass(frozen=True, slots=True)
class FileAnswer:
    """What was found, ordered by (distance, id), and how."""

    matches: list[Match]
    explanation: Explanation


class FileSearch:
    """Search in one collection file.

    Parameters
    ----------
    database
        Open collection file.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._bands: tuple[int, StoredBands] | None = None

    def exact(self, encoder: int, code: bytes) -> FileAnswer:
        """Find every present image with this code.

        Parameters
        ----------
        encoder
            Row id.
        code
            The bytes of one code.
        """
        start = perf_counter()
        matches = find_code(self._database, encoder, code)
        seconds = perf_counter() - start
        why = "the code is looked up in the hash table of the file"
        return FileAnswer(matches, Explanation("table", why, 1, len(matches), seconds, len(matches)))

    def nearest(self, encoder: int, bits: int, code: bytes, k: int) -> FileAnswer | None:
        """Find the `k` nearest present images, or return None where too much would have to be read for them.

        Whoever lies within a radius lies nearer than all others: the radius grows until it holds `k` images.

        Parameters
        ----------
        encoder, bits, code
            As in :meth:`within`.
        k
            Images wanted, 1 or more.
        """
        start, bands = perf_counter(), self._bands_of(encoder, bits)
        images = bands.images()
        most, cost, probes, candidates = images * LOAD * PART_OF_LOAD, float(CALL), 0, 0
        for radius in range(0, bits + 1, STEP):
            expected = bands.expect(radius, images)
            cost += expected[0] * PROBE + expected[1] * CANDIDATE
            if cost > most:
                return None
            answer = bands.measured(code, radius)
            probes, candidates = probes + answer.probes, candidates + answer.candidates
            if len(answer.matches) >= k:
                why = f"bands in the tables, within {radius} bits, of which there are enough"
                seconds = perf_counter() - start
                return FileAnswer(answer.matches[:k], Explanation("stored", why, probes, candidates, seconds, k))
        return None

    def within(self, encoder: int, bits: int, code: bytes, radius: int) -> FileAnswer | None:
        """Find every present image within a radius, or return None if reading all codes into memory is expected to pay.

        Parameters
        ----------
        encoder
            Row id.
        bits
            Code length.
        code
            The bytes of one code.
        radius
            Bits, 0 to `bits`, inclusive.
        """
        bands = self._bands_of(encoder, bits)
        images = bands.images()
        probes, candidates = bands.expect(radius, images)
        cost, load = CALL + probes * PROBE + candidates * CANDIDATE, images * LOAD
        if cost > load:
            return None
        answer = bands.measured(code, radius)
        why = (
            f"bands in the file: {probes:,} look-ups and about {candidates:,.0f} keys to read, expected to take "
            f"{cost / 1e6:,.1f} ms; reading all codes first would take about {load / 1e6:,.0f} ms"
        )
        matches = answer.matches
        explanation = Explanation("stored", why, answer.probes, answer.candidates, answer.seconds, len(matches))
        return FileAnswer(matches, explanation)

    def _bands_of(self, encoder: int, bits: int) -> StoredBands:
        if self._bands is None or self._bands[0] != encoder:
            self._bands = (encoder, StoredBands(self._database, encoder, bits))
        return self._bands[1]
