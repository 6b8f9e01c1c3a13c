"""Forgetting images whose files are gone for good; nothing on disk is touched."""

from __future__ import annotations

import os
from dataclasses import dataclass

from sqlalchemy import delete, exists, select, update

from hashae.db import Database
from hashae.db.schema import collections, failures, images, sources
from hashae.indexer.sources import is_below
from hashae.indexer.there import are_there, can_be_listed, holds_anything

CHUNK = 500
"""Rows deleted in one statement."""


@dataclass(frozen=True)
class Missing:
    """Images that are marked missing.

    Attributes
    ----------
    gone
        Id and absolute path of those whose folder was looked at and whose file is not there, ordered by path.
    away
        Number of those whose folder is missing or empty now: its drive may be away, so they are kept.
    """

    gone: tuple[tuple[int, str], ...]
    away: int


def find_missing(
    database: Database, collection: int, folder: str | None = None, *, allow_empty: bool = False
) -> Missing:
    """Return which images of a collection could be forgotten.

    A file that is there and cannot be read is not gone.

    Parameters
    ----------
    database
        Open collection file.
    collection
        Row id.
    folder
        Absolute path; only images below it.
    allow_empty
        Believe a folder without anything in it.
    """
    unreadable = exists().where(failures.c.source == images.c.source, failures.c.path == images.c.path)
    query = (
        select(images.c.id, sources.c.path, images.c.path)
        .select_from(images.join(sources))
        .where(sources.c.collection == collection, images.c.missing, ~unreadable)
    )
    with database.read() as connection:
        rows = connection.execute(query).all()
    missing: dict[str, list[tuple[int, str]]] = {}
    for id_, root, below in rows:
        if folder is None or is_below(os.path.join(root, below), folder):
            missing.setdefault(root, []).append((id_, below))
    gone, away = [], 0
    for root, images_ in missing.items():
        if not (can_be_listed(root) if allow_empty else holds_anything(root)):
            away += len(images_)
            continue
        there = are_there(root, [below for _, below in images_])
        gone += [(id_, os.path.join(root, below)) for (id_, below), is_ in zip(images_, there, strict=True) if not is_]
    return Missing(tuple(sorted(gone, key=lambda row: row[1])), away)


def forget_images(database: Database, collection: int, ids: list[int]) -> int:
    """Delete the rows of images, as long as they are missing; return how many went."""
    count = 0
    with database.write() as connection:
        for start in range(0, len(ids), CHUNK):
            some = images.c.id.in_(ids[start : start + CHUNK]) & images.c.missing
            count += connection.execute(delete(images).where(some)).rowcount
        mine = collections.c.id == collection
        connection.execute(update(collections).where(mine).values(generation=collections.c.generation + 1))
    return count
