"""What is on disk: the schema of a collection file, its sessions and migrations."""

from __future__ import annotations

from hashae.db.session import Database, inserted_id, open_database

__all__ = ["Database", "inserted_id", "open_database"]
