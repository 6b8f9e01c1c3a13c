"""Which bits go into which band.

Learned bits are correlated: some never change, some are copies of others. A band of such bits puts most codes into few
buckets, and every banded search reads them all. Dealing the bits so that each band holds the same share of entropy, and
copies go to different bands, keeps buckets even. It changes no answer, only the time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashae.codes import Codes, check_codes
from hashae.errors import ConfigError

HARD_FIRST = 0.05
"""Weight of what a bit shares with bits not dealt yet: copies come early, while there are bands without them."""
SAMPLE = 16_384
"""Most codes that entropies are estimated from."""


def check_order(order: ArrayLike | None, bits: int) -> NDArray[np.int64]:
    """Return `order` as a permutation of the bit positions; None is the identity.

    Raises
    ------
    ConfigError
        If a position is missing, repeated or out of range.
    """
    if order is None:
        return np.arange(bits)
    array = np.asarray(order)
    if array.shape != (bits,) or not np.array_equal(np.sort(array), np.arange(bits)):
        raise ConfigError(f"order has shape {array.shape}; expected each bit position 0 to {bits - 1} exactly once")
    return array.astype(np.int64)


def deal(order: NDArray[np.int64], bands: int) -> list[NDArray[np.int64]]:
    """Deal bit positions to bands like cards, one at a time: band j gets ``order[j]``, ``order[j + bands]``, ...

    Examples
    --------
    >>> [band.tolist() for band in deal(np.array([5, 0, 3, 1, 4, 2]), 2)]
    [[5, 3, 4], [0, 1, 2]]
    """
    return [order[band::bands] for band in range(bands)]


def bit_information(codes: Codes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the entropy of each bit, ``(bits,)``, and the mutual information of each two, ``(bits, bits)``, in bits.

    Estimated from at most `SAMPLE` codes, evenly spaced, so that the answer depends on nothing else.
    """
    chosen = codes[np.linspace(0, len(codes) - 1, min(len(codes), SAMPLE)).astype(np.int64)]
    ones = np.unpackbits(chosen, axis=1).astype(np.float32)
    n, both, one = len(chosen), (ones.T @ ones).astype(np.float64), ones.sum(axis=0, dtype=np.float64)
    joint = np.stack([both, one[:, None] - both, one[None, :] - both, n - one[:, None] - one[None, :] + both]) / n
    entropy = _plogp(np.stack([one, n - one]) / n)
    return entropy, np.maximum(entropy[:, None] + entropy[None, :] - _plogp(joint), 0)


def band_order(codes: ArrayLike, bands: int = 4) -> NDArray[np.int64]:
    """Derive an order of bits from codes, for :func:`deal`.

    The bands choose in turn, as captains choose teams; in every round the band with the least entropy chooses first. It
    takes the bit whose entropy, less what the band's own bits already tell about it, is largest. What they tell is
    the sum of pairwise mutual information: an estimate that sees copies, not parities of three bits. (Selecting by
    relevance less pairwise redundancy: Battiti, IEEE Trans. Neural Networks 1994.)

    Parameters
    ----------
    codes
        ``uint8 (n, bytes)``, n at least 1; at most `SAMPLE` of them are looked at.
    bands
        Number of bands that the order is best for. Others deal from it too: bits of most information come first.

    Returns
    -------
    int64 of shape (bits,)
        Bit positions.

    Raises
    ------
    CodeError
        If these are no codes.
    ConfigError
        If there is no code, or `bands` is not from 1 to the number of bits.

    Examples
    --------
    >>> codes = np.array([[0b11000000], [0b00000000], [0b11100000], [0b00100000]], np.uint8)  # bit 1 copies bit 0
    >>> sorted(band_order(codes, 2)[:4].tolist())  # both bands get a live bit in the first round
    [0, 1, 2, 3]
    """
    codes = check_codes(codes)
    bits = codes.shape[1] * 8
    if not len(codes):
        raise ConfigError("there is no code to derive an order of bits from; expected one or more")
    if not isinstance(bands, int | np.integer) or not 1 <= bands <= bits:
        raise ConfigError(f"bands is {bands}; expected a whole number from 1 to {bits}, the code length")
    entropy, shared = bit_information(codes)
    gain = np.tile(entropy, (bands, 1))  # (bands, bits): what each bit would add to each band
    total, free = np.zeros(bands), np.ones(bits, np.bool_)
    order = np.empty(bits, np.int64)
    for first in range(0, bits, bands):
        places = min(bands, bits - first)  # in the last round the first bands get one bit more
        for band in np.argsort(total[:places], kind="stable"):
            hard = HARD_FIRST * shared[:, free].sum(axis=1)
            bit = int(np.argmax(np.where(free, gain[band] + hard, -np.inf)))
            order[first + band], free[bit] = bit, False
            total[band] += max(gain[band, bit], 0)
            gain[band] -= shared[bit]
    return order


def _plogp(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``-sum(p log2 p)`` over the first axis; 0 log 0 is 0."""
    logs = np.log2(p, where=p > 0, out=np.zeros_like(p))
    total: NDArray[np.float64] = -(p * logs).sum(axis=0)
    return total
