"""The layers below and above the code: convolutional, dense or none. Shapes are at the end of the lines."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hashae.errors import ConfigError


def build_trunk(
    kind: str, image_shape: tuple[int, int, int], width: int, dropout: float = 0.0, batch_norm: bool = True
) -> tuple[nn.Module, int]:
    """Return the layers from image to features, and the number of features.

    Parameters
    ----------
    kind
        ``conv``, ``pooled``, ``dense`` or ``linear`` (the pixels themselves are the features). ``pooled`` has the
        stages of ``conv``, but each channel is averaged over the whole image (global average pooling, Lin, Chen and Yan
        2014, section 3.2) and a hidden layer follows: what is in a picture counts, not where, and images of other sides
        than `image_shape` can be encoded, too.
    image_shape
        ``(channels, height, width)``.
    width
        Channels of the first convolution; a dense layer, or the one behind pooling, has 16 times as many units.
    dropout
        Share of activations dropped behind each hidden layer; of whole channels behind convolutions.
    batch_norm
        Normalise each hidden layer over the batch.

    Raises
    ------
    ConfigError
        If the images are too small to be halved three times.
    """
    channels, height, wide = image_shape
    if kind == "linear":
        return nn.Flatten(), channels * height * wide
    if kind == "dense":
        units = 16 * width
        layers = nn.Sequential(
            nn.Flatten(),  # (n, c * h * w)
            nn.Linear(channels * height * wide, units),
            nn.BatchNorm1d(units) if batch_norm else nn.Identity(),
            nn.ReLU(),  # (n, units)
            *drop(dropout, nn.Dropout),
            nn.Linear(units, units),
            nn.BatchNorm1d(units) if batch_norm else nn.Identity(),
            nn.ReLU(),  # (n, units)
            *drop(dropout, nn.Dropout),
        )
        return layers, units
    if min(height, wide) < 8:
        raise ConfigError(
            f"image_shape is {image_shape}; a {kind} trunk halves images three times and expects at least 8 pixels a "
            "side: use trunk='dense'"
        )
    # Each stage halves the side; the kernels of the strided convolutions are multiples of the stride.
    stages = [
        *halving(channels, width, dropout, batch_norm),  # (n, w, h/2, w/2)
        *halving(width, 2 * width, dropout, batch_norm),  # (n, 2w, h/4, w/4)
        *halving(2 * width, 4 * width, dropout, batch_norm),  # (n, 4w, h/8, w/8)
    ]
    if kind == "pooled":
        units = 16 * width
        layers = nn.Sequential(
            *stages,
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),  # (n, 4w)
            nn.Linear(4 * width, units, bias=not batch_norm),
            nn.BatchNorm1d(units) if batch_norm else nn.Identity(),
            nn.ReLU(),  # (n, units)
            *drop(dropout, nn.Dropout),
        )
        return layers, units
    layers = nn.Sequential(*stages, nn.Flatten())
    return layers, feature_count(layers, image_shape)


def halving(channels: int, width: int, dropout: float = 0.0, batch_norm: bool = True) -> list[nn.Module]:
    """Return the layers of one stage: from ``(n, channels, h, w)`` to ``(n, width, h/2, w/2)``."""
    return [
        nn.Conv2d(channels, width, 4, stride=2, padding=1, bias=not batch_norm),
        nn.BatchNorm2d(width) if batch_norm else nn.Identity(),
        nn.ReLU(),
        ResidualBlock(width, batch_norm),
        *drop(dropout, nn.Dropout2d),
    ]


def drop(share: float, kind: type[nn.Module]) -> list[nn.Module]:
    """Return a dropout layer, or none if nothing is dropped: layers then keep the numbers they had without."""
    return [kind(share)] if share else []


def feature_count(layers: nn.Module, image_shape: tuple[int, int, int]) -> int:
    """Return how many features the layers make of one image."""
    with torch.no_grad():
        layers.eval()
        count = layers(torch.zeros(1, *image_shape)).shape[1]
        layers.train()
    return int(count)


def build_decoder(kind: str, latent: int, image_shape: tuple[int, int, int], width: int) -> nn.Sequential:
    """Return the layers from latent ``(n, latent)`` to image logits ``(n, channels, height, width)``."""
    channels, height, wide = image_shape
    if kind == "linear":
        return nn.Sequential(nn.Linear(latent, channels * height * wide), nn.Unflatten(1, image_shape))
    if kind == "dense":
        units = 16 * width
        return nn.Sequential(
            nn.Linear(latent, units),
            nn.ReLU(),  # (n, units)
            nn.Linear(units, channels * height * wide),
            nn.Unflatten(1, image_shape),
        )
    small = (2 * width, -(-height // 4), -(-wide // 4))
    return nn.Sequential(
        nn.Linear(latent, small[0] * small[1] * small[2]),
        nn.ReLU(),
        nn.Unflatten(1, small),  # (n, 2w, h/4, w/4)
        nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1),
        nn.ReLU(),  # (n, w, h/2, w/2)
        nn.ConvTranspose2d(width, channels, 4, stride=2, padding=1),
        CropTo(height, wide),  # (n, c, h, w)
    )


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a short cut (He et al. 2016), shapes kept."""

    def __init__(self, channels: int, batch_norm: bool = True) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=not batch_norm),
            nn.BatchNorm2d(channels) if batch_norm else nn.Identity(),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=not batch_norm),
            nn.BatchNorm2d(channels) if batch_norm else nn.Identity(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return ``relu(x + inner(x))``, same shape."""
        return torch.relu(x + self.inner(x))


class CropTo(nn.Module):
    """Cut what the doubling of an odd side made too large."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width

    def forward(self, x: Tensor) -> Tensor:
        """Return the upper left ``height x width`` pixels."""
        return x[:, :, : self.height, : self.width]
