"""What tells a collection of this version from other databases."""

from __future__ import annotations

APPLICATION_ID = 0x48534145
"""``HSAE``: written into the header of a SQLite file, so that other programs' databases are told apart."""

SCHEMA_REVISION = "0006"
"""Newest migration; a test holds it equal to Alembic's head. Opening compares it without loading Alembic."""

UNFINISHED = "unfinished copy of "
"""Stands before the names of collections that are being copied from elsewhere, until all of their rows are there."""
