"""``hashae copy``."""

from __future__ import annotations

from dataclasses import asdict

import click

from hashae.cli.options import PlaceType, json_option
from hashae.place import Place

STAGES = {"copy": "copying rows", "bands": "writing bands", "compare": "comparing"}


@click.command()
@click.argument("origin", metavar="FROM", type=PlaceType())
@click.argument("target", metavar="TO", type=PlaceType())
@json_option
def copy(origin: Place, target: Place, as_json: bool) -> None:
    """Copy the collections of FROM, with encoders, verdicts and history, to TO: a new file, or an empty database.

    Each is a file or postgresql+psycopg://USER@HOST/DATABASE. FROM is only read. A copy that
    was interrupted goes on where it was. At the end all rows of both are counted and
    their checksums compared.

    \b
    Examples:
      hashae copy photos.db postgresql+psycopg://ann@db.local/photos
      hashae copy postgresql+psycopg://ann@db.local/photos backup.db
    """
    from hashae.cli.output import print_json
    from hashae.cli.progress import ProgressLine
    from hashae.indexer.copying import copy_collections

    with ProgressLine(quiet=as_json) as progress:
        summary = copy_collections(
            origin, target, on_progress=lambda p: progress.update(STAGES[p.stage], p.done, p.total)
        )
    if as_json:
        print_json({"from": str(origin), "to": str(target), **asdict(summary)})
        return
    before = f", {summary.before:,} rows of them earlier" if summary.before else ""
    click.echo(
        f"{summary.rows['images']:,} images and {summary.rows['codes']:,} codes copied to {target}{before}; "
        f"all rows are the same (checksum {summary.checksum})"
    )
