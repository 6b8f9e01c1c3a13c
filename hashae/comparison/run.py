"""The comparison itself: train each variant, measure it, keep what is finished, go on when one fails."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hashae.codes import check_bits
from hashae.comparison.copies import EditedCopies, make_copies
from hashae.comparison.data import ComparisonData
from hashae.comparison.measure import SHOWN, Examples, Measures, measure
from hashae.comparison.variants import Variant, parse_variants
from hashae.config import TrainConfig
from hashae.encoder import Encoder, write_file
from hashae.errors import ConfigError, HashaeError
from hashae.training.loop import StepReport
from hashae.training.variant import train_variant

log = logging.getLogger(__name__)

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

Told = Callable[[str, StepReport | None], None]


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
        threads=threads,
    )
    settings = {"bits": bits, "trunk": trunk, "width": width, "budget": budget, "steps": steps, "training": recipe}
    kept = None if run is None else _Kept(run, {**settings, "data": data.fingerprint})
    copies = make_copies(data)
    rows = []
    for variant in chosen:
        for seed in seeds:
            finished = kept.find(variant.name, seed) if kept else None
            if finished is None:
                finished = _train(variant, data, copies, _with_seed(config, seed), settings, kept, on_progress)
            rows.append(finished)
    for path in encoders:
        if on_progress:
            on_progress(path.name, None)
        rows.append(_load(path, data, copies, threads))
    return Comparison(data, settings, tuple(rows))


def _with_seed(config: TrainConfig, seed: int) -> TrainConfig:
    return TrainConfig.from_dict({**asdict(config), "seed": seed})


def _train(
    variant: Variant,
    data: ComparisonData,
    copies: EditedCopies,
    config: TrainConfig,
    settings: dict[str, Any],
    kept: _Kept | None,
    on_progress: Told | None,
) -> Row:
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


def _load(path: Path, data: ComparisonData, copies: EditedCopies, threads: int | None) -> Row:
    try:
        measures, shown = measure(Encoder.load(path, threads=threads), data, copies)
    except HashaeError as error:
        return Row(path.name, None, None, _sentence(error))
    return Row(path.name, None, measures, None, shown)


def _sentence(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


class _Kept:
    """Finished variants in a folder, one sub-folder each: ``row.json``, ``examples.npz`` and ``encoder.onnx``."""

    def __init__(self, run: Path, settings: dict[str, Any]) -> None:
        self._run = run
        run.mkdir(parents=True, exist_ok=True)
        file = run / "settings.json"
        if not file.exists():
            write_file(file, json.dumps(settings, indent=1).encode())
        try:
            found = json.loads(file.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{file} is damaged ({error}); use a new --run folder") from error
        if found != json.loads(json.dumps(settings)):
            known = found if isinstance(found, dict) else {}
            other = ", ".join(sorted(name for name in settings if known.get(name) != settings[name])) or "format"
            raise ConfigError(f"{run} holds a comparison with other settings ({other}); use a new --run folder")

    def _folder(self, variant: str, seed: int | None) -> Path:
        return self._run / f"{re.sub('[^A-Za-z0-9.=_-]+', '-', variant)}-{seed}"

    def find(self, variant: str, seed: int) -> Row | None:
        """Return a finished row, or None if there is none, or one that cannot be read: it is then made again."""
        folder = self._folder(variant, seed)
        try:
            values = json.loads((folder / "row.json").read_text("utf-8"))
            measures = Measures(**values["measures"])
            with np.load(folder / "examples.npz", allow_pickle=False) as file:
                examples = {name: file[name] for name in file.files}
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("%s cannot be read (%s); the variant is trained again", folder, error)
            return None
        return Row(variant, seed, measures, None, examples) if values["variant"] == variant else None

    def keep(self, row: Row, encoder: Encoder) -> None:
        """Write a row; ``row.json`` last, so that what is interrupted does not count as finished."""
        folder = self._folder(row.variant, row.seed)
        folder.mkdir(parents=True, exist_ok=True)
        encoder.save(folder / "encoder.onnx")
        with (folder / "examples.npz").open("wb") as file:
            np.savez_compressed(file, **row.examples)  # type: ignore[arg-type]  # names are strings
        write_file(folder / "row.json", json.dumps(row.to_dict(), indent=1).encode())
