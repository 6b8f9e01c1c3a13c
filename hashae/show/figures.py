"""What a model has learned, each picture a function of arrays that returns a matplotlib figure.

Images are ``float32 (n, channels, height, width)`` in [0, 1], latents ``float32 (n, latent_size)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hashae.drawing import ACCENT, GREY, RED, colour_wheel, new_figure, picture_table, put_picture
from hashae.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hashae.health import CodeHealth

Images = NDArray[np.float32]


def reconstructions(images: Images, from_latent: Images, from_code: Images) -> Figure:
    """Draw images above what is left of them in the latent, and in the code."""
    return picture_table([("image", images), ("from its latent", from_latent), ("from its code", from_code)])


def training_curves(steps: Sequence[dict[str, Any]], *, noise: bool = True) -> Figure:
    """Draw loss and its terms, and below them the noise before the sigmoid and the imbalance of the bits.

    Parameters
    ----------
    steps
        From :func:`hashae.show.model.read_log`.
    noise
        Whether the model has noise before its sigmoid; others have only the balance below.
    """
    figure = new_figure(9, 5.6)
    upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [2, 1]})
    place = [step["step"] for step in steps]
    window = max(len(steps) // 40, 1)
    upper.plot(place, _smooth([step["loss"] for step in steps], window), color=ACCENT, linewidth=2, label="loss")
    for name in steps[-1].get("terms", {}):
        values = [step["terms"].get(name, np.nan) for step in steps]
        upper.plot(place, _smooth(values, window), linewidth=1, label=name)
    upper.set_ylabel(f"mean of {window} steps" if window > 1 else "loss")
    if noise:
        lower.plot(place, [step["sigma"] for step in steps], color=RED, label="noise before the sigmoid (deviation)")
    lower.plot(place, [step.get("balance", np.nan) for step in steps], color=GREY, label="imbalance of the bits")
    lower.set_xlabel("step")
    for axes in (upper, lower):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.legend(frameon=False, fontsize=8)
    return figure


def latent_map(
    points: NDArray[np.floating[Any]], labels: NDArray[np.int64] | None, classes: Sequence[str], axes_names: str
) -> Figure:
    """Draw latents as points of a plane, coloured by class.

    Parameters
    ----------
    points
        ``(n, 2)``, see :func:`hashae.show.planes.plane_points`.
    labels
        ``int64 (n,)``, an index into `classes`, or None.
    classes
        Names of the classes.
    axes_names
        How the plane was found, for the caption.
    """
    figure = new_figure(6.4, 5.2)
    axes = figure.subplots()
    if labels is None:
        axes.scatter(points[:, 0], points[:, 1], s=6, color=ACCENT)
    else:
        wheel = colour_wheel("tab10" if len(classes) <= 10 else "tab20")
        for number, name in enumerate(classes):
            some = points[labels == number]
            axes.scatter(some[:, 0], some[:, 1], s=7, color=wheel(number % wheel.N), label=name)
        if len(classes) <= 20:
            axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5), markerscale=2)
    axes.set_xlabel(axes_names)
    axes.set_xticks([])
    axes.set_yticks([])
    return figure


def decoded_grid(images: Images, side: int, axes_names: str) -> Figure:
    """Draw ``side * side`` decoded images in a square without gaps, the first at the lower left, row by row."""
    if len(images) != side * side:
        raise ConfigError(f"{len(images)} images given for a grid of {side} x {side}; expected {side * side}")
    _, channels, height, width = images.shape
    square = images.reshape(side, side, channels, height, width)[::-1]  # from the top
    whole = square.transpose(2, 0, 3, 1, 4).reshape(channels, side * height, side * width)
    figure = new_figure(6, 6.2)
    axes = figure.subplots()
    put_picture(axes, whole)
    axes.set_xlabel(axes_names)
    return figure


def average(images: Images, of_pixels: Images, of_latents: Images) -> Figure:
    """Draw images, the mean of their pixels, and the decoded mean of their latents; the last two ``(1, ...)``."""
    return picture_table([("images", images), ("mean of pixels", of_pixels), ("mean of latents", of_latents)])


def variances(images: Images, mean: Images, variance: Images) -> Figure:
    """Draw images, predicted means, and predicted standard deviations, the largest of them white."""
    deviation = np.sqrt(variance)
    largest = float(deviation.max())
    scaled = (deviation / max(largest, 1e-12)).astype(np.float32)
    return picture_table([("image", images), ("predicted mean", mean), (f"deviation\n(white: {largest:.2f})", scaled)])


def code_meaning(images: Images, decoded: Images, flipped: Images, bits: Sequence[int]) -> Figure:
    """Draw images, their decoded codes, and below each what changes when one bit is flipped.

    Parameters
    ----------
    images, decoded
        ``(n, ...)``.
    flipped
        ``float32 (n, len(bits), channels, height, width)``: the decoded codes with one bit flipped.
    bits
        Numbers of these bits.
    """
    change = (flipped - decoded[:, None]).mean(axis=2)  # (n, bits, h, w)
    largest = max(float(np.abs(change).max()), 1e-6)
    tinted = colour_wheel("RdBu_r")(0.5 + change / (2 * largest))[..., :3]  # (n, bits, h, w, 3)
    rows: list[tuple[str, list[NDArray[np.float32] | None]]] = []
    for image, code, others, tints in zip(images, decoded, flipped, tinted, strict=True):
        rows.append(("", [image, code, *others]))
        rows.append(("", [None, None, *tints.transpose(0, 3, 1, 2).astype(np.float32)]))
    return picture_table(rows, ["image", "its code", *(f"bit {bit}" for bit in bits)], names=0.1)


def code_bits(codes: CodeHealth, radius: int | None = None, own_radius: bool = False) -> Figure:
    """Draw the bits of a collection: mean of every bit, correlation of the bits, and distances.

    Parameters
    ----------
    codes
        From :func:`hashae.health.code_health`.
    radius
        Marked among the distances; None marks none.
    own_radius
        Whether it is the median of radii that each image has of its own.
    """
    figure = new_figure(16, 4.8)
    means, correlation, distances = figure.subplots(1, 3)
    dead = np.isin(np.arange(codes.bits), codes.dead_bits)
    means.bar(np.arange(codes.bits), codes.means, width=1, color=np.where(dead, "tab:red", "tab:blue"))
    means.axhline(0.5, color="grey", linewidth=0.8, linestyle=":")
    means.set_ylim(0, 1)
    means.set_xlabel(f"bit ({len(codes.dead_bits)} dead, imbalance {codes.imbalance:.2f})")
    means.set_ylabel(f"share of {codes.count:,} images for which it is on")
    shown = correlation.imshow(codes.correlation, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
    correlation.set_xlabel(f"correlation of two bits, {codes.mean_correlation:.3f} on average")
    figure.colorbar(shown, ax=correlation, shrink=0.8)
    distances.bar(np.arange(codes.bits + 1), codes.distances, width=1, color="tab:blue")
    # Few pairs lie within the radius, and they are what matters.
    distances.set_yscale("symlog", linthresh=1)
    distances.set_xlabel(f"distance in bits ({codes.code.effective_bits:.0f} effective bits of {codes.bits})")
    distances.set_ylabel(f"pairs of {codes.sample:,} images")
    if radius is not None:
        label = f"own radius, median {radius}" if own_radius else f"radius {radius}"
        distances.axvline(radius, color="tab:orange", label=label)
        distances.legend(loc="upper left")
    return figure


def _smooth(values: Sequence[float], window: int) -> NDArray[np.float64]:
    """Return the mean of each value and the `window - 1` before it, as far as there are any."""
    total = np.cumsum(np.r_[0.0, values])
    last = np.arange(1, len(total))
    first = np.maximum(last - window, 0)
    smooth: NDArray[np.float64] = (total[last] - total[first]) / (last - first)
    return smooth
