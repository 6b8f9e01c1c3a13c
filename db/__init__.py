"""What is on disk: the schema of a collection, its sessions and migrations, in a file or on a server."""

from __future__ import annotations

from hashae.db.database import Database
from hashae.db.session import inserted_id, open_database

__all__ = ["Database", "inserted_id", "open_database"]
