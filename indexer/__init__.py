"""Codes in, matches out: hash table, neighbourhoods, nearest codes, duplicate groups, collections of pictures."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hashae.indexer.collection import Collection
    from hashae.indexer.index import HashIndex
    from hashae.indexer.match import Match
    from hashae.indexer.report import DedupReport

__all__ = ["Collection", "DedupReport", "HashIndex", "Match"]

_HOMES = {
    "Collection": "hashae.indexer.collection",
    "DedupReport": "hashae.indexer.report",
    "HashIndex": "hashae.indexer.index",
    "Match": "hashae.indexer.match",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'hashae.indexer' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
