"""Damage that a restoration learns to undo, and the trivial answer to each kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hashae.errors import UnknownName

Picture = NDArray[np.float32]

Task = Literal["denoise", "inpaint", "colour"]

TASKS: dict[str, str] = {"denoise": "blurred", "inpaint": "mean-filled", "colour": "grey"}
"""Task -> name of the trivial answer."""

LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)[:, None, None]

NOISE = 0.1
HOLE = 0.4

COLOURLESS = 0.5 / 255
"""Root mean square difference from its luminance, of a picture that counts as grey: less than files can tell."""


@dataclass(frozen=True)
class Damaged:
    """A damaged picture.

    Attributes
    ----------
    seen
        ``float32 (3, height, width)``: what the network is given, holes filled with the mean of the rest.
    hole
        ``float32 (1, height, width)``: 1 where a pixel is missing.
    trivial
        ``float32 (3, height, width)``: the answer that takes no learning.
    """

    seen: Picture
    hole: Picture
    trivial: Picture


def check_task(task: str) -> None:
    """Refuse an unknown task."""
    if task not in TASKS:
        raise UnknownName(f"no restoration is called {task!r}; known ones are {', '.join(TASKS)}")


def damage(task: str, picture: Picture, amount: float, rng: np.random.Generator) -> Damaged:
    """Damage a picture.

    Parameters
    ----------
    task
        ``denoise`` adds Gaussian noise, ``inpaint`` takes a rectangle out, ``colour`` takes the colours away.
    picture
        ``float32 (3, height, width)`` in [0, 1].
    amount
        Standard deviation of the noise, or the longest side of the hole as a share of that of the picture.
    rng
        Where chance comes from.
    """
    check_task(task)
    whole = np.zeros((1, *picture.shape[1:]), np.float32)
    if task == "denoise":
        seen = picture + np.float32(amount) * rng.standard_normal(picture.shape, dtype=np.float32)
        # As a file would hold it: what is out of range is cut.
        return answer(task, seen.clip(0, 1), whole)
    if task == "colour":
        return answer(task, greyed(picture), whole)
    hole = whole.copy()
    sides = [max(int(side * amount * rng.uniform(0.6, 1)), 1) for side in picture.shape[1:]]
    top, left = (int(rng.integers(0, side - size + 1)) for side, size in zip(picture.shape[1:], sides, strict=True))
    hole[:, top : top + sides[0], left : left + sides[1]] = 1
    return answer(task, picture, hole)


def answer(task: str, picture: Picture, hole: Picture) -> Damaged:
    """Return what the network is given of a picture that is damaged already, and the trivial answer.

    Parameters
    ----------
    task
        As for :func:`damage`.
    picture
        ``float32 (3, height, width)``; what is in the hole is not looked at.
    hole
        ``float32 (1, height, width)``.
    """
    if task == "denoise":
        return Damaged(picture, hole, blurred(picture))
    if task == "colour":
        return Damaged(picture, hole, picture)
    known = 1 - hole
    mean = (picture * known).sum(axis=(1, 2), keepdims=True) / max(float(known.sum()), 1.0)
    filled = (picture * known + mean * hole).astype(np.float32)
    return Damaged(filled, hole, filled)


def greyed(picture: Picture) -> Picture:
    """Return the luminance (ITU-R BT.601) of a picture ``(3, height, width)`` in each of its channels."""
    grey: Picture = (picture * LUMINANCE).sum(axis=0, keepdims=True).repeat(3, axis=0)
    return grey


def is_grey(picture: Picture) -> bool:
    """Return whether a picture ``(3, height, width)`` has no colours that could be taken away."""
    return float(np.square(picture - greyed(picture)).mean()) < COLOURLESS**2


def blurred(picture: Picture) -> Picture:
    """Return a picture ``(channels, height, width)`` averaged over 3 x 3 pixels with weights 1, 2, 1 either way."""
    wide = np.pad(picture, ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = (wide[:, :-2] + 2 * wide[:, 1:-1] + wide[:, 2:]) / 4
    soft: Picture = ((rows[:, :, :-2] + 2 * rows[:, :, 1:-1] + rows[:, :, 2:]) / 4).astype(np.float32)
    return soft
