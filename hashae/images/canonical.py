"""The canonical form: what an encoder sees of a picture.

Measured on photographs, it matters more than the network. Uniform borders are trimmed, so padding and letterboxes
vanish; the rest is area-resized to the encoder's input; each pixel is replaced by its rank among the pixels of the same
image, so that brightness, contrast, gamma and every other monotone change of tone vanish too.

The same function runs in training and in use, on batches of thumbs (see :mod:`hashae.images.decode`), in numpy.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashae.errors import ConfigError

LEVELS = 256

EDGE = 16
"""Grey levels by which the picture differs from a border that was added to it, where one meets the other."""


@dataclass(frozen=True)
class CanonicalForm:
    """Settings of the canonical form; part of an encoder and of its fingerprint.

    Attributes
    ----------
    name
        ``photo`` (luminance, trim, rank), ``colour`` (RGB in [0, 1]) or ``plain`` (luminance in [0, 1]).
    size
        Side of the encoder's input in pixels.
    thumb
        Side of the thumb it is made from, at least `size`.
    channels
        1 (luminance) or 3 (RGB).
    trim
        Cut uniform borders off.
    rank
        Replace each value by its rank in the image, 0 darkest to 1 brightest.
    tolerance
        Largest standard deviation, in levels of 255, of a row or column that counts as uniform border: above what
        compression and noise leave of a flat area after shrinking.
    """

    name: str = "photo"
    size: int = 32
    thumb: int = 64
    channels: int = 1
    trim: bool = True
    rank: bool = True
    tolerance: float = 2.0

    def __post_init__(self) -> None:
        if self.name not in PRESETS:
            raise ConfigError(f"canonical form is {self.name!r}; expected one of {', '.join(sorted(PRESETS))}")
        if not 8 <= self.size <= self.thumb <= 512:
            raise ConfigError(
                f"canonical size {self.size} from thumbs of {self.thumb}; expected 8 <= size <= thumb <= 512"
            )
        if self.channels not in {1, 3}:
            raise ConfigError(f"canonical form has {self.channels} channels; expected 1 or 3")

    @classmethod
    def preset(cls, name: str, size: int = 32) -> CanonicalForm:
        """Return the form called `name` for encoder inputs of `size` pixels a side.

        Raises
        ------
        ConfigError
            If there is no such form.
        """
        settings = PRESETS.get(name)
        if settings is None:
            raise ConfigError(f"canonical form is {name!r}; expected one of {', '.join(sorted(PRESETS))}")
        trim, rank, channels = settings
        return cls(name=name, size=size, thumb=2 * size, channels=channels, trim=trim, rank=rank)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one canonical image: ``(channels, size, size)``."""
        return self.channels, self.size, self.size

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as a JSON-ready dict."""
        return asdict(self)

    def __call__(self, thumbs: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Bring thumbs into canonical form: :meth:`levels`, then :meth:`normalise`.

        Parameters
        ----------
        thumbs
            ``uint8 (n, channels, thumb, thumb)``.

        Returns
        -------
        float32 of shape (n, channels, size, size), in [0, 1]

        Raises
        ------
        ConfigError
            If the thumbs have another shape or dtype.
        """
        return self.normalise(self.levels(thumbs))

    def levels(self, thumbs: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return thumbs without their borders at the size of the encoder's input, before ranks.

        Parameters
        ----------
        thumbs
            ``uint8 (n, channels, thumb, thumb)``.

        Returns
        -------
        float32 of shape (n, channels, size, size), in [0, 255]

        Raises
        ------
        ConfigError
            If the thumbs have another shape or dtype.
        """
        expected = (self.channels, self.thumb, self.thumb)
        if thumbs.dtype != np.uint8 or thumbs.ndim != 4 or thumbs.shape[1:] != expected:
            raise ConfigError(
                f"thumbs are {thumbs.dtype} {thumbs.shape}; expected uint8 (n, {', '.join(map(str, expected))})"
            )
        return area_resize(thumbs, self.size, trim_boxes(thumbs, self.tolerance) if self.trim else None)

    def normalise(self, levels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Turn what :meth:`levels` returned into the input of the encoder: the same shape, in [0, 1]."""
        return rank_normalise(levels) if self.rank else levels / np.float32(255)


PRESETS: dict[str, tuple[bool, bool, int]] = {
    "photo": (True, True, 1),
    "plain": (False, False, 1),
    "colour": (False, False, 3),
}
"""Name: (trim, rank, channels)."""


def trim_boxes(thumbs: NDArray[np.uint8], tolerance: float, passes: int = 2) -> NDArray[np.int64]:
    """Find what is left of each thumb when borders that were added to it are cut off.

    Lines at a side are a border if the standard deviation of each is at most `tolerance` levels, *and* the picture
    begins at once behind them: the second line inside differs from the border along more than half of its length. A
    letterbox or a padded margin ends like that. The white around a shoe does not, and must stay: whether it looks
    uniform depends on noise and exposure, and a code must not. Rows are judged first, then columns within the rows that
    are left, and both again: a black frame goes together with the white margin inside it. At least a quarter of each
    side is kept.

    Returns
    -------
    int64 of shape (n, 4)
        Top, bottom, left, right; bottom and right exclusive.
    """
    side = thumbs.shape[-1]
    boxes = np.tile(np.array([0, side, 0, side]), (len(thumbs), 1))
    # Most pictures have something to see on all four sides: one look at the outermost lines is enough for them.
    some = np.flatnonzero(_plain_sides(thumbs, tolerance))
    if len(some):
        boxes[some] = _cut_borders(thumbs[some], tolerance, passes)
    return boxes


def _plain_sides(thumbs: NDArray[np.uint8], tolerance: float) -> NDArray[np.bool_]:
    """Tell which thumbs have a side whose outermost line may count as uniform."""
    rows, columns = thumbs[:, :, [0, -1]], thumbs[:, :, :, [0, -1]].swapaxes(2, 3)
    sides = np.concatenate([rows, columns], axis=2).astype(np.float32).mean(axis=1)  # (n, 4, side)
    plain: NDArray[np.bool_] = (sides.var(axis=2) < 1.01 * tolerance * tolerance + 0.01).any(axis=1)
    return plain


def _cut_borders(thumbs: NDArray[np.uint8], tolerance: float, passes: int) -> NDArray[np.int64]:
    levels = (thumbs[:, 0] if thumbs.shape[1] == 1 else thumbs.mean(axis=1)).astype(np.float32)
    squares = levels * levels
    n, side, _ = levels.shape
    boxes = np.tile(np.array([0, side, 0, side]), (n, 1))
    each, place = np.arange(n), np.arange(side)
    for _ in range(passes):
        before = boxes.copy()
        for axis, across in ((0, 2), (2, 0)):
            lines = levels if axis == 0 else levels.swapaxes(1, 2)  # (n, line, place along it)
            squared = squares if axis == 0 else squares.swapaxes(1, 2)
            kept = ((place >= boxes[:, across, None]) & (place < boxes[:, across + 1, None])).astype(np.float32)
            count = kept.sum(axis=1, keepdims=True)
            mean = (lines @ kept[:, :, None])[:, :, 0] / count  # (n, side)
            square = (squared @ kept[:, :, None])[:, :, 0] / count
            left = (place >= boxes[:, axis, None]) & (place < boxes[:, axis + 1, None])
            busy = (square - mean * mean > tolerance * tolerance) & left
            first, last = busy.argmax(axis=1), side - 1 - busy[:, ::-1].argmax(axis=1)
            start, stop = boxes[:, axis].copy(), boxes[:, axis + 1].copy()
            for found, outer, inner in ((first, start, first + 1), (last, stop - 1, last - 1)):
                inside = lines[each, np.clip(inner, 0, side - 1)]  # (n, side)
                apart = np.abs(inside - mean[each, outer][:, None]) > EDGE
                sharp = (apart * kept).sum(axis=1) > 0.5 * count[:, 0]
                if found is first:
                    start = np.where(sharp, first, start)
                else:
                    stop = np.where(sharp, last + 1, stop)
            fits = busy.any(axis=1) & (stop - start >= side // 4)
            boxes[fits, axis], boxes[fits, axis + 1] = start[fits], stop[fits]
        if (boxes == before).all():
            break
    return boxes


def area_weights(start: NDArray[np.int64], stop: NDArray[np.int64], side: int, size: int) -> NDArray[np.float32]:
    """Return matrices that average `side` pixels, cut to ``start:stop``, into `size` cells of equal width.

    Returns
    -------
    float32 of shape (n, size, side)
        Each row sums to 1: the share of each source pixel in the cell.
    """
    return np.stack([_cell_weights(*ends, side, size) for ends in zip(start.tolist(), stop.tolist(), strict=True)])


@lru_cache(maxsize=1024)
def _cell_weights(start: int, stop: int, side: int, size: int) -> NDArray[np.float32]:
    """Return one of the matrices of :func:`area_weights`: many pictures are cut alike, or not on both axes."""
    edges = start + (stop - start) * np.arange(size + 1) / size
    pixels = np.arange(side)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    weights = np.clip(overlap, 0, None)
    shares: NDArray[np.float32] = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    shares.flags.writeable = False
    return shares


def area_resize(thumbs: NDArray[np.uint8], size: int, boxes: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
    """Average each thumb, or its box (see :func:`trim_boxes`), into ``size x size`` cells.

    Returns
    -------
    float32 of shape (n, channels, size, size), in [0, 255]
    """
    side = thumbs.shape[-1]
    whole = np.array([[0, side, 0, side]])
    if side == 2 * size:  # the usual case; sums of four are exact, so the mean is the same as by matrices
        pairs = np.add(thumbs[..., ::2, :], thumbs[..., 1::2, :], dtype=np.uint16, order="C")
        both = pairs.view(np.uint32)  # two neighbours in one number: adding its halves reads memory in order
        resized = ((both & 0xFFFF) + (both >> 16)).astype(np.float32)
        resized *= np.float32(0.25)
    else:  # one pair of matrices for all: several times faster than one for each
        resized = average(thumbs.astype(np.float32), size, whole)
    if boxes is not None:
        cut = np.flatnonzero((boxes != whole).any(axis=1))
        if len(cut):
            resized[cut] = average(thumbs[cut].astype(np.float32), size, boxes[cut])
    return resized


def average(levels: NDArray[np.float32], size: int, boxes: NDArray[np.int64]) -> NDArray[np.float32]:
    """Average each box of ``levels (n, channels, side, side)`` into ``size x size`` cells; one box serves all."""
    side = levels.shape[-1]
    rows = area_weights(boxes[:, 0], boxes[:, 1], side, size)[:, None]  # (n, 1, size, side)
    columns = area_weights(boxes[:, 2], boxes[:, 3], side, size)[:, None].swapaxes(2, 3)  # (n, 1, side, size)
    return (rows @ levels @ columns).astype(np.float32, copy=False)


def rank_normalise(images: NDArray[np.float32], smoothing: int = 2) -> NDArray[np.float32]:
    """Replace each value by its rank among the values of its own image and channel.

    Values are rounded to 256 levels; equal levels share the middle of their ranks, and the histogram is smoothed over
    ``2 * smoothing + 1`` levels, so that faint noise in a flat area is not blown up into full contrast.

    Parameters
    ----------
    images
        ``float32 (n, channels, size, size)`` in [0, 255].
    smoothing
        Levels to either side that share their ranks.

    Returns
    -------
    float32 of the same shape, in [0, 1]; a uniform image becomes 0.5 everywhere
    """
    flat = images.reshape(images.shape[0] * images.shape[1], images.shape[2] * images.shape[3])
    levels = np.clip(np.rint(flat), 0, LEVELS - 1).astype(np.intp)
    levels += np.arange(len(flat))[:, None] * LEVELS  # each image has levels of its own
    counts = np.bincount(levels.reshape(-1), minlength=len(flat) * LEVELS).reshape(len(flat), LEVELS)
    total = np.cumsum(counts, axis=1, dtype=np.float32)
    middle = total - counts * np.float32(0.5)
    # The mean of the cumulative histogram over a window is the cumulative histogram of the smoothed counts.
    padded = np.pad(middle, ((0, 0), (smoothing, smoothing)), mode="edge")
    padded[:, :smoothing] = 0
    padded[:, LEVELS + smoothing :] = flat.shape[1]
    window = 2 * smoothing + 1
    running = np.cumsum(np.pad(padded, ((0, 0), (1, 0))), axis=1, dtype=np.float64)
    ranks = ((running[:, window:] - running[:, :-window]) / (window * flat.shape[1])).astype(np.float32)
    ranked: NDArray[np.float32] = ranks.reshape(-1)[levels].reshape(images.shape)
    return ranked
