"""How good a set of codes is as a hash, and plain words for what is wrong with it.

A good code is used up: every bit is on for half of the images, no two bits say the same, and codes spread over the
buckets as chance would have it. How far a collection falls short of that is measured on its own codes, without labels.

Only numpy is needed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hashae.calibration import MIN_CODES, SAMPLE, effective_bits, pair_distances
from hashae.codes import KEY_BITS, Codes, as_words, unpack

DEAD = 0.02
"""A bit that is on for fewer images than that share, or off for fewer, tells next to nothing."""

HOT_SHARE, HOT_COUNT = 0.01, 10
"""A code is hot if at least so many images, and more than that share, have it."""

REPEATING = 0.2
"""Mean absolute correlation of bits above which they repeat one another; photographs give 0.05, t-shirts alone 0.1."""

UNLIKE_BALANCE, UNLIKE_BITS = 0.3, 0.4
"""Imbalance more than so much above that of the training images, or effective bits below that share of theirs: the
images are unlike those. Measured with the photo encoder: other photographs come to 0.01 and 0.98, folders of one kind
of thing (t-shirts, trousers, motorbikes) up to 0.2 and down to 0.50, written digits to 0.4 and 0.52, pages of text to
0.5 and 0.22."""

BLOCK = 1 << 14


@dataclass(frozen=True)
class Buckets:
    """How codes share buckets.

    Attributes
    ----------
    bits
        Of the code or of its prefix that is looked at.
    used
        Share of the codes that are different ones.
    largest
        Codes in the fullest bucket.
    collisions
        Pairs of equal codes.
    expected
        Pairs of equal codes that chance would give: ``n * (n - 1) / 2 * 2 ** -effective_bits``, as two codes of so many
        independent, fair bits agree with the chance ``2 ** -effective_bits`` (the birthday problem).
    effective_bits
        See :func:`hashae.calibration.effective_bits`.
    """

    bits: int
    used: float
    largest: int
    collisions: int
    expected: float
    effective_bits: float


@dataclass(frozen=True)
class CodeHealth:
    """What was measured.

    Attributes
    ----------
    count
        Codes, all of which were looked at for `means` and buckets.
    sample
        Codes of which all pairs were compared, and bits correlated: at most `hashae.calibration.SAMPLE`.
    means
        ``float64 (bits,)``: share of the images for which each bit is on.
    correlation
        ``float64 (bits, bits)``: between bits, from -1 to 1; that of a constant bit with another is 0.
    distances
        ``int64 (bits + 1,)``: pairs of the sample at each distance.
    code, key
        Buckets of the whole code, and of the first 64 bits, which address the hash table.
    """

    count: int
    sample: int
    means: NDArray[np.float64]
    correlation: NDArray[np.float64]
    distances: NDArray[np.int64]
    code: Buckets
    key: Buckets

    @property
    def bits(self) -> int:
        """Code length."""
        return len(self.means)

    @property
    def imbalance(self) -> float:
        """Mean of ``|2 * mean - 1|`` over the bits: 0 if each is on for half of the images."""
        return float(np.abs(2 * self.means - 1).mean())

    @property
    def mean_correlation(self) -> float:
        """Mean absolute correlation of two different bits; by chance alone ``sqrt(2 / (pi * sample))``."""
        others = ~np.eye(self.bits, dtype=np.bool_)
        return float(np.abs(self.correlation[others]).mean())

    @property
    def dead_bits(self) -> list[int]:
        """Bits that are nearly always on, or nearly always off."""
        return [int(bit) for bit in np.flatnonzero((self.means < DEAD) | (self.means > 1 - DEAD))]


def code_health(codes: Codes, *, seed: int = 0) -> CodeHealth:
    """Measure a set of codes.

    Parameters
    ----------
    codes
        ``uint8 (n, bytes)``, two or more.
    seed
        Of the sample of more than `hashae.calibration.SAMPLE` codes.
    """
    n, bits = len(codes), codes.shape[1] * 8
    assert n > 1, "one code has no health"
    on = np.zeros(bits, np.int64)
    for start in range(0, n, BLOCK):
        on += unpack(codes[start : start + BLOCK]).sum(axis=0)
    sample = codes
    if n > SAMPLE:
        sample = codes[np.sort(np.random.default_rng(seed).choice(n, SAMPLE, replace=False))]
    distances = pair_distances(sample)
    key = np.ascontiguousarray(codes[:, : KEY_BITS // 8])
    key_distances = distances if key.shape == codes.shape else pair_distances(sample[:, : KEY_BITS // 8])
    return CodeHealth(
        count=n,
        sample=len(sample),
        means=on / n,
        correlation=_correlation(sample),
        distances=np.bincount(distances, minlength=bits + 1),
        code=_buckets(codes, effective_bits(distances, bits)),
        key=_buckets(key, effective_bits(key_distances, key.shape[1] * 8)),
    )


def diagnose(health: CodeHealth, trained: Mapping[str, float] | None = None) -> list[str]:
    """Say in words what is wrong with the codes of a collection; nothing if nothing is.

    Parameters
    ----------
    health
        Of its codes.
    trained
        ``imbalance`` and ``effective_bits`` of the encoder's training images, the `health` of
        :class:`hashae.encoder.EncoderInfo`; without them the collection is compared with nothing.
    """
    if health.count < MIN_CODES:
        return [f"{health.count} images are too few to judge the codes by; {MIN_CODES} or more are needed"]
    found = []
    dead = health.dead_bits
    if dead:
        some = ", ".join(map(str, dead[:8])) + (" and others" if len(dead) > 8 else "")
        found.append(
            f"{len(dead)} of {health.bits} bits {'is' if len(dead) == 1 else 'are'} dead, on or off for fewer than "
            f"{100 * DEAD:.0f} % of the images: {some}; a dead bit takes room and tells next to nothing"
        )
    for buckets, name in ((health.code, "code"), (health.key, f"key (the first {health.key.bits} bits)")):
        if buckets.largest >= max(HOT_COUNT, HOT_SHARE * health.count):
            found.append(
                f"one {name} is hot: {buckets.largest:,} of {health.count:,} images have it; they are copies, or show "
                "next to nothing (see: hashae dedup --radius 0)"
            )
            break  # a hot code has a hot key
    if health.mean_correlation > REPEATING:
        found.append(
            f"the bits repeat one another: their mean correlation is {health.mean_correlation:.2f}, so the "
            f"{health.bits} bits are worth {health.code.effective_bits:.0f}"
        )
    found += _unlike(health, trained or {})
    return found


def _unlike(health: CodeHealth, trained: Mapping[str, float]) -> list[str]:
    usual_bits, usual_balance = trained.get("effective_bits"), trained.get("imbalance")
    reasons = []
    if usual_bits and health.code.effective_bits < UNLIKE_BITS * usual_bits:
        reasons.append(f"{health.code.effective_bits:.0f} effective bits instead of {usual_bits:.0f}")
    if usual_balance is not None and health.imbalance > usual_balance + UNLIKE_BALANCE:
        reasons.append(f"an imbalance of {health.imbalance:.2f} instead of {usual_balance:.2f}")
    if not reasons:
        return []
    return [
        f"the images are unlike those the encoder learned from ({' and '.join(reasons)}): near matches are less "
        "certain; an encoder learned from them may do better: hashae index FOLDER --encoder train"
    ]


def _buckets(codes: Codes, effective: float) -> Buckets:
    words = as_words(codes)
    order = np.lexsort(words.T)
    ordered = words[order]
    starts = np.flatnonzero(np.r_[True, (ordered[1:] != ordered[:-1]).any(axis=1)])
    sizes = np.diff(np.r_[starts, len(codes)]).astype(np.int64)
    n = len(codes)
    return Buckets(
        bits=codes.shape[1] * 8,
        used=len(sizes) / n,
        largest=int(sizes.max()),
        collisions=int((sizes * (sizes - 1) // 2).sum()),
        expected=n * (n - 1) / 2 * 2.0**-effective,
        effective_bits=effective,
    )


def _correlation(codes: Codes) -> NDArray[np.float64]:
    """Return the correlation of the bits; a constant bit has none with others."""
    values = unpack(codes).astype(np.float64)
    values -= values.mean(axis=0)
    norms = np.sqrt((values**2).sum(axis=0))
    products = values.T @ values
    whole: NDArray[np.float64] = np.divide(
        products, np.outer(norms, norms), out=np.eye(len(norms)), where=np.outer(norms, norms) > 1e-9
    )
    return whole
