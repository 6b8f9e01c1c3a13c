"""Outliers: strangers are planted among digits, and each score has to tell them from the digits.

AUROC: the chance that a stranger gets a higher score than a digit. The encoder learns from digits alone; the digits and
strangers that are ranked together are others, five strangers for a hundred digits, one kind at a time. Strangers:
uniform noise; noise smoothed over 3 x 3 pixels; digits whose four quarters are in another order; photographs (CIFAR-10
as JPEG files, in grey) where the data folder has them.

    python benchmarks/outliers.py                    digits of scikit-learn
    python benchmarks/outliers.py --mnist
    python benchmarks/outliers.py --shipped          ten digits among 300 photographs, encoder photo
"""

from __future__ import annotations

import argparse
import zipfile
from io import BytesIO

import numpy as np
import torch
from data import data_folder
from numpy.typing import NDArray
from PIL import Image
from sklearn.metrics import roc_auc_score

from hashae import pretrained
from hashae.codes import pack
from hashae.comparison import load_data
from hashae.config import ModelConfig, TrainConfig
from hashae.images.canonical import area_resize
from hashae.show.pictures import fit_form
from hashae.training.variant import train_variant
from hashae.uses.outliers import code_errors, rarity, surprise

SHARE = 0.05
"""Strangers for each digit."""

Pixels = NDArray[np.uint8]


def noise(count: int, side: int, rng: np.random.Generator) -> Pixels:
    """Return uniform noise, ``uint8 (count, 1, side, side)``."""
    return rng.integers(0, 256, (count, 1, side, side), dtype=np.uint8)


def smooth_noise(count: int, side: int, rng: np.random.Generator) -> Pixels:
    """Return noise averaged over 3 x 3 pixels and stretched to the full range."""
    rough = rng.random((count, 1, side + 2, side + 2))
    soft = sum(rough[..., i : i + side, j : j + side] for i in range(3) for j in range(3))
    low, high = soft.min(axis=(2, 3), keepdims=True), soft.max(axis=(2, 3), keepdims=True)
    return np.rint(255 * (soft - low) / (high - low)).astype(np.uint8)


def shuffled(digits: Pixels) -> Pixels:
    """Return digits with their four quarters turned by one place: the same strokes, no digit."""
    half = digits.shape[-1] // 2
    a, b = digits[..., :half, :half], digits[..., :half, half : 2 * half]
    c, d = digits[..., half : 2 * half, :half], digits[..., half : 2 * half, half : 2 * half]
    out = digits.copy()
    out[..., :half, :half], out[..., :half, half : 2 * half] = c, a
    out[..., half : 2 * half, half : 2 * half], out[..., half : 2 * half, :half] = b, d
    return out


def photographs(count: int, side: int, rng: np.random.Generator) -> Pixels | None:
    """Return small photographs in grey; None where the archive is missing."""
    try:
        archive = zipfile.ZipFile(data_folder() / "cifar10.zip")
    except (FileNotFoundError, SystemExit):
        return None
    with archive:
        names = sorted(name for name in archive.namelist() if name.startswith("test/") and name.endswith(".jpg"))
        chosen = rng.choice(len(names), count, replace=False)
        grey = [np.asarray(Image.open(BytesIO(archive.read(names[i]))).convert("L")) for i in chosen]
    return np.rint(area_resize(np.stack(grey)[:, None], side)).astype(np.uint8)


def shipped(seed: int) -> None:
    """Print how well the shipped encoder, which learned from other photographs, finds ten digits among 300."""
    encoder = pretrained.load(threads=2)
    photos = photographs(300, 32, np.random.default_rng([8, seed]))
    if photos is None:
        raise SystemExit("cifar10.zip is not in the data folder; expected CIFAR-10 as JPEG files")
    digits = load_data(data_folder() / "mnist.npz", images=2, queries=10, seed=seed).test.pixels
    images = np.concatenate([encoder.form(fit_form(part, encoder.form)) for part in (photos, digits)])
    codes = pack(encoder.canonical_logits(images) > 0)
    truth = np.arange(len(images)) >= len(photos)
    measured = (code_errors(encoder, images, codes), rarity(codes), surprise(codes))
    columns = "   ".join(f"{roc_auc_score(truth, values):.3f}" for values in measured)
    print(f"photos photo     {seed}     digits          {columns}", flush=True)


def main() -> None:
    """Train, plant, rank, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--mnist", action="store_true", help="MNIST of the data folder instead of scikit-learn's digits"
    )
    parser.add_argument("--shipped", action="store_true", help="the shipped encoder, digits among photographs")
    parser.add_argument("--models", default="binary,plain", help="models, with commas between")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--bits", type=int, default=64)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    source = data_folder() / "mnist.npz" if arguments.mnist else "digits"
    print("data   model     seed  strangers       error   rarity  surprise")
    for seed in range(arguments.seeds):
        if arguments.shipped:
            shipped(seed)
            continue
        rng = np.random.default_rng([7, seed])
        data = load_data(source, images=10_000, queries=2000, seed=seed)
        digits = data.test.pixels
        side, count = digits.shape[-1], round(SHARE * len(digits))
        kinds = {
            "noise": noise(count, side, rng),
            "smooth noise": smooth_noise(count, side, rng),
            "shuffled": shuffled(data.train.pixels[:count]),
            "photographs": photographs(count, side, rng),
        }
        for name in arguments.models.split(","):
            model = ModelConfig(model=name, bits=arguments.bits, image_shape=data.form.shape, width=arguments.width)
            config = TrainConfig(
                steps=arguments.steps, augment="digits", neighbours=1, temperature=0.5, decorrelation=0.0, seed=seed
            )
            encoder = train_variant(name, model, data.train, data.test, config, data.form).encoder
            for kind, strangers in kinds.items():
                if strangers is None:
                    continue
                images = data.form(np.concatenate([digits, strangers]))
                codes = pack(encoder.canonical_logits(images) > 0)
                errors, rare, surprising = code_errors(encoder, images, codes), rarity(codes), surprise(codes)
                truth = np.arange(len(images)) >= len(digits)
                found = [roc_auc_score(truth, values) for values in (errors, rare, surprising)]
                columns = "   ".join(f"{value:.3f}" for value in found)
                print(f"{data.name:6} {name:9} {seed}     {kind:14}  {columns}", flush=True)


if __name__ == "__main__":
    main()
