"""Figures and their files: the one place that imports matplotlib. No window is ever opened."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hashae.errors import MissingDependency

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 110
RED, GREY = "#c0392b", "#5b6372"
ACCENT = "#2456d6"

GAP = 0.02
"""Empty margin of a picture in a table of pictures, as a share of its place."""


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of so many inches.

    Raises
    ------
    MissingDependency
        If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise MissingDependency(f"a plot ({error.name} is missing)", "train") from error
    return Figure(figsize=(width, height), layout="constrained")


def colour_wheel(name: str) -> Any:
    """Return a colour map of matplotlib by its name."""
    from matplotlib import colormaps

    return colormaps[name]


def to_png(figure: Figure, dpi: int = DPI) -> bytes:
    """Return a figure as the bytes of a PNG file."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, facecolor="white")
    return buffer.getvalue()


def to_base64(figure: Figure, dpi: int = DPI) -> str:
    """Return a figure as the text of a PNG file inside an HTML page."""
    return base64.b64encode(to_png(figure, dpi)).decode()


def put_picture(axes: Any, image: NDArray[np.float32]) -> None:
    """Put an image ``(channels, height, width)`` in [0, 1], of one or three channels, into axes without ticks."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    _show(axes, image)


def picture_table(
    rows: Sequence[tuple[str, Sequence[NDArray[np.float32] | None] | NDArray[np.float32]]],
    columns: Sequence[str] = (),
    *,
    side: float = 0.62,
    names: float = 1.7,
    quiet: Sequence[str] = (),
    frames: Mapping[tuple[int, int], str] | None = None,
) -> Figure:
    """Draw rows of pictures in one set of axes: a set for each of hundreds of pictures would take seconds.

    Parameters
    ----------
    rows
        Name, and images ``(channels, height, width)`` in [0, 1], as a list or an array; None, or a shorter row, leaves
        places empty.
    columns
        Titles above the columns.
    side
        Of a picture's place, in inches.
    names
        Width of the names, in inches.
    quiet
        Names that are written in grey.
    frames
        (row, column) -> colour of a frame around the picture.
    """
    from matplotlib.patches import Rectangle

    across = max(len(images) for _, images in rows)
    figure = new_figure(names + side * across, 0.3 * bool(columns) + 0.1 + side * len(rows))
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set(xlim=(0, across), ylim=(len(rows), 0), autoscale_on=False)
    for place, title in enumerate(columns):
        axes.text(place + 0.5, -0.08, title, ha="center", va="bottom", fontsize=8, color=GREY)
    for row, (name, images) in enumerate(rows):
        colour = GREY if name in quiet else "black"
        axes.text(-0.12, row + 0.5, name, ha="right", va="center", fontsize=9, color=colour)
        for place, image in enumerate(images):
            if image is None:
                continue
            height, width = image.shape[1:]
            margin = (0.5 - GAP) / max(height, width)
            x, y, w, h = (
                place + 0.5 - margin * width,
                row + 0.5 - margin * height,
                2 * margin * width,
                2 * margin * height,
            )
            _show(axes, image, extent=(x, x + w, y + h, y))
            frame = (frames or {}).get((row, place))
            if frame:
                axes.add_patch(Rectangle((x, y), w, h, fill=False, edgecolor=frame, linewidth=1.6))
    return figure


def _show(axes: Any, image: NDArray[np.float32], **settings: Any) -> None:
    # As bytes, and grey as three channels: what takes no colour map is drawn several times as fast.
    levels = np.rint(255 * image.clip(0, 1)).astype(np.uint8).transpose(1, 2, 0)
    axes.imshow(np.broadcast_to(levels, (*levels.shape[:2], 3)), interpolation="nearest", **settings)
