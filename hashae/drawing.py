"""Figures and their files: the one place that imports matplotlib. No window is ever opened."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hashae.errors import MissingDependency

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 110
GREEN, RED, GREY = "#12743f", "#c0392b", "#5b6372"
ACCENT = "#2456d6"


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


def put_picture(axes: Any, image: NDArray[np.float32] | None, frame: str | None = None) -> None:
    """Put an image ``(channels, height, width)`` in [0, 1] into axes without ticks; None leaves them empty.

    Parameters
    ----------
    axes
        Of matplotlib.
    image
        One or three channels.
    frame
        Colour of a frame, or None for none.
    """
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_visible(frame is not None)
        side.set_color(frame or "none")
        side.set_linewidth(1.6)
    if image is not None:
        shown = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
        axes.imshow(shown.clip(0, 1), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
