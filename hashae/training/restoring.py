"""Training of a restorer: random parts of pictures, damaged anew each time, and compared with the original."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from hashae.errors import ConfigError, TrainingDiverged
from hashae.models.restorer import Restorer
from hashae.training.schedule import learning_rate
from hashae.uses.damage import LUMINANCE, Damaged, damage

CROP = 48
"""Side of the parts, or that of the smallest picture."""

MIN_SIDE = 8

BATCH = 16
RATE = 2e-3

SOFTENED = 1e-4
"""Added to the squared errors of coloured pictures: beyond 40 dB nothing more is to be gained."""


def train_restorer(
    pictures: Sequence[NDArray[np.uint8]],
    task: str,
    *,
    amount: float,
    steps: int = 600,
    budget: float | None = None,
    width: int = 24,
    seed: int = 0,
    threads: int | None = None,
    on_step: Callable[[int, int, float], None] | None = None,
) -> tuple[Restorer, int]:
    """Train a restorer.

    Parameters
    ----------
    pictures
        ``uint8 (3, height, width)`` each, of any sizes from `MIN_SIDE`.
    task, amount
        The damage, see :func:`hashae.uses.damage.damage`.
    steps
        Optimiser steps.
    budget
        Seconds after which it stops, or None.
    width
        Channels of the first convolution.
    seed
        Of weights, parts and damage.
    threads
        CPU threads; None leaves them.
    on_step
        Called with (step, steps, loss).

    Returns
    -------
    The restorer, and the number of steps made.

    Raises
    ------
    ConfigError
        If there is no picture, or one is too small.
    TrainingDiverged
        If the loss is not finite.
    """
    if not pictures:
        raise ConfigError("no pictures to learn from; give one or more")
    crop = min(CROP, *(min(picture.shape[1:]) for picture in pictures))
    if crop < MIN_SIDE:
        raise ConfigError(f"a picture has a side of {crop} pixels; restoring needs {MIN_SIDE} or more")
    if threads:
        torch.set_num_threads(threads)
    torch.manual_seed(seed)
    network = Restorer(width)
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=1e-4)
    start = time.monotonic()
    done = 0
    for step in range(steps):
        progress = step / steps if budget is None else max(step / steps, (time.monotonic() - start) / budget)
        if progress >= 1:
            break
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(progress, RATE)
        rng = np.random.default_rng([seed, 5, step])
        parts = [_part(pictures[int(row)], crop, rng) for row in rng.integers(0, len(pictures), BATCH)]
        seen = [damage(task, part, amount, rng) for part in parts]
        again = _again(network, seen, task)
        loss = restoration_loss(again, torch.from_numpy(np.stack(parts)), task)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingDiverged(f"the loss is {value} at step {step}; try other pictures or less damage")
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        done = step + 1
        if on_step:
            on_step(done, steps, value)
    return network.eval(), done


def restoration_loss(again: torch.Tensor, whole: torch.Tensor, task: str) -> torch.Tensor:
    """Return the mean squared error, for colours the mean logarithm of each picture's.

    Pictures with strong colours have errors a hundred times those of pictures with weak ones. Their plain mean teaches
    colours that are right for the former and too strong for most; the logarithm, which is the signal-to-noise ratio,
    counts all alike.

    Parameters
    ----------
    again, whole
        Restored and true pictures, ``(n, 3, height, width)``.
    task
        See :func:`hashae.uses.damage.damage`.
    """
    if task != "colour":
        return F.mse_loss(again, whole)
    return ((again - whole).square().mean(dim=(1, 2, 3)) + SOFTENED).log().mean()


def restore_picture(network: Restorer, damaged: Damaged, task: str) -> NDArray[np.float32]:
    """Return a restored picture ``float32 (3, height, width)`` in [0, 1]; what was not missing from it stays.

    That is, the pixels outside a hole, and the luminance of a grey picture.
    """
    with torch.no_grad():
        again: NDArray[np.float32] = _again(network, [damaged], task)[0].clamp(0, 1).numpy()
    if damaged.hole.any():
        kept = 1 - damaged.hole
        again = (damaged.seen * kept + again * damaged.hole).astype(np.float32)
    return again


def _again(network: Restorer, seen: Sequence[Damaged], task: str) -> torch.Tensor:
    """Return what the network makes of damaged pictures; colours are added without a change of luminance."""
    given, hole = _inputs(seen)
    again: torch.Tensor = network(given, hole)
    if task == "colour":
        change = again - given
        again = given + change - (change * torch.from_numpy(LUMINANCE)).sum(dim=1, keepdim=True)
    return again


def _inputs(seen: Sequence[Damaged]) -> tuple[torch.Tensor, torch.Tensor]:
    return (
        torch.from_numpy(np.stack([one.seen for one in seen])),
        torch.from_numpy(np.stack([one.hole for one in seen])),
    )


def _part(picture: NDArray[np.uint8], side: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return a random square of a picture, mirrored in half of the cases, ``float32 (3, side, side)`` in [0, 1]."""
    _, height, width = picture.shape
    top, left = int(rng.integers(0, height - side + 1)), int(rng.integers(0, width - side + 1))
    part = picture[:, top : top + side, left : left + side]
    if rng.random() < 0.5:
        part = part[:, :, ::-1]
    scaled: NDArray[np.float32] = np.ascontiguousarray(part).astype(np.float32) / np.float32(255)
    return scaled
