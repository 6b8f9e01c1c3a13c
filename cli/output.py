"""What commands print: tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from hashae.indexer.report import Failure

SHOWN_FAILURES = 10


def print_json(value: Any) -> None:
    """Print a value as JSON on standard output; names that are no text keep their escapes."""
    click.echo(json.dumps(value, indent=2))


def say(text: str) -> None:
    """Print a line for people on standard error, whatever file names are in it."""
    click.echo(text.encode("utf-8", "backslashreplace").decode("utf-8"), err=True)


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table on standard output; columns of numbers are right-aligned."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    listed = [[str(cell).encode("utf-8", "backslashreplace").decode("utf-8") for cell in row] for row in rows]
    if title:
        click.echo(title)  # not the table's own: that one is broken at the table's width
    numeric = [bool(listed) and all(row[number][:1].isdigit() for row in listed) for number in range(len(columns))]
    console, table = Console(), Table()
    widths = [max(len(row[number]) for row in [columns, *listed]) for number in range(len(columns))]
    if sum(widths) + 3 * len(columns) + 1 > console.width:
        # Without lines between its columns it may still fit, and no cell has to be broken.
        table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), collapse_padding=True)
    for column, number in zip(columns, numeric, strict=True):
        table.add_column(column, justify="right" if number else "left", overflow="fold")
    for row in listed:
        table.add_row(*(escape(cell) for cell in row))
    console.print(table)


def print_failures(failures: Sequence[Failure]) -> None:
    """List files that could not be used, with reasons, on standard error."""
    if not failures:
        return
    say(f"{len(failures)} file{'s' if len(failures) > 1 else ''} could not be used:")
    for failure in failures[:SHOWN_FAILURES]:
        say(f"  {failure.path}: {failure.reason}")
    if len(failures) > SHOWN_FAILURES:
        say(f"  and {len(failures) - SHOWN_FAILURES} more; all of them: hashae stats --json")
