"""``hashae encoders``."""

from __future__ import annotations

import click

from hashae.cli.options import collection_path, db_option, json_option
from hashae.place import Place


@click.group(invoke_without_command=True)
@db_option
@json_option
@click.pass_context
def encoders(context: click.Context, db: Place | None, as_json: bool) -> None:
    """List the encoders in the collection file, choose one, or remove one.

    `hashae index --encoder NAME` adds one; it is used when it has encoded every picture.

    \b
    Examples:
      hashae encoders
      hashae encoders --json
      hashae encoders use photo
      hashae encoders remove 3f9a1c
    """
    context.obj = db
    if context.invoked_subcommand is None:
        _show(db, as_json=as_json)


@encoders.command()
@click.argument("name")
@db_option
@click.pass_context
def use(context: click.Context, name: str, db: Place | None) -> None:
    """Use the encoder NAME (or the start of its fingerprint) from now on.

    \b
    Examples:
      hashae encoders use photo
    """
    from hashae.indexer import Collection

    with Collection.open(collection_path(db or context.obj), create=False) as collection:
        collection.use_encoder(name)
    click.echo(f"{name} is in use; pictures it has not encoded are found after: hashae index")


@encoders.command()
@click.argument("name")
@db_option
@click.pass_context
def remove(context: click.Context, name: str, db: Place | None) -> None:
    """Remove the encoder NAME (or the start of its fingerprint) and its codes; not the one in use.

    \b
    Examples:
      hashae encoders remove photo
    """
    from hashae.indexer import Collection

    with Collection.open(collection_path(db or context.obj), create=False) as collection:
        collection.remove_encoder(name)
    click.echo(f"{name} and its codes were removed; verdicts and pictures are as they were")


def _show(db: Place | None, *, as_json: bool) -> None:
    from hashae.cli.output import print_json, print_table
    from hashae.indexer import Collection

    with Collection.open(collection_path(db), create=False) as collection:
        listed = collection.list_encoders()
    if as_json:
        print_json(listed)
        return
    if not listed:
        click.echo("no encoder yet; hashae index FOLDER learns one")
        return
    rows = [
        (
            ("* " if e["default"] else "> " if e["next"] else "") + e["name"],
            e["bits"],
            e["radius"],
            f"{e['codes']:,}",
            f"{e['health'].get('effective_bits', 0):.0f}",
            e["added"],
            e["fingerprint"][:12],
        )
        for e in listed
    ]
    columns = ("name (* in use, > to follow)", "bits", "radius", "codes", "effective bits", "added", "fingerprint")
    print_table("", columns, rows)
