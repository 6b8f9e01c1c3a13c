"""What ``dedup --against`` and ``leaks`` share: they compare two sets of pictures, and show the same."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from hashae.indexer import Collection
    from hashae.indexer.overlap import OverlapReport

SHOWN_PAIRS = 10


def prepare(
    collection: Collection,
    folders: list[Path | None],
    encoder_name: str | None,
    *,
    radius: int | None,
    budget: float,
    calibrate: bool,
    quiet: bool,
    workers: int,
) -> None:
    """Give the collection an encoder, bring the folders up to date, and calibrate if it is time to."""
    from hashae.cli.calibrate import calibrate_if_due
    from hashae.cli.learn import bring_up_to_date, ensure_encoder, refuse_nothing
    from hashae.cli.output import print_failures

    changed = ensure_encoder(collection, folders[0], encoder_name, budget=budget, quiet=quiet, workers=workers)
    for folder in folders:
        summary = bring_up_to_date(collection, folder, workers=workers, quiet=quiet)
        if not quiet:
            print_failures(summary.failed)
        refuse_nothing(summary, folder)
    if changed:
        bring_up_to_date(collection, None, workers=workers, quiet=quiet)
    if radius is None and calibrate:
        calibrate_if_due(collection, quiet=quiet, workers=workers)


def compare(
    collection: Collection,
    folder: Path | None,
    other: Path | Collection,
    *,
    radius: int | None,
    csv_file: Path | None,
    report_file: Path | None,
    as_json: bool,
) -> OverlapReport:
    """Compare, write the files that are asked for, and print JSON if asked for."""
    from hashae.cli.learn import STAGES
    from hashae.cli.output import print_json, say
    from hashae.cli.progress import ProgressLine
    from hashae.indexer.overlap import write_pairs
    from hashae.indexer.report_files import write_html

    with ProgressLine(quiet=as_json) as progress:
        report = collection.overlap(
            folder,
            other,
            radius=radius,
            on_progress=lambda p: progress.update(STAGES[p.stage], p.done, p.total),
        )
    if as_json:
        print_json(report.to_dict())
    if csv_file is not None:
        write_pairs(report, csv_file)
    if report_file is not None:
        write_html(report.as_groups(), report_file, collection.thumbnail)
        if not as_json:
            say(f"report: {report_file}")
    return report


def print_pairs(report: OverlapReport, sentence: str, side: str) -> None:
    """Print a summary: a sentence, the number of images by tier, the first pairs."""
    from hashae.cli.output import print_table
    from hashae.indexer.report import TIER_TITLES

    click.echo(_safe(f"{sentence} ({report.rule})"))
    if not report.pairs:
        return
    rows = [(TIER_TITLES[tier], f"{count:,}") for tier, count in report.by_tier().items()]
    print_table("", ("how they are the same", side), rows)
    for pair in report.pairs[:SHOWN_PAIRS]:
        click.echo(_safe(f"{pair.image.path}"))
        click.echo(_safe(f"     {pair.match.path}  [{TIER_TITLES[pair.tier]}, {pair.distance} bits]"))
    if len(report.pairs) > SHOWN_PAIRS:
        click.echo(f"and {len(report.pairs) - SHOWN_PAIRS:,} more; see them all with --csv or --json")


def _safe(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
