"""One row of the table: a variant trained and measured, or an encoder file measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hashae.comparison.copies import EditedCopies
from hashae.comparison.data import ComparisonData
from hashae.comparison.kept import Kept
from hashae.comparison.measure import SHOWN, measure
from hashae.comparison.rows import Row
from hashae.comparison.variants import Variant
from hashae.config import TrainConfig
from hashae.encoder import Encoder
from hashae.errors import HashaeError
from hashae.training.loop import StepReport
from hashae.training.variant import train_variant

Told = Callable[[str, StepReport | None], None]


def train_row(
    variant: Variant,
    data: ComparisonData,
    copies: EditedCopies,
    config: TrainConfig,
    settings: dict[str, Any],
    kept: Kept | None,
    on_progress: Told | None,
) -> Row:
    """Train one variant with one seed and measure it; what keeps it from that stands in the row.

    Parameters
    ----------
    variant, config
        What is trained, and how.
    data, copies
        As of :func:`hashae.comparison.measure.measure`.
    settings
        Of the comparison: `bits`, `trunk` and `width` are read.
    kept
        Where a finished row is kept, or None.
    on_progress
        Called with the name of the variant, and a report after each step.
    """
    try:
        if on_progress:
            on_progress(variant.name, None)
        model = variant.config(
            bits=settings["bits"], image_shape=data.form.shape, trunk=settings["trunk"], width=settings["width"]
        )
        trained = train_variant(
            variant.name,
            model,
            data.train,
            data.test,
            config,
            data.form,
            shown=SHOWN,
            on_step=(lambda report: on_progress(variant.name, report)) if on_progress else None,
        )
        measures, shown = measure(
            trained.encoder,
            data,
            copies,
            error=trained.error,
            seconds=trained.seconds,
            steps=trained.steps,
            sample=trained.sample,
        )
    except (HashaeError, RuntimeError, MemoryError) as error:
        # The others go on; an error of our own making (a TypeError, say) does not pass for a failed variant.
        return Row(variant.name, config.seed, None, _sentence(error))
    row = Row(variant.name, config.seed, measures, None, shown)
    if kept:
        kept.keep(row, trained.encoder)
    return row


def load_row(path: Path, data: ComparisonData, copies: EditedCopies, threads: int | None) -> Row:
    """Measure the encoder of a file; what keeps it from that stands in the row."""
    try:
        measures, shown = measure(Encoder.load(path, threads=threads), data, copies)
    except HashaeError as error:
        return Row(path.name, None, None, _sentence(error))
    return Row(path.name, None, measures, None, shown)


def _sentence(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
