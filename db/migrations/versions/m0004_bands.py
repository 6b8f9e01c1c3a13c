"""Bands of the keys, by which a neighbourhood is looked up in the file; codes of an old file wait for their rows."""

from __future__ import annotations

from hashae.db.spelling import execute

revision = "0004"
down_revision = "0003"

STATEMENTS = (
    """CREATE TABLE band_masks (
        encoder INTEGER NOT NULL
            CONSTRAINT fk_band_masks_encoder_encoders REFERENCES encoders (id) ON DELETE CASCADE,
        band INTEGER NOT NULL,
        mask BIGINT NOT NULL,
        share FLOAT NOT NULL,
        CONSTRAINT pk_band_masks PRIMARY KEY (encoder, band)
    ) WITHOUT ROWID""",
    """CREATE TABLE bands (
        encoder INTEGER NOT NULL CONSTRAINT fk_bands_encoder_encoders REFERENCES encoders (id) ON DELETE CASCADE,
        slot INTEGER NOT NULL,
        image INTEGER NOT NULL,
        "key" BIGINT NOT NULL,
        CONSTRAINT pk_bands PRIMARY KEY (encoder, slot, image)
    ) WITHOUT ROWID""",
    """CREATE TABLE pending_bands (
        encoder INTEGER NOT NULL
            CONSTRAINT fk_pending_bands_encoder_encoders REFERENCES encoders (id) ON DELETE CASCADE,
        image INTEGER NOT NULL,
        CONSTRAINT pk_pending_bands PRIMARY KEY (encoder, image)
    ) WITHOUT ROWID""",
    """CREATE TRIGGER encoders_have_bands AFTER INSERT ON encoders BEGIN
        INSERT INTO band_masks (encoder, band, mask, share)
        SELECT NEW.id, band, ((1 << upper) - 1) & ~((1 << lower) - 1), 1.0 / (1 << upper - lower) FROM (
            SELECT 0 AS band, 0 AS lower, min(NEW.bits, 64) / 3 AS upper
            UNION ALL SELECT 1, min(NEW.bits, 64) / 3, min(NEW.bits, 64) / 3 * 2
            UNION ALL SELECT 2, min(NEW.bits, 64) / 3 * 2, min(NEW.bits, 64)
        );
    END""",
    """CREATE TRIGGER codes_wait_for_bands AFTER INSERT ON codes BEGIN
        INSERT OR IGNORE INTO pending_bands (encoder, image) VALUES (NEW.encoder, NEW.image);
    END""",
    """CREATE TRIGGER codes_leave_bands AFTER DELETE ON codes BEGIN
        DELETE FROM bands WHERE encoder = OLD.encoder AND image = OLD.image AND slot IN
            (SELECT ((OLD."key" & mask) % 402653189 + 402653189) % 402653189 + band * 402653189
            FROM band_masks WHERE encoder = OLD.encoder);
        DELETE FROM pending_bands WHERE encoder = OLD.encoder AND image = OLD.image;
    END""",
    """CREATE TRIGGER codes_change_bands AFTER UPDATE OF encoder, "key", image ON codes BEGIN
        DELETE FROM bands WHERE encoder = OLD.encoder AND image = OLD.image AND slot IN
            (SELECT ((OLD."key" & mask) % 402653189 + 402653189) % 402653189 + band * 402653189
            FROM band_masks WHERE encoder = OLD.encoder);
        DELETE FROM pending_bands WHERE encoder = OLD.encoder AND image = OLD.image;
        INSERT OR IGNORE INTO pending_bands (encoder, image) VALUES (NEW.encoder, NEW.image);
    END""",
    """INSERT INTO band_masks (encoder, band, mask, share)
        SELECT id, band, ((1 << upper) - 1) & ~((1 << lower) - 1), 1.0 / (1 << upper - lower) FROM (
            SELECT id, 0 AS band, 0 AS lower, min(bits, 64) / 3 AS upper FROM encoders
            UNION ALL SELECT id, 1, min(bits, 64) / 3, min(bits, 64) / 3 * 2 FROM encoders
            UNION ALL SELECT id, 2, min(bits, 64) / 3 * 2, min(bits, 64) FROM encoders
        )""",
    "INSERT INTO pending_bands (encoder, image) SELECT encoder, image FROM codes ORDER BY encoder, image",
)


def upgrade() -> None:
    """Make the tables; their rows are written by the next run that indexes: it knows how to deal the bits."""
    for statement in STATEMENTS:
        execute(statement)
