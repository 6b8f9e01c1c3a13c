"""Corrupted views of small images: digits and tiny colour pictures.

What happens to photographs (crops, padding, captions) destroys an image of 28 or 32 pixels. A written digit stays the
same digit when it is moved, turned a little, sheared, stretched, wobbled (Simard et al. 2003) or written with a thicker
or thinner pen. A tiny picture of a thing stays one when a part of it is enlarged, when it is mirrored, and when its
colours change (Chen et al. 2020).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from hashae.config import TrainConfig
from hashae.errors import ConfigError
from hashae.images.canonical import CanonicalForm
from hashae.training.dataset import TrainingImages
from hashae.training.views import ViewMaker

WOBBLE = 5
"""Control points a side of the field that wobbles a digit."""

YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
"""From RGB to luminance and two of chroma: turning these two is a change of hue, scaling them one of saturation."""


class DigitViews(ViewMaker):
    """Views of centred, light-on-dark strokes such as digits; `mirror` is not used: it makes other signs."""

    def corrupted(self, pixels: Tensor, rows: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float32]:
        """Return canonical images, each corrupted in its own way; see :meth:`ViewMaker.corrupted`."""
        n, s, thumb = len(rows), self.strength, self.form.thumb
        angle = np.deg2rad(rng.uniform(-20, 20, n) * s)
        zoom = np.exp(rng.uniform(-0.25, 0.25, (n, 1)) * s + rng.uniform(-0.12, 0.12, (n, 2)) * s)
        shear = rng.uniform(-0.3, 0.3, n) * s
        cos, sin = np.cos(angle), np.sin(angle)
        theta = np.zeros((n, 2, 3), np.float32)
        theta[:, 0, 0], theta[:, 0, 1] = cos * zoom[:, 0], (cos * shear - sin) * zoom[:, 1]
        theta[:, 1, 0], theta[:, 1, 1] = sin * zoom[:, 0], (sin * shear + cos) * zoom[:, 1]
        theta[:, :, 2] = rng.uniform(-0.2, 0.2, (n, 2)) * s
        grid = F.affine_grid(torch.from_numpy(theta), [n, self.form.channels, thumb, thumb], align_corners=False)
        field = rng.standard_normal((n, 2, WOBBLE, WOBBLE), dtype=np.float32)
        field *= (rng.uniform(0, 0.11, n) * s).astype(np.float32)[:, None, None, None]
        curve = _curve(thumb)
        grid += (curve @ torch.from_numpy(field) @ curve.T).permute(0, 2, 3, 1)
        x = F.grid_sample(pixels, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        x = _pen(x, rng, s)
        return self.form(x.round_().clamp_(0, 255).to(torch.uint8).numpy())


class TinyViews(ViewMaker):
    """Views of tiny pictures, grey or RGB.

    Parameters
    ----------
    images, form, strength, mirror
        See :class:`ViewMaker`.
    view_side
        Side of the corrupted views in pixels; None for that of the canonical form.
    """

    def __init__(
        self,
        images: TrainingImages,
        form: CanonicalForm,
        strength: float = 1.0,
        mirror: bool = False,
        view_side: int | None = None,
    ) -> None:
        super().__init__(images, form, strength, mirror)
        side = form.size if view_side is None else view_side
        self.view_form = replace(form, size=side, thumb=form.thumb * side // form.size)

    def corrupted(self, pixels: Tensor, rows: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float32]:
        """Return images ``(n, channels, view_side, view_side)``; see :meth:`ViewMaker.corrupted`."""
        n, s, thumb = len(rows), self.strength, self.view_form.thumb
        area = 1 - s * rng.uniform(0, 0.8, n)
        ratio = np.exp(rng.uniform(-1, 1, n) * s * np.log(4 / 3) / 2)
        extent = np.minimum(np.sqrt(area)[:, None] * np.stack([ratio, 1 / ratio], axis=1), 1)  # (n, 2): width, height
        theta = np.zeros((n, 2, 3), np.float32)
        theta[:, 0, 0] = extent[:, 0] * np.where(self.mirror & (rng.random(n) < 0.5), -1, 1)
        theta[:, 1, 1] = extent[:, 1]
        theta[:, :, 2] = rng.uniform(-1, 1, (n, 2)) * (1 - extent)
        grid = F.affine_grid(torch.from_numpy(theta), [n, self.form.channels, thumb, thumb], align_corners=False)
        x = F.grid_sample(pixels, grid, mode="bilinear", padding_mode="border", align_corners=False)
        x = _colours(x, rng, s)
        return self.view_form(x.round_().clamp_(0, 255).to(torch.uint8).numpy())


VIEW_MAKERS: dict[str, type[ViewMaker]] = {"photo": ViewMaker, "digits": DigitViews, "tiny": TinyViews}
"""Value of `TrainConfig.augment` -> what makes the views."""


def create_views(images: TrainingImages, form: CanonicalForm, config: TrainConfig) -> ViewMaker:
    """Return what makes the views of a training.

    Raises
    ------
    ConfigError
        If views of digits are asked for on colour images, or views of another side and not ``tiny``.
    """
    if config.augment == "digits" and form.channels != 1:
        raise ConfigError(f"augment is 'digits', but images have {form.channels} channels; use 'tiny' or 'photo'")
    if config.augment == "tiny":
        return TinyViews(images, form, config.views, config.mirror, config.view_side)
    if config.view_side not in {None, form.size}:
        raise ConfigError(f"view_side is {config.view_side} and augment {config.augment!r}; use augment='tiny' with it")
    return VIEW_MAKERS[config.augment](images, form, config.views, config.mirror)


def _pen(x: Tensor, rng: np.random.Generator, strength: float) -> Tensor:
    """Thicken or thin strokes: a blend with the largest, or the smallest, value around each pixel."""
    n = len(x)
    share = torch.from_numpy((rng.uniform(-0.6, 0.9, n) * strength).astype(np.float32))[:, None, None, None]
    return x + torch.where(share > 0, share * (_largest(x) - x), share * (_largest(-x) + x))


def _largest(x: Tensor) -> Tensor:
    """Return the largest value among the 3 x 3 around each pixel; five times as fast as pooling."""
    wide = x.clone()
    torch.maximum(x[..., 1:], x[..., :-1], out=wide[..., 1:])
    wide[..., :-1] = torch.maximum(wide[..., :-1], x[..., 1:])
    high = wide.clone()
    torch.maximum(wide[..., 1:, :], wide[..., :-1, :], out=high[..., 1:, :])
    high[..., :-1, :] = torch.maximum(high[..., :-1, :], wide[..., 1:, :])
    return high


def _curve(side: int) -> Tensor:
    """Return the matrix ``(side, WOBBLE)`` that draws a bicubic curve through control points."""
    points = torch.eye(WOBBLE)[:, None, None]  # (WOBBLE, 1, 1, WOBBLE)
    return F.interpolate(points, (1, side), mode="bicubic", align_corners=True)[:, 0, 0].T


def _colours(x: Tensor, rng: np.random.Generator, strength: float) -> Tensor:
    """Brightness and contrast of all; hue and saturation, or none at all, of colour images."""
    n, channels = x.shape[:2]
    changed = rng.random((n, 4)) < 0.8
    bright, contrast, saturation = np.exp(rng.uniform(-0.45, 0.45, (n, 3)) * strength * changed[:, :3]).T
    grey = rng.random(n) < 0.2 * strength
    if channels == 3:
        hue = rng.uniform(-0.6, 0.6, n) * strength * changed[:, 3]
        chroma = np.where(grey, 0, saturation)
        turn = np.zeros((n, 3, 3), np.float32)
        turn[:, 0, 0] = 1
        turn[:, 1, 1] = turn[:, 2, 2] = chroma * np.cos(hue)
        turn[:, 1, 2], turn[:, 2, 1] = -chroma * np.sin(hue), chroma * np.sin(hue)
        matrix = torch.linalg.inv(YIQ) @ torch.from_numpy(turn) @ YIQ  # (n, 3, 3)
        x = (matrix @ x.flatten(2)).view_as(x)
    x = x * torch.from_numpy(bright.astype(np.float32))[:, None, None, None]
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    return mean + (x - mean) * torch.from_numpy(contrast.astype(np.float32))[:, None, None, None]
