"""The pictures of docs/autoencoders.md: models trained on MNIST, and what `hashae show` draws of them.

    python benchmarks/pictures.py --models runs/pictures -o docs/images

Models that are there already are not trained again.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import torch
from data import data_folder
from PIL import Image

from hashae.comparison import load_data
from hashae.config import TrainConfig
from hashae.drawing import to_png
from hashae.models import create_model
from hashae.show.catalogue import Request, draw
from hashae.training import train
from hashae.training.weights import WEIGHTS

MODELS = {
    "variational": {"kl": 1.0},
    "plain": {"output": "sigmoid"},
    "binary": {"noise": "rising"},
}

PICTURES = {
    "attribute": ("variational", {"groups": ("3", "8"), "steps": 9}),
    "samples": ("plain", {"count": 10, "noise": 1.0}),
    "code": ("binary", {}),
}
"""Name -> model and settings."""

COLOURS = 64


def main() -> None:
    """Train what is missing, draw, and write PNG files with few colours."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True, help="folder for the trainings")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the pictures")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    file = data_folder() / "mnist.npz"
    data = load_data(file, images=10_000, queries=500)
    for name, settings in MODELS.items():
        if (arguments.models / name / WEIGHTS).is_file():
            continue
        torch.manual_seed(0)
        model = create_model(name, bits=32, image_shape=data.form.shape, width=16, **settings)
        config = TrainConfig(steps=arguments.steps, augment="digits", neighbours=1, temperature=0.5, decorrelation=0.0)
        result = train(model, data.train, config, form=data.form, run=arguments.models / name)
        print(f"{name}: {result.steps:,} steps in {result.seconds:.0f} s")
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name, (source, settings) in PICTURES.items():
        beside = (arguments.models / "variational",) if name == "samples" else ()
        request = Request(arguments.models / source, (file,), beside, threads=arguments.threads, **settings)
        drawn = Image.open(io.BytesIO(to_png(draw(name, request), dpi=90))).convert("RGB")
        target = arguments.output / f"{name}.png"
        drawn.quantize(COLOURS).save(target, optimize=True)
        print(f"{target}: {target.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
