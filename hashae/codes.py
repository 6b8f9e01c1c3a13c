"""Packed binary codes: the one seam between models, storage and search.

A batch of codes is a ``uint8`` array of shape ``(n, bits // 8)``. Bit ``i`` of a code is byte ``i // 8``, mask
``0x80 >> (i % 8)``: most significant first, the order of :func:`numpy.packbits`. A stored code never changes its
meaning; golden tests hold the order. Distances are Hamming distances in bits.

Only numpy is needed here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashae.errors import CodeError, ConfigError

Codes: TypeAlias = NDArray[np.uint8]

MIN_BITS = 8
MAX_BITS = 512
KEY_BITS = 64
"""Most bits that address the hash table: a key is a 64-bit integer."""


def check_bits(bits: int) -> int:
    """Return `bits` if it is a legal code length: a multiple of 8 from 8 to 512.

    Raises
    ------
    ConfigError
        If it is not.
    """
    if bits % 8 or not MIN_BITS <= bits <= MAX_BITS:
        raise ConfigError(f"bits is {bits}; expected a multiple of 8 from {MIN_BITS} to {MAX_BITS}")
    return bits


def check_codes(codes: ArrayLike, bits: int | None = None) -> Codes:
    """Return `codes` as a contiguous ``uint8 (n, bits // 8)`` array, or say what is wrong with it.

    Parameters
    ----------
    codes
        ``uint8 (n, bytes)``. Other dtypes are refused: a cast would hide a mistake.
    bits
        Expected code length; None accepts any legal one.

    Raises
    ------
    CodeError
        If dtype, number of dimensions or width differ.

    Examples
    --------
    >>> check_codes(np.zeros((2, 8), np.uint8), bits=64).shape
    (2, 8)
    """
    array = np.asarray(codes)
    if array.dtype != np.uint8 or array.ndim != 2:
        raise CodeError(
            f"codes are {array.dtype} of shape {array.shape}; expected uint8 of shape (n, bits // 8), as pack() makes"
        )
    width = array.shape[1]
    if bits is not None and width * 8 != bits:
        raise CodeError(f"codes are {width * 8} bits wide; expected {bits} bits: encode with the index's own encoder")
    if bits is None and not MIN_BITS <= width * 8 <= MAX_BITS:
        raise CodeError(f"codes are {width * 8} bits wide; expected {MIN_BITS} to {MAX_BITS} bits")
    return np.ascontiguousarray(array)


def pack(bits: ArrayLike) -> Codes:
    """Pack booleans into codes, most significant bit first.

    Parameters
    ----------
    bits
        Boolean or 0/1 array of shape ``(n, bits)``; ``bits`` a multiple of 8.

    Returns
    -------
    uint8 of shape (n, bits // 8)

    Raises
    ------
    CodeError
        If the array is not two-dimensional, its width is no multiple of 8, or it holds anything but 0 and 1.

    Examples
    --------
    >>> pack([[1, 0, 0, 0, 0, 0, 1, 1]]).tolist()
    [[131]]
    """
    array = np.asarray(bits)
    if array.ndim != 2 or array.shape[1] % 8 or array.shape[1] == 0:
        raise CodeError(f"bits have shape {array.shape}; expected (n, bits) with bits a multiple of 8")
    if array.dtype != np.bool_:
        if not np.isin(array, (0, 1)).all():
            raise CodeError("bits hold values other than 0 and 1; threshold the logits first: pack(logits > 0)")
        array = array.astype(np.bool_)
    return np.packbits(array, axis=1)


def unpack(codes: ArrayLike) -> NDArray[np.bool_]:
    """Unpack codes into booleans; the inverse of :func:`pack`.

    Returns
    -------
    bool of shape (n, bits)

    Examples
    --------
    >>> unpack(np.array([[131]], np.uint8)).astype(int).tolist()
    [[1, 0, 0, 0, 0, 0, 1, 1]]
    """
    return np.unpackbits(check_codes(codes), axis=1).astype(np.bool_)


def as_words(codes: Codes) -> NDArray[np.unsignedinteger]:
    """View codes as the widest unsigned integers that fit: ``(n, words)``, same bytes, for XOR and popcount."""
    width = codes.shape[1]
    for size, dtype in ((8, np.uint64), (4, np.uint32), (2, np.uint16)):
        if width % size == 0:
            return np.ascontiguousarray(codes).view(dtype)
    return codes


def hamming_to(codes: Codes, code: Codes) -> NDArray[np.int32]:
    """Count the bits in which each of `codes` differs from the one `code`.

    Parameters
    ----------
    codes
        ``uint8 (n, bytes)``.
    code
        ``uint8 (bytes,)`` or ``(1, bytes)``.

    Returns
    -------
    int32 of shape (n,)
    """
    if codes.shape[1] != code.size:
        raise CodeError(f"codes are {codes.shape[1] * 8} and {code.size * 8} bits wide; expected equal widths")
    words, word = as_words(codes), as_words(code.reshape(1, -1))
    counts: NDArray[np.int32] = np.bitwise_count(words ^ word).sum(axis=1, dtype=np.int32)
    return counts


def hamming(a: ArrayLike, b: ArrayLike) -> NDArray[np.int32]:
    """Count differing bits between every code in `a` and every code in `b`.

    Parameters
    ----------
    a
        ``uint8 (n, bytes)``.
    b
        ``uint8 (m, bytes)``.

    Returns
    -------
    int32 of shape (n, m)
        Distances in bits, 0 to ``8 * bytes``.

    Raises
    ------
    CodeError
        If the dtypes are not uint8 or the widths differ.

    Examples
    --------
    >>> hamming(from_hex(["00", "ff"]), from_hex(["01"])).tolist()
    [[1], [7]]
    """
    a, b = check_codes(a), check_codes(b)
    if a.shape[1] != b.shape[1]:
        raise CodeError(f"codes are {a.shape[1] * 8} and {b.shape[1] * 8} bits wide; expected equal widths")
    rows, columns = as_words(a), as_words(b)
    out = np.zeros((len(a), len(b)), np.int32)
    for word in range(rows.shape[1]):
        out += np.bitwise_count(rows[:, word, None] ^ columns[None, :, word])
    return out


def keys(codes: ArrayLike) -> NDArray[np.int64]:
    """Return the hash-table key of each code: its first 64 bits (all bits of a shorter code) as one integer.

    The bytes are read big-endian, so the key of an 8-bit code ``0x83`` is 131. A 64-bit key uses the sign bit:
    SQLite integers are signed, and only equality of keys is ever asked.

    Returns
    -------
    int64 of shape (n,)

    Examples
    --------
    >>> keys(from_hex(["83", "01"])).tolist()
    [131, 1]
    """
    array = check_codes(codes)
    width = min(array.shape[1], KEY_BITS // 8)
    padded = np.zeros((len(array), 8), np.uint8)
    padded[:, 8 - width :] = array[:, :width]
    return padded.view(">u8").astype(np.uint64).view(np.int64).reshape(-1)


def to_hex(codes: ArrayLike) -> list[str]:
    """Write each code as lower-case hexadecimal digits, two for a byte.

    Examples
    --------
    >>> to_hex(np.array([[131, 0]], np.uint8))
    ['8300']
    """
    return [row.tobytes().hex() for row in check_codes(codes)]


def from_hex(texts: Iterable[str]) -> Codes:
    """Read codes written by :func:`to_hex`.

    Raises
    ------
    CodeError
        If a text is no hexadecimal number, or the texts differ in length.

    Examples
    --------
    >>> from_hex(["83ff"]).tolist()
    [[131, 255]]
    """
    listed = list(texts)
    rows = []
    for text in listed:
        try:
            rows.append(bytes.fromhex(text))
        except ValueError as error:
            raise CodeError(f"{text!r} is not a hexadecimal code; expected two digits 0-9a-f for each byte") from error
    if len({len(row) for row in rows}) > 1:
        raise CodeError(f"hexadecimal codes have lengths {sorted({len(t) for t in listed})}; expected one length")
    if not rows:
        raise CodeError("no hexadecimal code given; expected at least one")
    return check_codes(np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), -1))
