"""The convolutional autoencoder (Masci et al. 2011), with four ways up from a small grid to an image.

``pooling``: largest of four, then each value repeated (the classical pair); ``transposed``: transposed convolution;
``resize``: bilinear enlargement, then a convolution; ``subpixel``: a convolution whose channels become pixels (Shi et
al. 2016). A transposed convolution whose kernel is no multiple of its stride covers some pixels more often than others
and leaves a checkerboard (Odena, Dumoulin and Olah 2016): :func:`checkerboard` measures it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from hashae.config import ModelConfig
from hashae.models.base import Losses, LossWeights, Views
from hashae.models.settings import setting
from hashae.models.sibling import Reconstructing, ReconstructionSettings
from hashae.models.trunks import CropTo, build_trunk, drop, feature_count

STRIDE = 2


@dataclass(frozen=True)
class ConvolutionalSettings(ReconstructionSettings):
    """Settings of the convolutional model.

    Attributes
    ----------
    upsampling
        ``transposed``, ``resize``, ``subpixel`` or ``pooling`` (this one replaces the strided convolutions below the
        code, too).
    kernel
        Side of the transposed kernel; no multiple of the stride, 2, leaves a checkerboard.
    """

    upsampling: Literal["transposed", "resize", "subpixel", "pooling"] = "resize"
    kernel: int = setting(4, least=2, below=8)


class ConvolutionalAutoencoder(Reconstructing):
    """Convolutions on both sides of a sigmoid bottleneck."""

    own_settings = ConvolutionalSettings
    settings: ConvolutionalSettings
    trunks = ("conv",)

    def build(self, config: ModelConfig) -> None:
        """Make the layers: three halvings, the code, two doublings."""
        channels, height, wide = config.image_shape
        self.trunk, features = build_trunk("conv", config.image_shape, config.width, config.dropout, config.batch_norm)
        if self.settings.upsampling == "pooling":
            self.trunk = nn.Sequential(
                *_pooled(channels, config.width, config),  # (n, w, h/2, w/2)
                *_pooled(config.width, 2 * config.width, config),  # (n, 2w, h/4, w/4)
                *_pooled(2 * config.width, 4 * config.width, config),  # (n, 4w, h/8, w/8)
                nn.Flatten(),
            )
            features = feature_count(self.trunk, config.image_shape)
        self.head = nn.Linear(features, config.bits)
        small = (2 * config.width, -(-height // 4), -(-wide // 4))
        self.decoder = nn.Sequential(
            nn.Linear(config.bits, small[0] * small[1] * small[2]),
            nn.ReLU(),
            nn.Unflatten(1, small),  # (n, 2w, h/4, w/4)
            doubling(self.settings.upsampling, 2 * config.width, config.width, self.settings.kernel),
            nn.ReLU(),  # (n, w, h/2, w/2)
            doubling(self.settings.upsampling, config.width, channels, self.settings.kernel),
            CropTo(height, wide),  # (n, c, h, w)
        )

    def loss(self, views: Views, weights: LossWeights) -> Losses:
        """Return the loss of reconstructing the clean images from themselves."""
        z = self.latent(self.encode(views.clean))  # (n, bits)
        reconstruction = self.reconstruction(z, views.clean)
        return Losses(weights.reconstruction * reconstruction, {"reconstruction": reconstruction})


def doubling(kind: str, channels: int, width: int, kernel: int = 4) -> nn.Module:
    """Return layers from ``(n, channels, h, w)`` to ``(n, width, 2h, 2w)``; `kernel` is that of ``transposed``."""
    if kind == "transposed":
        # (h - 1) * 2 - 2 * padding + kernel + output_padding = 2h
        return nn.ConvTranspose2d(
            channels, width, kernel, stride=STRIDE, padding=(kernel - 1) // 2, output_padding=kernel % 2
        )
    if kind == "subpixel":
        return nn.Sequential(nn.Conv2d(channels, width * STRIDE**2, 3, padding=1), nn.PixelShuffle(STRIDE))
    if kind == "resize":
        larger: nn.Module = nn.Upsample(scale_factor=STRIDE, mode="bilinear", align_corners=False)
    else:
        larger = nn.Upsample(scale_factor=STRIDE, mode="nearest")
    return nn.Sequential(larger, nn.Conv2d(channels, width, 3, padding=1))


def _pooled(channels: int, width: int, config: ModelConfig) -> list[nn.Module]:
    return [
        nn.Conv2d(channels, width, 3, padding=1),
        nn.BatchNorm2d(width) if config.batch_norm else nn.Identity(),
        nn.ReLU(),
        nn.MaxPool2d(STRIDE, ceil_mode=True),
        *drop(config.dropout, nn.Dropout2d),
    ]


def checkerboard(images: Tensor, stride: int = STRIDE, margin: int = 2) -> Tensor:
    """Return the share of each image's energy that lies at the frequency of the stride.

    A checkerboard is what repeats with the stride: the mean of each of the ``stride * stride`` phases of the pixel grid
    differs. The variance of those means is the energy at the frequencies that are multiples of 1 / stride (Parseval).

    Parameters
    ----------
    images
        ``(n, channels, height, width)``.
    stride
        Period of the pattern, in pixels.
    margin
        Pixels cut off at each side, where padding shows.

    Returns
    -------
    Tensor of shape (n,)
        From 0 (no such pattern) to 1 (nothing else); 0 for a uniform image.
    """
    height, width = (side - 2 * margin - (side - 2 * margin) % stride for side in images.shape[2:])
    inner = images[:, :, margin : margin + height, margin : margin + width]
    n, channels = inner.shape[:2]
    phases = inner.reshape(n, channels, height // stride, stride, width // stride, stride).mean(dim=(2, 4))
    pattern = phases.flatten(2).var(dim=2, correction=0).sum(dim=1)
    energy = inner.flatten(2).var(dim=2, correction=0).sum(dim=1)
    return pattern / energy.clamp(min=torch.finfo(inner.dtype).tiny)
