"""The health of a collection: what its codes are worth, beside those of the images the encoder learned from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hashae.health import CodeHealth, code_health, diagnose
from hashae.indexer.code_table import CodeTable
from hashae.indexer.radius_rule import RadiusRule

PLAIN_SHARE = 0.1
"""Share of featureless images from which a collection is told that it has many."""


@dataclass(frozen=True)
class CollectionHealth:
    """What was found.

    Attributes
    ----------
    encoder
        Name.
    codes
        Measured on the codes of all present images.
    trained
        ``imbalance``, ``effective_bits`` and ``distinct`` of the images the encoder was trained on; it may be empty.
    featureless
        Number of images that show next to nothing.
    radius
        In bits; with `own_radius`, the median over the images.
    own_radius
        True if every image has a radius of its own.
    findings
        What is wrong, in sentences; empty if nothing is.
    """

    encoder: str
    codes: CodeHealth
    trained: Mapping[str, float]
    featureless: int
    radius: int
    own_radius: bool
    findings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the correlation of every two bits, ready for :func:`json.dumps`."""
        codes = self.codes
        upper = np.argwhere(np.triu(np.ones_like(codes.correlation, np.bool_), 1))
        strongest = upper[np.argsort(-np.abs(codes.correlation[tuple(upper.T)]), kind="stable")[:10]]
        return {
            "encoder": self.encoder,
            "images": codes.count,
            "sample": codes.sample,
            "bits": codes.bits,
            "imbalance": codes.imbalance,
            "mean_correlation": codes.mean_correlation,
            "effective_bits": codes.code.effective_bits,
            "dead_bits": codes.dead_bits,
            "code": asdict(codes.code),
            "key": asdict(codes.key),
            "featureless": self.featureless,
            "radius": self.radius,
            "own_radius": self.own_radius,
            "trained": dict(self.trained),
            "findings": list(self.findings),
            "means": [round(mean, 4) for mean in codes.means.tolist()],
            "most_correlated": [
                {"bits": [a, b], "correlation": round(float(codes.correlation[a, b]), 4)} for a, b in strongest.tolist()
            ],
            "distances": codes.distances.tolist(),
        }


def collection_health(
    table: CodeTable, encoder: str, trained: Mapping[str, float], rule: RadiusRule, featureless: int
) -> CollectionHealth:
    """Measure the codes of a collection.

    Parameters
    ----------
    table
        All codes, two or more, with their crowding where the rule needs it.
    encoder
        Name.
    trained
        Health of the encoder's training images.
    rule
        When two images match.
    featureless
        Number of images that show next to nothing.
    """
    codes = code_health(table.index.codes)
    found = diagnose(codes, trained)
    if featureless > PLAIN_SHARE * codes.count:
        found.append(
            f"{featureless:,} of {codes.count:,} images show next to nothing (blank pages, black frames): no code "
            "tells them apart, so they are duplicates only where their bytes or pixels are equal"
        )
    radius = rule.radius
    if rule.tau is not None:
        assert table.crowding is not None, "own radii need the crowding of every code"
        radius = int(np.median(rule.margins(table.crowding)))
    return CollectionHealth(encoder, codes, trained, featureless, radius, rule.tau is not None, tuple(found))
