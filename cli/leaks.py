"""``hashae leaks``: near-duplicates across two sets of pictures, such as training and test data."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from hashae.cli.options import (
    PICTURES,
    PlaceType,
    budget_option,
    calibrate_option,
    encoder_option,
    json_option,
    workers_option,
)
from hashae.place import Place

FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("train", type=PICTURES)
@click.argument("test", type=PICTURES)
@click.option("--radius", type=click.IntRange(0), help="Largest distance in bits.  [default: calibrated]")
@click.option("--fail", is_flag=True, help="Exit with status 1 if there are leaks, for continuous integration.")
@click.option("--report", "report_file", type=FILE, help="Write a self-contained HTML page with thumbnails.")
@click.option("--csv", "csv_file", type=FILE, help="Write one row a pair.")
@click.option(
    "--db",
    type=PlaceType(),
    metavar="FILE|URL",
    help="Keep what is indexed in this collection.  [default: a temporary one]",
)
@encoder_option
@budget_option
@calibrate_option
@workers_option
@json_option
@click.pass_context
def leaks(
    ctx: click.Context,
    train: Path | str,
    test: Path | str,
    radius: int | None,
    fail: bool,
    report_file: Path | None,
    csv_file: Path | None,
    db: Place | None,
    encoder_name: str | None,
    budget: float,
    no_calibrate: bool,
    workers: int,
    as_json: bool,
) -> None:
    """Find pictures of TEST that have a copy in TRAIN: near-duplicates that make a test set easier than it looks.

    For every picture of TEST its best match in TRAIN is shown. Exit status 0 whether or not there are any, but for
    --fail.

    \b
    Examples:
      hashae leaks data/train data/test
      hashae leaks data/train data/test --report leaks.html --csv leaks.csv
      hashae leaks data/train data/test --fail        in a build: status 1 if there are leaks
      hashae leaks data/train data/test --db leaks.db --json
    """
    from hashae.cli.across import CrossOptions, compare, prepare, print_pairs
    from hashae.images.scan import check_source
    from hashae.indexer import Collection
    from hashae.indexer.new_file import check_target

    for folder in (train, test):
        check_source(folder)
    for option, target in (("--report", report_file), ("--csv", csv_file)):
        if target is not None:
            check_target(target, option=option)  # before the work, not after it
    options = CrossOptions(radius, report_file, csv_file, encoder_name, budget, not no_calibrate, workers, as_json)
    with ExitStack() as stack:
        if db is None:
            import platformdirs

            cache = platformdirs.user_cache_path("hashae", ensure_exists=True)
            db = Path(stack.enter_context(TemporaryDirectory(prefix="leaks-", dir=cache))) / "leaks.db"
        collection = stack.enter_context(Collection.open(db, threads=workers))
        prepare(collection, [train, test], options)
        report = compare(collection, test, train, options)
    if not as_json:
        found = len(report.pairs)
        print_pairs(
            report,
            f"{found:,} of {report.images:,} images of {test} ({report.share:.2%}) have a copy among the "
            f"{report.others:,} of {train}",
            f"images of {Path(test).name or test}",
        )
    if fail and report.pairs:
        ctx.exit(1)
