"""``hashae dedup``: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hashae.cli.options import (
    PICTURES,
    OtherType,
    PicturesType,
    budget_option,
    calibrate_option,
    collection_path,
    db_option,
    encoder_option,
    json_option,
    ray_option,
    workers_option,
)
from hashae.cli.report_options import FILE, check_targets, report_options, to_terminal, write_reports
from hashae.place import Place

if TYPE_CHECKING:
    from hashae.indexer.report import DedupReport

FOLDER = PicturesType(click.Path(exists=True, file_okay=False, readable=False, resolve_path=True))
SHOWN_GROUPS = 5


@click.command()
@click.argument("folder", required=False, type=PICTURES)
@click.option("--radius", type=click.IntRange(0), help="Largest distance in bits.  [default: calibrated]")
@click.option(
    "--linkage",
    type=click.Choice(["star", "complete", "component"]),
    default="star",
    show_default=True,
    help="star: all of a group match its representative. complete: every two match. component: whatever is joined "
    "through others; chains are marked.",
)
@click.option(
    "--method",
    type=click.Choice(["auto", "exact", "approximate"]),
    default="auto",
    show_default=True,
    help="approximate is faster for millions of pictures and misses some, how many is measured and told; auto is exact "
    "up to a million.",
)
@click.option(
    "--against",
    metavar="OTHER",
    type=OtherType(),
    help="What of FOLDER is already in OTHER, a folder or another collection file?",
)
@report_options("--report")
@click.option("--plan", "plan_file", type=FILE, help="Write a plan for `hashae apply`, to be read and edited first.")
@click.option(
    "--keep",
    "keep_rules",
    metavar="RULES",
    help="Which picture of a group to keep: rules with commas between them, the first that can decide does. pixels, "
    "format (lossless first), size, metadata (EXIF, position, stars), folder (see --prefer), oldest (date of the "
    "camera, else of the file), path (shortest).  [default: pixels,format,size,oldest,path]",
)
@click.option("--prefer", multiple=True, type=FOLDER, help="Keep what lies in this folder; repeat it, the best first.")
@click.option("--protect", multiple=True, type=FOLDER, help="Never offer what lies in this folder; can be repeated.")
@db_option
@encoder_option
@budget_option
@calibrate_option
@workers_option
@ray_option
@json_option
def dedup(
    folder: Path | str | None,
    radius: int | None,
    linkage: str,
    method: str,
    against: Place | str | None,
    report_file: Path | None,
    csv_file: Path | None,
    lines_file: Path | None,
    markdown_file: Path | None,
    plan_file: Path | None,
    keep_rules: str | None,
    prefer: tuple[str, ...],
    protect: tuple[str, ...],
    db: Place | None,
    encoder_name: str | None,
    budget: float,
    no_calibrate: bool,
    workers: int,
    ray_address: str | None,
    as_json: bool,
) -> None:
    """Find groups of pictures in FOLDER, or in the whole collection, that show the same.

    New and changed files are indexed first. Nothing is changed or deleted: the answer is a table, and a report or a
    plan if asked for. What `hashae verdict` was told is honoured.

    \b
    Examples:
      hashae dedup ~/Pictures --report report.html
      hashae dedup ~/Pictures --radius 12 --csv groups.csv
      hashae dedup ~/Scans --encoder train        learn a code from these pictures first
      hashae dedup --keep metadata,pixels,size --prefer ~/Pictures/best --protect ~/Pictures/raw
      hashae dedup ~/Pictures --plan plan.json    then: hashae apply plan.json
      hashae dedup --json > groups.json           all folders indexed before; hashae report groups.json -o report.html
      hashae dedup ~/Pictures --markdown -        for a ticket
      hashae dedup ~/Camera --against ~/Pictures --csv known.csv      what is there already?
      hashae dedup --ray=auto                     compare the codes on the cluster of this machine
    """
    from hashae.cli.calibrate import calibrate_if_due
    from hashae.cli.cluster import hint_at_one_process, opened_cluster
    from hashae.cli.learn import STAGES, bring_up_to_date, ensure_encoder, refuse_nothing
    from hashae.cli.output import print_failures, say
    from hashae.cli.progress import ProgressLine
    from hashae.images.scan import check_source
    from hashae.indexer import Collection
    from hashae.indexer.keep_rules import keep_policy
    from hashae.indexer.plan import plan_of, write_plan
    from hashae.indexer.report_files import json_pieces

    if folder is not None:
        check_source(folder)
    policy = keep_policy(keep_rules, prefer=prefer, protect=protect)
    check_targets(report=report_file, csv=csv_file, jsonl=lines_file, markdown=markdown_file, plan=plan_file)
    if as_json and to_terminal(markdown_file):
        raise click.UsageError("--json and --markdown - both want standard output; give one of them a file")
    if against is not None:
        if plan_file or lines_file or markdown_file or linkage != "star" or method != "auto" or ray_address:
            raise click.UsageError(
                "--against makes pairs, not groups: it takes no --plan, --jsonl, --markdown, --linkage, --method, --ray"
            )
        from hashae.cli.across import CrossOptions, compare_with

        options = CrossOptions(radius, report_file, csv_file, encoder_name, budget, not no_calibrate, workers, as_json)
        compare_with(collection_path(db), folder, against, options)
        return
    with (
        opened_cluster(ray_address, workers=workers, quiet=as_json) as cluster,
        Collection.open(collection_path(db), threads=workers) as collection,
    ):
        changed = ensure_encoder(collection, folder, encoder_name, budget=budget, quiet=as_json, workers=workers)
        summary = bring_up_to_date(collection, folder, workers=workers, quiet=as_json, cluster=cluster)
        if changed and folder is not None:
            bring_up_to_date(collection, None, workers=workers, quiet=as_json, cluster=cluster)
        if radius is None and not no_calibrate:
            calibrate_if_due(collection, quiet=as_json, workers=workers)
        hint_at_one_process(cluster, len(collection), quiet=as_json)
        with ProgressLine(quiet=as_json) as progress:
            report = collection.dedup(
                folder,
                radius=radius,
                linkage=linkage,
                method=method,
                policy=policy,
                on_progress=lambda p: progress.update(STAGES[p.stage], p.done, p.total),
                cluster=cluster,
            )
        if as_json:
            for piece in json_pieces(report):
                click.echo(piece, nl=False)
        else:
            print_failures(summary.failed)
            if not to_terminal(markdown_file):
                _print_summary(report)
                _print_featureless(report)
        write_reports(
            report,
            report_file=report_file,
            csv_file=csv_file,
            lines_file=lines_file,
            markdown_file=markdown_file,
            workers=workers,
            quiet=as_json,
        )
        if plan_file is not None:
            plan = plan_of(report, protect=protect)
            write_plan(plan, plan_file)
            count = f"{len(plan.actions):,} files could go"
            if not as_json:
                say(f"plan: {plan_file}; {count}; read it, then: hashae apply {plan_file}")
        refuse_nothing(summary, folder)


def _print_summary(report: DedupReport) -> None:
    from hashae.cli.output import print_table
    from hashae.indexer.human_size import human_size
    from hashae.indexer.report import TIER_TITLES

    _print_verdicts(report)
    if not report.groups:
        click.echo(f"no duplicates among {report.images:,} images ({report.rule})")
        return
    rows = [
        (TIER_TITLES[tier], f"{counts['groups']:,}", f"{counts['images']:,}", human_size(counts["bytes"]))
        for tier, counts in report.by_tier().items()
    ]
    rows.append(("total", f"{len(report.groups):,}", f"{report.duplicates:,}", human_size(report.bytes_to_free)))
    title = f"{report.images:,} images, {report.rule}"
    print_table(title, ("how they are the same", "groups", "spare images", "could be freed"), rows)
    for group in report.groups[:SHOWN_GROUPS]:
        keeper = group.keeper
        click.echo(_safe(f"keep {keeper.path}  [{keeper.reason}]"))
        for image in group.images[1:4]:
            click.echo(_safe(f"     {image.path}  [{TIER_TITLES[image.tier]}, {image.distance} bits; {image.reason}]"))
        if len(group.images) > 4:
            click.echo(f"     and {len(group.images) - 4} more")
    if len(report.groups) > SHOWN_GROUPS:
        click.echo(f"and {len(report.groups) - SHOWN_GROUPS:,} more groups; see them all with --report report.html")


def _print_featureless(report: DedupReport) -> None:
    count = len(report.featureless)
    if count:
        what = "1 image shows" if count == 1 else f"{count:,} images show"
        click.echo(
            f"{what} next to nothing (blank pages, black frames): duplicates only of the same bytes or pixels; "
            "listed by --report and --json"
        )


def _print_verdicts(report: DedupReport) -> None:
    from hashae.cli.output import say

    if report.ignored:
        groups = "1 group" if report.ignored == 1 else f"{report.ignored:,} groups"
        say(f"left out: {groups} that you said to ignore; see: hashae verdict list")
    if report.separated:
        pairs = "1 pair" if report.separated == 1 else f"{report.separated:,} pairs"
        say(f"kept apart: {pairs} that you said are no duplicates; see: hashae verdict list")


def _safe(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
