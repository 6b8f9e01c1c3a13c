"""When two codes match: the one place that says so."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashae.errors import CodeError, ConfigError


@dataclass(frozen=True, slots=True)
class MatchRule:
    """Two codes match when ``distance <= radius + (margin of a + margin of b) / 2``, in bits, inclusive.

    Attributes
    ----------
    radius
        Bits.
    margins
        ``float64 (n,)``, each 0 or more: what every code adds to the radius.
    """

    radius: int
    margins: NDArray[np.float64]

    def linked(
        self, a: NDArray[np.int64] | int, b: NDArray[np.int64] | int, distance: NDArray[np.integer]
    ) -> NDArray[np.bool_]:
        """Tell which pairs match."""
        near: NDArray[np.bool_] = distance <= self.radius + (self.margins[a] + self.margins[b]) / 2
        return near

    def largest(self, bits: int) -> int:
        """Return the largest distance at which any pair can match, in bits."""
        return min(bits, int(self.radius + self.margins.max(initial=0)))

    def of(self, rows: NDArray[np.int64]) -> MatchRule:
        """Return the rule for some of the codes."""
        return MatchRule(self.radius, self.margins[rows])


def check_margins(margins: ArrayLike | None, count: int) -> NDArray[np.float64]:
    """Return `margins` as ``float64 (count,)``; None is zeros.

    Raises
    ------
    CodeError
        If their number is not `count`.
    ConfigError
        If one is negative or not finite.
    """
    array = np.zeros(count) if margins is None else np.asarray(margins, np.float64)
    if array.shape != (count,):
        raise CodeError(f"margins have shape {array.shape}; expected ({count},), one for each code")
    if not (np.isfinite(array) & (array >= 0)).all():
        raise ConfigError("a margin is negative or not finite; expected 0 bits or more: clip margins at 0")
    return array + 0.0  # no negative zero: equal margins have equal bits
