"""``hashae train``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from hashae.cli.options import Duration, json_option, workers_option


@click.command()
@click.argument("folder", type=click.Path(readable=False, path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Encoder file to write (.onnx).",
)
@click.option("--bits", type=int, help="Code length: a multiple of 8, from 8 to 512.  [default: 256]")
@click.option("--budget", type=Duration(), help="Most time to spend on the steps: 90s, 2m, 1h.  [default: no limit]")
@click.option("--steps", type=click.IntRange(1), help="Optimiser steps.  [default: 40 looks at each picture]")
@click.option(
    "--images", type=click.IntRange(2), default=10_000, show_default=True, help="Most pictures to learn from."
)
@click.option("--model", help="Autoencoder, one of those that hashae.list_models() names.  [default: binary]")
@click.option("--trunk", type=click.Choice(["conv", "dense", "linear"]), help="Kind of layers.  [default: conv]")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="A further setting of the model, such as width=16 or k=8. May be repeated.",
)
@click.option(
    "--canonical",
    type=click.Choice(["photo", "plain", "colour"]),
    help="What the encoder sees: ranks of trimmed greys, plain greys, or colours.  [default: photo]",
)
@click.option("--mirror", is_flag=True, help="Give a picture and its mirror image one code.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of weights, views and order.")
@click.option("--name", help="Name of the encoder.  [default: name of the output file]")
@click.option(
    "--from", "start", metavar="WEIGHTS", help="Start from trained weights: photo (shipped), or a .safetensors file."
)
@click.option(
    "--weights",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write the weights, for another training to start from (.safetensors).",
)
@click.option("--quantise", is_flag=True, help="8-bit arithmetic: three times as fast, a few bits of a code differ.")
@click.option("--run", type=click.Path(file_okay=False, path_type=Path), help="Folder for checkpoints and logs.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in --run.")
@workers_option
@json_option
def train(
    folder: Path,
    output: Path,
    bits: int | None,
    budget: float | None,
    steps: int | None,
    images: int,
    model: str | None,
    trunk: str | None,
    settings: tuple[str, ...],
    canonical: str | None,
    mirror: bool,
    seed: int,
    name: str | None,
    start: str | None,
    weights: Path | None,
    quantise: bool,
    run: Path | None,
    resume: bool,
    workers: int,
    as_json: bool,
) -> None:
    """Learn an encoder from the pictures in FOLDER.

    \b
    Examples:
      hashae train ~/Pictures -o photo.onnx
      hashae train ~/Pictures -o photo.onnx --budget 10m --run runs/photo
      hashae train ~/Pictures -o photo.onnx --run runs/photo --resume
      hashae train ~/Pictures -o mine.onnx --from photo      fine-tune the shipped encoder
      hashae train scans -o small.onnx --bits 64 --seed 3
      hashae train scans -o sparse.onnx --model sparse --set k=16
    """
    from hashae.cli.learn import learn
    from hashae.cli.output import print_json, say
    from hashae.config import FINE_TUNING, ModelConfig, TrainConfig, parse_setting
    from hashae.errors import ConfigError
    from hashae.images.canonical import CanonicalForm
    from hashae.images.scan import check_folder

    check_folder(folder)
    if resume and run is None:
        raise click.UsageError("--resume needs --run, the folder with the checkpoint")
    chosen: dict[str, Any] = dict(parse_setting(text) for text in settings)
    chosen |= {name: value for name, value in (("model", model), ("bits", bits), ("trunk", trunk)) if value is not None}
    if start is not None and (chosen or canonical is not None):
        raise click.UsageError("--from brings its own --model, --bits, --trunk, --set and --canonical; leave them out")
    for target in (output, weights):
        if target is not None and not target.parent.is_dir():
            raise ConfigError(f"{target.parent} does not exist; create the folder first")
    rate = TrainConfig.learning_rate * (1 if start is None else FINE_TUNING)
    encoder = learn(
        folder,
        quiet=as_json,
        model=ModelConfig.from_settings(chosen) if start is None else None,
        config=TrainConfig(budget=budget, seed=seed, mirror=mirror, threads=workers, learning_rate=rate),
        form=CanonicalForm.preset(canonical or "photo") if start is None else None,
        name=name or output.stem,
        steps=steps,
        limit=images,
        workers=workers,
        run=run,
        resume=resume,
        start=start,
        weights=weights,
        quantised=quantise,
    )
    encoder.save(output)
    if as_json:
        info = asdict(encoder.info)
        print_json({"file": str(output), "fingerprint": encoder.fingerprint, **info})
    else:
        say(f"wrote {output} ({len(encoder.data) / 1e6:.1f} MB); use it: hashae index FOLDER --encoder {output}")
