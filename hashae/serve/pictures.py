"""Pictures that are sent: small ones of files, made once and kept for a while, and arrays as PNG."""

from __future__ import annotations

import io
from collections import OrderedDict
from threading import BoundedSemaphore, Lock

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hashae.images.decode import large_images_allowed, small_picture
from hashae.indexer.served import ServedCollection

SIDES = (96, 192, 384, 768, 1600)
"""Sides of the small pictures that are made; few, so that they can be kept."""

KEPT_BYTES = 96 << 20

MEDIA_TYPES = {
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",
    "PNG": "image/png",
    "GIF": "image/gif",
    "WEBP": "image/webp",
    "BMP": "image/bmp",
    "AVIF": "image/avif",
}
"""Formats that browsers show; all others are sent as files to be saved."""


class Thumbnails:
    """Small pictures of the images of a collection.

    Parameters
    ----------
    served
        The collection.
    decoders
        Pictures that are decoded at the same time.
    kept_bytes
        Bytes of small pictures that are kept.
    """

    def __init__(self, served: ServedCollection, *, decoders: int = 2, kept_bytes: int = KEPT_BYTES) -> None:
        self._served, self._decoding, self._lock = served, BoundedSemaphore(decoders), Lock()
        self._most = kept_bytes
        self._kept: OrderedDict[tuple[bytes, int], bytes] = OrderedDict()
        self._size = 0

    def get(self, id_: int, side: int) -> bytes:
        """Return a JPEG of at most `side` pixels a side, one of `SIDES`.

        Raises
        ------
        UnknownName, ImageError
            As :meth:`hashae.indexer.served.ServedCollection.read`.
        """
        key = (self._served.image(id_).content, side)
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
                return found
        with self._decoding, large_images_allowed():
            row, data = self._served.read(id_)
            buffer = io.BytesIO()
            small_picture(data, row.path, side=side).save(buffer, "JPEG", quality=82 if side < 768 else 88)
        made = buffer.getvalue()
        with self._lock:
            if key not in self._kept:
                self._kept[key] = made
                self._size += len(made)
            while self._size > self._most:
                self._size -= len(self._kept.popitem(last=False)[1])
        return made


def png(picture: NDArray[np.floating], *, scale: int = 1) -> bytes:
    """Return ``float (channels, height, width)`` in [0, 1] as a PNG, every pixel `scale` pixels wide."""
    levels = (np.clip(picture, 0, 1) * 255).round().astype(np.uint8)
    levels = levels[0] if len(levels) == 1 else levels.transpose(1, 2, 0)
    buffer = io.BytesIO()
    Image.fromarray(levels.repeat(scale, 0).repeat(scale, 1)).save(buffer, "PNG")
    return buffer.getvalue()
