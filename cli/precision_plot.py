"""Curves of recall and precision, as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hashae.cli.plot import save_figure
from hashae.drawing import new_figure

if TYPE_CHECKING:
    from hashae.indexer.calibrate import Measurement
    from hashae.precision import Curve


def draw(found: Measurement, path: Path) -> None:
    """Write a PNG with one panel for each rule: recall, expected precision and its bound at every threshold."""
    curves = [("own radius for each image: tau in bits", found.own), ("one radius for all images, in bits", found.one)]
    shown = [(title, curve) for title, curve in curves if curve is not None]
    figure = new_figure(6.4 * len(shown), 4.8)
    for place, (title, curve) in enumerate(shown, 1):
        _panel(figure.add_subplot(1, len(shown), place), title, curve, found.calibration.precision)
    save_figure(figure, path)


def _panel(axes: Any, title: str, curve: Curve, promised: float) -> None:
    axes.plot(curve.thresholds, curve.recall, label="recall of edited copies", color="tab:blue")
    axes.plot(curve.thresholds, curve.expected, label="precision, expected", color="tab:orange")
    axes.plot(curve.thresholds, curve.at_least, label="precision, at least", color="tab:orange", linestyle="--")
    axes.axhline(promised, color="grey", linewidth=0.8, linestyle=":")
    if curve.chosen is not None:
        chosen = curve.thresholds[curve.chosen].item()
        axes.axvline(
            chosen, color="tab:green", linewidth=1, label=f"chosen: {chosen:g}, recall {curve.recall[curve.chosen]:.3f}"
        )
    axes.set_xlabel(title)
    axes.set_ylabel("share")
    axes.set_ylim(0, 1.02)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left")
