"""``hashae watch``."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hashae.cli.options import collection_path, db_option
from hashae.place import Place

if TYPE_CHECKING:
    from hashae.indexer import Collection

NICE = 10
"""How far this program stands back behind others."""


@click.command()
@click.argument("folder", required=False, type=click.Path(readable=False, path_type=Path))
@click.option("--quiet-time", type=click.IntRange(100), default=2000, show_default=True, help="Milliseconds to wait.")
@db_option
def watch(folder: Path | None, quiet_time: int, db: Place | None) -> None:
    """Keep FOLDER, or all folders of the collection, current until Ctrl-C.

    What changes is indexed when it has been quiet for a moment, in one thread and
    behind other programs. The collection is open only while something is indexed,
    so all other commands can be used meanwhile.

    \b
    Examples:
      hashae watch
      hashae watch ~/Pictures
    """
    from threading import Event

    from hashae.cli.learn import ensure_encoder
    from hashae.cli.output import say
    from hashae.errors import CollectionError, SourceError
    from hashae.images.scan import check_folder, is_candidate
    from hashae.indexer import Collection
    from hashae.indexer.watching import watch_folders
    from hashae.object_store import is_address

    with suppress(OSError, AttributeError):
        os.nice(NICE)
    path = collection_path(db)
    if folder is not None:
        check_folder(folder)  # before a collection is made for nothing
    with Collection.open(path, create=folder is not None, threads=1) as collection:
        ensure_encoder(collection, folder, None, budget=0, quiet=False, workers=1)
        named = [str(found["path"]) for found in collection.stats()["folders"]]
    stores = [path for path in named if is_address(path)]
    if folder is None and stores:
        say(f"not watched: {', '.join(stores)}; a store tells nobody what changes, look at it with: hashae index")
    sources = [Path(path) for path in named if path not in stores]
    watched = [check_folder(folder)] if folder is not None else [source for source in sources if source.is_dir()]
    if not watched and not sources:
        raise SourceError(f"{path} has no folder of this machine to watch; name one: hashae watch FOLDER")
    if not watched:
        raise SourceError(f"none of the {len(sources)} folders of {path} is there now; mount their drives first")

    def is_picture(name: str) -> bool:
        return is_candidate(name)

    told = False
    with suppress(KeyboardInterrupt):  # in the middle of indexing, too: what is stored stays, the rest is next time's
        for changed in watch_folders(watched, is_picture, Event(), quiet_ms=quiet_time):
            try:
                with Collection.open(path, create=False, threads=1) as collection:
                    for part in changed:
                        _index(collection, part)
            except (CollectionError, SourceError) as error:
                say(f"{error}; with the next change it is tried again")
            if not told:
                told = True
                say(f"watching {', '.join(map(str, watched))}; stop with Ctrl-C")
    say("stopped watching")


def _index(collection: Collection, folder: Path | None) -> None:
    from hashae.cli.learn import describe
    from hashae.cli.output import say

    summary = collection.index(folder, workers=1)
    say(f"{folder or collection.path}: {describe(summary)}")
