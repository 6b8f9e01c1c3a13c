"""Scaling of the inputs, fitted on the training images and part of the encoder from then on."""

from __future__ import annotations

import torch
from torch import Tensor, nn

SMALLEST = 0.02
"""Smallest divisor: a pixel that hardly ever varies is not blown up into the loudest one."""

QUANTILE_IMAGES = 4096
"""Images that the quartiles are taken from."""


class InputScaling(nn.Module):
    """``(x - shift) / scale``, pixel by pixel.

    Parameters
    ----------
    kind
        ``standard``: mean and standard deviation; ``minmax``: smallest value and range; ``robust``: median and distance
        of the quartiles.
    image_shape
        ``(channels, height, width)``.
    """

    def __init__(self, kind: str, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.kind = kind
        self.shift: Tensor
        self.scale: Tensor
        self.register_buffer("shift", torch.zeros(1, *image_shape))
        self.register_buffer("scale", torch.ones(1, *image_shape))

    def fit(self, images: Tensor) -> None:
        """Set shift and scale from training images ``(n, channels, height, width)``."""
        if self.kind == "standard":
            shift, scale = images.mean(dim=0), images.std(dim=0, correction=0)
        elif self.kind == "minmax":
            shift = images.amin(dim=0)
            scale = images.amax(dim=0) - shift
        else:
            few = images[:QUANTILE_IMAGES]
            low, shift, high = torch.quantile(few, torch.tensor([0.25, 0.5, 0.75], dtype=few.dtype), dim=0)
            scale = high - low
        self.shift.copy_(shift[None])
        self.scale.copy_(scale.clamp(min=SMALLEST)[None])

    def forward(self, x: Tensor) -> Tensor:
        """Return the scaled images, same shape."""
        return (x - self.shift) / self.scale
