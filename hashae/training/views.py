"""Corrupted views of training images: what people and programs do to pictures.

Geometry first (crop, zoom, stretch, pad, rotate), then tone (gamma, shading, vignette), then things laid over the
picture (bars, rectangles, strokes like those of a watermark), then blur and noise. Each view then passes through the
encoder's own canonical form: the model trains on exactly what it will see in use.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from hashae.images.canonical import CanonicalForm, area_resize
from hashae.models.base import Views
from hashae.training.dataset import TrainingImages


class ViewMaker:
    """Makes batches of views.

    Parameters
    ----------
    images
        Training images, ``side x side`` pixels.
    form
        Canonical form; ``side`` must be a multiple of its thumb.
    strength
        0 leaves views untouched, 1 is the strength photographs are trained with.
    mirror
        Let each view be mirrored with probability one half.
    """

    def __init__(
        self, images: TrainingImages, form: CanonicalForm, strength: float = 1.0, mirror: bool = False
    ) -> None:
        self.images, self.form, self.strength, self.mirror = images, form, strength, mirror
        self.side = images.pixels.shape[-1]

    def clean(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return canonical images ``float32 (n, channels, size, size)`` of the given rows, uncorrupted."""
        pixels = self.images.pixels[rows]
        if self.side != self.form.thumb:
            pixels = np.rint(area_resize(pixels, self.form.thumb)).astype(np.uint8)
        return self.form(pixels)

    def pixels(self, rows: NDArray[np.int64]) -> Tensor:
        """Return the training images of the given rows as floats ``(n, channels, side, side)`` in [0, 255]."""
        return torch.from_numpy(self.images.pixels[rows]).float()

    def corrupted(self, pixels: Tensor, rows: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float32]:
        """Return canonical images, each corrupted in its own way; same shape as :meth:`clean`.

        Parameters
        ----------
        pixels
            From :meth:`pixels`; not changed.
        rows
            The same rows, for their aspect ratios.
        rng
            Where every random choice comes from.
        """
        x = self._geometry(pixels, self.images.aspects[rows], rng)  # (n, c, thumb, thumb)
        x = _tone(x, rng, self.strength)
        x = _overlay(x, rng, self.strength)
        x = _blur(x, rng, self.strength)
        noisy = np.flatnonzero(rng.random(len(rows)) < 0.4)
        sigma = (rng.exponential(6.0, len(noisy)) * self.strength).astype(np.float32)
        noise = rng.standard_normal((len(noisy), *x.shape[1:]), dtype=np.float32) * sigma[:, None, None, None]
        x[torch.from_numpy(noisy)] += torch.from_numpy(noise)
        return self.form(x.round_().clamp_(0, 255).to(torch.uint8).numpy())

    def batch(self, rows: NDArray[np.int64], rng: np.random.Generator) -> Views:
        """Return clean images and two independent corruptions of them."""
        clean = torch.from_numpy(self.clean(rows))
        if self.strength == 0:
            return Views(clean, clean, clean)
        pixels = self.pixels(rows)
        first, second = (torch.from_numpy(self.corrupted(pixels, rows, rng)) for _ in range(2))
        return Views(clean, first, second)

    def _geometry(self, pixels: Tensor, aspects: NDArray[np.float32], rng: np.random.Generator) -> Tensor:
        n, s = len(pixels), self.strength
        # Window of the original that the view shows, in [-1, 1] coordinates: centre and half extent.
        extent = 1 - s * np.where(rng.random((n, 1)) < 0.75, rng.beta(1, 1.6, (n, 2)) * 0.42, 0.0)
        centre = rng.uniform(-1, 1, (n, 2)) * (1 - extent)
        padded = rng.random(n) < 0.35
        grow = 1 + s * rng.beta(1, 1.5, (n, 2)) * 0.55
        same = rng.random((n, 1)) < 0.6  # most padding is the same on both sides of each axis
        grow = np.where(same, grow[:, :1], grow)
        extent = np.where(padded[:, None], extent * grow, extent)
        shift = np.where(same, 0.0, rng.uniform(-1, 1, (n, 2))) * np.maximum(extent - 1, 0)
        centre = np.where(padded[:, None], centre * 0.2 + shift, centre)
        turned = rng.random(n) < 0.5
        angle = np.deg2rad(np.where(turned, rng.normal(0, 5.5, n).clip(-14, 14) * s, 0.0))
        # A true rotation happens in the picture's own proportions, not in the square it was squeezed into.
        cos, sin = np.cos(angle), np.sin(angle)
        flip = np.where(self.mirror & (rng.random(n) < 0.5), -1.0, 1.0)
        theta = np.zeros((n, 2, 3), np.float32)
        theta[:, 0, 0], theta[:, 0, 1] = cos * extent[:, 0] * flip, -sin * extent[:, 1] / aspects
        theta[:, 1, 0], theta[:, 1, 1] = sin * extent[:, 0] * aspects * flip, cos * extent[:, 1]
        theta[:, :, 2] = centre
        # Pictures are kept at twice the thumb: bilinear sampling at half the resolution then averages four pixels.
        thumb = self.form.thumb
        grid = F.affine_grid(torch.from_numpy(theta), [n, self.form.channels, thumb, thumb], align_corners=False)
        seen = F.grid_sample(pixels, grid, mode="bilinear", padding_mode="border", align_corners=False)
        outside = (grid.abs().amax(dim=3) > 1).unsqueeze(1)  # (n, 1, thumb, thumb)
        kind = rng.random(n)
        value = np.where(kind < 0.5, 0, np.where(kind < 0.85, 255, rng.uniform(0, 255, n))).astype(np.float32)
        fill = torch.from_numpy(value)[:, None, None, None]
        return torch.where(outside, fill, seen)


