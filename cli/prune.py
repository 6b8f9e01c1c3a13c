"""``hashae prune``."""

from __future__ import annotations

from pathlib import Path

import click

from hashae.cli.options import PICTURES, collection_path, db_option, json_option
from hashae.place import Place

SHOWN = 10


@click.command()
@click.argument("folder", required=False, type=PICTURES)
@click.option("--yes", is_flag=True, help="Forget them; without it they are only listed.")
@db_option
@json_option
def prune(folder: Path | str | None, yes: bool, db: Place | None, as_json: bool) -> None:
    """Forget pictures of FOLDER, or of all folders, whose files are gone for good.

    They are those that `hashae index` found missing. No file is touched, and verdicts
    stay. Pictures of a folder that is missing or empty now are kept: its drive may
    be away.

    \b
    Examples:
      hashae prune                  list what would be forgotten
      hashae prune --yes
      hashae prune ~/Pictures/2019 --yes
    """
    from hashae.cli.output import print_json, say
    from hashae.indexer import Collection

    with Collection.open(collection_path(db), create=False) as collection:
        missing = collection.missing(folder)
        forgotten = collection.forget_missing(missing) if yes else 0
    paths = [path for _, path in missing.gone]
    if as_json:
        print_json({"gone": paths, "kept": missing.away, "forgotten": forgotten})
        return
    for path in paths[:SHOWN]:
        say(f"  {path}")
    if len(paths) > SHOWN:
        say(f"  and {len(paths) - SHOWN:,} more; all of them: hashae prune --json")
    if yes:
        click.echo(f"{forgotten:,} missing pictures forgotten; no file was touched")
    elif paths:
        click.echo(f"{len(paths):,} missing pictures would be forgotten; to do it: hashae prune --yes")
    else:
        click.echo("no picture is missing for good")
    if missing.away:
        say(f"{missing.away:,} more are kept: their folder is missing or empty now; is its drive away?")
