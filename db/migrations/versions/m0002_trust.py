"""What tells how far to trust an encoder and its codes: calibration, order of bands, crowding, detail."""

from __future__ import annotations

from hashae.db.spelling import execute

revision = "0002"
down_revision = "0001"

STATEMENTS = (
    "ALTER TABLE encoders ADD COLUMN calibration TEXT",
    "ALTER TABLE encoders ADD COLUMN band_order TEXT",
    "ALTER TABLE encoders ADD COLUMN crowding_generation BIGINT",
    "ALTER TABLE codes ADD COLUMN crowding FLOAT",
    "ALTER TABLE codes ADD COLUMN detail FLOAT",
)


def upgrade() -> None:
    """Add columns; what is stored stays as it is."""
    for statement in STATEMENTS:
        execute(statement)
