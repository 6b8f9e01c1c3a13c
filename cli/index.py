"""``hashae index``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from hashae.cli.options import (
    PICTURES,
    budget_option,
    calibrate_option,
    collection_path,
    db_option,
    encoder_option,
    json_option,
    ray_option,
    workers_option,
)
from hashae.place import Place


@click.command()
@click.argument("folder", required=False, type=PICTURES)
@db_option
@encoder_option
@budget_option
@calibrate_option
@click.option("--prune", is_flag=True, help="Forget pictures whose files are gone, also where all of them are.")
@click.option(
    "--isolate",
    is_flag=True,
    help="Decode everything in processes that may be lost. On Linux what made a decoder crash or hang is anyway.",
)
@workers_option
@ray_option
@json_option
def index(
    folder: Path | str | None,
    db: Place | None,
    encoder_name: str | None,
    budget: float,
    no_calibrate: bool,
    prune: bool,
    isolate: bool,
    workers: int,
    ray_address: str | None,
    as_json: bool,
) -> None:
    """Bring FOLDER, or all folders of the collection, up to date.

    Only new and changed files are read; a file that was moved or renamed keeps all
    that is known of it, and one that is gone is kept as missing until `hashae prune`.
    Pictures become codes by the shipped encoder, unless another is named. A collection of some hundred pictures that is
    new, or has grown by half, is calibrated as well, in a few seconds.

    \b
    Examples:
      hashae index ~/Pictures
      hashae index                          all folders indexed before
      hashae index photos --encoder photo.onnx --db photos.db
      hashae index /net/photos --ray=auto   read and encode on the cluster of this machine
      hashae index s3://bucket/photos       pictures of an object store (extra s3)
    """
    from hashae.cli.calibrate import calibrate_if_due
    from hashae.cli.cluster import opened_cluster
    from hashae.cli.learn import bring_up_to_date, ensure_encoder, refuse_nothing
    from hashae.cli.output import print_failures, print_json
    from hashae.images.scan import check_source
    from hashae.indexer import Collection

    if folder is not None:
        check_source(folder)
    with (
        opened_cluster(ray_address, workers=workers, quiet=as_json) as cluster,
        Collection.open(collection_path(db), threads=workers) as collection,
    ):
        changed = ensure_encoder(collection, folder, encoder_name, budget=budget, quiet=as_json, workers=workers)
        settings = {"prune": prune, "isolate": isolate, "cluster": cluster}
        summary = bring_up_to_date(collection, folder, workers=workers, quiet=as_json, **settings)
        if changed and folder is not None:
            bring_up_to_date(collection, None, workers=workers, quiet=as_json, **settings)
        if not no_calibrate:
            calibrate_if_due(collection, quiet=as_json, workers=workers)
        if as_json:
            calibration = collection.calibration
            found = {"calibration": None if calibration is None else calibration.to_dict()}
            print_json({"collection": str(collection.path), "images": summary.images, **asdict(summary), **found})
        else:
            print_failures(summary.failed)
        refuse_nothing(summary, folder)
