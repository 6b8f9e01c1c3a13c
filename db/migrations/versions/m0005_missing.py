"""A small index of the missing images: a look-up asks it, not the rows of all images it finds."""

from __future__ import annotations

from hashae.db.spelling import execute

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the index; it holds the images that are missing, and no others."""
    execute("CREATE INDEX ix_images_missing ON images (id) WHERE missing")
