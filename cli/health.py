"""``hashae stats --health``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hashae.place import Place

if TYPE_CHECKING:
    from hashae.health import Buckets
    from hashae.indexer.collection_health import CollectionHealth


def show_health(db: Place, plot_file: Path | None, *, as_json: bool) -> None:
    """Measure the codes of a collection, print what was found, and draw it if a file is named."""
    from hashae.cli.learn import STAGES
    from hashae.cli.output import print_json, say
    from hashae.cli.progress import ProgressLine
    from hashae.indexer import Collection

    if plot_file is not None:
        from hashae.cli.plot import check_plot

        check_plot(plot_file)  # before the work, not after it
    with Collection.open(db, create=False) as collection, ProgressLine(quiet=as_json) as progress:
        found = collection.health(lambda p: progress.update(STAGES[p.stage], p.done, p.total))
    if as_json:
        print_json({"collection": str(db), **found.to_dict()})
    else:
        _print_health(found)
    if plot_file is not None:
        from hashae.cli.health_plot import draw

        draw(found, plot_file)
        if not as_json:
            say(f"plot: {plot_file}")


def _print_health(found: CollectionHealth) -> None:
    from hashae.cli.output import print_table

    codes, trained = found.codes, found.trained

    def beside(name: str, style: str) -> str:
        return style.format(trained[name]) if name in trained else ""

    rows = [
        ("imbalance of the bits, 0 to 1", f"{codes.imbalance:.2f}", beside("imbalance", "{:.2f}")),
        ("dead bits", str(len(codes.dead_bits)), ""),
        ("mean correlation of two bits", f"{codes.mean_correlation:.3f}", ""),
        ("effective bits", f"{codes.code.effective_bits:.0f}", beside("effective_bits", "{:.0f}")),
        *_bucket_rows("codes", codes.code, f"{100 * trained['distinct']:.1f} %" if "distinct" in trained else ""),
        *(_bucket_rows(f"keys of {codes.key.bits} bits", codes.key, "") if codes.key.bits < codes.bits else ()),
        ("featureless images", f"{found.featureless:,}", ""),
        ("own radius of an image, median" if found.own_radius else "radius", f"{found.radius} bits", ""),
    ]
    seen = "" if codes.sample == codes.count else f"; pairs and correlation of a sample of {codes.sample:,}"
    title = f"{codes.count:,} images, {codes.bits} bits of encoder {found.encoder}{seen}"
    print_table(title, ("measure", "this collection", "training images"), rows)
    for finding in found.findings:
        click.echo(f"! {finding}")
    if not found.findings:
        click.echo("nothing is wrong with these codes")


def _bucket_rows(name: str, buckets: Buckets, usual: str) -> list[tuple[str, str, str]]:
    return [
        (f"{name} used", f"{100 * buckets.used:.1f} %", usual),
        (f"largest bucket of {name}", f"{buckets.largest:,}", ""),
        (f"pairs of equal {name} (by chance)", f"{buckets.collisions:,} ({buckets.expected:.2g})", ""),
    ]
