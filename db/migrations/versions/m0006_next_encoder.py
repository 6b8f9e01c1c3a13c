"""The encoder that is to follow the one in use, once it has encoded every image."""

from __future__ import annotations

from hashae.db.spelling import execute

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the column; no encoder is waiting."""
    execute("ALTER TABLE collections ADD COLUMN next_encoder INTEGER")
