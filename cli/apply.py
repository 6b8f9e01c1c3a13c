"""``hashae apply``, ``hashae undo`` and ``hashae history``: what touches pictures, and the way back."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hashae.cli.options import collection_path, db_option, json_option
from hashae.place import Place

if TYPE_CHECKING:
    from hashae.indexer.executor import ActionSummary
    from hashae.indexer.journal import Entry

SHOWN = 20
"""Files that are listed; --json lists all."""

WORDS = {
    "list": ("could go", "stays"),
    "trash": ("into the trash", "not into the trash"),
    "move": ("moved", "not moved"),
    "hardlink": ("now a hard link to its keeper", "not linked"),
    "symlink": ("now a symbolic link to its keeper", "not linked"),
    "reflink": ("now shares the blocks of its keeper", "not cloned"),
    "undo": ("back", "not brought back"),
}
ACTIONS = [name for name in WORDS if name != "undo"]
TIERS = {"bytes": "bytes", "pixels": "pixels", "code": "code", "near": "near", "radius": "near"}


@click.command()
@click.argument("plan", type=click.Path(exists=True, dir_okay=False, readable=False, path_type=Path))
@click.option(
    "--action",
    type=click.Choice(ACTIONS),
    default="list",
    show_default=True,
    help="list says what would happen; trash is the desktop's own; move needs --to; links only "
    "replace files of the same bytes.",
)
@click.option(
    "--to",
    type=click.Path(file_okay=False, readable=False),
    help="Folder for move; files keep their place in it, and never replace others.",
)
@click.option(
    "--tier",
    type=click.Choice(list(TIERS)),
    default="pixels",
    show_default=True,
    help="Weakest likeness that is acted on: same bytes, same pixels, same code, or near (radius means the same): look "
    "at the last two yourself.",
)
@click.option("--dry-run", is_flag=True, help="Check everything as for --action, and touch nothing.")
@db_option
@json_option
def apply(plan: Path, action: str, to: str | None, tier: str, dry_run: bool, db: Place | None, as_json: bool) -> None:
    """Do what PLAN allows, which `hashae dedup --plan` wrote and you have read.

    Right before a file is touched, it is checked again: it and its keeper are there, readable, and have the content
    that the plan says. What was done is in the journal of the collection that the plan was made of, or that --db
    names: `hashae undo` takes it back.

    \b
    Examples:
      hashae apply plan.json                               what would happen?
      hashae apply plan.json --action trash
      hashae apply plan.json --action move --to ~/spare
      hashae apply plan.json --action hardlink --dry-run
      hashae apply plan.json --action trash --tier near    also look-alikes
    """
    from hashae.cli.output import print_json
    from hashae.cli.progress import ProgressLine
    from hashae.indexer import Collection
    from hashae.indexer.plan import read_plan

    wanted = read_plan(plan)
    path = Path(wanted.collection) if db is None else db
    with Collection.open(path, create=False) as collection, ProgressLine(quiet=as_json) as progress:
        summary = collection.actions.apply(
            wanted,
            action,
            to=to,
            tier=TIERS[tier],
            dry_run=dry_run,
            origin=os.path.abspath(plan),
            on_progress=lambda p: progress.update("checking and acting", p.done, p.total),
        )
    if as_json:
        print_json({"dry_run": dry_run or action == "list", **_as_dict(summary)})
    else:
        _tell_recovered(summary.recovered)
        _tell(summary)
        if summary.run is not None:
            other = "" if path == collection_path(None) else f" --db {shlex.quote(str(path))}"
            click.echo(_safe(f"take it back with: hashae undo {summary.run}{other}"))
        elif summary.count("would"):
            other = "--action trash" if action == "list" else "the same without --dry-run"
            click.echo(f"nothing was touched; do it with: {other}")
    if summary.outcomes and not summary.count("done", "would"):
        raise click.exceptions.Exit(1)


@click.command()
@click.argument("run", required=False, type=click.IntRange(1))
@db_option
@json_option
def undo(run: int | None, db: Place | None, as_json: bool) -> None:
    """Take back what `hashae apply` did: the run with number RUN, or the newest that is not taken back yet.

    Files come back from the trash (on Linux) or the folder they were moved to; links become files of their own.

    \b
    Examples:
      hashae undo
      hashae undo 3          the numbers are in: hashae history
    """
    from hashae.cli.output import print_json
    from hashae.cli.progress import ProgressLine
    from hashae.indexer import Collection

    with Collection.open(collection_path(db), create=False) as collection, ProgressLine(quiet=as_json) as progress:
        summary = collection.actions.undo(run, on_progress=lambda p: progress.update("bringing back", p.done, p.total))
    if as_json:
        print_json(_as_dict(summary))
    else:
        _tell_recovered(summary.recovered)
        _tell(summary)
    if summary.count("failed") and not summary.count("undone"):
        raise click.exceptions.Exit(1)


@click.command()
@click.argument("run", required=False, type=click.IntRange(1))
@db_option
@json_option
def history(run: int | None, db: Place | None, as_json: bool) -> None:
    """List the runs of `hashae apply`, or the files of the run with number RUN.

    \b
    Examples:
      hashae history
      hashae history 3
      hashae history 3 --json
    """
    from hashae.cli.output import print_json, print_table
    from hashae.indexer import Collection
    from hashae.indexer.human_size import human_size

    with Collection.open(collection_path(db), create=False) as collection:
        recovered = collection.actions.recover()
        runs = collection.actions.history()
        entries = None if run is None else collection.actions.entries(run)
    if as_json:
        print_json([asdict(one) for one in runs] if entries is None else [_entry(entry) for entry in entries])
        return
    _tell_recovered(recovered)
    if entries is not None:
        rows = [
            (entry.state, human_size(entry.size), entry.path, entry.target or "", entry.reason or "")
            for entry in entries
        ]
        print_table(f"run {run}", ("state", "size", "path", "went to", "reason"), rows)
        return
    if not runs:
        click.echo("nothing was done yet; hashae apply PLAN acts on a plan that hashae dedup --plan wrote")
        return
    counts = ("done", "undone", "failed")
    table = [
        (one.id, one.started, one.action, *(one.counts.get(name, 0) for name in counts), human_size(one.bytes_done))
        for one in runs
    ]
    print_table("", ("run", "started", "action", *counts, "size of what is done"), table)


def _tell(summary: ActionSummary) -> None:
    """Print what became of the files: those that were not touched with the reason, and sums."""
    from hashae.indexer.human_size import human_size

    yes, no = WORDS[summary.action]
    good = [outcome for outcome in summary.outcomes if outcome.state in {"done", "would", "undone"}]
    bad = [outcome for outcome in summary.outcomes if outcome.state in {"skipped", "failed"}]
    for outcome in good[:SHOWN]:
        where = f"  -> {outcome.target}" if outcome.target and summary.action == "move" else ""
        click.echo(_safe(f"{outcome.path}{where}  [{outcome.reason}]" if outcome.reason else outcome.path))
    if len(good) > SHOWN:
        click.echo(f"and {len(good) - SHOWN:,} more; see all of them with --json")
    for outcome in bad[:SHOWN]:
        click.echo(_safe(f"{no}: {outcome.path}: {outcome.reason}"), err=True)
    if len(bad) > SHOWN:
        click.echo(f"and {len(bad) - SHOWN:,} more are left as they are; see all of them with --json", err=True)
    size = human_size(sum(outcome.size for outcome in good))
    click.echo(f"{len(good):,} of {len(summary.outcomes):,} files: {yes} ({size})")
    if summary.action in {"list", "trash"} and good:
        tiers = Counter(outcome.tier for outcome in good)
        click.echo("by tier: " + ", ".join(f"{tier} {count:,}" for tier, count in sorted(tiers.items())))


def _tell_recovered(entries: Sequence[Entry]) -> None:
    from hashae.cli.output import say

    if entries:
        say(f"an interrupted run was settled first: {len(entries):,} files")
        for entry in entries[:SHOWN]:
            say(f"  {entry.action} {entry.path}: {entry.state}{f' ({entry.reason})' if entry.reason else ''}")


def _as_dict(summary: ActionSummary) -> dict[str, Any]:
    states = Counter(outcome.state for outcome in summary.outcomes)
    head = {"action": summary.action, "run": summary.run, "counts": dict(states)}
    files = [asdict(outcome) for outcome in summary.outcomes]
    return {**head, "recovered": [_entry(entry) for entry in summary.recovered], "files": files}


def _entry(entry: Entry) -> dict[str, Any]:
    return {**asdict(entry), "content": entry.content.hex()}


def _safe(text: str) -> str:
    """Return a line that stays one line, whatever file names are in it."""
    shown = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
    return shown.encode("utf-8", "backslashreplace").decode("utf-8")
