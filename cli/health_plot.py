"""The health of a collection, as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hashae.cli.plot import save_figure
from hashae.drawing import new_figure

if TYPE_CHECKING:
    from hashae.indexer.collection_health import CollectionHealth


def draw(found: CollectionHealth, path: Path) -> None:
    """Write a PNG with three panels: mean of every bit, correlation of the bits, distances with the radius marked."""
    figure = new_figure(16, 4.8)
    _means(figure.add_subplot(1, 3, 1), found)
    _correlation(figure, figure.add_subplot(1, 3, 2), found)
    _distances(figure.add_subplot(1, 3, 3), found)
    save_figure(figure, path)


def _means(axes: Any, found: CollectionHealth) -> None:
    codes = found.codes
    dead = np.isin(np.arange(codes.bits), codes.dead_bits)
    axes.bar(np.arange(codes.bits), codes.means, width=1, color=np.where(dead, "tab:red", "tab:blue"))
    axes.axhline(0.5, color="grey", linewidth=0.8, linestyle=":")
    axes.set_ylim(0, 1)
    axes.set_xlabel(f"bit ({len(codes.dead_bits)} dead, imbalance {codes.imbalance:.2f})")
    axes.set_ylabel(f"share of {codes.count:,} images for which it is on")


def _correlation(figure: Any, axes: Any, found: CollectionHealth) -> None:
    shown = axes.imshow(found.codes.correlation, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
    axes.set_xlabel(f"correlation of two bits, {found.codes.mean_correlation:.3f} on average")
    figure.colorbar(shown, ax=axes, shrink=0.8)


def _distances(axes: Any, found: CollectionHealth) -> None:
    codes = found.codes
    axes.bar(np.arange(codes.bits + 1), codes.distances, width=1, color="tab:blue")
    # Few pairs lie within the radius, and they are what matters.
    axes.set_yscale("symlog", linthresh=1)
    label = f"own radius, median {found.radius}" if found.own_radius else f"radius {found.radius}"
    axes.axvline(found.radius, color="tab:orange", label=label)
    axes.set_xlabel(f"distance in bits ({codes.code.effective_bits:.0f} effective bits of {codes.bits})")
    axes.set_ylabel(f"pairs of {codes.sample:,} images")
    axes.legend(loc="upper left")
