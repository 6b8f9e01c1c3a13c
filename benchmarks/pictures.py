"""The pictures of README.md and docs/autoencoders.md: what the family learned from MNIST.

    hashae compare mnist.npz --images 60000 --budget 3m --run runs/mnist
    python benchmarks/pictures.py --run runs/mnist -o docs/images
    python benchmarks/pictures.py --models runs/pictures -o docs/images

The first two draw what the comparison of benchmarks/RESULTS.md found: the nearest pictures by the code of each variant,
what the bits of the binary model mean, and a map of its latents. The last trains the models whose latents are drawn, if
they are not in the folder already.
"""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from data import data_folder
from PIL import Image

from hashae.comparison import compare, load_data, parse_variants
from hashae.comparison.figures import answers
from hashae.comparison.table import lines
from hashae.config import TrainConfig
from hashae.drawing import to_png
from hashae.models import create_model
from hashae.show.catalogue import Request, draw
from hashae.training import train
from hashae.training.weights import WEIGHTS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MODELS = {
    "variational": {"kl": 1.0},
    "plain": {"output": "sigmoid"},
}

PICTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "attribute": ("variational", {"groups": ("3", "8"), "steps": 9}),
    "samples": ("plain", {"count": 10, "noise": 1.0}),
}
"""Name -> model and settings."""

COLOURS = 64


def save(figure: Figure, target: Path, dpi: int = 90) -> None:
    """Write a figure as a PNG file with few colours."""
    drawn = Image.open(io.BytesIO(to_png(figure, dpi))).convert("RGB")
    drawn.quantize(COLOURS).save(target, optimize=True)
    print(f"{target}: {target.stat().st_size / 1000:.0f} kB")


def draw_comparison(run: Path, output: Path, threads: int) -> None:
    """Draw what a finished comparison of all variants found; nothing is trained."""
    file = data_folder() / "mnist.npz"
    data = load_data(file, images=60_000)
    settings = json.loads((run / "settings.json").read_text("utf-8"))
    finished = [variant for variant in parse_variants([]) if (run / f"{variant.name}-0" / "row.json").is_file()]
    found = compare(data, finished, bits=settings["bits"], budget=settings["budget"], run=run, threads=threads)
    save(answers(lines(found), data), output / "answers.png")
    encoder = run / "binary-0" / "encoder.onnx"
    for name, chosen in (("code", {}), ("map", {"method": "tsne", "limit": 1000})):
        request = Request(encoder, (file,), threads=threads, **chosen)
        save(draw(name, request), output / f"{name}.png")


def main() -> None:
    """Draw what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="folder of a finished hashae compare")
    parser.add_argument("--models", type=Path, help="folder for the trainings")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the pictures")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.output.mkdir(parents=True, exist_ok=True)
    if arguments.run:
        draw_comparison(arguments.run, arguments.output, arguments.threads)
    if arguments.models:
        draw_latents(arguments.models, arguments.output, arguments.steps, arguments.threads)


def draw_latents(models: Path, output: Path, steps: int, threads: int) -> None:
    """Train what is missing, and draw what moving through latents does."""
    file = data_folder() / "mnist.npz"
    data = load_data(file, images=10_000, queries=500)
    for name, settings in MODELS.items():
        if (models / name / WEIGHTS).is_file():
            continue
        torch.manual_seed(0)
        model = create_model(name, bits=32, image_shape=data.form.shape, width=16, **settings)
        config = TrainConfig(steps=steps, augment="digits", neighbours=1, temperature=0.5, decorrelation=0.0)
        result = train(model, data.train, config, form=data.form, run=models / name)
        print(f"{name}: {result.steps:,} steps in {result.seconds:.0f} s")
    for name, (source, chosen) in PICTURES.items():
        beside = (models / "variational",) if name == "samples" else ()
        request = Request(models / source, (file,), beside, threads=threads, **chosen)
        save(draw(name, request), output / f"{name}.png")


if __name__ == "__main__":
    main()
