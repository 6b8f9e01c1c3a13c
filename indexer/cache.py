"""The index of a collection on disk: ids, codes and sorted bands in one file that is mapped, not read.

The file is a cache. It lies beside the collection and carries a stamp: the encoder's fingerprint and the generation of
the collection it was made from. Deleting it is always safe, and whatever is wrong with it, it is made anew.

::

    8 bytes   HSAEINDX
    uint32    length of the header
    uint32    CRC-32 of the header
    header    JSON in UTF-8: format, byte order, stamp, size of the file, and of each array its name, dtype, shape,
              offset and the CRC-32 of every MiB
    arrays    each from a multiple of 64 bytes on

Before it is used: size, header, stamp, shapes, all bounds that a search relies on, the CRC of some blocks and the
buckets of some codes. Reading all of it for all CRCs would take longer than the first search.
"""

from __future__ import annotations

import json
import logging
import mmap
import os
import secrets
import struct
import sys
import zlib
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashae.errors import ConfigError
from hashae.indexer.band_layout import MAX_LENGTH
from hashae.indexer.index import HashIndex
from hashae.indexer.multi import Arrays, MultiIndex

MAGIC = b"HSAEINDX"
FORMAT = 1
"""Raised when what lies in the file changes its meaning."""
ALIGNED = 64
BLOCK = 1 << 20
"""Bytes of one checksum."""
CHECKED_BLOCKS, CHECKED_CODES = 16, 64
"""Blocks whose checksum, and codes whose buckets, are looked at before use."""
MOST_HEADER = 1 << 26
DTYPES = {"<i8": np.int64, "<f8": np.float64, "<u8": np.uint64, "<u4": np.uint32, "|u1": np.uint8}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stamp:
    """What an index was made from.

    Attributes
    ----------
    fingerprint
        Of the encoder.
    collection
        Row id of the collection in its file.
    created
        When the collection was made.
    generation
        Of the collection: grows with every change of its images or codes.
    bits
        Code length.
    """

    fingerprint: str
    collection: int
    created: str
    generation: int
    bits: int


class Unusable(Exception):
    """A cache file cannot be used; the message says why, and `harmless` is True if that happens every day."""

    def __init__(self, reason: str, *, harmless: bool = False) -> None:
        super().__init__(reason)
        self.harmless = harmless


def cache_path(collection: Path, row: int) -> Path:
    """Return where the index of a collection is kept: beside its file.

    Examples
    --------
    >>> cache_path(Path("/home/ann/photos.db"), 1).name
    'photos.db.index-1'
    """
    return collection.with_name(f"{collection.name}.index-{row}")


def load_index(path: Path, stamp: Stamp, *, threads: int = 1) -> HashIndex | None:
    """Map the index kept at `path`; None if there is none, or none that belongs to `stamp` and is in order.

    A file that is damaged, or of another program or version, is told once, as a warning of the log.

    Parameters
    ----------
    path
        See :func:`cache_path`.
    stamp
        What the index must have been made from.
    threads
        Of the index.
    """
    try:
        arrays = read_arrays(path, stamp)
        index = HashIndex.from_sorted(
            stamp.bits, arrays.pop("ids"), arrays.pop("codes"), bands=MultiIndex(arrays), threads=threads
        )
    except FileNotFoundError:
        return None
    except OSError as error:
        _log.warning("index %s cannot be read (%s); made anew", path, error.strerror or error)
        return None
    except Unusable as reason:
        _log.log(logging.DEBUG if reason.harmless else logging.WARNING, "index %s %s; made anew", path, reason)
        return None
    _log.debug("index %s is used", path)
    return index


def stamp_of(path: Path) -> Stamp | None:
    """Return what the index kept at `path` was made from, by its header alone; None if there is none in order."""
    try:
        with path.open("rb") as file:
            about = _header(file.read(16), file, os.fstat(file.fileno()).st_size)[0]
        return Stamp(**about["stamp"])
    except (OSError, Unusable, TypeError):
        return None