def _tone(x: Tensor, rng: np.random.Generator, strength: float) -> Tensor:
    """Gamma; brightness and contrast, with clipping; a field of light: a slope across the picture and a vignette."""
    n, _, side, _ = x.shape
    gain = np.where(rng.random(n) < 0.4, np.exp(rng.normal(0, 0.3, n) * strength), 1.0).astype(np.float32)
    middle = torch.from_numpy(np.where(rng.random(n) < 0.5, 0.0, 128.0).astype(np.float32))[:, None, None, None]
    x = (x - middle) * torch.from_numpy(gain)[:, None, None, None] + middle
    gamma = np.exp(rng.normal(0, 0.35, n) * strength).astype(np.float32)
    x = 255 * (x / 255).clamp_(0, 1).pow(torch.from_numpy(gamma)[:, None, None, None])
    ramp = torch.linspace(-1, 1, side)
    slopes = torch.from_numpy((rng.normal(0, 0.12, (n, 2)) * (rng.random((n, 1)) < 0.4) * strength).astype(np.float32))
    vignette = torch.from_numpy((rng.uniform(0, 0.8, n) * (rng.random(n) < 0.25) * strength).astype(np.float32))
    radius = (ramp[:, None] ** 2 + ramp[None, :] ** 2) / 2  # (side, side), 0 in the middle, 1 in the corners
    light = 1 + slopes[:, :1, None] * ramp[None, :, None] + slopes[:, 1:, None] * ramp[None, None, :]
    light = light - vignette[:, None, None] * radius
    return (x * light[:, None]).clamp_(0, 255)


def _overlay(x: Tensor, rng: np.random.Generator, strength: float) -> Tensor:
    """Caption bars, logos, and strokes like those of text laid over the picture."""
    n, _, side, _ = x.shape
    for i in range(n):
        draw = rng.random()
        if draw < 0.12 * strength:  # a bar with text at the top or bottom
            height = int(side * rng.uniform(0.05, 0.16))
            top = 0 if rng.random() < 0.4 else side - height
            tone = rng.choice([0, 255, 128])
            x[i, :, top : top + height] = float(tone)
            _strokes(x[i], top + height // 4, top + max(height * 3 // 4, height // 4 + 1), rng, 255 - float(tone))
        elif draw < 0.27 * strength:  # a rectangle such as a logo
            height, width = (int(side * v) for v in rng.uniform(0.06, 0.3, 2))
            top, left = int(rng.uniform(0, side - height)), int(rng.uniform(0, side - width))
            x[i, :, top : top + height, left : left + width] = float(rng.uniform(0, 255))
        elif draw < 0.4 * strength:  # a line of text
            height = int(side * rng.uniform(0.04, 0.14)) + 1
            top = int(rng.uniform(0, side - height))
            _strokes(x[i], top, top + height, rng, float(rng.choice([0, 255])))
    return x


def _strokes(image: Tensor, top: int, bottom: int, rng: np.random.Generator, tone: float) -> None:
    """Blend vertical strokes of `tone` into rows ``top:bottom`` of ``image (c, side, side)``, in place."""
    side = image.shape[-1]
    left, right = sorted(rng.integers(0, side, 2))
    columns = torch.from_numpy((rng.random(max(int(right - left), 1)) < 0.5).astype(np.float32))
    alpha = columns * float(rng.uniform(0.3, 1.0))
    area = image[:, top:bottom, left : left + len(columns)]
    area += (tone - area) * alpha[: area.shape[-1]]


def _blur(x: Tensor, rng: np.random.Generator, strength: float) -> Tensor:
    """Gaussian blur, different for each image: two products with a banded matrix."""
    n, _, side, _ = x.shape
    chosen = np.flatnonzero(rng.random(n) < 0.3 * strength)
    if not len(chosen):
        return x
    sigma = rng.uniform(0.3, 2.2, len(chosen)).astype(np.float32)
    distance = np.arange(side)[:, None] - np.arange(side)[None, :]
    weights = np.exp(-0.5 * (distance[None] / sigma[:, None, None]) ** 2)
    matrix = torch.from_numpy((weights / weights.sum(axis=2, keepdims=True)).astype(np.float32))[:, None]
    rows = torch.from_numpy(chosen)
    x[rows] = matrix @ x[rows] @ matrix.transpose(2, 3)
    return x
