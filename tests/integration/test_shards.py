"""Two servers, each with half of the images, behind one coordinator: the statements of hashae find what one finds.

This stands in for Citus, which our package archives do not have: rows are dealt by image, no look-up names an image, so
each goes to all shards and the rows are put together.
"""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import insert

from hashae.codes import keys
from hashae.db import open_database
from hashae.db.schema import codes, collections, encoders, images, sources
from hashae.indexer.band_rows import write_rows
from hashae.indexer.lookups import find_code, find_codes
from hashae.indexer.stored_bands import StoredBands
from hashae.place import place_of

TABLES = {
    "codes": 'encoder int, "key" bigint, image int, code bytea, confidence float8, crowding float8, detail float8',
    "bands": 'encoder int, slot int, image int, "key" bigint',
}


@pytest.fixture
def shards():
    """Two servers that can ask one another."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not found or not list(Path("/usr/share/postgresql").glob("*/extension/postgres_fdw.control")):
        pytest.skip("no PostgreSQL with postgres_fdw is installed: apt install postgresql")
    spec = spec_from_file_location("servers", Path(__file__).parents[2] / "benchmarks" / "postgres_server.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HASHAE_POSTGRES_BIN", str(found[-1].parent))
        with module.server("fsync=off") as one, module.server("fsync=off") as other:
            yield one, other


def test_look_ups_over_two_servers_are_merged_to_the_answers_of_one(shards, rng, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    values = rng.integers(0, 256, (600, 8), dtype=np.uint8)
    values[300:400] = values[:100]
    values[400:500] = values[:100] ^ np.packbits(rng.random((100, 64)) < 0.03, axis=1)
    coordinator = shards[0].database()
    whole = open_database(coordinator)
    with whole.write() as connection:
        connection.execute(insert(collections).values(name="c", created="now"))
        connection.execute(insert(sources).values(collection=1, path="/p"))
        about = {"name": "e", "bits": 64, "fingerprint": "f", "info": "{}", "added": "now", "weights": b""}
        connection.execute(insert(encoders).values(collection=1, **about))
        known = {"size": 1, "mtime_ns": 1, "content": b"c", "width": 1, "height": 1, "format": "PNG", "source": 1}
        connection.execute(
            insert(images), [{"path": str(row), "missing": row % 50 == 7, **known} for row in range(len(values))]
        )
        rows = zip(range(1, len(values) + 1), keys(values).tolist(), values, strict=True)
        made = [{"encoder": 1, "image": id_, "key": key, "code": code.tobytes()} for id_, key, code in rows]
        connection.execute(insert(codes), [row | {"confidence": 1.0} for row in made])
        write_rows(connection, 1)
    queries = [
        value.tobytes() for value in np.concatenate([values[::29], rng.integers(0, 256, (5, 8), dtype=np.uint8)])
    ]

    def answers():
        bands = StoredBands(whole, 1, 64)
        near = [bands.within(query, radius) for query in queries for radius in range(6)]
        exact = [find_code(whole, 1, query) for query in queries]
        return near, exact, find_codes(whole, 1, values[:50])

    expected = answers()
    assert any(len(found) > 1 for found in expected[0])
    for number, shard in enumerate(shards):
        shard.execute("CREATE DATABASE shard TEMPLATE template0")
        for name, columns in TABLES.items():
            shard.execute(f"CREATE TABLE {name} ({columns})", "shard")
        with whole.session() as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS postgres_fdw")
            connection.execute(
                f"CREATE SERVER shard_{number} FOREIGN DATA WRAPPER postgres_fdw "
                f"OPTIONS (host '{shard.folder}', dbname 'shard')"
            )
            connection.execute(
                f"CREATE USER MAPPING FOR CURRENT_USER SERVER shard_{number} OPTIONS (user '{shard.user}')"
            )
    with whole.session() as connection:
        for name, columns in TABLES.items():
            connection.execute(f"ALTER TABLE {name} RENAME TO {name}_before")
            connection.execute(f"CREATE TABLE {name} ({columns}) PARTITION BY HASH (image)")
            for number in range(2):
                connection.execute(
                    f"CREATE FOREIGN TABLE {name}_{number} PARTITION OF {name} "
                    f"FOR VALUES WITH (MODULUS 2, REMAINDER {number}) SERVER shard_{number} "
                    f"OPTIONS (table_name '{name}')"
                )
            listed = ", ".join(column.split()[0] for column in columns.split(", "))
            connection.execute(f"INSERT INTO {name} ({listed}) SELECT {listed} FROM {name}_before")
            connection.execute(f"DROP TABLE {name}_before CASCADE")
    counts = [shard.execute("SELECT count(*), count(DISTINCT image) FROM codes", "shard")[0] for shard in shards]
    assert sum(count for count, _ in counts) == len(values)
    assert min(count for count, _ in counts) > 200, "both have their share"
    assert place_of(coordinator).name != "shard"
    assert answers() == expected
    whole.close()
