"""Run Alembic migrations from inside the program; there is no ini file."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine

from hashae.db.marks import APPLICATION_ID


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def known_revisions() -> set[str]:
    """Return the revisions this version of hashae knows."""
    return {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


def head_revision() -> str | None:
    """Return the newest revision."""
    return ScriptDirectory.from_config(_config()).get_current_head()


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Bring the schema of a file to `revision` in one transaction: after an interruption it is the old one, whole."""
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        try:
            upgrade_connection(connection, revision)
            connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
        except BaseException:
            connection.rollback()
            raise
        connection.commit()


def upgrade_connection(connection: Connection, revision: str = "head") -> None:
    """Bring the schema to `revision` in the transaction of a connection."""
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
