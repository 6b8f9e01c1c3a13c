"""How a content is looked up: by the content, whatever else there is an index on."""

from __future__ import annotations

from hashae.db import open_database
from hashae.indexer import whereabouts


def test_no_content_is_looked_for_among_all_codes(tmp_path):
    database = open_database(tmp_path / "photos.db")
    plan = [row[3] for row in database.look_up(f"EXPLAIN QUERY PLAN {whereabouts._CODED}", (1, b"content"))]
    database.close()
    assert "images" in plan[0], plan
    assert "content=?" in plan[0], plan
    assert "image=?" in plan[1], plan
