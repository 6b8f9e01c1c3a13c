"""Figures of a comparison, each a function that returns a matplotlib figure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hashae.comparison.data import ComparisonData
from hashae.comparison.measure import ASKED, SHOWN
from hashae.comparison.table import Line
from hashae.drawing import ACCENT, GREY, RED, colour_wheel, new_figure, picture_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FEATURED = ACCENT
FROM_CODE = "from its code"


def colours(lines: Sequence[Line]) -> dict[str, Any]:
    """Return a colour for each variant, the same in all figures; the binary model has the accent of the page."""
    names = sorted(line.variant for line in lines)
    wheel = colour_wheel("tab20")
    return {name: FEATURED if name == "binary" else wheel(place % 20) for place, name in enumerate(names)}


def scores(lines: Sequence[Line]) -> Figure:
    """Draw average precision and precision within 2 bits of each variant as bars, best first."""
    figure = new_figure(9, 1 + 0.36 * len(lines))
    axes = figure.subplots()
    places = np.arange(len(lines))
    for offset, field, name, colour in (
        (-0.19, "map", "mAP", FEATURED),
        (0.19, "precision", "precision within 2 bits", "#9db4f0"),
    ):
        values = [line.value(field) or 0.0 for line in lines]
        axes.barh(places + offset, values, 0.36, label=name, color=colour)
        for place, value in zip(places, values, strict=True):
            axes.text(value + 0.005, place + offset, f"{value:.2f}", va="center", fontsize=7, color=GREY)
    axes.set_yticks(places, [line.variant for line in lines])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.05)
    axes.legend(frameon=False, loc="lower right")
    _quiet(axes)
    return figure


def curves(lines: Sequence[Line]) -> Figure:
    """Draw the precision within each radius; a question without an answer counts as 0."""
    figure = new_figure(9, 4.2)
    axes = figure.subplots()
    palette = colours(lines)
    for line in lines:
        drawn = [row.examples["curve"] for row in line.rows if "curve" in row.examples]
        if drawn:
            bold = line.variant == "binary"
            axes.plot(
                np.mean(drawn, axis=0),
                color=palette[line.variant],
                label=line.variant,
                linewidth=2.6 if bold else 1.3,
                marker="o",
                markersize=4 if bold else 2.5,
            )
    axes.set_xlabel("radius in bits")
    axes.set_ylabel("share of right answers")
    axes.set_ylim(0, 1)
    axes.legend(frameon=False, fontsize=8, ncols=2, loc="center left", bbox_to_anchor=(1, 0.5))
    _quiet(axes)
    return figure


def reconstructions(lines: Sequence[Line], data: ComparisonData) -> Figure:
    """Draw test images, and what each variant makes of them from its latent and from its code."""
    clean = data.form(data.test.take(np.arange(min(SHOWN, len(data.test)))).thumbs(data.form))
    rows: list[tuple[str, NDArray[np.float32] | None]] = [("images", clean)]
    for line in lines:
        shown = line.rows[0].examples
        rows += [(line.variant, shown.get("latent")), (FROM_CODE, shown.get("code"))]
    drawn = [(name, list(images)) for name, images in rows if images is not None]
    return picture_table(drawn, side=0.57, quiet=[FROM_CODE])


def maps(lines: Sequence[Line], data: ComparisonData) -> Figure:
    """Draw the latents of test images on their two principal components, coloured by class."""
    across = 4
    down = math.ceil(len(lines) / across)
    figure = new_figure(10, 2.4 * down)
    grid = figure.subplots(down, across, squeeze=False).ravel()
    for axes in grid[len(lines) :]:
        axes.set_axis_off()
    for line, axes in zip(lines, grid, strict=False):
        points = line.rows[0].examples["map"]
        if data.test_labels is None:
            axes.scatter(points[:, 0], points[:, 1], s=4, color=FEATURED)
        else:
            palette = "tab10" if len(data.classes) <= 10 else "tab20"
            axes.scatter(points[:, 0], points[:, 1], s=4, c=data.test_labels[: len(points)], cmap=palette)
        axes.set_title(line.variant, fontsize=9)
        axes.set_xticks([])
        axes.set_yticks([])
    return figure


def answers(lines: Sequence[Line], data: ComparisonData) -> Figure:
    """Draw questions, and below them the nearest training images by each code; red frames have another label."""
    asked = min(ASKED, len(data.test))
    questions = data.form(data.test.take(np.arange(asked)).thumbs(data.form))
    per = min(len(line.rows[0].examples["answers"][0]) for line in lines)
    gap: list[NDArray[np.float32] | None] = [None]
    above = gap * ((per + 1) * asked - 1)
    above[:: per + 1] = list(questions)
    rows = [("question", above)]
    frames = {}
    for row, line in enumerate(lines, start=1):
        pictures: list[NDArray[np.float32] | None] = []
        for question, found in enumerate(line.rows[0].examples["answers"][:asked]):
            pictures += [*gap[: len(pictures)], *data.form(data.train.take(found[:per]).thumbs(data.form))]
            if data.train_labels is None or data.test_labels is None:
                continue
            for place in np.flatnonzero(data.train_labels[found[:per]] != data.test_labels[question]):
                frames[row, question * (per + 1) + int(place)] = RED
        rows.append((line.variant, pictures))
    return picture_table(rows, side=0.33, names=1.4, frames=frames)


def _quiet(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)
