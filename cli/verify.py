"""``hashae verify``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hashae.cli.options import collection_path, db_option, json_option, workers_option
from hashae.place import Place

if TYPE_CHECKING:
    from hashae.indexer import Collection

WORDS = {"images": "pictures", "verdicts": "verdicts", "journal": "actions on files", "encoders": "encoders"}
"""What people want to know of a damaged file: table -> what its rows are."""


@click.command()
@click.option("--repair", is_flag=True, help="Put right what is wrong; a damaged file is kept beside a new one.")
@click.option(
    "--sample", type=click.IntRange(min=0), default=100, show_default=True, help="Pictures to encode again and compare."
)
@db_option
@workers_option
@json_option
def verify(repair: bool, sample: int, db: Place | None, workers: int, as_json: bool) -> None:
    """Look whether the collection is sound: the file, its codes and bands, some pictures, and the index beside it.

    Exit status 1 means that something is wrong, and still is. With --repair, whatever
    can be computed is computed anew; of a damaged file, all rows that can be read are
    put into a new one. No picture is touched.

    \b
    Examples:
      hashae verify
      hashae verify --repair
      hashae verify --sample 1000 --json
    """
    from hashae.cli.output import print_json
    from hashae.db.salvage import integrity, readable, salvage
    from hashae.db.session import check_collection_file
    from hashae.indexer import Collection

    path = collection_path(db)
    if isinstance(path, Path):
        path = check_collection_file(path)
    # What a server's own pages look like is for its own tools: pg_amcheck.
    damage = integrity(path) if isinstance(path, Path) else []
    told: dict[str, Any] = {"collection": str(path), "damage": damage, "findings": []}
    say = _speaker(quiet=as_json)
    whole = True
    if damage and isinstance(path, Path):
        say(f"{path} is damaged; SQLite says:")
        for line in told["damage"]:
            say(f"  {line}")
        told["readable"] = readable(path)
        if not repair:
            say(f"can be saved: {_counts(told['readable'])}; codes are computed again; run: hashae verify --repair")
            whole = False
        else:
            kept, told["saved"] = salvage(path)
            told["kept"] = str(kept)
            say(f"saved: {_counts(told['saved'])}; the damaged file is kept as {kept}")
    if whole:
        with Collection.open(path, create=False, threads=workers) as collection:
            whole = _look_through(collection, told, repair=repair, sample=sample, workers=workers, quiet=as_json)
    told["sound"] = whole
    if as_json:
        print_json(told)
    elif whole and not told["damage"] and not told["findings"]:
        click.echo(f"{path} is sound; {told['sampled']:,} pictures encoded again, each with the same code")
    elif whole:
        click.echo(f"{path} is sound now")
    if not whole:
        raise click.exceptions.Exit(1)


def _look_through(
    collection: Collection, told: dict[str, Any], *, repair: bool, sample: int, workers: int, quiet: bool
) -> bool:
    """Verify an open collection, and repair it if asked; return whether all is well then."""
    from hashae.cli.learn import bring_up_to_date
    from hashae.cli.progress import ProgressLine

    say = _speaker(quiet=quiet)
    with ProgressLine(quiet=quiet) as progress:
        check = collection.verify(
            sample=sample, on_progress=lambda p: progress.update("encoding again", p.done, p.total)
        )
    told["sampled"] = check.sampled
    told["findings"] = [asdict(finding) for finding in check.findings]
    for finding in check.findings:
        say(f"  {finding.text}")
    wrong = bool(check.findings)
    lost = bool(told["damage"])
    if repair and (wrong or lost):
        collection.repair(check)
        if not collection.has_encoder:
            say("no encoder could be saved; run: hashae index --encoder NAME")
            return False
        if (check.reads_again or lost) and collection.stats()["folders"]:
            bring_up_to_date(collection, None, workers=workers, quiet=quiet)
        again = collection.verify(sample=0)
        return not [finding for finding in again.findings if "drive" not in finding.text]
    if wrong:
        say("to put it right: hashae verify --repair")
    return not wrong


def _counts(rows: dict[str, int]) -> str:
    return ", ".join(f"{rows[table]:,} {word}" for table, word in WORDS.items() if table in rows) or "nothing"


def _speaker(*, quiet: bool) -> Any:
    from hashae.cli.output import say

    return (lambda _text: None) if quiet else say
