"""``hashae calibrate``: measure how precise a radius is, on edited copies of a collection's own pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hashae.cli.options import PICTURES, collection_path, db_option, json_option, workers_option
from hashae.place import Place

if TYPE_CHECKING:
    from hashae.indexer import Collection
    from hashae.indexer.calibrate import Measurement, Sampling
    from hashae.indexer.calibrated import Calibration
    from hashae.precision import Curve

SHOWN = (-16, -12, -8, -4, -2, 0, 2, 4, 8, 12, 16)
"""Bits from the chosen threshold that have a row in the table."""

WEAKEST = 6
"""Edits with the lowest recall that are named."""


@click.command()
@click.argument("folder", required=False, type=PICTURES)
@click.option("--precision", type=float, default=0.999, show_default=True, help="Share of right pairs to promise.")
@click.option(
    "--copies", type=float, default=1.0, show_default=True, help="Assumed share of the images that have an edited copy."
)
@click.option("--sample", type=int, default=200, show_default=True, help="Pictures to edit.")
@click.option("--edits", metavar="NAMES", help="Edits, with commas between them.  [default: all but mirror]")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the sample and the edits.")
@click.option("--plot", "plot_file", type=click.Path(dir_okay=False, path_type=Path), help="Draw the curves, as PNG.")
@db_option
@workers_option
@json_option
def calibrate(
    folder: Path | str | None,
    precision: float,
    copies: float,
    sample: int,
    edits: str | None,
    seed: int,
    plot_file: Path | None,
    db: Place | None,
    workers: int,
    as_json: bool,
) -> None:
    """Choose the radius that keeps a promised precision in this collection.

    Copies of a sample of its pictures, or of those in FOLDER, are edited in memory and encoded: which radius finds
    them, and at which do other pictures come in? The largest that keeps the promise, with a bound at 95 %
    confidence, is stored; dedup uses it from then on. New and changed files are indexed first.

    \b
    Examples:
      hashae calibrate                                 the pictures indexed before
      hashae calibrate ~/Pictures --plot curves.png
      hashae calibrate --precision 0.99 --copies 0.1
      hashae calibrate --edits "crop 10 %,rotate 4"
    """
    from hashae.cli.learn import bring_up_to_date, ensure_encoder, refuse_nothing
    from hashae.cli.output import print_json
    from hashae.images.scan import check_source
    from hashae.indexer import Collection
    from hashae.indexer.calibrate import DEFAULT_EDITS, Sampling
    from hashae.promise import Promise

    names = DEFAULT_EDITS if edits is None else tuple(name.strip() for name in edits.split(",") if name.strip())
    sampling = Sampling(Promise(precision, copies), sample, names, seed)
    if folder is not None:
        check_source(folder)
    if plot_file is not None:
        from hashae.cli.plot import check_plot

        check_plot(plot_file)  # before the work, not after it
    with Collection.open(collection_path(db), threads=workers) as collection:
        changed = ensure_encoder(collection, folder, None, budget=0, quiet=as_json, workers=workers)
        summary = bring_up_to_date(collection, folder, workers=workers, quiet=as_json)
        if changed and folder is not None:
            bring_up_to_date(collection, None, workers=workers, quiet=as_json)
        refuse_nothing(summary, folder)
        found = _with_progress(collection, folder, sampling, quiet=as_json, workers=workers)
    if as_json:
        curves = {"own": None if found.own is None else found.own.rows(), "one": found.one.rows()}
        print_json({"calibration": found.calibration.to_dict(), "curves": curves})
    else:
        _print(found)
    if plot_file is not None:
        from hashae.cli.output import say
        from hashae.cli.precision_plot import draw

        draw(found, plot_file)
        if not as_json:
            say(f"plot: {plot_file}")


def calibrate_if_due(collection: Collection, *, quiet: bool, workers: int) -> Calibration | None:
    """Calibrate quickly, unasked, where that is due; say what was found, or why it could not be done."""
    from hashae.cli.output import say
    from hashae.errors import HashaeError
    from hashae.indexer.calibrate import quick_sampling

    if not collection.calibration_due:
        return None
    try:
        found = _with_progress(collection, None, quick_sampling(collection.calibration), quiet=quiet, workers=workers)
    except HashaeError as error:
        say(f"not calibrated: {error}")
        return None
    calibration = found.calibration
    if not quiet:
        say(
            f"{calibration.words}: finds {calibration.recall:.0%} of strongly and weakly edited copies of "
            f"{calibration.sample} pictures; more with: hashae calibrate"
        )
    return calibration


def _with_progress(
    collection: Collection, folder: Path | str | None, sampling: Sampling, *, quiet: bool, workers: int
) -> Measurement:
    from hashae.cli.learn import STAGES
    from hashae.cli.progress import ProgressLine

    with ProgressLine(quiet=quiet) as progress:
        return collection.calibrate(
            folder,
            sampling,
            workers=workers,
            on_progress=lambda p: progress.update(STAGES[p.stage], p.done, p.total),
        )


def _print(found: Measurement) -> None:
    from hashae.cli.output import print_table

    calibration = found.calibration
    columns = ("recall", "precision", "at least", "others seen")
    if found.own is not None:
        print_table(_title("own radius for each image", found.own), ("tau", *columns), _rows(found.own, "+.2f"))
    print_table(_title("one radius for all images", found.one), ("radius", *columns), _rows(found.one, "d"))
    for line in sentences(calibration):
        click.echo(line)


def _title(rule: str, curve: Curve) -> str:
    return rule if curve.chosen is not None else f"{rule}: none keeps the promise"


def _rows(curve: Curve, form: str) -> list[tuple[str, ...]]:
    """Return rows around the chosen threshold, which has a star."""
    centre = curve.thresholds[curve.chosen or 0]
    rows: list[tuple[str, ...]] = []
    for place, threshold in enumerate(curve.thresholds):
        if threshold - centre in SHOWN:
            star = " *" if place == curve.chosen else ""
            share = (f"{curve.recall[place]:.3f}", f"{curve.expected[place]:.5f}", f"{curve.at_least[place]:.5f}")
            rows.append((f"{threshold.item():{form}}{star}", *share, f"{curve.false[place]:,}"))
    return rows


def sentences(calibration: Calibration) -> list[str]:
    """Return what a calibration means, in words."""
    promise = f"{100 * calibration.precision:.10g} %"
    own = calibration.tau is not None
    rule = (
        f"own radius for each image, tau {calibration.tau:+.2f}" if own else f"one radius of {calibration.radius} bits"
    )
    lines = []
    if calibration.kept:
        lines.append(
            f"{rule}: at least {promise} of the pairs reported are right, if {calibration.copies:.0%} of the images "
            f"have an edited copy; {calibration.recall:.1%} of those are found"
        )
    else:
        lines.append(f"no radius keeps {promise}; only equal codes match: promise less with --precision")
    pairs = calibration.pairs
    if calibration.counted:
        lines.append("counted: so many pairs of pictures were compared that the bound needs nothing else")
    else:
        lines.append(
            f"extrapolated: {calibration.sample:,} edited pictures are too few to count pairs so rare; their share is "
            f"that of the fitted tail of {pairs['different']:,} pairs of different pictures"
        )
    lines.append(
        f"{pairs['false']:,} of {pairs['others']:,} pairs of an edited copy and another picture match; true copies "
        "that the collection holds are among them"
    )
    if pairs["suspected"]:
        lines.append(f"left out: {pairs['suspected']:,} pairs that may be copies of one picture")
    if calibration.borrowed:
        lines.append(
            f"borrowed: {calibration.borrowed:,} reference codes of the encoder stand in for different pictures; "
            f"{calibration.images:,} images are too few"
        )
    weakest = sorted(calibration.edits.items(), key=lambda item: item[1])[:WEAKEST]
    lines.append("found least: " + ", ".join(f"{edit} {share:.0%}" for edit, share in weakest))
    return lines
