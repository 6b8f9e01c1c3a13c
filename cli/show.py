"""``hashae show``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import click

from hashae.cli.options import workers_option
from hashae.place import Place, ServerUrl, place_of

ENDINGS = (".png", ".html", ".htm")


@click.command()
@click.argument("what")
@click.argument("model")
@click.argument("pictures", nargs=-1)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write: .png for one picture, .html for a page of any number.",
)
@click.option("--beside", multiple=True, metavar="MODEL", help="samples: another model below it. May be repeated.")
@click.option("--count", type=click.IntRange(1, 40), default=12, show_default=True, help="Pictures in a row.")
@click.option("--limit", type=click.IntRange(1), default=600, show_default=True, help="Most pictures to read.")
@click.option("--steps", type=click.IntRange(2, 40), default=9, show_default=True, help="Places on a line of latents.")
@click.option("--side", type=click.IntRange(2, 40), default=12, show_default=True, help="grid: pictures along a side.")
@click.option("--method", type=click.Choice(["pca", "tsne"]), default="pca", show_default=True, help="map: its plane.")
@click.option("--bits", metavar="NUMBERS", help="code: bits to flip, with commas between.  [default: the strongest]")
@click.option("--groups", metavar="A,B", help="attribute: two classes, with and without.  [default: the first two]")
@click.option(
    "--noise", type=click.FloatRange(0), default=1.0, show_default=True, help="samples: noise, in deviations."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of every random choice.")
@workers_option
def show(
    what: str,
    model: str,
    pictures: tuple[str, ...],
    output: Path,
    beside: tuple[str, ...],
    count: int,
    limit: int,
    steps: int,
    side: int,
    method: Literal["pca", "tsne"],
    bits: str | None,
    groups: str | None,
    noise: float,
    seed: int,
    workers: int,
) -> None:
    """Show what a model has learned, as a PNG file or an HTML page.

    WHAT is reconstructions, curves, map, grid, interpolation, average, attribute, samples, variances, code or bits;
    several of them with commas between, or all. MODEL is an encoder file (.onnx, with its decoder), photo (shipped),
    the folder of a training (train --run) or weights (train --weights); for bits also a collection (.db, or a
    URL). PICTURES are files, folders, an .npz file or the word digits; sub-folders, or several folders, are classes.

    \b
    Examples:
      hashae show code photo beach.jpg -o code.png
      hashae show reconstructions,map,bits photo ~/Pictures -o photo.html
      hashae show curves runs/photo -o curves.png
      hashae show interpolation photo first.jpg second.jpg -o between.png
      hashae show attribute runs/faces smiling/ serious/ -o smile.png
      hashae show samples runs/plain mnist.npz --beside runs/variational -o samples.png
      hashae show bits photos.db -o bits.png
    """
    # Before torch is loaded: threads that wait without spinning.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from hashae.cli.output import say
    from hashae.drawing import new_figure, to_png
    from hashae.encoder import write_file
    from hashae.errors import ConfigError
    from hashae.indexer.new_file import check_target
    from hashae.show.catalogue import ALL, Request, check_kinds, draw
    from hashae.show.page import to_html

    names = check_kinds(what)
    ending = output.suffix.lower()
    if ending not in ENDINGS:
        raise ConfigError(f"--output is {output}; expected a file that ends with .png or .html")
    if ending == ".png" and len(names) > 1:
        raise ConfigError(
            f"{len(names)} pictures are asked for, and {output} holds one; give a file that ends with .html"
        )
    check_target(output, option="--output")
    new_figure(1, 1)  # refuses without matplotlib, before the work
    place = place_of(model)
    if isinstance(place, ServerUrl) or model.lower().endswith(".db"):
        data = _collection_bits(names, place, page=ending != ".png", workers=workers)
    else:
        request = Request(
            model,
            pictures,
            beside,
            count=count,
            limit=limit,
            steps=steps,
            side=side,
            method=method,
            bits=_numbers(bits),
            groups=_pair(groups),
            noise=noise,
            seed=seed,
            threads=workers,
        )
        if ending == ".png":
            data = to_png(draw(names[0], request))
        else:
            data = to_html(names, request, strict=ALL not in what.split(",")).encode()
    write_file(output, data)
    say(f"wrote {output}")


def _collection_bits(names: list[str], path: Place, *, page: bool, workers: int) -> bytes:
    from hashae.drawing import to_base64, to_png
    from hashae.errors import ConfigError
    from hashae.indexer import Collection
    from hashae.show.catalogue import KINDS
    from hashae.show.figures import code_bits
    from hashae.show.page import Shown, render

    if names != ["bits"]:
        raise ConfigError(f"{path} is a collection, which holds codes only; expected: hashae show bits {path}")
    with Collection.open(path, create=False, threads=workers) as collection:
        found = collection.health()
    figure = code_bits(found.codes, found.radius, found.own_radius)
    if not page:
        return to_png(figure)
    return render(f"Codes of {path.name}", [Shown(KINDS["bits"].title, KINDS["bits"].text, to_base64(figure))]).encode()


def _numbers(text: str | None) -> tuple[int, ...]:
    parts = [part.strip() for part in (text or "").split(",") if part.strip()]
    if not all(part.isdecimal() for part in parts):
        raise click.UsageError(f"--bits is {text!r}; expected whole numbers with commas between, for example 0,5,9")
    return tuple(dict.fromkeys(map(int, parts)))


def _pair(text: str | None) -> tuple[str, str] | None:
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 2 or not all(parts) or parts[0] == parts[1]:
        raise click.UsageError(f"--groups is {text!r}; expected two classes with a comma between, for example 3,8")
    return parts[0], parts[1]
