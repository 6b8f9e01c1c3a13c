"""Variance-MNIST: what denoising learns and copying does not.

Digits are hidden in the variance of the pixels. Each model is trained without labels by the one training loop; then a
linear classifier is trained on its latents, and one on its codes. What the denoisers learned stands beside the best
answer, ``mean + (x - mean) * sigmoid(log(v_x / v_n))``: the squared error that is left of that of the noise, and for a
gated one how far its gate is from the best (mean absolute difference, and correlation over pixels).

    python benchmarks/variance_mnist.py --steps 1500
    python benchmarks/variance_mnist.py --digits --steps 300
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import torch
from data import data_folder
from numpy.typing import NDArray

from hashae.comparison.measure import linear_probe
from hashae.config import TrainConfig
from hashae.evaluation.variance import best_gate, deviations, variance_images
from hashae.models import HashModel, create_model
from hashae.training import train

NOISE = 0.1

MODELS: dict[str, dict[str, Any]] = {
    "plain": {"loss": "mse"},
    "denoising": {"loss": "mse", "amount": NOISE},
    "denoising, gated": {"loss": "mse", "amount": NOISE, "gate": True},
    "variational, fixed variance": {"likelihood": "gaussian"},
    "variational, predicted variance": {"likelihood": "predicted"},
}

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


def load_digits_of(name: str, train_images: int, test_images: int) -> tuple[Images, Labels, Images, Labels]:
    """Return digits ``uint8 (n, side, side)`` with labels, for training and for testing."""
    rng = np.random.default_rng(0)
    if name == "digits":
        from sklearn.datasets import load_digits

        loaded = load_digits()
        images = np.rint(loaded.images * (255 / 16)).astype(np.uint8).repeat(2, axis=1).repeat(2, axis=2)
        order = rng.permutation(len(images))
        first, rest = order[:1400], order[1400:]
        # Few digits, but as many samples of their noise as are asked for.
        first = np.resize(first, train_images)
        return images[first], loaded.target[first], images[rest], loaded.target[rest]
    with np.load(data_folder() / "mnist.npz") as file:
        train_rows = rng.permutation(len(file["x_train"]))[:train_images]
        test_rows = rng.permutation(len(file["x_test"]))[:test_images]
        return (
            file["x_train"][train_rows],
            file["y_train"][train_rows].astype(np.int64),
            file["x_test"][test_rows],
            file["y_test"][test_rows].astype(np.int64),
        )


def latents(model: HashModel, images: Images) -> NDArray[np.float32]:
    """Return the logits of images, ``float32 (n, bits)``."""
    x = torch.from_numpy(images[:, None].astype(np.float32) / 255)
    with torch.no_grad():
        return torch.cat([model.encode(part) for part in x.split(500)]).numpy()


def left_of_noise(clean: Images, deviation: NDArray[np.float32], model: HashModel | None) -> float:
    """Return the squared error of noisy images after cleaning, as a share of that of the noise.

    Parameters
    ----------
    clean
        ``uint8 (n, side, side)``.
    deviation
        Of each pixel, ``float32 (n, side, side)``.
    model
        Cleans; None for the best answer.
    """
    torch.manual_seed(1)
    x = torch.from_numpy(clean[:, None].astype(np.float32) / 255)
    seen = x + NOISE * torch.randn_like(x)
    with torch.no_grad():
        if model is None:
            cleaned = 0.5 + (seen - 0.5) * torch.from_numpy(best_gate(deviation, NOISE))[:, None]
        else:
            cleaned = torch.cat([model.reconstruct(part) for part in seen.split(500)])
    return float((cleaned - x).square().mean() / (seen - x).square().mean())


def gate_of(model: HashModel, images: Images) -> NDArray[np.float32]:
    """Return the gate that a gated denoiser gives noisy images, ``float32 (n, side, side)``."""
    torch.manual_seed(1)
    x = torch.from_numpy(images[:, None].astype(np.float32) / 255)
    with torch.no_grad():
        return model.decode(model.latent(model.encode(x + NOISE * torch.randn_like(x))))[:, 0].numpy()


def main() -> None:
    """Train, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--digits", action="store_true", help="digits of scikit-learn instead of MNIST")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--bits", type=int, default=64)
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--models", help="some of the models, with semicolons between")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    name = "digits" if arguments.digits else "mnist"
    clean_train, train_labels, clean_test, test_labels = load_digits_of(name, arguments.images, 2000)
    rng = np.random.default_rng(arguments.seed)
    seen, asked = variance_images(clean_train, rng), variance_images(clean_test, rng)
    side = seen.shape[-1]
    print(f"variance-{name}: {len(seen):,} images of {side} x {side}, {arguments.steps:,} steps, {arguments.bits} bits")
    flat = [part.reshape(len(part), -1).astype(np.float32) for part in (seen, asked)]
    away = [np.abs(part - 127.5) for part in flat]
    for title, (known, new) in (("pixels", flat), ("distance of pixels to the mean", away)):
        print(f"{title:32} accuracy {linear_probe(known, train_labels, new, test_labels):.3f}", flush=True)
    print(f"{'best answer':32} left of the noise {left_of_noise(asked, deviations(clean_test), None):.3f}", flush=True)
    wanted = [part.strip() for part in arguments.models.split(";")] if arguments.models else list(MODELS)
    for title in wanted:
        torch.manual_seed(arguments.seed)
        model = create_model(
            title.split(",")[0],
            bits=arguments.bits,
            image_shape=(1, side, side),
            width=arguments.width,
            **MODELS[title],
        )
        config = TrainConfig(
            steps=arguments.steps, learning_rate=5e-3, views=0, neighbours=1, seed=arguments.seed, precision="float32"
        )
        start = time.perf_counter()
        train(model, seen, config)
        seconds = time.perf_counter() - start
        known, new = latents(model, seen), latents(model, asked)
        threshold = model.threshold.numpy()
        bits = [(part > threshold).astype(np.float32) for part in (known, new)]
        accuracy = linear_probe(known, train_labels, new, test_labels)
        coded = linear_probe(bits[0], train_labels, bits[1], test_labels)
        line = f"{title:32} accuracy {accuracy:.3f}   on codes {coded:.3f}   {seconds:.0f} s"
        if title.startswith("denoising"):
            line += f"   left of the noise {left_of_noise(asked, deviations(clean_test), model):.3f}"
        if MODELS[title].get("gate"):
            learned, best = gate_of(model, asked), best_gate(deviations(clean_test), NOISE)
            apart, alike = np.abs(learned - best).mean(), np.corrcoef(learned.ravel(), best.ravel())[0, 1]
            line += f"   gate: {apart:.3f} from the best one, correlation {alike:.3f}"
        print(line, flush=True)


if __name__ == "__main__":
    main()
