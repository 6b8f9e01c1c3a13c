"""What ``dedup --against`` and ``leaks`` share: they compare two sets of pictures, and show the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hashae.place import Place

if TYPE_CHECKING:
    from hashae.indexer import Collection
    from hashae.indexer.overlap import OverlapReport

SHOWN_PAIRS = 10


@dataclass(frozen=True, slots=True)
class CrossOptions:
    """Options of a command that compares two sets, as they were given."""

    radius: int | None
    report_file: Path | None
    csv_file: Path | None
    encoder_name: str | None
    budget: float
    calibrate: bool
    workers: int
    as_json: bool


def prepare(collection: Collection, folders: Sequence[Path | str | None], options: CrossOptions) -> None:
    """Give the collection an encoder, bring the folders up to date, and calibrate if it is time to."""
    from hashae.cli.calibrate import calibrate_if_due
    from hashae.cli.learn import bring_up_to_date, ensure_encoder, refuse_nothing
    from hashae.cli.output import print_failures

    quiet, workers = options.as_json, options.workers
    changed = ensure_encoder(
        collection, folders[0], options.encoder_name, budget=options.budget, quiet=quiet, workers=workers
    )
    for folder in folders:
        summary = bring_up_to_date(collection, folder, workers=workers, quiet=quiet)
        if not quiet:
            print_failures(summary.failed)
        refuse_nothing(summary, folder)
    if changed:
        bring_up_to_date(collection, None, workers=workers, quiet=quiet)
    if options.radius is None and options.calibrate:
        calibrate_if_due(collection, quiet=quiet, workers=workers)


def compare(
    collection: Collection, folder: Path | str | None, other: Path | str | Collection, options: CrossOptions
) -> OverlapReport:
    """Compare, write the files that are asked for, and print JSON if asked for."""
    from hashae.cli.learn import STAGES
    from hashae.cli.output import print_json, say
    from hashae.cli.progress import ProgressLine
    from hashae.indexer.overlap import write_pairs
    from hashae.indexer.pixels import thumbnail
    from hashae.indexer.report_page import write_html

    with ProgressLine(quiet=options.as_json) as progress:
        report = collection.overlap(
            folder,
            other,
            radius=options.radius,
            on_progress=lambda p: progress.update(STAGES[p.stage], p.done, p.total),
        )
    if options.as_json:
        print_json(report.to_dict())
    if options.csv_file is not None:
        write_pairs(report, options.csv_file)
    if options.report_file is not None:
        write_html(report.as_groups(), options.report_file, thumbnail, threads=options.workers)
        if not options.as_json:
            say(f"report: {options.report_file}")
    return report


def compare_with(db: Place, folder: Path | str | None, other: Place | str, options: CrossOptions) -> None:
    """Find what of a folder of a collection is in another folder, or in another collection file, and print it."""
    from hashae.indexer import Collection

    with Collection.open(db, threads=options.workers) as collection:
        if isinstance(other, str) or (isinstance(other, Path) and other.is_dir()):
            prepare(collection, [folder, other], options)
            report = compare(collection, folder, other, options)
        else:
            prepare(collection, [folder], options)
            with Collection.open(other, create=False, threads=options.workers) as second:
                report = compare(collection, folder, second, options)
    if not options.as_json:
        where = f" of {folder}" if folder is not None else ""
        found = f"{len(report.pairs):,} of {report.images:,} images{where} are among the {report.others:,} of {other}"
        print_pairs(report, found, "images already there")


def print_pairs(report: OverlapReport, sentence: str, column: str) -> None:
    """Print a sentence, the number of images by tier, and the first pairs."""
    from hashae.cli.output import print_table
    from hashae.indexer.report import TIER_TITLES

    click.echo(_safe(f"{sentence} ({report.rule})"))
    if not report.pairs:
        return
    rows = [(TIER_TITLES[tier], f"{count:,}") for tier, count in report.by_tier().items()]
    print_table("", ("how they are the same", column), rows)
    for pair in report.pairs[:SHOWN_PAIRS]:
        click.echo(_safe(pair.image.path))
        click.echo(_safe(f"     {pair.match.path}  [{TIER_TITLES[pair.tier]}, {pair.distance} bits]"))
    if len(report.pairs) > SHOWN_PAIRS:
        click.echo(f"and {len(report.pairs) - SHOWN_PAIRS:,} more; see them all with --csv or --json")


def _safe(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
