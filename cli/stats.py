"""``hashae stats``."""

from __future__ import annotations

from pathlib import Path

import click

from hashae.cli.options import collection_path, db_option, json_option
from hashae.place import Place


@click.command()
@click.option("--health", is_flag=True, help="Measure what the codes are worth, and say what is wrong with them.")
@click.option("--plot", "plot_file", type=click.Path(dir_okay=False, path_type=Path), help="Draw the health, as PNG.")
@db_option
@json_option
def stats(health: bool, plot_file: Path | None, db: Place | None, as_json: bool) -> None:
    """Show what is in the collection: folders, images, encoder, files that could not be used.

    With --health, show how good its codes are as a hash, beside those of the images the encoder learned from.

    \b
    Examples:
      hashae stats
      hashae stats --db photos.db --json
      hashae stats --health --plot health.png
    """
    if plot_file is not None and not health:
        raise click.UsageError("--plot draws the health of the codes; give --health as well")
    if health:
        from hashae.cli.health import show_health

        show_health(collection_path(db), plot_file, as_json=as_json)
        return
    from hashae.cli.output import print_failures, print_json, print_table
    from hashae.indexer import Collection
    from hashae.indexer.calibrated import Calibration
    from hashae.indexer.human_size import human_size
    from hashae.indexer.report import Failure

    with Collection.open(collection_path(db), create=False) as collection:
        values = collection.stats()
    if as_json:
        print_json(values)
        return
    click.echo(f"collection  {values['collection']} ({human_size(values['file_bytes'])})")
    click.echo(f"images      {values['images']:,} ({human_size(values['bytes'])}), {values['missing']:,} missing")
    for encoder in values["encoders"]:
        if encoder["default"]:
            click.echo(f"encoder     {encoder['name']}, {encoder['bits']} bits, radius {encoder['radius']}")
            if encoder["calibration"]:
                click.echo(f"            {Calibration(**encoder['calibration']).words}")
    if values["folders"]:
        rows = [
            (f["path"], f"{f['images']:,}", human_size(f["bytes"]), f"{f['missing']:,}", f["indexed"] or "never")
            for f in values["folders"]
        ]
        print_table("folders", ("folder", "images", "size", "missing", "indexed"), rows)
    print_failures([Failure(failure["path"], failure["reason"]) for failure in values["failures"]])
