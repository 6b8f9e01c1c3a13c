"""The nearest codes by pgvector, an extension of PostgreSQL: approximate, only by name, and with its recall measured.

Codes are copied into a table of their own, ``bit(n)``, with an HNSW index on Hamming distance. The table carries the
generation of the collection that it was made from, and what share of the nearest it found in a sample.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from hashae.db import Database
from hashae.errors import CollectionError
from hashae.indexer.match import Match

SAMPLE = 50
"""Codes of the collection that are asked for, to measure recall."""
MEASURED = 10
"""Nearest codes of each that ought to be found."""
EFFORT = 100
"""Candidates that a search keeps (``hnsw.ef_search``), at least as many as are asked for."""

# Plus nothing: so that the index, which is to be measured, cannot serve the order.
_EXACT = "SELECT image, ((bits <~> (?)::text::bit({bits})) + 0)::int FROM {table} ORDER BY 2, 1 LIMIT ?"
# The order of equal distances is left to the index: it knows no other.
_NEAREST = """SELECT found.image, found.distance::int FROM (SELECT image, bits <~> (?)::text::bit({bits}) AS distance
    FROM {table} ORDER BY bits <~> (?)::text::bit({bits}) LIMIT ?) AS found
WHERE (SELECT 1 FROM images WHERE images.missing AND images.id = found.image) IS NULL ORDER BY 2, 1"""


@dataclass(frozen=True, slots=True)
class Made:
    """What the index was made from, and how good it is.

    Attributes
    ----------
    generation
        Of the collection.
    recall
        Share of the `MEASURED` nearest of `SAMPLE` codes that were found, by distance: ties count.
    """

    generation: int
    recall: float


class VectorIndex:
    """The codes of one encoder in a table of pgvector.

    Parameters
    ----------
    database
        Of a server.
    encoder
        Row id.
    bits
        Code length.

    Raises
    ------
    CollectionError
        If it is no server, or pgvector is not installed there.
    """

    def __init__(self, database: Database, encoder: int, bits: int) -> None:
        if not database.is_server:
            raise CollectionError(f"{database.path} is a file; pgvector is an extension of PostgreSQL servers")
        if not database.look_up("SELECT 1 FROM pg_available_extensions WHERE name = 'vector'", ()):
            raise CollectionError(f"the server of {database.path} has no pgvector; install it there, or ask without it")
        self._database, self._encoder, self._bits = database, encoder, bits
        self._table = f"vectors_{encoder}"
        self._sql = {"table": self._table, "bits": bits}

    def made(self) -> Made | None:
        """Return what the index was made from, or None if there is none."""
        query = "SELECT obj_description(to_regclass(?), 'pg_class')"
        text = self._database.look_up(query, (self._table,))[0][0]
        return None if text is None else Made(**json.loads(text))

    def make(self, generation: int) -> Made:
        """Make the index anew from all codes there are, and measure its recall.

        Parameters
        ----------
        generation
            Of the collection, read before.
        """
        with self._database.write() as connection:
            connection.exec_driver_sql("CREATE EXTENSION IF NOT EXISTS vector")
            connection.exec_driver_sql(f"DROP TABLE IF EXISTS {self._table}")
            connection.exec_driver_sql(
                f"CREATE TABLE {self._table} AS SELECT image, ('x' || encode(code, 'hex'))::bit({self._bits}) AS bits "
                f"FROM codes WHERE encoder = {self._encoder} AND length(code) = {self._bits // 8}"
            )
            connection.exec_driver_sql("SET LOCAL maintenance_work_mem = '512MB'")
            connection.exec_driver_sql(f"CREATE INDEX ON {self._table} USING hnsw (bits bit_hamming_ops)")
            connection.exec_driver_sql(f"ANALYZE {self._table}")
            made = Made(generation, -1.0)
            connection.exec_driver_sql(f"COMMENT ON TABLE {self._table} IS '{json.dumps(asdict(made))}'")
        made = Made(generation, self._measure())
        with self._database.write() as connection:
            connection.exec_driver_sql(f"COMMENT ON TABLE {self._table} IS '{json.dumps(asdict(made))}'")
        return made

    def current(self, generation: int) -> Made:
        """Return what the index was made from; it is made anew if that is not the collection as it is."""
        found = self.made()
        return found if found is not None and found.generation == generation else self.make(generation)

    def nearest(self, code: bytes, k: int) -> list[Match]:
        """Return about the `k` nearest present images, ordered by (distance, id); some may be missing.

        Parameters
        ----------
        code
            The bytes of one code.
        k
            1 to 1000: more candidates pgvector does not keep.
        """
        if not 1 <= k <= 1000:
            raise CollectionError(f"k is {k}; pgvector finds 1 to 1000")
        self._database.look_up("SELECT set_config('hnsw.ef_search', ?, false)", (str(max(EFFORT, k)),))
        text = self._text(code)
        rows = self._database.look_up(_NEAREST.format(**self._sql), (text, text, k))
        return [Match(distance, image) for image, distance in rows]

    def _measure(self) -> float:
        """Return the share of the nearest that the index finds, by distance."""
        query = f"SELECT bits::text FROM {self._table} ORDER BY md5(image::text) LIMIT ?"
        found = wanted = 0
        self._database.look_up("SELECT set_config('hnsw.ef_search', ?, false)", (str(EFFORT),))
        for (text,) in self._database.look_up(query, (SAMPLE,)):
            exact = self._database.look_up(_EXACT.format(**self._sql), (text, MEASURED))
            last = exact[-1][1]
            near = self._database.look_up(_NEAREST.format(**self._sql), (text, text, MEASURED))
            found += sum(distance <= last for _, distance in near)
            wanted += len(exact)
        return found / wanted if wanted else 1.0

    def _text(self, code: bytes) -> str:
        return f"{int.from_bytes(code, 'big'):0{self._bits}b}"
