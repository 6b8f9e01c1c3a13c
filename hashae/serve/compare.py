"""Why two images match: their bits, what the decoder makes of the codes, and how much that tells."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashae.codes import Codes, unpack
from hashae.errors import EncoderFileError
from hashae.indexer.served import ServedCollection, Sight
from hashae.serve.answers import image_dict

LITTLE = 0.3
"""Share of the variance of a picture below which its decoded code is said to show little of it."""


def compare_images(served: ServedCollection, first: int, second: int) -> dict[str, Any]:
    """Return everything there is to say about two images, ready for JSON.

    Parameters
    ----------
    served
        The collection.
    first, second
        Ids.

    Raises
    ------
    UnknownName, ImageError
        If an image is not there, or its file is not the one that was indexed.
    """
    sights = [served.sight(first), served.sight(second)]
    bits = np.stack([unpack(sight.code[None])[0] for sight in sights])
    apart = bits[0] != bits[1]
    sure = np.minimum(sights[0].sureness, sights[1].sureness)
    images = [_side(served, id_, sight) for id_, sight in zip((first, second), sights, strict=True)]
    differing = np.flatnonzero(apart)
    return {
        "images": images,
        "bits": bits.shape[1],
        "distance": int(apart.sum()),
        "differing": [int(bit) for bit in differing],
        "sureness": [round(float(value), 3) for value in sure],
        "unsure": int((sure[differing] < 0.5).sum()),
        "decoder": _decoder(served, sights, bits),
    }


def flip_bit(code: Codes, bit: int) -> Codes:
    """Return a code, ``uint8 (bytes,)``, with one bit flipped."""
    flipped = code.copy()
    flipped[bit // 8] ^= 0x80 >> bit % 8
    return flipped


def _side(served: ServedCollection, id_: int, sight: Sight) -> dict[str, Any]:
    return {
        **image_dict(served.image(id_)),
        "code": sight.code.tobytes().hex(),
        "sureness": [round(float(value), 3) for value in sight.sureness],
    }


def _decoder(served: ServedCollection, sights: list[Sight], bits: NDArray[np.bool_]) -> dict[str, Any] | None:
    """Tell how much of each picture comes back from its code, and what each bit moves; None without a decoder."""
    codes = np.stack([sight.code for sight in sights])
    try:
        pictures = served.decode(codes)
    except EncoderFileError:
        return None
    every = np.stack([flip_bit(codes[0], bit) for bit in range(bits.shape[1])])
    moved = np.abs(served.decode(every) - pictures[0]).mean(axis=(1, 2, 3)) * 255
    explained = [_explained(sight.canonical, picture) for sight, picture in zip(sights, pictures, strict=True)]
    return {
        "explained": [round(value, 3) for value in explained],
        "little": min(explained) < LITTLE,
        "moved": [round(float(value), 2) for value in moved],
    }


def _explained(canonical: NDArray[np.float32], decoded: NDArray[np.float32]) -> float:
    """Return the share of the variance of a picture that the decoded one explains: 1 all, 0 or less nothing."""
    variance = float(canonical.var())
    return 1 - float(((decoded - canonical) ** 2).mean()) / variance if variance > 0 else 0.0