def save_index(path: Path, index: HashIndex, stamp: Stamp) -> bool:
    """Keep an index, its bands included, at `path`; return whether that worked.

    A read-only folder or a full disk is no error: the index is used from memory, and made anew next time.
    """
    try:
        bands = index.bands()
        write_arrays(path, {"ids": index.ids, "codes": index.codes, **bands.arrays()}, stamp)
    except (OSError, ConfigError) as error:  # ConfigError: too little memory for bands
        _log.debug("index %s is not kept: %s", path, error)
        return False
    return True


def write_arrays(path: Path, arrays: Arrays, stamp: Stamp) -> None:
    """Write a cache file; it takes the place of an older one when it is complete.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    described: list[dict[str, Any]] = []
    end = 0
    for name, array in arrays.items():
        data = np.ascontiguousarray(array)
        flat = data.reshape(-1).view(np.uint8).data
        described.append(
            {
                "name": name,
                "dtype": data.dtype.newbyteorder("<").str,
                "shape": list(data.shape),
                "offset": end,
                "crc": [zlib.crc32(flat[at : at + BLOCK]) for at in range(0, len(flat), BLOCK)],
            }
        )
        end += -(-len(flat) // ALIGNED) * ALIGNED
    about = {"format": FORMAT, "byteorder": sys.byteorder, "stamp": asdict(stamp), "bytes": end, "arrays": described}
    header = json.dumps(about, separators=(",", ":")).encode("utf-8")
    start = _data_start(len(header))
    temporary = path.with_name(f".hashae-{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(MAGIC + struct.pack("<II", len(header), zlib.crc32(header)) + header)
            for entry, array in zip(described, arrays.values(), strict=True):
                file.seek(start + entry["offset"])
                file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
            file.truncate(start + end)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_arrays(path: Path, stamp: Stamp, *, thorough: bool = False) -> Arrays:
    """Map a cache file and check it; `thorough` compares the checksums of all blocks, which reads all of it.

    Returns
    -------
    dict
        The arrays; writing to them would change memory, never the file.

    Raises
    ------
    Unusable
        If it is damaged, foreign, newer, or made from something else than `stamp`.
    OSError
        If it cannot be read.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        about, start = _header(file.read(16), file, size)
        if about["stamp"] != asdict(stamp):
            raise Unusable("was made before the collection changed", harmless=True)
        if size != start + about["bytes"]:
            raise Unusable(f"has {size:,} bytes where its header promises {start + about['bytes']:,}")
        # A private mapping: its arrays count as writable, like those of an index that was made in memory, so that
        # compiled loops are compiled for one kind of array only.
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    arrays = {entry["name"]: _array(mapped, entry, start, size) for entry in about["arrays"]}
    _check_blocks(mapped, about["arrays"], start, thorough=thorough)
    _check_shapes(arrays, stamp.bits)
    _check_bounds(arrays)
    _check_codes(arrays)
    return arrays


