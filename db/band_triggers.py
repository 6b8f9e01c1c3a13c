"""What keeps the band rows in step with the codes: triggers, so that whoever writes a code cannot forget them.

A band is some of the bits of a key, given by a mask. Its value is ``key & mask``, and its slot is that value modulo a
prime, so that SQL can compute it and a row stays small. Codes that agree on a band have the same slot; of those that do
not, one in some hundred millions has it by chance, and is sorted out when bits are counted.

Band rows of new codes are written many at a time, sorted (:mod:`hashae.indexer.band_rows`): one at a time each would
touch another page of the file. Until then the image waits in ``pending_bands``, which every search reads too.
"""

from __future__ import annotations

BANDS = 3
"""Bands of a key: 21 or 22 bits each, about log2 of a million codes."""

SLOTS = 402_653_189
"""Slots of a band, a prime: three times as many still fit into four bytes."""


def slot(key: str, mask: str = "mask", band: str = "band") -> str:
    """Return the SQL expression of the slot of a key in a band; by default beside a row of ``band_masks``.

    A remainder has the sign of the key, so the prime is added once more.
    """
    return f"(({key} & {mask}) % {SLOTS} + {SLOTS}) % {SLOTS} + {band} * {SLOTS}"


_LEAVE = f"""DELETE FROM bands WHERE encoder = OLD.encoder AND image = OLD.image AND slot IN
    (SELECT {slot('OLD."key"')} FROM band_masks WHERE encoder = OLD.encoder);
DELETE FROM pending_bands WHERE encoder = OLD.encoder AND image = OLD.image;"""

_WAIT = "INSERT OR IGNORE INTO pending_bands (encoder, image) VALUES (NEW.encoder, NEW.image);"

# A new encoder has bands of neighbouring bits, as they come.
_MASKS = """INSERT INTO band_masks (encoder, band, mask, share)
SELECT NEW.id, band, ((1 << upper) - 1) & ~((1 << lower) - 1), 1.0 / (1 << upper - lower) FROM (
    SELECT 0 AS band, 0 AS lower, min(NEW.bits, 64) / 3 AS upper
    UNION ALL SELECT 1, min(NEW.bits, 64) / 3, min(NEW.bits, 64) / 3 * 2
    UNION ALL SELECT 2, min(NEW.bits, 64) / 3 * 2, min(NEW.bits, 64)
);"""

TRIGGERS = (
    f"CREATE TRIGGER encoders_have_bands AFTER INSERT ON encoders BEGIN\n{_MASKS}\nEND",
    f"CREATE TRIGGER codes_wait_for_bands AFTER INSERT ON codes BEGIN\n{_WAIT}\nEND",
    f"CREATE TRIGGER codes_leave_bands AFTER DELETE ON codes BEGIN\n{_LEAVE}\nEND",
    f'CREATE TRIGGER codes_change_bands AFTER UPDATE OF encoder, "key", image ON codes BEGIN\n{_LEAVE}\n{_WAIT}\nEND',
)
"""The statements that make them."""
