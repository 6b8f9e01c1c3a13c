"""Pixel hashes of images: remembered in the collection, computed only where they are missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hashae.indexer.catalogue import Catalogue
from hashae.indexer.image_row import ImageRow


def pixel_hashes(
    rows: Sequence[ImageRow], catalogue: Catalogue, hash_pixels: Callable[[Sequence[ImageRow]], dict[int, bytes]]
) -> dict[int, bytes]:
    """Return the pixel hashes of these images by id; unreadable ones are left out.

    Parameters
    ----------
    rows
        Images.
    catalogue
        Which remembers them.
    hash_pixels
        Returns those of the given images, by id.
    """
    known = catalogue.pixel_hashes(row.id for row in rows)
    fresh = hash_pixels([row for row in rows if row.id not in known])
    catalogue.remember_pixel_hashes(fresh)
    return known | fresh