def _data_start(header: int) -> int:
    return -(-(16 + header) // ALIGNED) * ALIGNED


def _header(first: bytes, file: Any, size: int) -> tuple[dict[str, Any], int]:
    """Return the header and where the arrays begin."""
    if first[:8] != MAGIC:
        raise Unusable("is not an index of hashae")
    if len(first) < 16:
        raise Unusable("is cut off")
    length, checksum = struct.unpack("<II", first[8:])
    if length > min(size, MOST_HEADER):
        raise Unusable("is cut off, or its header is damaged")
    header = file.read(length)
    if zlib.crc32(header) != checksum:
        raise Unusable("has a damaged header")
    try:
        about = json.loads(header)
        if about["format"] != FORMAT:
            newer = "a newer" if about["format"] > FORMAT else "an older"
            raise Unusable(f"was written by {newer} hashae", harmless=about["format"] < FORMAT)
        if about["byteorder"] != sys.byteorder:
            raise Unusable("was written by a machine with another byte order")
        _ = about["stamp"], about["bytes"] + 0, [(e["name"], e["offset"] + 0, e["crc"]) for e in about["arrays"]]
    except (ValueError, KeyError, TypeError) as error:
        raise Unusable("has a header without meaning") from error
    return about, _data_start(length)


def _array(mapped: mmap.mmap, entry: dict[str, Any], start: int, size: int) -> NDArray[Any]:
    dtype, shape = DTYPES.get(entry["dtype"]), tuple(entry["shape"])
    if dtype is None or any(not isinstance(length, int) or length < 0 for length in shape):
        raise Unusable(f"holds an array {entry['name']!r} of an unknown kind")
    count, offset = prod(shape), start + entry["offset"]
    if offset < start or offset + count * np.dtype(dtype).itemsize > size:
        raise Unusable(f"ends before its array {entry['name']!r}")
    return np.frombuffer(mapped, dtype, count, offset).reshape(shape)


def _check_blocks(mapped: mmap.mmap, arrays: list[dict[str, Any]], start: int, *, thorough: bool) -> None:
    """Compare the checksums of the first, the last and some other blocks, or of all."""
    blocks = []
    for entry in arrays:
        length = prod(entry["shape"]) * np.dtype(entry["dtype"]).itemsize
        if len(entry["crc"]) != -(-length // BLOCK):
            raise Unusable("has a header without meaning")
        begin = start + entry["offset"]
        for number, checksum in enumerate(entry["crc"]):
            blocks.append((begin + number * BLOCK, begin + min((number + 1) * BLOCK, length), checksum))
    view = memoryview(mapped)
    for number in np.unique(
        np.linspace(0, len(blocks) - 1, len(blocks) if thorough else min(len(blocks), CHECKED_BLOCKS)).astype(int)
    ):
        begin, stop, checksum = blocks[number]
        if zlib.crc32(view[begin:stop]) != checksum:
            raise Unusable("is damaged: a checksum differs")


def _check_shapes(arrays: Arrays, bits: int) -> None:
    """Check that every array is there, with the type and shape that the others ask for."""
    missing = {"ids", "codes", "order", "widths", "lengths", "start", "means", "rows", "words"} - arrays.keys()
    if missing:
        raise Unusable(f"lacks its array {min(missing)!r}")
    n, bands, words = len(arrays["ids"]), len(arrays["widths"]), -(-bits // 64)
    expected = {
        "ids": ((n,), np.int64),
        "codes": ((n, bits // 8), np.uint8),
        "order": ((bits,), np.int64),
        "widths": ((bands,), np.int64),
        "lengths": ((bands,), np.int64),
        "start": ((arrays["start"].size,), np.uint32),
        "means": ((bands,), np.float64),
        "rows": ((bands, n), np.uint32),
        "words": ((bands, n) if words == 1 else (n, words), np.uint64),
    }
    for name, (shape, dtype) in expected.items():
        if arrays[name].shape != shape or arrays[name].dtype != dtype:
            raise Unusable(f"holds an array {name!r} of another shape than its stamp asks for")


def _check_bounds(arrays: Arrays) -> None:
    """Check whatever a search takes for granted: no number leads out of an array."""
    ids, widths, lengths, start = arrays["ids"], arrays["widths"], arrays["lengths"], arrays["start"]
    n, bits = len(ids), len(arrays["order"])
    good = n > 0 and len(widths) > 0 and bool((ids[1:] > ids[:-1]).all())
    good = good and np.array_equal(np.sort(arrays["order"]), np.arange(bits))
    good = good and bool((widths > 0).all()) and int(widths.sum()) == bits
    good = good and bool(np.isfinite(arrays["means"]).all())
    good = good and bool(((lengths > 0) & (lengths <= np.minimum(widths, MAX_LENGTH))).all())
    sizes = 2 ** np.minimum(lengths, MAX_LENGTH) + 1
    good = good and len(start) == int(sizes.sum()) and int(arrays["rows"].max()) < n
    if good:
        for part in np.split(start, np.cumsum(sizes)[:-1]):
            good = good and part[0] == 0 and part[-1] == n and bool((part[1:] >= part[:-1]).all())
    if not good:
        raise Unusable("is damaged: a number in it leads nowhere")


def _check_codes(arrays: Arrays) -> None:
    """Look some codes up in every band."""
    n = len(arrays["ids"])
    rows = np.unique(np.linspace(0, n - 1, min(n, CHECKED_CODES)).astype(np.int64))
    index = MultiIndex(arrays)
    for row, code in zip(rows.tolist(), arrays["codes"][rows], strict=True):
        if not index.holds(row, code):
            raise Unusable("is damaged: a code is not where it belongs")
