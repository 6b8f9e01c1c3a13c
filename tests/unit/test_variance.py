"""Digits in the variance of pixels: what the images are, what the best denoiser is, and that a trained one finds it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hashae.comparison.measure import linear_probe
from hashae.config import TrainConfig
from hashae.evaluation.variance import HIGH, LOW, best_gate, deviations, variance_images
from hashae.models import create_model
from hashae.training import train


def test_the_content_is_in_the_variance_and_not_in_the_mean():
    images = np.zeros((4000, 2, 2), np.uint8)
    images[:, 0], images[:, 1, 1] = 255, 128
    pixels = variance_images(images, np.random.default_rng(0)).astype(float) / 255
    assert np.allclose(pixels.mean(axis=0), 0.5, atol=0.01)
    assert np.allclose(pixels.std(axis=0), [[HIGH, HIGH], [LOW, (LOW + HIGH) / 2]], atol=0.01)
    assert np.allclose(deviations(images)[0], [[HIGH, HIGH], [LOW, (LOW + HIGH) / 2]], atol=1e-3)


@pytest.fixture(autouse=True)
def one_torch_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("deviation", [0.02, 0.1, 0.2])
def test_no_other_share_cleans_better_than_the_best_gate(deviation):
    rng = np.random.default_rng(0)
    clean = deviation * rng.normal(size=50_000)
    seen = clean + 0.1 * rng.normal(size=50_000)
    shares = np.linspace(0, 1, 201)
    errors = [np.square(share * seen - clean).mean() for share in shares]
    assert float(best_gate(np.array([deviation], np.float32), 0.1)[0]) == pytest.approx(
        shares[np.argmin(errors)], abs=0.02
    )


def test_denoising_finds_what_copying_does_not():
    # Which half varies? The digits of benchmarks/variance_mnist.py are the same task, and take minutes.
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 900)
    images = np.zeros((900, 8, 8), np.uint8)
    images[labels == 0, :, :4] = images[labels == 1, :, 4:] = 255
    seen = variance_images(images, rng)
    x = torch.from_numpy(seen[:, None]).float() / 255
    accuracy, gates = {}, None
    for name, settings in (("plain", {}), ("denoising", {"gate": True, "amount": 0.1})):
        torch.manual_seed(0)
        model = create_model(name, bits=8, image_shape=(1, 8, 8), width=2, trunk="dense", loss="mse", **settings)
        config = TrainConfig(steps=150, batch=64, learning_rate=0.01, views=0, neighbours=1, precision="float32")
        train(model, seen[:600], config)
        with torch.no_grad():
            logits = model.encode(x)
            gates = model.decode(model.latent(logits))[600:, 0].numpy()
        accuracy[name] = linear_probe(logits[:600].numpy(), labels[:600], logits[600:].numpy(), labels[600:])
    assert accuracy["denoising"] > accuracy["plain"] + 0.3, accuracy
    best = best_gate(deviations(images[600:]), 0.1)
    assert np.corrcoef(gates.ravel(), best.ravel())[0, 1] > 0.8
