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
        if self._bands is None or self._bands[0] != encoder:
            self._bands = (encoder, StoredBands(self._database, encoder, bits))
        bands = self._bands[1]
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
