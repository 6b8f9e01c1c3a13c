"""Pictures that show next to nothing: they are the same only if their bytes or their pixels are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from hashae.indexer.catalogue import Catalogue
from hashae.indexer.groups import CodeGroup
from hashae.indexer.image_row import ImageRow
from hashae.indexer.index import HashIndex
from hashae.indexer.pixel_hashes import pixel_hashes


def group_featureless(
    ids: NDArray[np.int64],
    index: HashIndex,
    catalogue: Catalogue,
    hash_pixels: Callable[[Sequence[ImageRow]], dict[int, bytes]],
) -> list[CodeGroup]:
    """Group images of equal bytes or equal pixels; their codes are not trusted further than to be equal then.

    Parameters
    ----------
    ids
        ``int64 (n,)``: featureless images.
    index
        That holds their codes.
    catalogue
        What is known of the images.
    hash_pixels
        As in :func:`hashae.indexer.duplicates.report_groups`; asked only where code and size are equal, bytes are not.

    Returns
    -------
    Groups of two or more, ordered by the id of their representative, the smallest of each.
    """
    rows = catalogue.rows(ids.tolist())
    codes = index.codes[np.searchsorted(index.ids, ids)]
    alike: dict[tuple[bytes, int, int], list[ImageRow]] = {}
    for id_, code in zip(ids.tolist(), codes, strict=True):
        if (row := rows.get(id_)) is not None:
            alike.setdefault((code.tobytes(), row.width, row.height), []).append(row)
    undecided = [row for same in alike.values() if len({row.content for row in same}) > 1 for row in same]
    hashes = pixel_hashes(undecided, catalogue, hash_pixels)
    # Equal bytes have equal pixels: one readable file is enough for all of its content.
    shown = {row.content: hashes[row.id] for row in undecided if row.id in hashes}
    equal: dict[tuple[tuple[bytes, int, int], bytes], list[int]] = {}
    for key, same in alike.items():
        for row in same:
            equal.setdefault((key, shown.get(row.content, row.content)), []).append(row.id)
    groups = [sorted(members) for members in equal.values() if len(members) > 1]
    return [CodeGroup(group[0], tuple(group), (0,) * len(group), 0, False) for group in sorted(groups)]
