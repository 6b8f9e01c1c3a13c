"""What people decided and what was done to files: verdicts, runs of actions and their journal."""

from __future__ import annotations

from hashae.db.spelling import execute

revision = "0003"
down_revision = "0002"

STATEMENTS = (
    """CREATE TABLE verdicts (
        id INTEGER NOT NULL CONSTRAINT pk_verdicts PRIMARY KEY,
        collection INTEGER NOT NULL
            CONSTRAINT fk_verdicts_collection_collections REFERENCES collections (id) ON DELETE CASCADE,
        kind VARCHAR(16) NOT NULL,
        made VARCHAR(32) NOT NULL
    )""",
    """CREATE TABLE verdict_contents (
        verdict INTEGER NOT NULL
            CONSTRAINT fk_verdict_contents_verdict_verdicts REFERENCES verdicts (id) ON DELETE CASCADE,
        content BLOB NOT NULL,
        path TEXT NOT NULL,
        CONSTRAINT pk_verdict_contents PRIMARY KEY (verdict, content)
    )""",
    """CREATE TABLE runs (
        id INTEGER NOT NULL CONSTRAINT pk_runs PRIMARY KEY,
        collection INTEGER NOT NULL
            CONSTRAINT fk_runs_collection_collections REFERENCES collections (id) ON DELETE CASCADE,
        action VARCHAR(16) NOT NULL,
        "plan" TEXT NOT NULL,
        started VARCHAR(32) NOT NULL
    )""",
    """CREATE TABLE journal (
        id INTEGER NOT NULL CONSTRAINT pk_journal PRIMARY KEY,
        run INTEGER NOT NULL CONSTRAINT fk_journal_run_runs REFERENCES runs (id) ON DELETE CASCADE,
        state VARCHAR(16) NOT NULL,
        path TEXT NOT NULL,
        content BLOB NOT NULL,
        size BIGINT NOT NULL,
        mtime_ns BIGINT NOT NULL,
        mode INTEGER NOT NULL,
        keeper TEXT NOT NULL,
        target TEXT,
        temporary TEXT,
        reason TEXT
    )""",
    "CREATE INDEX ix_journal_run ON journal (run)",
    "CREATE INDEX ix_journal_state ON journal (state)",
)


def upgrade() -> None:
    """Make the tables; what is stored stays as it is."""
    for statement in STATEMENTS:
        execute(statement)
