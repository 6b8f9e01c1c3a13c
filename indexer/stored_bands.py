"""Neighbourhood search in the collection file itself, by bands of the key: no index in memory, so no time to make one.

A key is dealt to three bands, and each band of each image is a row of the table ``bands`` (see
:mod:`hashae.db.band_triggers`). Let the radius be ``r = 3 * a + b`` with ``b < 3``. Two keys within r bits of each
other differ in at most a bits on one of the bands 0 to b, or in at most a - 1 bits on another: else it would be
``(b + 1) * (a + 1) + (2 - b) * a = r + 1`` bits (multi-index hashing, Norouzi, Punjani, Fleet, CVPR 2012, with unequal
radii of the bands: Qin et al., ICDE 2018). So few bits are flipped: none up to radius 2, one of a single band at 3.

Two codes differ in at least as many bits as their keys: what is within a radius by the full code is so by the key.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import comb
from time import perf_counter
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashae.codes import KEY_BITS
from hashae.db import Database
from hashae.db.band_triggers import BANDS, SLOTS
from hashae.indexer.lookups import BY_KEYS, HERE, as_array, key_of, look_up_many
from hashae.indexer.match import Match, new_tuple

FEW = 1024
"""Most slots that are handed over one by one, and most candidates that Python counts without numpy."""

UNSIGNED = (1 << KEY_BITS) - 1

KEPT = 8
"""Radii of which the flips are kept: a caller who tries radii must not fill the memory."""

SlotPlan: TypeAlias = list[tuple[int, int, list[int] | NDArray[np.int64]]]

_BY_LIST = 'SELECT image, "key" FROM bands WHERE encoder = ?1 AND slot IN ({})'
_BY_JSON = (
    'SELECT bands.image, bands."key" FROM json_each(?2) AS probe '
    "CROSS JOIN bands ON bands.encoder = ?1 AND bands.slot = probe.value"
)
# In the same statement, so that all is of one state of the file: the codes that wait for their rows, and the masks by
# which the rows were made.
_WAITING = (
    'SELECT codes.image, codes."key" FROM pending_bands AS pending CROSS JOIN codes '
    "WHERE codes.image = pending.image AND codes.encoder = pending.encoder AND pending.encoder = ?1"
)
_MASKS = "SELECT band, mask FROM band_masks WHERE encoder = ?1"
_AND_THE_REST = f" UNION ALL {_WAITING} UNION ALL {_MASKS}"

# Few slots hold few keys: whether their images are there is asked at once, where a key is all there is to decide by.
_ONE_HERE = f'SELECT image, "key" FROM bands WHERE encoder = ?1 AND slot = ?{{}} AND {HERE.format("bands")}'
_WAITING_HERE = f"{_WAITING} AND {HERE.format('pending')}"
_UNFLIPPED = tuple(
    " UNION ALL ".join([*(_ONE_HERE.format(2 + place) for place in range(size)), _WAITING_HERE, _MASKS])
    for size in range(1, BANDS + 1)
)
"""The statement for each radius below the number of bands, where an image is missing."""
_ONE = 'SELECT image, "key" FROM bands WHERE encoder = ?1 AND slot = ?{}'
_SOME_MISSING = (-1, 0)
_TELL_MISSING = (
    "SELECT -1, CAST(0 AS BIGINT) WHERE EXISTS "
    "(SELECT 1 FROM images INDEXED BY ix_images_missing WHERE images.missing AND images.id > 0)"
)
_UNFLIPPED_TOLD = tuple(
    " UNION ALL ".join([*(_ONE.format(2 + place) for place in range(size)), _WAITING, _TELL_MISSING, _MASKS])
    for size in range(1, BANDS + 1)
)
"""The same where no image is missing; that one is, is a row of the answer, and asked for once."""
# A server takes all slots as one parameter, so that a few statements do for all radii.
FEW_ON_SERVER = 256
"""Most slots of which a server is asked at once whether their images are there."""
_BY_ARRAY = 'SELECT image, "key" FROM bands WHERE encoder = ?1 AND slot = ANY (?2::int[])'
_BY_ARRAY_HERE = f"{_BY_ARRAY} AND {HERE.format('bands')} UNION ALL {_WAITING_HERE} UNION ALL {_MASKS}"
_BY_ARRAY_TOLD = f"{_BY_ARRAY} UNION ALL {_WAITING} UNION ALL {_TELL_MISSING} UNION ALL {_MASKS}"
_MISSING = "SELECT id FROM images INDEXED BY ix_images_missing WHERE missing AND id IN ({})"


class StoredAnswer(NamedTuple):
    """What a search in the file found; a named tuple is made in half the time of a data class.

    Attributes
    ----------
    matches
        Ordered by (distance, id).
    probes
        Slots looked up.
    candidates
        Keys whose bits were counted.
    seconds
        Time it took.
    """

    matches: list[Match]
    probes: int
    candidates: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Band:
    """A band and how far it is searched: the bits of its value may differ in up to `level` places."""

    number: int
    mask: int
    level: int


class StoredBands:
    """The bands of one encoder's keys, as they lie in the file.

    Parameters
    ----------
    database
        Open collection file.
    encoder
        Row id of the encoder that made the codes.
    bits
        Code length.
    """

    def __init__(self, database: Database, encoder: int, bits: int) -> None:
        self._database, self._encoder, self._bits = database, encoder, bits
        self._masks: list[tuple[int, int]] = []
        self._plans: dict[int, SlotPlan] = {}
        self._shares: list[float] = []
        self._any_missing = False  # as far as has been seen; then it is asked in another way

    def within(self, code: bytes, radius: int) -> list[Match]:
        """Find every present image whose code is at most `radius` bits from `code`, ordered by (distance, id).

        Parameters
        ----------
        code
            The bytes of one code.
        radius
            Bits, 0 to the code length, inclusive.

        Raises
        ------
        CollectionError
            If the file cannot be read.
        """
        if radius < BANDS and self._bits <= KEY_BITS:
            return self._search_unflipped(key_of(code), radius)[0]
        return self._search(code, radius)[0]

    def measured(self, code: bytes, radius: int) -> StoredAnswer:
        """Answer :meth:`within` and tell what it took."""
        start = perf_counter()
        return StoredAnswer(*self._search(code, radius), perf_counter() - start)

    def images(self) -> int:
        """Return about how many images there are: the largest id, for counting would read them all."""
        return self._database.look_up("SELECT max(id) FROM images", ())[0][0] or 0

    def expect(self, radius: int, images: int) -> tuple[int, float]:
        """Return how many slots a search would look up, and about how many keys it would read.

        Parameters
        ----------
        radius
            Bits, inclusive.
        images
            Number of images in the file.
        """
        if not self._masks:
            self._read_masks()
        probes, candidates = 0, 0.0
        for band in probing(self._masks, min(radius, KEY_BITS, self._bits)):
            width, share = (band.mask & UNSIGNED).bit_count(), self._shares[band.number]
            slots = sum(comb(width, flips) for flips in range(band.level + 1))
            probes += slots
            # The flips of a common value are often common too: halfway, as a power, between that and an even spread.
            candidates += images * (share + (slots - 1) * (share / 2**width) ** 0.5)
        return probes, min(candidates, BANDS * images) + self._waiting(images)

    def _search(self, code: bytes, radius: int) -> tuple[list[Match], int, int]:
        """Return matches, number of slots looked up and of keys read."""
        key = key_of(code)
        if radius < BANDS and self._bits <= KEY_BITS:
            return self._search_unflipped(key, radius)
        reach = min(radius, KEY_BITS, self._bits)
        slots, rows, here = self._candidates(key, reach)
        if self._bits > KEY_BITS:
            matches = self._near_codes(code, radius, {other for _, other in near_keys(key, radius, rows)})
        else:
            near = dict(near_keys(key, radius, rows))
            if not here:
                self._drop_missing(near)
            matches = [Match(((other ^ key) & UNSIGNED).bit_count(), image) for image, other in near.items()]
        if len(matches) > 1:
            matches.sort()
        return matches, slots, len(rows)

    def _search_unflipped(self, key: int, radius: int) -> tuple[list[Match], int, int]:
        """Do the same for a key that is all of the code, where no bit of a band is flipped.

        One statement of some microseconds answers; so every step around it that can be left out is.
        """
        if not self._masks:
            self._read_masks()
        masks = self._masks
        slots = [(key & mask) % SLOTS + number * SLOTS for number, mask in masks[: radius + 1]]
        statement = (_UNFLIPPED if self._any_missing else _UNFLIPPED_TOLD)[radius]
        rows = self._database.look_up(statement, (self._encoder, *slots))
        candidates = len(rows) - BANDS
        if rows[candidates:] != masks:
            self._read_masks()  # the bits were dealt anew meanwhile
            return self._search_unflipped(key, radius)
        if candidates and rows[candidates - 1] == _SOME_MISSING:
            self._any_missing = True  # for good: images that are missing mostly stay so
            return self._search_unflipped(key, radius)
        del rows[candidates:]
        matches = []
        for image, other in rows:
            distance = ((other ^ key) & UNSIGNED).bit_count()
            if distance <= radius:
                matches.append(new_tuple(Match, (distance, image)))
        if len(matches) > 1:
            matches = sorted(set(matches))  # an image can come from several bands
        return matches, radius + 1, candidates

    def _candidates(self, key: int, radius: int) -> tuple[int, list[tuple[int, int]], bool]:
        """Return the number of slots looked up, (image, key) of every code in them, and if all images are here."""
        if not self._masks:
            self._read_masks()
        while True:
            slots = slots_of(key, self._plan(radius))
            here = self._database.is_server and len(slots) <= FEW_ON_SERVER and self._bits <= KEY_BITS
            if self._database.is_server:
                few = _BY_ARRAY_HERE if self._any_missing else _BY_ARRAY_TOLD
                statement = few if here else _BY_ARRAY + _AND_THE_REST
                rows = self._database.look_up(statement, (self._encoder, as_array(slots, 4)))
            elif len(slots) <= FEW:
                rows = self._database.look_up(_by_list(len(slots)), (self._encoder, *slots))
            else:
                rows = self._database.look_up(_BY_JSON + _AND_THE_REST, (self._encoder, json.dumps(slots)))
            if rows[-BANDS:] == self._masks:
                del rows[-BANDS:]
                if not (here and rows and rows[-1] == _SOME_MISSING):
                    return len(slots), rows, here
                self._any_missing = True
                continue
            self._read_masks()  # the bits were dealt anew meanwhile

    def _plan(self, radius: int) -> SlotPlan:
        """Return mask, offset and flips of each band that a search looks at; that of the last few radii is kept."""
        if radius not in self._plans:
            while len(self._plans) >= KEPT:
                del self._plans[next(iter(self._plans))]
            self._plans[radius] = slot_plan(self._masks, radius)
        return self._plans[radius]

    def _waiting(self, most: int) -> int:
        """Count the codes that wait for their rows: each search reads them all."""
        query = "SELECT count(*) FROM (SELECT 1 FROM pending_bands WHERE encoder = ? LIMIT ?) AS part"
        return int(self._database.look_up(query, (self._encoder, most))[0][0])

    def _read_masks(self) -> None:
        query = "SELECT band, mask, share FROM band_masks WHERE encoder = ? ORDER BY band"
        rows = self._database.look_up(query, (self._encoder,))
        assert len(rows) == BANDS, f"encoder {self._encoder} has {len(rows)} bands"
        self._masks, self._shares = [row[:2] for row in rows], [row[2] for row in rows]
        self._plans.clear()

    def _drop_missing(self, near: dict[int, int]) -> None:
        for rows in look_up_many(self._database, _MISSING, (), list(near)):
            for (id_,) in rows:
                del near[id_]

    def _near_codes(self, code: bytes, radius: int, near: set[int]) -> list[Match]:
        """Return the present images with one of some near keys that are near by the whole code, too."""
        whole, found = int.from_bytes(code, "big"), []
        for rows in look_up_many(self._database, BY_KEYS, (self._encoder,), list(near)):
            apart = [((int.from_bytes(other, "big") ^ whole).bit_count(), id_) for other, id_ in rows]
            found += [Match(distance, id_) for distance, id_ in apart if distance <= radius]
        return found


def probing(masks: Sequence[tuple[int, int]], radius: int) -> list[Band]:
    """Return which bands are searched and how far, for an exact answer within `radius`."""
    level, rest = divmod(radius, BANDS)
    levels = [(number, mask, level if number <= rest else level - 1) for number, mask in masks]
    return [
        Band(number, mask, min(level, (mask & UNSIGNED).bit_count())) for number, mask, level in levels if level >= 0
    ]


def slot_plan(masks: Sequence[tuple[int, int]], radius: int) -> SlotPlan:
    """Return (mask, offset, flips) of each band that a search within `radius` looks at; few flips are a list."""
    bands = probing(masks, radius)
    arrays = [(band.mask, band.number * SLOTS, flips_within(band.mask, band.level)) for band in bands]
    few = sum(len(flips) for _, _, flips in arrays) <= FEW
    return [(mask, offset, flips.tolist() if few else flips) for mask, offset, flips in arrays]


def slots_of(key: int, plan: SlotPlan) -> list[int]:
    """Return every slot in which a key may lie that is as near to `key` as a plan was made for.

    Examples
    --------
    >>> slots_of(0b1011, slot_plan([(0, 0b0011), (1, 0b1100), (2, 0)], radius=2))  # each band as it is
    [3, 402653197, 805306378]
    """
    slots: list[int] = []
    for mask, offset, flips in plan:
        if isinstance(flips, list):
            slots += [((key & mask) ^ flip) % SLOTS + offset for flip in flips]
        else:
            slots += (((key & mask) ^ flips) % SLOTS + offset).tolist()
    return slots


def flips_within(mask: int, level: int) -> NDArray[np.int64]:
    """List every value that has at most `level` bits, all of them bits of `mask`, fewest first: ``int64 (count,)``.

    Examples
    --------
    >>> flips_within(0b1101, 1).tolist()
    [0, 1, 4, 8]
    """
    ones = [np.uint64(1 << bit) for bit in range(KEY_BITS) if mask >> bit & 1]
    levels = [np.zeros(1, np.uint64)]
    for size in range(1, level + 1):
        below = levels[-1]  # those whose highest bit is the b-th: a prefix of the size below, with it added
        levels.append(np.concatenate([below[: comb(b, size - 1)] | ones[b] for b in range(size - 1, len(ones))]))
    return np.concatenate(levels).view(np.int64)


def near_keys(key: int, radius: int, rows: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return those of (image, key) whose key is at most `radius` bits from `key`; what is there twice stays so."""
    if len(rows) <= FEW:
        return [row for row in rows if ((row[1] ^ key) & UNSIGNED).bit_count() <= radius]
    pairs = np.array(rows, np.int64)  # (n, 2)
    distances = np.bitwise_count((pairs[:, 1] ^ np.int64(key)).view(np.uint64))
    return [rows[place] for place in np.flatnonzero(distances <= radius).tolist()]


@lru_cache(maxsize=FEW)
def _by_list(size: int) -> str:
    return _BY_LIST.format(",".join("?" * size)) + _AND_THE_REST
