"""What a comparison finds: a row for each variant and seed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hashae.comparison.data import ComparisonData
from hashae.comparison.measure import Examples, Measures


@dataclass(frozen=True)
class Row:
    """One variant with one seed.

    Attributes
    ----------
    variant
        Its name, or that of an encoder file.
    seed
        None for an encoder file.
    measures
        None if it failed.
    error
        Why it failed, or None.
    examples
        What a page shows.
    """

    variant: str
    seed: int | None
    measures: Measures | None
    error: str | None = None
    examples: Examples = field(default_factory=dict, compare=False, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return variant, seed, error and all measures, ready for JSON."""
        about = {"variant": self.variant, "seed": self.seed, "error": self.error}
        return {**about, "measures": None if self.measures is None else self.measures.to_dict()}


@dataclass(frozen=True)
class Comparison:
    """All rows, and what was the same for them.

    Attributes
    ----------
    data
        The images.
    settings
        Bits, trunk, width, steps and budget.
    rows
        In the order in which the variants were named.
    """

    data: ComparisonData
    settings: dict[str, Any]
    rows: tuple[Row, ...]

    @property
    def failed(self) -> list[Row]:
        """Rows without measures."""
        return [row for row in self.rows if row.measures is None]

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the examples, ready for JSON."""
        about = {
            "data": self.data.name,
            "images": len(self.data.train),
            "queries": len(self.data.test),
            "classes": len(self.data.classes),
        }
        return {**about, **self.settings, "rows": [row.to_dict() for row in self.rows]}
