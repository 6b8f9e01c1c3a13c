"""The comparison itself: train each variant, measure it, keep what is finished, go on when one fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hashae.codes import check_bits
from hashae.comparison.copies import make_copies
from hashae.comparison.data import ComparisonData
from hashae.comparison.kept import Kept
from hashae.comparison.parallel import Shared, train_apart
from hashae.comparison.rows import Comparison
from hashae.comparison.train_row import Told, load_row, train_row
from hashae.comparison.variants import Variant, parse_variants
from hashae.config import TrainConfig

NO_LIMIT = 1_000_000
"""Steps where only the budget counts."""

DEFAULT_STEPS = 200
"""Steps where neither they nor a budget are given: the same work for each variant, however busy the machine is."""

RECIPES: dict[str, dict[str, Any]] = {
    "digits": {"batch": 256, "neighbours": 1, "temperature": 0.5, "decorrelation": 0.0},
    "tiny": {"batch": 256, "neighbours": 1, "temperature": 0.3, "decorrelation": 0.0, "mirror": True},
    "photo": {},
}
"""Kind of views -> what is set for all variants; the siblings have no use for most of it."""


def compare(
    data: ComparisonData,
    variants: Sequence[Variant] | None = None,
    *,
    bits: int = 32,
    trunk: str = "conv",
    width: int = 16,
    budget: float | None = None,
    steps: int | None = None,
    seeds: Sequence[int] = (0,),
    encoders: Sequence[Path] = (),
    run: Path | None = None,
    threads: int | None = None,
    jobs: int = 1,
    training: dict[str, Any] | None = None,
    on_progress: Told | None = None,
) -> Comparison:
    """Train variants with the same budget, measure them and trained encoders, and put them into one table.

    Parameters
    ----------
    data
        From :func:`hashae.comparison.load_data`.
    variants
        What is trained; None takes all models, or none if `encoders` are given.
    bits, trunk, width
        Of all variants; one that has no such trunk takes its own.
    budget
        Seconds for the training of each.
    steps
        Optimiser steps of each; with neither, `DEFAULT_STEPS`.
    seeds
        Each variant is trained once with each.
    encoders
        Files of trained encoders, measured beside them.
    run
        Folder in which every finished variant is kept, with its encoder; what is there already is not trained again.
    threads
        CPU threads of the training; None leaves them.
    jobs
        Variants that are trained at once, each in a process of its own with its share of the threads.
    training
        Further fields of :class:`hashae.config.TrainConfig`.
    on_progress
        Called with the name of the variant, and a report after each step.

    Raises
    ------
    ConfigError
        If settings cannot be used, or `run` holds a comparison of other data or settings.
    """
    chosen = parse_variants([]) if variants is None and not encoders else list(variants or [])
    check_bits(bits)
    if steps is None and budget is None:
        steps = DEFAULT_STEPS
    recipe = {**RECIPES[data.augment], **(training or {})}
    config = TrainConfig(
        **recipe,
        augment=data.augment,  # type: ignore[arg-type]  # one of the kinds that data knows
        steps=steps or NO_LIMIT,
        budget=budget,
        threads=None if threads is None else max(threads // jobs, 1),
    )
    settings = {"bits": bits, "trunk": trunk, "width": width, "budget": budget, "steps": steps, "training": recipe}
    kept = None if run is None else Kept(run, {**settings, "data": data.fingerprint})
    copies = make_copies(data)
    each = [(variant, _with_seed(config, seed)) for variant in chosen for seed in seeds]
    found = [kept.find(variant.name, one.seed) if kept else None for variant, one in each]
    todo = [one for one, row in zip(each, found, strict=True) if row is None]
    if jobs > 1 and len(todo) > 1:
        made = iter(train_apart(todo, Shared(data, copies, settings, kept), jobs, on_progress))
    else:
        made = (train_row(variant, data, copies, one, settings, kept, on_progress) for variant, one in todo)
    rows = [next(made) if row is None else row for row in found]
    for path in encoders:
        if on_progress:
            on_progress(path.name, None)
        rows.append(load_row(path, data, copies, threads))
    return Comparison(data, settings, tuple(rows))


def _with_seed(config: TrainConfig, seed: int) -> TrainConfig:
    return TrainConfig.from_dict({**asdict(config), "seed": seed})
