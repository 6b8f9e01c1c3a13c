"""How the noise and the learning rate change while training goes from progress 0 to 1."""

from __future__ import annotations

import math


def noise_sigma(progress: float, sigma: float, kind: str = "rising") -> float:
    """Return the standard deviation of the noise in front of the sigmoid.

    Parameters
    ----------
    progress
        Share of training that is done, 0 to 1.
    sigma
        Value at the end. About 2 to 4 saturates the units: with noise of deviation s, a bit flips in at most 1 % of
        cases only if its logit is beyond 2.33 s.
    kind
        ``rising``: linear up to 80 % of training, then `sigma`; ``constant``: `sigma` throughout; others: 0.
    """
    if kind == "constant":
        return sigma
    if kind == "rising":
        return sigma * min(1.0, progress / 0.8)
    return 0.0


def learning_rate(progress: float, peak: float, warm_up: float = 0.05) -> float:
    """Return the learning rate: linear warm-up, then half a cosine down to 1 % of `peak`."""
    if progress < warm_up:
        return peak * (0.05 + 0.95 * progress / warm_up)
    fallen = (progress - warm_up) / (1 - warm_up)
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(fallen, 1.0))))
