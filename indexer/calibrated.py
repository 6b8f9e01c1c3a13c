"""What a calibration found: kept as JSON beside the encoder in the collection file, used by ``dedup``."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from hashae.errors import CollectionError

FORMAT = 1

GROWN = 1.5
"""A collection so many times larger, or smaller, than when it was calibrated is due again."""


@dataclass(frozen=True)
class Calibration:
    """The radius that keeps a promised precision in one collection with one encoder.

    Attributes
    ----------
    tau
        Constant of the rule that gives every image its own radius, in bits; None for a collection too small for it.
    beta
        Of the same rule, see :mod:`hashae.calibration`.
    radius
        One radius for all images that keeps the promise as well, in bits; used where `tau` is None.
    precision, copies, confidence
        What was promised, see :class:`hashae.promise.Promise`.
    kept
        False if not even the smallest threshold keeps the promise; then only equal codes match.
    counted
        True if counting pairs of pictures shows that the promise is kept; False if that rests on the tail of the
        distances of different pictures going on as it was fitted.
    recall
        Share of the edited copies that are found, on average over the edits.
    radius_recall
        The same with the one radius.
    edits
        The same for each edit, under the rule that is used.
    images
        In the collection, when it was calibrated.
    sample
        Pictures that were edited.
    pairs
        Numbers of pairs: ``copies`` with their originals, ``others`` of a copy and another picture, ``false`` of these
        within the threshold, ``different`` pictures that the tail was fitted to, and ``suspected`` copies left out of
        those.
    borrowed
        Reference codes that stood in for pictures of the collection, 0 for none.
    seed
        Of the sample and the edits.
    automatic
        True if indexing did it by itself.
    date
        ISO 8601, UTC.
    """

    tau: float | None
    beta: float
    radius: int
    precision: float
    copies: float
    confidence: float
    kept: bool
    counted: bool
    recall: float
    radius_recall: float
    edits: dict[str, float]
    images: int
    sample: int
    pairs: dict[str, int]
    borrowed: int
    seed: int
    automatic: bool
    date: str
    format: int = field(default=FORMAT)

    def to_dict(self) -> dict[str, Any]:
        """Return everything, ready for :func:`json.dumps`."""
        return asdict(self)

    def to_json(self) -> str:
        """Return the text that is kept in the collection file."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_json(cls, text: str) -> Calibration:
        """Read what :meth:`to_json` wrote.

        Raises
        ------
        CollectionError
            If it is damaged, or of a newer version.
        """
        try:
            found = cls(**json.loads(text))
        except (ValueError, TypeError) as error:
            raise CollectionError(f"the stored calibration cannot be read ({error}); run: hashae calibrate") from error
        if found.format != FORMAT:
            raise CollectionError(
                f"the stored calibration has format {found.format}; this version reads {FORMAT}: run: hashae calibrate"
            )
        return found

    def drifted(self, images: int) -> bool:
        """Return True if a collection of so many images is no longer the one that was calibrated."""
        return not self.images / GROWN <= images <= self.images * GROWN

    @property
    def words(self) -> str:
        """What a duplicate search says of it: ``calibrated for 99.9 % precision on 2,500 images``."""
        return f"calibrated for {100 * self.precision:.10g} % precision on {self.images:,} images"
