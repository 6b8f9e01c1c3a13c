"""The health of a collection, as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hashae.cli.plot import save_figure
from hashae.show.figures import code_bits

if TYPE_CHECKING:
    from hashae.indexer.collection_health import CollectionHealth


def draw(found: CollectionHealth, path: Path) -> None:
    """Write a PNG with three panels: mean of every bit, correlation of the bits, distances with the radius marked."""
    save_figure(code_bits(found.codes, found.radius, found.own_radius), path)
