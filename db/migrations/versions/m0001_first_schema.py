"""First schema: collections, sources, images, encoders, codes, failures."""

from __future__ import annotations

from hashae.db.spelling import execute

revision = "0001"
down_revision = None

STATEMENTS = (
    """CREATE TABLE collections (
        id INTEGER NOT NULL CONSTRAINT pk_collections PRIMARY KEY,
        name VARCHAR(200) NOT NULL CONSTRAINT uq_collections_name UNIQUE,
        created VARCHAR(32) NOT NULL,
        encoder INTEGER,
        generation BIGINT NOT NULL
    )""",
    """CREATE TABLE sources (
        id INTEGER NOT NULL CONSTRAINT pk_sources PRIMARY KEY,
        collection INTEGER NOT NULL
            CONSTRAINT fk_sources_collection_collections REFERENCES collections (id) ON DELETE CASCADE,
        path TEXT NOT NULL,
        indexed VARCHAR(32),
        CONSTRAINT uq_sources_collection_path UNIQUE (collection, path)
    )""",
    """CREATE TABLE images (
        id INTEGER NOT NULL CONSTRAINT pk_images PRIMARY KEY,
        source INTEGER NOT NULL CONSTRAINT fk_images_source_sources REFERENCES sources (id) ON DELETE CASCADE,
        path TEXT NOT NULL,
        size BIGINT NOT NULL,
        mtime_ns BIGINT NOT NULL,
        content BLOB NOT NULL,
        pixels BLOB,
        width INTEGER NOT NULL,
        height INTEGER NOT NULL,
        format VARCHAR(16) NOT NULL,
        missing BOOLEAN NOT NULL,
        CONSTRAINT uq_images_source_path UNIQUE (source, path)
    )""",
    "CREATE INDEX ix_images_content ON images (content)",
    """CREATE TABLE encoders (
        id INTEGER NOT NULL CONSTRAINT pk_encoders PRIMARY KEY,
        collection INTEGER NOT NULL
            CONSTRAINT fk_encoders_collection_collections REFERENCES collections (id) ON DELETE CASCADE,
        name VARCHAR(200) NOT NULL,
        bits INTEGER NOT NULL,
        fingerprint VARCHAR(64) NOT NULL,
        info TEXT NOT NULL,
        added VARCHAR(32) NOT NULL,
        weights BLOB NOT NULL,
        decoder BLOB,
        CONSTRAINT uq_encoders_collection_fingerprint UNIQUE (collection, fingerprint)
    )""",
    """CREATE TABLE codes (
        encoder INTEGER NOT NULL CONSTRAINT fk_codes_encoder_encoders REFERENCES encoders (id) ON DELETE CASCADE,
        "key" BIGINT NOT NULL,
        image INTEGER NOT NULL CONSTRAINT fk_codes_image_images REFERENCES images (id) ON DELETE CASCADE,
        code BLOB NOT NULL,
        confidence FLOAT NOT NULL,
        CONSTRAINT pk_codes PRIMARY KEY (encoder, "key", image)
    ) WITHOUT ROWID""",
    "CREATE INDEX ix_codes_image ON codes (image)",
    """CREATE TABLE failures (
        source INTEGER NOT NULL CONSTRAINT fk_failures_source_sources REFERENCES sources (id) ON DELETE CASCADE,
        path TEXT NOT NULL,
        size BIGINT NOT NULL,
        mtime_ns BIGINT NOT NULL,
        reason TEXT NOT NULL,
        CONSTRAINT pk_failures PRIMARY KEY (source, path)
    )""",
)


def upgrade() -> None:
    """Make the tables."""
    for statement in STATEMENTS:
        execute(statement)
