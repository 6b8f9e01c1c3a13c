"""``hashae verdict``: tell the collection once and for all what a picture is."""

from __future__ import annotations

from pathlib import Path

import click

from hashae.cli.options import PICTURES, collection_path, db_option, json_option
from hashae.place import Place


@click.group()
def verdict() -> None:
    """Say what `hashae dedup` cannot know; it is honoured from then on.

    A verdict is bound to the content of a file: it outlives moving, renaming and encoding anew, and holds for every
    copy of the file. It ends when the content is edited, or with `forget`.

    \b
    Examples:
      hashae verdict keep best.jpg                  keep this one, whatever the rules say
      hashae verdict distinct twin1.jpg twin2.jpg   these are no duplicates
      hashae verdict ignore a.jpg b.jpg c.jpg       leave this group out, until a picture joins it
      hashae verdict list
      hashae verdict export verdicts.json
      hashae verdict import verdicts.json
      hashae verdict forget 3
    """


@verdict.command()
@click.argument("pictures", nargs=-1, required=True, type=PICTURES)
@db_option
def keep(pictures: tuple[Path, ...], db: Place | None) -> None:
    """Keep each of these PICTURES: no plan offers them, and they are the keepers of their groups.

    \b
    Examples:
      hashae verdict keep best.jpg
    """
    _add("keep", pictures, db)


@verdict.command()
@click.argument("pictures", nargs=-1, required=True, type=PICTURES)
@db_option
def distinct(pictures: tuple[Path, ...], db: Place | None) -> None:
    """Say that no two of these PICTURES are duplicates: they are never in one group.

    \b
    Examples:
      hashae verdict distinct twin1.jpg twin2.jpg
    """
    _add("distinct", pictures, db)


@verdict.command()
@click.argument("pictures", nargs=-1, required=True, type=PICTURES)
@db_option
def ignore(pictures: tuple[Path, ...], db: Place | None) -> None:
    """Leave out a group that holds no other PICTURES than these; one that another picture joins is shown again.

    \b
    Examples:
      hashae verdict ignore a.jpg b.jpg c.jpg
    """
    _add("ignore", pictures, db)


@verdict.command("list")
@db_option
@json_option
def list_(db: Place | None, as_json: bool) -> None:
    """List all verdicts with their numbers.

    \b
    Examples:
      hashae verdict list
      hashae verdict list --json
    """
    from hashae.cli.output import print_json, print_table
    from hashae.indexer import Collection
    from hashae.indexer.verdict_file import verdict_entries

    with Collection.open(collection_path(db), create=False) as collection:
        found = collection.verdicts.all()
    if as_json:
        print_json([{"id": one.id, **body} for one, body in zip(found, verdict_entries(found), strict=True)])
    elif found:
        rows = [(one.id, one.kind, one.made, "\n".join(one.contents.values())) for one in found]
        print_table("", ("number", "verdict", "made", "pictures, where they were then"), rows)
    else:
        click.echo("no verdict yet; see: hashae verdict --help")


@verdict.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@db_option
def export(file: Path, db: Place | None) -> None:
    """Write all verdicts to FILE, as JSON.

    \b
    Examples:
      hashae verdict export verdicts.json
    """
    from hashae.cli.output import say
    from hashae.indexer import Collection
    from hashae.indexer.verdict_file import write_verdicts

    with Collection.open(collection_path(db), create=False) as collection:
        found = collection.verdicts.all()
    write_verdicts(found, file)
    say(f"{len(found):,} verdicts: {file}")


@verdict.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, readable=False, path_type=Path))
@db_option
def import_(file: Path, db: Place | None) -> None:
    """Add the verdicts in FILE, which `export` wrote; those that are known already are skipped.

    \b
    Examples:
      hashae verdict import verdicts.json --db photos.db
    """
    from hashae.cli.output import say
    from hashae.indexer import Collection
    from hashae.indexer.verdict_file import read_verdicts

    found = read_verdicts(file)
    with Collection.open(collection_path(db), create=False) as collection:
        added = collection.verdicts.add(found)
    say(f"{len(added):,} of {len(found):,} verdicts are new")


@verdict.command()
@click.argument("numbers", nargs=-1, type=click.IntRange(1))
@click.option("--all", "every", is_flag=True, help="All of them.")
@db_option
def forget(numbers: tuple[int, ...], every: bool, db: Place | None) -> None:
    """Take back the verdicts with these NUMBERS; `list` shows them.

    \b
    Examples:
      hashae verdict forget 3 4
      hashae verdict forget --all
    """
    from hashae.cli.output import say
    from hashae.indexer import Collection

    if bool(numbers) == every:
        raise click.UsageError("give the numbers of verdicts, or --all")
    with Collection.open(collection_path(db), create=False) as collection:
        book = collection.verdicts
        count = book.forget([one.id for one in book.all()] if every else numbers)
    say(f"{count:,} verdicts forgotten")


def _add(kind: str, pictures: tuple[Path, ...], db: Place | None) -> None:
    from hashae.cli.output import say
    from hashae.indexer import Collection
    from hashae.indexer.decisions import KINDS

    with Collection.open(collection_path(db), create=False) as collection:
        added = collection.verdicts.judge(kind, pictures)
    say(f"verdict {added.id}: {KINDS[kind]}" if added is not None else "the collection knows that already")
