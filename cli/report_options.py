"""The options that say as what to write a report, and what they do: shared by ``dedup`` and ``report``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from hashae.indexer.report import DedupReport

F = TypeVar("F", bound=Callable[..., Any])

FILE = click.Path(dir_okay=False, path_type=Path)
OUTPUT = click.Path(dir_okay=False, allow_dash=True, path_type=Path)


def report_options(*names: str) -> Callable[[F], F]:
    """Add the options ``--csv``, ``--jsonl``, ``--markdown`` and, under `names`, the one for the page."""
    page = "Write a self-contained HTML page with thumbnails."
    lines = "Write one line of JSON a group, after a line of summary; for very many groups."

    def add(function: F) -> F:
        for option in (
            click.option("--markdown", "markdown_file", type=OUTPUT, help="Write Markdown; - for standard output."),
            click.option("--jsonl", "lines_file", type=FILE, help=lines),
            click.option("--csv", "csv_file", type=FILE, help="Write one row an image."),
            click.option(*names, "report_file", type=FILE, help=page),
        ):
            function = option(function)
        return function

    return add


def to_terminal(target: Path | None) -> bool:
    """Return True for a target that is standard output."""
    return target is not None and str(target) == "-"


def check_targets(**files: Path | None) -> None:
    """Refuse files that cannot be written, before the work and not after it."""
    from hashae.indexer.new_file import check_target

    for option, target in files.items():
        if target is not None and not to_terminal(target):
            check_target(target, option=f"--{option}")


def write_reports(
    report: DedupReport,
    *,
    report_file: Path | None,
    csv_file: Path | None,
    lines_file: Path | None,
    markdown_file: Path | None,
    workers: int,
    quiet: bool = False,
) -> None:
    """Write all files that are asked for; the page is told of on standard error, unless `quiet`."""
    from hashae.cli.output import say
    from hashae.cli.progress import ProgressLine
    from hashae.indexer.pixels import thumbnail
    from hashae.indexer.report_files import write_csv, write_json_lines
    from hashae.indexer.report_markdown import markdown_lines, write_markdown
    from hashae.indexer.report_page import write_html

    if csv_file is not None:
        write_csv(report, csv_file)
    if lines_file is not None:
        write_json_lines(report, lines_file)
    if markdown_file is not None and to_terminal(markdown_file):
        for line in markdown_lines(report):
            click.echo(line)
    elif markdown_file is not None:
        write_markdown(report, markdown_file)
    if report_file is not None:
        with ProgressLine(quiet=quiet) as progress:
            write_html(
                report,
                report_file,
                thumbnail,
                threads=workers,
                on_progress=lambda done, total: progress.update("picturing groups", done, total),
            )
        if not quiet:
            say(f"report: {report_file}")
