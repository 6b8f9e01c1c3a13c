"""Train the encoder that ships with hashae, from ``photos-train.zip`` and nothing else.

Writes ``hashae/pretrained/photo.onnx`` in 8-bit arithmetic, its decoder, and the weights in half precision that
``hashae train --from photo`` starts from. About an hour on two cores; with ``--run`` it can be stopped and resumed. The
figures of the result are measured by ``planted.py`` and ``near_duplicates.py`` and written into the model card by hand;
``reference_codes.py`` has to run after it.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from data import ROOT, unpacked

from hashae.config import ModelConfig, TrainConfig
from hashae.images.canonical import CanonicalForm
from hashae.training import StepReport
from hashae.training.recipe import learn_encoder

TARGET = ROOT / "hashae" / "pretrained" / "photo.onnx"


def show(report: StepReport) -> None:
    """Print a line every hundred steps."""
    if report.step % 100 == 0:
        terms = ", ".join(f"{name} {value:.3f}" for name, value in report.terms.items())
        print(
            f"{report.step}/{report.steps} {report.seconds:.0f} s: {terms}, imbalance {report.balance:.3f}", flush=True
        )


def main() -> None:
    """Train and write the encoder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=7833)
    parser.add_argument("--size", type=int, default=48, help="side of the encoder's input")
    parser.add_argument("--width", type=int, default=24)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--neighbours", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--budget", type=float, help="seconds; fits the number of steps to it")
    parser.add_argument("--run", type=Path, help="folder for checkpoints")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("-o", "--output", type=Path, default=TARGET)
    arguments = parser.parse_args()
    started = time.monotonic()
    encoder, images = learn_encoder(
        unpacked("photos-train.zip"),
        model=ModelConfig(bits=256, width=arguments.width),
        config=TrainConfig(
            batch=arguments.batch,
            neighbours=arguments.neighbours,
            seed=arguments.seed,
            threads=arguments.threads,
            budget=arguments.budget,
        ),
        form=CanonicalForm.preset("photo", arguments.size),
        name="photo",
        steps=arguments.steps,
        limit=20_000,
        run=arguments.run,
        resume=arguments.resume,
        weights=arguments.output.with_suffix(".safetensors"),
        quantised=True,
        on_step=show,
    )
    encoder.save(arguments.output)
    print(
        f"{len(images)} photographs, {time.monotonic() - started:.0f} s, radius {encoder.info.radius}, "
        f"{encoder.info.health}, {len(encoder.data) / 1e6:.2f} MB -> {arguments.output}",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()
