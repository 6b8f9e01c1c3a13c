"""The health of a collection: what its codes are worth, beside those of the images the encoder learned from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hashae.errors import CollectionError
from hashae.health import CodeHealth, code_health, diagnose
from hashae.indexer.parts import Parts
from hashae.indexer.summary import Progress

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


def collection_health(parts: Parts, on_progress: Callable[[Progress], None] | None = None) -> CollectionHealth:
    """Measure the codes of a collection.

    Parameters
    ----------
    parts
        Of the collection.
    on_progress
        Called from this thread.

    Raises
    ------
    CollectionError
        If there is no encoder, or fewer than two images.
    """
    id_, encoder, table = parts.table()
    count, trained = len(table.index), encoder.info.health
    if count < 2:
        what = "1 image" if count else "no image"
        raise CollectionError(f"{parts.database.path} holds {what}; its health needs two or more")
    codes = code_health(table.index.codes)
    found, featureless = diagnose(codes, trained), len(parts.featureless(id_))
    if featureless > PLAIN_SHARE * count:
        found.append(
            f"{featureless:,} of {count:,} images show next to nothing (blank pages, black frames): no code "
            "tells them apart, so they are duplicates only where their bytes or pixels are equal"
        )
    rule = parts.rule(id_, encoder, count)
    own = rule.tau is not None
    radius = int(np.median(rule.margins(parts.tables.crowding(table, on_progress)))) if own else rule.radius
    return CollectionHealth(encoder.name, codes, trained, featureless, radius, own, tuple(found))
