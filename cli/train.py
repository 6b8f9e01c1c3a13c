"""``hashae train``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

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
@click.option("--bits", type=int, default=256, show_default=True, help="Code length: a multiple of 8, from 8 to 512.")
@click.option("--budget", type=Duration(), help="Most time to spend on the steps: 90s, 2m, 1h.  [default: no limit]")
@click.option("--steps", type=click.IntRange(1), help="Optimiser steps.  [default: 40 looks at each picture]")
@click.option(
    "--images", type=click.IntRange(2), default=10_000, show_default=True, help="Most pictures to learn from."
)
@click.option("--model", default="binary", show_default=True, help="Autoencoder: binary or plain.")
@click.option(
    "--trunk", type=click.Choice(["conv", "dense"]), default="conv", show_default=True, help="Kind of layers."
)
@click.option(
    "--canonical",
    type=click.Choice(["photo", "plain", "colour"]),
    default="photo",
    show_default=True,
    help="What the encoder sees: ranks of trimmed greys, plain greys, or colours.",
)
@click.option("--mirror", is_flag=True, help="Give a picture and its mirror image one code.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of weights, views and order.")
@click.option("--name", help="Name of the encoder.  [default: name of the output file]")
@click.option("--run", type=click.Path(file_okay=False, path_type=Path), help="Folder for checkpoints and logs.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in --run.")
@workers_option
@json_option
def train(
    folder: Path,
    output: Path,
    bits: int,
    budget: float | None,
    steps: int | None,
    images: int,
    model: str,
    trunk: str,
    canonical: str,
    mirror: bool,
    seed: int,
    name: str | None,
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
      hashae train scans -o small.onnx --bits 64 --seed 3
    """
    from hashae.cli.learn import learn
    from hashae.cli.output import print_json, say
    from hashae.config import ModelConfig, TrainConfig
    from hashae.errors import ConfigError
    from hashae.images.canonical import CanonicalForm
    from hashae.images.scan import check_folder

    check_folder(folder)
    if resume and run is None:
        raise click.UsageError("--resume needs --run, the folder with the checkpoint")
    if not output.parent.is_dir():
        raise ConfigError(f"{output.parent} does not exist; create the folder first")
    encoder = learn(
        folder,
        quiet=as_json,
        model=ModelConfig.from_dict({"model": model, "bits": bits, "trunk": trunk}),
        config=TrainConfig(budget=budget, seed=seed, mirror=mirror, threads=workers),
        form=CanonicalForm.preset(canonical),
        name=name or output.stem,
        steps=steps,
        limit=images,
        workers=workers,
        run=run,
        resume=resume,
    )
    encoder.save(output)
    if as_json:
        info = asdict(encoder.info)
        print_json({"file": str(output), "fingerprint": encoder.fingerprint, **info})
    else:
        say(f"wrote {output} ({len(encoder.data) / 1e6:.1f} MB); use it: hashae index FOLDER --encoder {output}")
