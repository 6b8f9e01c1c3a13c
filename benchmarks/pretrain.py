"""Train the encoder that ships with hashae, from ``photos-train.zip`` and nothing else.

Two stages. The first starts from random weights, with batches of groups of four similar photographs; the second goes on
from its weights with groups of eight, so that each photograph has to be told from more that look like it. The result is
quantised to 8 bits. Writes ``hashae/pretrained/photo.onnx``, its decoder, and the weights that ``hashae train --from
photo`` starts from. About two hours on two cores; it can be stopped and resumed. The figures of the result are measured
by ``planted.py`` and ``near_duplicates.py`` and written into the model card by hand.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from data import ROOT, unpacked

from hashae.config import ModelConfig, TrainConfig
from hashae.encoder import Encoder
from hashae.images.canonical import CanonicalForm
from hashae.training import StepReport, TrainingImages
from hashae.training.recipe import learn_encoder

TARGET = ROOT / "hashae" / "pretrained" / "photo.onnx"


def show(report: StepReport) -> None:
    """Print a line every hundred steps."""
    if report.step % 100 == 0:
        terms = ", ".join(f"{name} {value:.3f}" for name, value in report.terms.items())
        print(
            f"{report.step}/{report.steps} {report.seconds:.0f} s: {terms}, imbalance {report.balance:.3f}", flush=True
        )


def stage(
    arguments: argparse.Namespace, number: int, *, start: Path | None, weights: Path
) -> tuple[Encoder, TrainingImages]:
    """Train one of the two stages and write its weights."""
    fresh = start is None
    run = arguments.run / ("first", "second")[number]
    return learn_encoder(
        unpacked("photos-train.zip"),
        model=ModelConfig(bits=256, width=arguments.width) if fresh else None,
        form=CanonicalForm.preset("photo", arguments.size) if fresh else None,
        config=TrainConfig(
            batch=arguments.batch,
            neighbours=arguments.neighbours[number],
            learning_rate=arguments.rates[number],
            seed=arguments.seed + number,
            threads=arguments.threads,
        ),
        name="photo",
        steps=arguments.steps[number],
        limit=20_000,
        run=run,
        resume=arguments.resume and (run / "state.json").is_file(),
        start=start,
        weights=weights,
        quantised=True,
        on_step=show,
    )


def main() -> None:
    """Train and write the encoder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, nargs=2, default=(7833, 12_000), metavar=("FIRST", "SECOND"))
    parser.add_argument("--size", type=int, default=48, help="side of the encoder's input")
    parser.add_argument("--width", type=int, default=24)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--neighbours", type=int, nargs=2, default=(4, 8), metavar=("FIRST", "SECOND"))
    parser.add_argument("--rates", type=float, nargs=2, default=(2e-3, 1.5e-3), metavar=("FIRST", "SECOND"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--run", type=Path, default=ROOT / "build" / "pretrain", help="folder for checkpoints")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --run")
    parser.add_argument("-o", "--output", type=Path, default=TARGET)
    arguments = parser.parse_args()
    started = time.monotonic()
    first = arguments.run / "first.safetensors"
    if not (arguments.resume and first.is_file()):
        stage(arguments, 0, start=None, weights=first)
    encoder, images = stage(arguments, 1, start=first, weights=arguments.output.with_suffix(".safetensors"))
    encoder.save(arguments.output)
    print(
        f"{len(images)} photographs, {time.monotonic() - started:.0f} s, radius {encoder.info.radius}, "
        f"{encoder.info.health}, {len(encoder.data) / 1e6:.2f} MB -> {arguments.output}",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()
