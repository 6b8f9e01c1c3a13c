"""The tables of a collection.

SQLite is the truth; every index elsewhere is a cache of these tables. ``codes`` is the hash table: it has no rowid, its
rows lie ordered by (encoder, key), so that looking a code up is one descent of one B-tree.
"""

from __future__ import annotations

import os
from typing import Any

from sqlalchemy import (
    DDL,
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    event,
    text,
)
from sqlalchemy.types import TypeDecorator, TypeEngine

from hashae.db.band_triggers import TRIGGERS

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class PathText(TypeDecorator[str]):
    """A file name: text where it is valid UTF-8, else the raw bytes; what went in comes out."""

    impl = LargeBinary
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """SQLite columns take both, the declared type is TEXT; PostgreSQL's hold bytes."""
        return dialect.type_descriptor(LargeBinary() if dialect.name == "postgresql" else Text())

    def process_bind_param(self, value: str | None, dialect: Dialect) -> Any:
        """Return text, or bytes for a name that is not valid UTF-8, and always on a server."""
        if value is None:
            return None
        if dialect.name == "postgresql":
            return os.fsencode(value)
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            return os.fsencode(value)
        return value

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:
        """Return the name as Python's file functions want it."""
        return os.fsdecode(value) if isinstance(value, bytes) else value


collections = Table(
    "collections",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(200), nullable=False, unique=True),
    Column("created", String(32), nullable=False),
    # The encoder new images are encoded with. No foreign key: the two tables would need each other.
    Column("encoder", Integer),
    # Grows with every change of images or codes; caches carry the value they were made at.
    Column("generation", BigInteger, nullable=False, default=0),
    # The one that takes its place when it has encoded every image; null if none waits.
    Column("next_encoder", Integer),
)

sources = Table(
    "sources",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("collection", ForeignKey("collections.id", ondelete="CASCADE"), nullable=False),
    Column("path", PathText, nullable=False),
    Column("indexed", String(32)),
    UniqueConstraint("collection", "path"),
)

images = Table(
    "images",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("source", ForeignKey("sources.id", ondelete="CASCADE"), nullable=False),
    Column("path", PathText, nullable=False),  # below the source, with / between its parts
    Column("size", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    Column("content", LargeBinary(16), nullable=False),  # BLAKE2b-128 of the bytes
    Column("pixels", LargeBinary(16)),  # BLAKE2b-128 of the decoded pixels, filled in when first needed
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("format", String(16), nullable=False),
    Column("missing", Boolean, nullable=False, default=False),
    UniqueConstraint("source", "path"),
    Index("ix_images_content", "content"),
    # Few rows: look-ups ask it, not the rows of images.
    Index("ix_images_missing", "id", sqlite_where=text("missing")),
)

encoders = Table(
    "encoders",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("collection", ForeignKey("collections.id", ondelete="CASCADE"), nullable=False),
    Column("name", String(200), nullable=False),
    Column("bits", Integer, nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("info", Text, nullable=False),
    Column("added", String(32), nullable=False),
    Column("weights", LargeBinary, nullable=False),
    Column("decoder", LargeBinary),
    Column("calibration", Text),  # JSON: what was measured on this collection; null until it was
    Column("band_order", Text),  # JSON: bit positions in the order in which they are dealt to bands; null as they come
    Column("crowding_generation", BigInteger),  # of the collection, when the crowding of these codes was computed
    UniqueConstraint("collection", "fingerprint"),
)

codes = Table(
    "codes",
    metadata,
    Column("encoder", ForeignKey("encoders.id", ondelete="CASCADE"), primary_key=True),
    Column("key", BigInteger, primary_key=True, autoincrement=False),  # first 64 bits, signed
    Column("image", ForeignKey("images.id", ondelete="CASCADE"), primary_key=True),
    Column("code", LargeBinary, nullable=False),
    Column("confidence", Float, nullable=False),
    Column("crowding", Float),  # mean distance to the neighbours, in bits; null until computed
    Column("detail", Float),  # how much there is to see in the picture, in grey levels; null if encoded before 0002
    Index("ix_codes_image", "image"),
    sqlite_with_rowid=False,
)

# The three bands of each encoder's keys; see db/band_triggers.py, which fills this and the next two tables.
band_masks = Table(
    "band_masks",
    metadata,
    Column("encoder", ForeignKey("encoders.id", ondelete="CASCADE"), primary_key=True),
    Column("band", Integer, primary_key=True, autoincrement=False),
    Column("mask", BigInteger, nullable=False),  # the bits of the key that the band holds, signed
    Column("share", Float, nullable=False),  # chance that two different keys agree on the band
    sqlite_with_rowid=False,
)

bands = Table(
    "bands",
    metadata,
    Column("encoder", ForeignKey("encoders.id", ondelete="CASCADE"), primary_key=True),
    Column("slot", Integer, primary_key=True, autoincrement=False),  # band and value of the band
    Column("image", Integer, primary_key=True, autoincrement=False),
    Column("key", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# Images whose codes have no rows in bands yet; empty between runs.
pending_bands = Table(
    "pending_bands",
    metadata,
    Column("encoder", ForeignKey("encoders.id", ondelete="CASCADE"), primary_key=True),
    Column("image", Integer, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)

failures = Table(
    "failures",
    metadata,
    Column("source", ForeignKey("sources.id", ondelete="CASCADE"), primary_key=True),
    Column("path", PathText, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
)

# What a person decided. Bound to contents, so that it outlives moves, renames and other encoders.
verdicts = Table(
    "verdicts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("collection", ForeignKey("collections.id", ondelete="CASCADE"), nullable=False),
    Column("kind", String(16), nullable=False),  # keep, distinct or ignore
    Column("made", String(32), nullable=False),
)

verdict_contents = Table(
    "verdict_contents",
    metadata,
    Column("verdict", ForeignKey("verdicts.id", ondelete="CASCADE"), primary_key=True),
    Column("content", LargeBinary(16), primary_key=True),
    Column("path", PathText, nullable=False),  # of the file when it was judged; for people to read
)

# What was done to files: one run of `apply`, and its actions. An action is written down before and after it is done.
runs = Table(
    "runs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("collection", ForeignKey("collections.id", ondelete="CASCADE"), nullable=False),
    Column("action", String(16), nullable=False),
    Column("plan", PathText, nullable=False),
    Column("started", String(32), nullable=False),
)

journal = Table(
    "journal",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("run", ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    Column("state", String(16), nullable=False),
    Column("path", PathText, nullable=False),
    Column("content", LargeBinary(16), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    Column("mode", Integer, nullable=False),  # permission bits; a hard link takes those of the keeper
    Column("keeper", PathText, nullable=False),
    Column("target", PathText),  # where the file went
    Column("temporary", PathText),  # name of a file that is there only while the action is under way
    Column("reason", Text),  # why it could not be done or undone
    Index("ix_journal_run", "run"),
    Index("ix_journal_state", "state"),
)

for _statement in TRIGGERS:
    _trigger = DDL(_statement.replace("%", "%%"))  # type: ignore[no-untyped-call]
    event.listen(metadata, "after_create", _trigger.execute_if(dialect="sqlite"))


def tell_postgresql() -> None:
    """Add to the tables what only PostgreSQL needs to know.

    To name a dialect is to load it, which takes longer than a query of a file may wait for.
    """
    (missing,) = (index for index in images.indexes if index.name == "ix_images_missing")
    missing.dialect_kwargs["postgresql_where"] = text("missing")
