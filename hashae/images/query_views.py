"""Views of a query: the picture a little turned, and as a part of a larger one.

A code is made to stay when a picture is cut or turned a little, and moves when it is cut or turned more. What is stored
cannot be turned back, for nobody knows how it was; the query can be asked for in several ways, and the nearest answer
counts. A view that shows more than there is sees the picture reflected at its edges.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from hashae.images.canonical import CanonicalForm, area_resize, average, trim_boxes


@dataclass(frozen=True, slots=True)
class QueryView:
    """One way to look at a picture.

    Attributes
    ----------
    name
        What a stored picture would be, of which the query looks like this.
    zoom
        Side of what is seen, in sides of the picture: above 1 it is taken for a part of a larger one.
    angle
        Degrees by which it is turned.
    across, down
        Where the middle of what is seen lies, in halves of a side from the middle of the picture.
    """

    name: str
    zoom: float = 1.0
    angle: float = 0.0
    across: float = 0.0
    down: float = 0.0


_CORNER, _SHIFT = 1.17, 0.17
QUERY_VIEWS = (
    QueryView("more around it", zoom=1.12),
    QueryView("more around it", zoom=1.25),
    QueryView("more around it", zoom=1.4),
    QueryView("less around it", zoom=0.9),
    *(QueryView("turned", angle=angle) for angle in (5, -5, 10, -10)),
    *(
        QueryView("more to one corner", zoom=_CORNER, across=across, down=down)
        for across in (_SHIFT, -_SHIFT)
        for down in (_SHIFT, -_SHIFT)
    ),
)
"""Beside the picture as it is; what they find together is measured by `benchmarks/near_duplicates.py --views`."""


def view_levels(thumbs: NDArray[np.uint8], form: CanonicalForm, view: QueryView) -> NDArray[np.float32]:
    """Return thumbs without their borders, seen in one way, at the size of the encoder's input, before ranks.

    Parameters
    ----------
    thumbs
        ``uint8 (n, channels, thumb, thumb)``.
    form
        Canonical form of the encoder.
    view
        One of `QUERY_VIEWS`.

    Returns
    -------
    float32 of shape (n, channels, size, size), in [0, 255]
    """
    side, size = form.thumb, form.size
    whole = area_resize(thumbs, side, trim_boxes(thumbs, form.tolerance) if form.trim else None)
    pixels = whole.reshape(len(thumbs), form.channels, side * side)
    places, shares = _sampling(view, side)
    seen = sum(pixels[:, :, place] * share for place, share in zip(places, shares, strict=True))
    levels = np.asarray(seen, np.float32).reshape(len(thumbs), form.channels, side, side)
    return average(levels, size, np.array([[0, side, 0, side]]))


@cache
def _sampling(view: QueryView, side: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the four pixels each pixel of a view is mixed from, ``(4, side * side)``, and their shares."""
    centres = (np.arange(side) + 0.5) * 2 / side - 1  # of pixels, from -1 to 1 across the picture
    down, across = np.meshgrid(centres, centres, indexing="ij")
    turn = np.deg2rad(view.angle)
    cosine, sine = np.cos(turn) * view.zoom, np.sin(turn) * view.zoom
    at = [
        sine * across + cosine * down + view.down,
        cosine * across - sine * down + view.across,
    ]
    rows, columns = (((place + 1) * side - 1) / 2 for place in at)
    places, shares = [], []
    for i in (0, 1):
        for j in (0, 1):
            row, column = np.floor(rows) + i, np.floor(columns) + j
            share = (1 - np.abs(rows - row)) * (1 - np.abs(columns - column))
            places.append(_reflected(row, side) * side + _reflected(column, side))
            shares.append(share)
    return np.stack(places).reshape(4, -1), np.stack(shares).reshape(4, -1).astype(np.float32)


def _reflected(places: NDArray[np.float64], side: int) -> NDArray[np.int64]:
    """Return places outside of 0 to ``side - 1`` mirrored at the edges of the outermost pixels."""
    inside = places.astype(np.int64) % (2 * side)
    return np.where(inside < side, inside, 2 * side - 1 - inside)
