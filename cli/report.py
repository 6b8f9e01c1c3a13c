"""``hashae report``: a saved report, written once more as something else."""

from __future__ import annotations

from pathlib import Path

import click

from hashae.cli.options import workers_option
from hashae.cli.report_options import check_targets, report_options, write_reports


def _print_schema(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from importlib.resources import files

        click.echo(files("hashae.indexer").joinpath("report.schema.json").read_text("utf-8"), nl=False)
        context.exit()


@click.command()
@click.argument("saved", type=click.Path(readable=False, path_type=Path))
@report_options("-o", "--output")
@click.option(
    "--schema",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_schema,
    help="Print the JSON Schema of saved reports, and stop.",
)
@workers_option
def report(
    saved: Path,
    report_file: Path | None,
    csv_file: Path | None,
    lines_file: Path | None,
    markdown_file: Path | None,
    workers: int,
) -> None:
    """Write the report in SAVED, which `hashae dedup --json` or `--jsonl` made, as a page or a table.

    Nothing is searched again. Pictures are read for the page, where they are still in their places.

    \b
    Examples:
      hashae dedup ~/Pictures --json > groups.json
      hashae report groups.json -o report.html
      hashae report groups.json --markdown -      for a terminal or a ticket
      hashae report groups.jsonl --csv groups.csv
      hashae report --schema                      what is in the JSON files
    """
    from hashae.indexer.report_reading import read_report

    if not any((report_file, csv_file, lines_file, markdown_file)):
        raise click.UsageError("nothing to write; give -o report.html, --csv, --jsonl or --markdown")
    check_targets(output=report_file, csv=csv_file, jsonl=lines_file, markdown=markdown_file)
    write_reports(
        read_report(saved),
        report_file=report_file,
        csv_file=csv_file,
        lines_file=lines_file,
        markdown_file=markdown_file,
        workers=workers,
    )
