"""Writing the band rows of new codes, and dealing the bits of a key to bands by what the codes of the collection say.

New codes wait in ``pending_bands``. A run of indexing writes their rows in one sorted sweep: at its end, and before
whenever an eighth of the collection waits. When the number of codes has doubled, the bits are looked at anew: learned
bits are correlated, and where another dealing makes buckets clearly smaller, all rows are written anew, by that.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, text

from hashae.codes import KEY_BITS
from hashae.db.band_triggers import BANDS, SLOTS, slot
from hashae.indexer.order import band_order, deal

AT_LEAST = 16_384
"""Waiting codes below which nothing is written before the end of a run: a search reads them in some milliseconds."""

PART = 8
"""Rows are written when one in so many codes waits."""

ENOUGH = 512
"""Codes from which bits are dealt by what the codes say."""

SAMPLE = 65_536
"""Most keys looked at for that."""

BETTER = 0.9
"""Share of the present bucket sizes that another dealing must reach to be worth writing all rows anew."""

WORTH_TELLING = 200_000
"""Codes whose rows take more than a second to write."""

# SQLite reads the tables of a CROSS JOIN in the order in which they are named.
_WRITE = text(f"""INSERT INTO bands (encoder, slot, image, "key")
SELECT pending.encoder, {slot('codes."key"', ":mask", ":band")}, pending.image, codes."key"
FROM pending_bands AS pending CROSS JOIN codes
WHERE codes.image = pending.image AND codes.encoder = pending.encoder AND pending.encoder = :encoder
ORDER BY 2, 3""")

_ALL_WAIT = text("""INSERT INTO pending_bands (encoder, image)
SELECT encoder, image FROM codes WHERE encoder = :encoder
AND image NOT IN (SELECT image FROM pending_bands WHERE encoder = :encoder) ORDER BY image""")


def waiting(connection: Connection, encoder: int) -> int:
    """Return how many codes of an encoder wait for their band rows."""
    return _count(connection, "pending_bands WHERE encoder = :encoder", encoder)


def is_due(connection: Connection, encoder: int) -> bool:
    """Tell whether so many codes wait that their rows should be written before the end of the run."""
    count = waiting(connection, encoder)
    if count < AT_LEAST:
        return False
    newest: int = connection.execute(text("SELECT max(id) FROM images")).scalar_one()  # counting would read them all
    return count * PART >= newest


def write_rows(
    connection: Connection,
    encoder: int,
    on_band: Callable[[int], None] = lambda _band: None,
    *,
    deal_anew: bool = True,
) -> int:
    """Write the band rows of all codes that wait for them.

    Parameters
    ----------
    connection
        In a transaction that writes.
    encoder
        Row id of the encoder.
    on_band
        Called before each band with its number, if there is much to write.
    deal_anew
        Look whether the bits should be dealt to the bands in another way.

    Returns
    -------
    Number of codes whose rows were written.
    """
    new = waiting(connection, encoder)
    if not new:
        return 0
    written = _count(connection, f"bands WHERE encoder = :encoder AND slot < {SLOTS}", encoder)
    if deal_anew and written + new >= ENOUGH and written.bit_length() < (written + new).bit_length():
        new = _deal_anew(connection, encoder, written + new)
    for band, mask in _masks(connection, encoder):
        if new >= WORTH_TELLING:
            on_band(band)
        connection.execute(_WRITE, {"encoder": encoder, "band": band, "mask": mask})
    connection.execute(text("DELETE FROM pending_bands WHERE encoder = :encoder"), {"encoder": encoder})
    return new


def _deal_anew(connection: Connection, encoder: int, total: int) -> int:
    """Choose masks by a sample of the keys; if they are better, all codes wait. Return how many do.

    The sample takes every so-and-so-many-th image: the answer depends on nothing but the codes.
    """
    every = {"encoder": encoder, "step": -(-total // SAMPLE)}
    sampled = text('SELECT "key" FROM codes WHERE encoder = :encoder AND image % :step = 0')
    rows = connection.execute(sampled, every).fetchall()
    sample = _distinct(np.fromiter((row[0] for row in rows), np.int64, len(rows)))
    masks = [mask for _, mask in _masks(connection, encoder)]
    if len(sample) >= ENOUGH // 2:
        mine = {"encoder": encoder}
        bits = connection.execute(text("SELECT bits FROM encoders WHERE id = :encoder"), mine).scalar_one()
        other = masks_by(sample, min(bits, KEY_BITS))
        if sum(share(sample, mask) for mask in other) < BETTER * sum(share(sample, mask) for mask in masks):
            masks = other
            forget_rows(connection, encoder)
        connection.execute(
            text("UPDATE band_masks SET mask = :mask, share = :share WHERE encoder = :encoder AND band = :band"),
            [mine | {"mask": mask, "share": share(sample, mask), "band": band} for band, mask in enumerate(masks)],
        )
    return waiting(connection, encoder)


def forget_rows(connection: Connection, encoder: int) -> None:
    """Delete the band rows of an encoder: all of its codes wait then."""
    connection.execute(text("DELETE FROM bands WHERE encoder = :encoder"), {"encoder": encoder})
    connection.execute(_ALL_WAIT, {"encoder": encoder})


def masks_by(keys: NDArray[np.int64], key_bits: int) -> list[int]:
    """Return a mask for each band, such that the bands hold equal shares of the entropy of some keys.

    Parameters
    ----------
    keys
        ``int64 (n,)``, n at least 1.
    key_bits
        Bits of a key, 8 to 64.

    Returns
    -------
    list of int
        Signed 64-bit numbers; no bit is in two of them.
    """
    codes = keys.astype(">i8").view(np.uint8).reshape(-1, KEY_BITS // 8)[:, -(key_bits // 8) :]
    bands = deal(band_order(codes, BANDS), BANDS)
    masks = [sum(1 << (key_bits - 1 - int(place)) for place in places) for places in bands]
    return [mask - (1 << KEY_BITS) if mask >> (KEY_BITS - 1) else mask for mask in masks]


def share(keys: NDArray[np.int64], mask: int) -> float:
    """Return the chance that two of some different keys agree on a band; at least what even bits would give.

    Parameters
    ----------
    keys
        ``int64 (n,)``, n at least 2.
    mask
        Of the band.
    """
    values = np.sort(keys & np.int64(mask))
    runs = np.diff(np.flatnonzero(np.r_[True, values[1:] != values[:-1], True])).astype(np.float64)
    pairs = float((runs * (runs - 1)).sum()) / (len(keys) * (len(keys) - 1))
    return max(pairs, 2.0 ** -(mask % (1 << KEY_BITS)).bit_count())


def _masks(connection: Connection, encoder: int) -> list[tuple[int, int]]:
    query = text("SELECT band, mask FROM band_masks WHERE encoder = :encoder ORDER BY band")
    return [(band, mask) for band, mask in connection.execute(query, {"encoder": encoder})]


def _count(connection: Connection, rows: str, encoder: int) -> int:
    return int(connection.execute(text(f"SELECT count(*) FROM {rows}"), {"encoder": encoder}).scalar_one())


def _distinct(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    keys = np.sort(keys)  # copies agree on every band, whatever its bits: they would hide what bits do
    return keys[np.r_[True, keys[1:] != keys[:-1]]] if len(keys) else keys
