"""From rows to one line a variant: mean over seeds, spread, and which is best."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from hashae.comparison.measure import Measures
from hashae.comparison.rows import Comparison, Row


@dataclass(frozen=True)
class Column:
    """One measure as people read it.

    Attributes
    ----------
    field
        Name in :class:`hashae.comparison.measure.Measures`.
    title, hint
        Heading, and one sentence on what it is.
    show
        Value to text.
    best
        ``high``, ``low`` or empty where neither is better.
    short
        Heading on a terminal; empty leaves the column to files and pages.
    """

    field: str
    title: str
    hint: str
    show: Callable[[float], str]
    best: str = ""
    short: str = ""


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _size(value: float) -> str:
    return f"{value / 1e6:.2f} MB"


COLUMNS = (
    Column(
        "map", "mAP", "mean average precision: how early images of the same class come", "{:.3f}".format, "high", "mAP"
    ),
    Column("precision", "within 2 bits", "right answers within 2 bits; no answer is 0", _percent, "high", "2 bits"),
    Column("empty", "no answer", "questions with nothing within 2 bits", _percent),
    Column("copies", "edited copies", "edited copies found, one false pair in 10,000", _percent, "high", "copies"),
    Column("probe", "linear probe", "accuracy of a linear classifier on the latents", _percent, "high", "probe"),
    Column(
        "error", "error, latent", "mean squared error of the reconstruction before rounding", "{:.4f}".format, "low"
    ),
    Column("code_error", "error, code", "mean squared error from the bits alone", "{:.4f}".format, "low", "error"),
    Column("unique", "codes", "different codes, divided by images", _percent, "", "codes"),
    Column("imbalance", "imbalance", "0: every bit is 1 for half of the images; 1: all are stuck", "{:.2f}".format),
    Column(
        "effective_bits", "effective bits", "independent bits that would spread as much", "{:.1f}".format, "", "eff."
    ),
    Column("seconds", "training", "seconds, wall clock", "{:.1f} s".format, "", "time"),
    Column("rate", "images/s", "encoded by ONNX Runtime on the CPU", "{:,.0f}".format),
    Column("size", "size", "of the encoder file", _size),
)


@dataclass(frozen=True)
class Line:
    """One variant over all its seeds.

    Attributes
    ----------
    variant
        Its name.
    rows
        Finished rows, at least one.
    """

    variant: str
    rows: tuple[Row, ...]

    def value(self, field: str) -> float | None:
        """Return the mean of a measure over the seeds, or None where it was not measured."""
        values = self._values(field)
        return mean(values) if values else None

    def spread(self, field: str) -> float | None:
        """Return its standard deviation over the seeds; None with fewer than two."""
        values = self._values(field)
        return stdev(values) if len(values) > 1 else None

    def _values(self, field: str) -> list[float]:
        found = (getattr(row.measures, field) for row in self.rows)
        return [float(value) for value in found if value is not None]


def lines(comparison: Comparison) -> list[Line]:
    """Return one line for each variant that finished, best average precision first; without labels, as named."""
    names = list(dict.fromkeys(row.variant for row in comparison.rows if row.measures is not None))
    found = [
        Line(name, tuple(row for row in comparison.rows if row.variant == name and row.measures is not None))
        for name in names
    ]
    return sorted(found, key=lambda line: -(line.value("map") or 0.0))


def used_columns(found: Sequence[Line]) -> list[Column]:
    """Return the columns in which anything was measured."""
    return [column for column in COLUMNS if any(line.value(column.field) is not None for line in found)]


def best(found: Sequence[Line], column: Column) -> str | None:
    """Return the variant that is best in a column, or None if none is or no value is better than another."""
    values = {line.variant: line.value(column.field) for line in found}
    known = {name: value for name, value in values.items() if value is not None}
    if not column.best or not known:
        return None
    return (max if column.best == "high" else min)(known, key=lambda name: known[name])


def cell(line: Line, column: Column) -> str:
    """Return a value as text, with the spread over seeds; a dash where nothing was measured."""
    value, spread = line.value(column.field), line.spread(column.field)
    if value is None:
        return "-"
    return column.show(value) if spread is None else f"{column.show(value)} ± {column.show(spread)}"


def to_csv(comparison: Comparison) -> str:
    """Return one line for each variant and seed, all measures, and the error of those that failed."""
    buffer = io.StringIO()
    names = list(Measures.__dataclass_fields__)
    writer = csv.writer(buffer)
    writer.writerow(["variant", "seed", *names, "failure"])
    for row in comparison.rows:
        values = {} if row.measures is None else row.measures.to_dict()
        given = ("" if values.get(name) is None else values[name] for name in names)
        writer.writerow([row.variant, "" if row.seed is None else row.seed, *given, row.error or ""])
    return buffer.getvalue()
