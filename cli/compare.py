"""``hashae compare``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hashae.cli.options import Duration, json_option, workers_option

if TYPE_CHECKING:
    from collections.abc import Callable

    from hashae.cli.progress import ProgressLine
    from hashae.comparison import Comparison
    from hashae.training import StepReport

MOST_JOBS = 8
"""Variants that are trained at once unasked: each takes half a gigabyte."""


@click.command()
@click.argument("data")
@click.option(
    "--variants",
    "variant_texts",
    multiple=True,
    metavar="NAMES",
    help="What to train, with commas between; settings behind colons: sparse:k=8.  [default: all]",
)
@click.option(
    "--encoder",
    "encoders",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also measure this encoder file; alone, nothing is trained. May be repeated.",
)
@click.option("--bits", type=int, default=32, show_default=True, help="Code length: a multiple of 8, from 8 to 512.")
@click.option("--budget", type=Duration(), help="Training time of each variant: 90s, 3m.")
@click.option("--steps", type=click.IntRange(1), help="Optimiser steps of each: repeatable exactly.  [default: 200]")
@click.option("--seeds", default="0", show_default=True, metavar="NUMBERS", help="Train each with every one: 0,1,2.")
@click.option(
    "--trunk",
    type=click.Choice(["conv", "dense", "linear"]),
    default="conv",
    show_default=True,
    help="Layers of all variants; one that has none of the kind takes its own.",
)
@click.option("--width", type=click.IntRange(1), default=16, show_default=True, help="Channels of the first layer.")
@click.option(
    "--images",
    type=click.IntRange(2),
    default=10_000,
    show_default=True,
    help="Most images to learn from and search in.",
)
@click.option("--queries", type=click.IntRange(2), default=1000, show_default=True, help="Most images to ask with.")
@click.option("--run", type=click.Path(file_okay=False, path_type=Path), help="Folder that keeps finished variants.")
@click.option("--csv", "csv_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the table as CSV.")
@click.option("--html", "html_file", type=click.Path(dir_okay=False, path_type=Path), help="Write a page with plots.")
@click.option(
    "--jobs",
    type=click.IntRange(1, 64),
    help="Variants trained at once, each in a process of its own; times are then those of a busy machine.  "
    "[default: one per core, at most 8; 1 with --budget]",
)
@workers_option
@json_option
def compare(
    data: str,
    variant_texts: tuple[str, ...],
    encoders: tuple[Path, ...],
    bits: int,
    budget: float | None,
    steps: int | None,
    seeds: str,
    trunk: str,
    width: int,
    images: int,
    queries: int,
    run: Path | None,
    csv_file: Path | None,
    html_file: Path | None,
    jobs: int | None,
    workers: int,
    as_json: bool,
) -> None:
    """Train the whole family of autoencoders on the same images and put their hashes into one table.

    DATA is a folder of pictures (its sub-folders are the classes, used for scoring only), an .npz file like that of
    MNIST, or the word digits. One variant that fails does not stop the others. With --run, the same command goes on
    after the last finished variant.

    \b
    Examples:
      hashae compare digits --html digits.html
      hashae compare mnist.npz --budget 3m --run runs/mnist --html mnist.html
      hashae compare ~/Pictures --variants binary,plain,itq --bits 64
      hashae compare mnist.npz --variants sparse,sparse:k=8 --seeds 0,1,2
      hashae compare ~/Pictures --encoder photo.onnx --encoder other.onnx
    """
    # Before torch is loaded: threads that wait without spinning.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from hashae.cli.output import print_json, say
    from hashae.cli.progress import ProgressLine
    from hashae.encoder import write_file
    from hashae.errors import HashaeError, MissingDependency

    try:
        from hashae.comparison import compare as run_comparison
        from hashae.comparison import load_data, parse_variants
        from hashae.comparison.table import to_csv
    except ModuleNotFoundError as error:
        raise MissingDependency(f"comparing ({error.name} is missing)", "train") from error
    if html_file is not None:
        from hashae.comparison.page import to_html
    numbers = _seeds(seeds)
    for target in (csv_file, html_file):
        if target is not None and not target.parent.is_dir():
            raise HashaeError(f"{target.parent} does not exist; create the folder first")
    variants = parse_variants(variant_texts) if variant_texts or not encoders else []
    if jobs is None:
        jobs = 1 if budget is not None else min(workers, MOST_JOBS)
    loaded = load_data(data, images=images, queries=queries, workers=workers)
    with ProgressLine(quiet=as_json) as progress:
        result = run_comparison(
            loaded,
            variants,
            bits=bits,
            trunk=trunk,
            width=width,
            budget=budget,
            steps=steps,
            seeds=numbers,
            encoders=encoders,
            run=run,
            threads=workers,
            jobs=jobs,
            on_progress=_one_by_one(progress) if jobs == 1 else _together(progress),
        )
    if as_json:
        print_json(result.to_dict())
    else:
        _print(result)
    if csv_file is not None:
        write_file(csv_file, to_csv(result).encode())
    if html_file is not None:
        write_file(html_file, to_html(result).encode())
        if not as_json:
            say(f"wrote {html_file}")
    if result.failed and len(result.failed) == len(result.rows):
        raise HashaeError(f"no variant finished; the first: {result.failed[0].variant}: {result.failed[0].error}")


def _one_by_one(progress: ProgressLine) -> Callable[[str, StepReport | None], None]:
    """Return what shows the steps of the variant that is trained."""
    from hashae.comparison.run import NO_LIMIT

    def tell(variant: str, report: StepReport | None) -> None:
        if report is None:
            progress.update(variant, 0, None)
        else:
            # Until the first steps are timed, their number is not known.
            total = report.steps if report.steps < NO_LIMIT else None
            progress.update(variant, report.step, total, f"loss {report.loss:.3f}")

    return tell


def _together(progress: ProgressLine) -> Callable[[str, StepReport | None], None]:
    """Return what shows the steps of all variants, and which are trained now."""
    reached: dict[str, StepReport] = {}

    def tell(variant: str, report: StepReport | None) -> None:
        if report is not None:
            reached[variant] = report
            busy = ", ".join(name for name, one in reached.items() if one.step < one.steps)
            progress.update("training", sum(one.step for one in reached.values()), None, busy or "measuring")

    return tell


def _print(result: Comparison) -> None:
    from hashae.cli.output import print_table, say
    from hashae.comparison.table import cell, lines, used_columns

    found = lines(result)
    columns = [column for column in used_columns(found) if column.short]
    if found:
        print_table(
            f"{result.data.name}: {len(result.data.train):,} images, {len(result.data.test):,} questions, "
            f"{result.settings['bits']} bits",
            ["variant", *(column.short for column in columns)],
            [[line.variant, *(cell(line, column) for column in columns)] for line in found],
        )
    for row in result.failed:
        say(f"{row.variant}{'' if row.seed is None else f' (seed {row.seed})'} failed: {row.error}")


def _seeds(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise click.UsageError(f"--seeds is {text!r}; expected whole numbers with commas between, for example 0,1,2")
    numbers = [int(part) for part in parts]
    if len(set(numbers)) < len(numbers):
        raise click.UsageError(f"--seeds is {text!r}; expected each number once")
    return numbers
