"""``hashae outliers``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from hashae.cli.options import PICTURES, collection_path, db_option, json_option, workers_option
from hashae.place import Place

if TYPE_CHECKING:
    from hashae.encoder import Encoder


@click.command()
@click.argument("folder", required=False, type=PICTURES)
@click.option(
    "--encoder",
    "encoder_name",
    metavar="NAME",
    help="photo (shipped), or an encoder file, best one that learned from pictures like these.  [default: the "
    "collection's own, else photo]",
)
@click.option(
    "--by",
    type=click.Choice(["error", "surprise", "rarity"]),
    default="error",
    show_default=True,
    help="Reconstruction error; surprise: how unusual its bits are here; rarity: distance to the nearest codes.",
)
@click.option("--count", type=click.IntRange(1), default=20, show_default=True, help="Pictures to list.")
@click.option("--limit", type=click.IntRange(2), default=20_000, show_default=True, help="Most pictures to read.")
@click.option("--html", "html_file", type=click.Path(dir_okay=False, path_type=Path), help="Write a page with thumbs.")
@db_option
@workers_option
@json_option
def outliers(
    folder: Path | str | None,
    encoder_name: str | None,
    by: Literal["error", "surprise", "rarity"],
    count: int,
    limit: int,
    html_file: Path | None,
    db: Place | None,
    workers: int,
    as_json: bool,
) -> None:
    """Rank the pictures in FOLDER, or in all folders of the collection, by how little they belong.

    A picture does not belong if it cannot be decoded from its code, or if its code is unusual. The first tells best
    with an encoder that learned from pictures like these; with the shipped one, --by surprise. Nothing is changed.

    \b
    Examples:
      hashae outliers ~/Scans --html outliers.html
      hashae outliers ~/Scans --encoder scans.onnx --count 50
      hashae outliers ~/Pictures --by surprise
      hashae outliers --json                        all folders indexed before
    """
    from hashae.cli.output import print_failures, print_json, print_table, say
    from hashae.cli.progress import ProgressLine
    from hashae.encoder import write_file
    from hashae.indexer.new_file import check_target
    from hashae.indexer.pixels import thumbnail
    from hashae.indexer.report import Failure
    from hashae.uses.gallery import to_html
    from hashae.uses.outliers import find_outliers

    if html_file is not None:
        check_target(html_file, option="--html")
    folders, encoder = _folders(folder, encoder_name, db, workers)
    with ProgressLine(quiet=as_json) as progress:
        report = find_outliers(
            folders,
            encoder,
            by=by,
            limit=limit,
            workers=workers,
            on_progress=lambda done, total: progress.update("reading pictures", done, total),
        )
    if as_json:
        print_json(report.to_dict(count))
    else:
        print_failures([Failure(problem.path, problem.reason) for problem in report.failed])
        print_table(
            f"{len(report.ranked):,} pictures, encoder {report.encoder}; first those that belong least",
            ("score", "error", "rarity", "surprise", "picture"),
            [
                (
                    f"{one.score:.3f}",
                    "" if one.error is None else f"{one.error:.4f}",
                    f"{one.rarity:.1f}",
                    f"{one.surprise:.0f}",
                    one.path,
                )
                for one in report.ranked[:count]
            ],
        )
    if html_file is not None:
        write_file(html_file, to_html(report, thumbnail).encode())
        if not as_json:
            say(f"wrote {html_file}")


def _folders(folder: Path | str | None, name: str | None, db: Place | None, workers: int) -> tuple[list[str], Encoder]:
    """Return what to read and with which encoder; the collection is asked only for what was not said."""
    from hashae import pretrained
    from hashae.encoder import Encoder
    from hashae.errors import SourceError
    from hashae.images.scan import check_source
    from hashae.indexer import Collection

    named = None
    if name is not None:
        named = (
            pretrained.load(name, threads=workers) if name in pretrained.NAMES else Encoder.load(name, threads=workers)
        )
    if folder is not None and named is not None:
        return [check_source(folder)], named
    path = collection_path(db)
    if folder is not None and isinstance(path, Path) and not path.exists():
        return [check_source(folder)], pretrained.load(threads=workers)
    with Collection.open(path, create=False, threads=workers) as collection:
        listed = [check_source(folder)] if folder else [one["path"] for one in collection.stats()["folders"]]
        if not listed:
            raise SourceError(f"{collection.path} is empty; name a folder of pictures: hashae outliers FOLDER")
        if named is None:
            named = collection.encoder if collection.has_encoder else pretrained.load(threads=workers)
    return listed, named
