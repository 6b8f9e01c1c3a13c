"""SQLAlchemy's words and the tables, imported when one of them is first used.

A look-up is done with a prepared statement on a held connection and needs none of them, and loading them takes longer
than answering it from a cold start. So modules that are loaded for every look-up take them from here, as ``sql.select``
or ``sql.images``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import and_, bindparam, create_engine, delete, func, insert, select, text, update

    from hashae.db.schema import bands, codes, collections, encoders, failures, images, pending_bands, sources
else:

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        schema = import_module("hashae.db.schema")
        value = getattr(schema if name in schema.metadata.tables else import_module("sqlalchemy"), name)
        globals()[name] = value  # the next time it is found without coming here
        return value


__all__ = [
    "and_",
    "bands",
    "bindparam",
    "codes",
    "collections",
    "create_engine",
    "delete",
    "encoders",
    "failures",
    "func",
    "images",
    "insert",
    "pending_bands",
    "select",
    "sources",
    "text",
    "update",
]
