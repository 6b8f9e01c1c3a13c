"""What is on disk: the schema of a collection file, its sessions and migrations."""

from __future__ import annotations

from hashae.db.session import Database, open_database

__all__ = ["Database", "open_database"]
