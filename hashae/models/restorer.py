"""A denoising autoencoder for whole pictures: convolutions down, convolutions up, short cuts in between.

A bottleneck that makes a good code throws the detail away that a restored picture needs, so each level of the way down
is handed to the same level of the way up (Ronneberger, Fischer and Brox 2015). What the layers give is added to the
damaged picture: they only have to learn what is wrong with it (Zhang et al. 2017).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STRIDE = 4
"""What height and width are padded to a multiple of."""


class Restorer(nn.Module):
    """From a damaged picture to a whole one, of any height and width.

    Parameters
    ----------
    width
        Channels of the first convolution.
    """

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.width = width
        self.first = _block(4, width)
        self.second = _block(width, 2 * width)
        self.third = nn.Sequential(
            nn.Conv2d(2 * width, 4 * width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(4 * width, 4 * width, 3, padding=2, dilation=2),  # sees farther: holes are wide
            nn.ReLU(),
            nn.Conv2d(4 * width, 4 * width, 3, padding=4, dilation=4),
            nn.ReLU(),
        )
        self.up_second = nn.Conv2d(4 * width, 8 * width, 1)
        self.join_second = _block(4 * width, 2 * width)
        self.up_first = nn.Conv2d(2 * width, 4 * width, 1)
        self.join_first = _block(2 * width, width)
        self.last = nn.Conv2d(width, 3, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)

    def forward(self, damaged: Tensor, hole: Tensor) -> Tensor:
        """Return whole pictures, not cut to [0, 1].

        Parameters
        ----------
        damaged
            ``(n, 3, h, w)`` in about [0, 1]; what is missing is filled with something plain.
        hole
            ``(n, 1, h, w)``: 1 where a pixel is missing, else 0.
        """
        height, wide = damaged.shape[2:]
        padding = (0, -wide % STRIDE, 0, -height % STRIDE)
        x = F.pad(torch.cat([damaged - 0.5, hole], dim=1), padding, mode="replicate")  # (n, 4, h, w)
        first = self.first(x)  # (n, w, h, w)
        second = self.second(F.avg_pool2d(first, 2))  # (n, 2w, h/2, w/2)
        third = self.third(F.avg_pool2d(second, 2))  # (n, 4w, h/4, w/4)
        up = F.pixel_shuffle(self.up_second(third), 2)  # (n, 2w, h/2, w/2)
        second = self.join_second(torch.cat([second, up], dim=1))
        up = F.pixel_shuffle(self.up_first(second), 2)  # (n, w, h, w)
        change: Tensor = self.last(self.join_first(torch.cat([first, up], dim=1)))
        return damaged + change[:, :, :height, :wide]


def _block(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1),
        nn.ReLU(),
    )
