"""``hashae probe``."""

from __future__ import annotations

import os

import click

from hashae.cli.options import json_option, workers_option


@click.command()
@click.argument("data")
@click.option(
    "--model",
    default="photo",
    show_default=True,
    help="photo (shipped), an encoder file, the folder of a training (train --run), or weights (train --weights).",
)
@click.option(
    "--classifiers",
    default="logistic,svm,network",
    show_default=True,
    metavar="NAMES",
    help="What is trained on the codes and latents.",
)
@click.option(
    "--few",
    type=click.IntRange(2),
    help="Also the few-labels experiment: so many labelled images, from scratch against pre-trained and fine-tuned.",
)
@click.option("--steps", type=click.IntRange(1), default=300, show_default=True, help="--few: steps of each training.")
@click.option("--images", type=click.IntRange(2), default=5000, show_default=True, help="Most images to learn from.")
@click.option("--tests", type=click.IntRange(2), default=1000, show_default=True, help="Most images to measure on.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of every random choice.")
@workers_option
@json_option
def probe(
    data: str,
    model: str,
    classifiers: str,
    few: int | None,
    steps: int,
    images: int,
    tests: int,
    seed: int,
    workers: int,
    as_json: bool,
) -> None:
    """Measure how much classifiers find in the codes and latents of a model, which itself is not changed.

    DATA has labels: a folder whose sub-folders are the classes, an .npz file like that of MNIST, or the word digits.
    Labels are for the classifiers only.

    \b
    Examples:
      hashae probe ~/Sorted
      hashae probe mnist.npz --model runs/binary
      hashae probe mnist.npz --model runs/binary --few 100
      hashae probe ~/Sorted --model mine.onnx --classifiers svm --json
    """
    # Before torch is loaded: threads that wait without spinning.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from hashae.cli.output import print_json, print_table
    from hashae.cli.progress import ProgressLine
    from hashae.errors import ConfigError, MissingDependency
    from hashae.show.model import EncoderModel, open_model

    try:
        from hashae.comparison.data import load_data
        from hashae.uses.study import run_few_labels, run_probes
    except ModuleNotFoundError as error:
        raise MissingDependency(f"a probe ({error.name} is missing)", "train") from error
    opened = open_model(model, threads=workers)
    if few is not None and isinstance(opened, EncoderModel):
        raise ConfigError(
            f"--few trains the model further, and {model} is an encoder file; give the folder of a training (train "
            "--run), or weights (train --weights)"
        )
    loaded = load_data(data, images=images, queries=tests, seed=seed, workers=workers, form=opened.form)
    names = [name.strip() for name in classifiers.split(",") if name.strip()]
    with ProgressLine(quiet=as_json) as progress:
        progress.update("probing", 0, None)
        probes = run_probes(opened, loaded, classifiers=names, seed=seed)
        tuned = None
        if few is not None:
            tuned = run_few_labels(
                opened, loaded, count=few, steps=steps, seed=seed, threads=workers, on_step=progress.update
            )
    if as_json:
        about = {"data": loaded.name, "model": opened.name, "images": len(loaded.train), "tests": len(loaded.test)}
        print_json({**about, "probes": [one.to_dict() for one in probes], "few_labels": tuned and tuned.to_dict()})
        return
    print_table(
        f"{loaded.name}: {len(loaded.train):,} labelled images, {len(loaded.test):,} others to measure on; model "
        f"{opened.name}, {opened.bits} bits",
        ("features", "classifier", "accuracy", "seconds"),
        [(one.features, one.classifier, f"{one.accuracy:.3f}", f"{one.seconds:.1f}") for one in probes],
    )
    if tuned is not None:
        click.echo(
            f"{tuned.labelled} labelled images: {tuned.scratch:.3f} from scratch, {tuned.tuned:.3f} pre-trained and "
            "fine-tuned"
        )
