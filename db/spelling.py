"""How PostgreSQL spells what is written for SQLite: statements of look-ups, tables, triggers.

Every statement is written once, for SQLite. What follows here is all that differs; a test holds the tables that come of
it equal to those that :mod:`hashae.db.schema` declares.
"""

from __future__ import annotations

import re
from functools import lru_cache

from hashae.db.band_triggers import slot

_TYPES = (
    # Paths may hold any bytes but zero, and a text of PostgreSQL only valid UTF-8.
    (re.compile(r'(?<!\w)(path|"plan"|keeper|target|temporary) TEXT\b'), r"\1 BYTEA"),
    (re.compile(r"\bBLOB\b"), "BYTEA"),
    (re.compile(r"\bFLOAT\b"), "DOUBLE PRECISION"),
    (re.compile(r"\bid INTEGER NOT NULL CONSTRAINT"), "id SERIAL NOT NULL CONSTRAINT"),
    (re.compile(r"\) WITHOUT ROWID"), ")"),
    # The key in the index itself: a search by bands then reads nothing else.
    (re.compile(r"(CONSTRAINT pk_bands PRIMARY KEY \(encoder, slot, image\))"), r'\1 INCLUDE ("key")'),
)

_MASKS = """INSERT INTO band_masks (encoder, band, mask, share)
    SELECT NEW.id, band, CASE upper WHEN 64 THEN -1 ELSE (1::bigint << upper) - 1 END & ~((1::bigint << lower) - 1),
    1.0 / (1::bigint << (upper - lower)) FROM (VALUES
        (0, 0, least(NEW.bits, 64) / 3),
        (1, least(NEW.bits, 64) / 3, least(NEW.bits, 64) / 3 * 2),
        (2, least(NEW.bits, 64) / 3 * 2, least(NEW.bits, 64))) AS dealt (band, lower, upper);"""

_LEAVE = f"""DELETE FROM bands WHERE encoder = OLD.encoder AND image = OLD.image AND slot = ANY (ARRAY
        (SELECT {slot('OLD."key"')} FROM band_masks WHERE encoder = OLD.encoder));
    DELETE FROM pending_bands WHERE encoder = OLD.encoder AND image = OLD.image;"""

_WAIT = "INSERT INTO pending_bands (encoder, image) SELECT {} ON CONFLICT DO NOTHING;"


def _function(name: str, body: str) -> str:
    return (
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN\n    {body}\n    RETURN NULL;\nEND $$"
    )


TRIGGERS = {
    "encoders_have_bands": (
        _function("encoders_have_bands", _MASKS),
        "CREATE TRIGGER encoders_have_bands AFTER INSERT ON encoders "
        "FOR EACH ROW EXECUTE FUNCTION encoders_have_bands()",
    ),
    # Once for all rows of a statement: they come by the hundred.
    "codes_wait_for_bands": (
        _function("codes_wait_for_bands", _WAIT.format("encoder, image FROM added")),
        "CREATE TRIGGER codes_wait_for_bands AFTER INSERT ON codes REFERENCING NEW TABLE AS added "
        "FOR EACH STATEMENT EXECUTE FUNCTION codes_wait_for_bands()",
    ),
    "codes_leave_bands": (
        _function("codes_leave_bands", _LEAVE),
        "CREATE TRIGGER codes_leave_bands AFTER DELETE ON codes FOR EACH ROW EXECUTE FUNCTION codes_leave_bands()",
    ),
    "codes_change_bands": (
        _function("codes_change_bands", f"{_LEAVE}\n    {_WAIT.format('NEW.encoder, NEW.image')}"),
        'CREATE TRIGGER codes_change_bands AFTER UPDATE OF encoder, "key", image ON codes '
        "FOR EACH ROW EXECUTE FUNCTION codes_change_bands()",
    ),
}
"""The triggers of :mod:`hashae.db.band_triggers`: of each its function and itself."""

# Whether any image is missing is asked once, and only then for each row. Of the second question a server makes a join
# that may read all of the index of missing images for each row; of a subquery that is one value, one walk down the
# index. The first question has a condition on the id, so that a plan shows a walk down the index, and no scan of it.
_NONE_MISSING = re.compile(
    r"\(NOT EXISTS \(SELECT 1 FROM images INDEXED BY \w+ WHERE images\.missing\)\s+"
    r"OR NOT EXISTS \((SELECT 1 FROM images) INDEXED BY \w+ (WHERE images\.missing AND images\.id = \w+\.image)\)\)"
)

_MISSING_SPELT = r"(NOT EXISTS (\1 WHERE images.missing AND images.id > 0) OR (\1 \2) IS NULL)"

_TRIGGER = re.compile(r"CREATE TRIGGER (\w+) ")
_MOVES_ROWS = re.compile(r"INSERT INTO")


def execute(statement: str) -> None:
    """Run one statement of a migration, spelt for the database at hand.

    What moves rows of older schemas is left out on a server: collections came there with schema 0006.
    """
    from alembic import op  # takes longer to load than a look-up that needs the rest of this file

    if op.get_bind().dialect.name != "postgresql":
        op.execute(statement)
        return
    if _MOVES_ROWS.match(statement):
        return
    found = _TRIGGER.match(statement)
    for spelt in TRIGGERS[found[1]] if found else (for_tables(statement),):
        op.get_bind().exec_driver_sql(spelt.replace("%", "%%"))


def for_tables(statement: str) -> str:
    """Return a statement that makes or changes a table, or an index, with the types of PostgreSQL.

    Examples
    --------
    >>> for_tables("CREATE TABLE a (id INTEGER NOT NULL CONSTRAINT pk_a PRIMARY KEY, path TEXT, x BLOB) WITHOUT ROWID")
    'CREATE TABLE a (id SERIAL NOT NULL CONSTRAINT pk_a PRIMARY KEY, path BYTEA, x BYTEA)'
    """
    for pattern, spelt in _TYPES:
        statement = pattern.sub(spelt, statement)
    return statement


@lru_cache(maxsize=512)
def for_look_up(statement: str) -> str:
    """Return a SELECT with the parameters of PostgreSQL, ``$1``, and without the hints of SQLite.

    Examples
    --------
    >>> for_look_up("SELECT 1 FROM images INDEXED BY ix_images_missing WHERE id = ? AND source = ?")
    'SELECT 1 FROM images WHERE id = $1 AND source = $2'
    """
    statement = _NONE_MISSING.sub(_MISSING_SPELT, statement)
    statement = re.sub(r" INDEXED BY \w+", "", statement)
    statement = re.sub(r"\?(\d+)", r"$\1", statement)
    pieces = statement.split("?")
    return "".join(
        piece if number == len(pieces) - 1 else f"{piece}${number + 1}" for number, piece in enumerate(pieces)
    )
