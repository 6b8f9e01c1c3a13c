"""``hashae query``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from hashae.cli.options import PICTURES, collection_path, db_option, default_workers, json_option
from hashae.cli.report_options import FILE, check_targets
from hashae.place import Place


@click.command()
@click.argument("image", type=PICTURES)
@click.option("--exact", is_flag=True, help="Images with exactly the same code.")
@click.option("--radius", type=click.IntRange(0), help="Images at most RADIUS bits away.")
@click.option("-k", type=click.IntRange(1), help="The K images with the fewest differing bits.  [default: 10]")
@click.option("--matches", is_flag=True, help="Images that dedup would take for the same, each by its own radius.")
@click.option("--mirror", is_flag=True, help="Look for the mirror image of IMAGE, too.")
@click.option(
    "--views", is_flag=True, help="Look for IMAGE a little turned and as a part of a larger picture, too: finds crops."
)
@click.option(
    "--pgvector", is_flag=True, help="With -k, on a server: by its approximate index; what share it finds is told."
)
@click.option("--explain", is_flag=True, help="Say how the answer was found and how long it took.")
@click.option("--report", "report_file", type=FILE, help="Write the answers as an HTML page with thumbnails.")
@db_option
@json_option
def query(
    image: Path | str,
    exact: bool,
    radius: int | None,
    k: int | None,
    matches: bool,
    mirror: bool,
    views: bool,
    pgvector: bool,
    explain: bool,
    report_file: Path | None,
    db: Place | None,
    as_json: bool,
) -> None:
    """Find pictures of the collection whose codes equal that of IMAGE, or are near it.

    Confidence says how sure the least certain bits of a code are, from 0 to 1.

    \b
    Examples:
      hashae query beach.jpg                 the ten nearest
      hashae query beach.jpg --matches       is this picture already here?
      hashae query beach.jpg --exact         same code: most likely the same picture
      hashae query beach.jpg --radius 20 --explain
      hashae query beach.jpg --matches --mirror
      hashae query crop.jpg --matches --views
      hashae query beach.jpg -k 3 --json
      hashae query beach.jpg -k 50 --report answers.html
      hashae query s3://bucket/photos/beach.jpg
    """
    from hashae.cli.output import print_json, print_table, say
    from hashae.indexer import Collection
    from hashae.indexer.human_size import human_size

    if exact + (radius is not None) + (k is not None) + matches > 1:
        raise click.UsageError("give only one of --exact, --radius, --matches and -k")
    if not exact and radius is None and not matches and k is None:
        k = 10
    check_targets(report=report_file)
    with Collection.open(collection_path(db), create=False) as collection:
        answer = collection.query(
            image,
            exact=exact,
            radius=radius,
            k=k,
            matches=matches,
            mirror=mirror,
            views=views,
            pgvector=pgvector,
            explain=explain,
        )
    if report_file is not None:
        from hashae.indexer.answer_page import write_contact_sheet
        from hashae.indexer.pixels import thumbnail

        write_contact_sheet(answer, image, report_file, thumbnail, threads=default_workers())
        if not as_json:
            say(f"report: {report_file}")
    if as_json:
        print_json({"image": str(image), **asdict(answer)})
        return
    if answer.featureless:
        say(f"note: there is next to nothing to see in {image}, so its code means little; look at what is found")
    if answer.matches:
        # The largest distance that still matches is shown where a rule decided.
        rows = [
            (
                match.distance,
                *([] if match.allowed is None else [f"{match.allowed:.1f}"]),
                f"{match.confidence:.2f}",
                f"{match.width} × {match.height}",
                match.format,
                human_size(match.size),
                match.path + ("  (mirrored)" if match.mirrored else "") + (f"  ({match.view})" if match.view else ""),
            )
            for match in answer.matches
        ]
        asked = () if answer.rule is None else ("at most",)
        columns = (f"bits of {answer.bits}", *asked, "confidence", "pixels", "format", "size", "path")
        print_table("" if answer.rule is None else answer.rule, columns, rows)
    else:
        say("no match")
    if answer.explanation is not None:
        how = answer.explanation
        if mirror or views:
            say("of the picture as it is; each other way to look at it was asked for in the same manner:")
        say(
            f"{how.method}: {how.why}; {how.probes:,} probes, {how.candidates:,} candidates read, "
            f"{how.answers:,} answers in {how.seconds * 1000:.2f} ms; query code {answer.code}, "
            f"confidence {answer.confidence:.2f}"
        )
        if how.alternatives:
            others = sorted(how.alternatives.items(), key=lambda other: other[1])
            listed = ", ".join(f"{name} {seconds * 1000:,.1f} ms" for name, seconds in others)
            say(f"expected {how.expected * 1000:,.1f} ms; others, with what they would have to make first: {listed}")
