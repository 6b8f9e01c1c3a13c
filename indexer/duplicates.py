"""From groups of codes to a duplicate report; pictures are looked at only through a function that is handed in."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hashae.codes import Codes
from hashae.indexer.approximate import Recall
from hashae.indexer.catalogue import Catalogue
from hashae.indexer.groups import CodeGroup
from hashae.indexer.image_row import ImageRow
from hashae.indexer.index import HashIndex
from hashae.indexer.keep_rules import KeepPolicy
from hashae.indexer.pixel_hashes import pixel_hashes
from hashae.indexer.radius_rule import RadiusRule
from hashae.indexer.report import ReportGroup
from hashae.indexer.verdict import describe

if TYPE_CHECKING:
    from hashae.indexer.cluster import Cluster


def group_codes(
    index: HashIndex,
    rule: RadiusRule,
    crowding: NDArray[np.float32] | None,
    *,
    linkage: str = "star",
    method: str = "exact",
    on_progress: Callable[[str, int, int], None] | None = None,
    on_recall: Callable[[Recall], None] | None = None,
    cluster: Cluster | None = None,
) -> tuple[list[CodeGroup], int]:
    """Find the groups, and the radius that was used: the median over the images if each has its own.

    Parameters
    ----------
    index
        Codes of the images to look at.
    rule
        When two of them match.
    crowding
        ``float32 (n,)`` in the order of the index; None with one radius for all.
    linkage, method, on_progress, on_recall
        As of :func:`hashae.indexer.groups.find_groups`.
    cluster
        Compares the codes; None does it here.
    """
    find = partial(
        index.duplicates,
        linkage=linkage,
        method=method,
        on_progress=on_progress,
        on_recall=on_recall,
        cluster=cluster,
    )
    if crowding is None:
        return find(rule.radius), rule.radius
    margins = rule.margins(crowding)
    return find(0, margins=margins), int(np.median(margins)) if len(margins) else 0


def report_groups(
    groups: Sequence[CodeGroup],
    index: HashIndex,
    catalogue: Catalogue,
    hash_pixels: Callable[[Sequence[ImageRow]], dict[int, bytes]],
    policy: KeepPolicy | None = None,
) -> tuple[ReportGroup, ...]:
    """Choose keepers and tiers, and order the groups by the bytes they would free.

    Parameters
    ----------
    groups, index
        Groups found in this index.
    catalogue
        What is known of the images.
    hash_pixels
        Returns pixel hashes of the given images, by id; unreadable ones are left out. Asked only where it decides.
    policy
        Which image of a group to keep.
    """
    rows = catalogue.rows(id_ for group in groups for id_ in group.members)
    groups = [group for whole in groups if (group := _without_aliases(whole, rows)) is not None]
    wanted = sorted({id_ for group in groups for id_ in group.members})
    codes: dict[int, Codes] = dict(zip(wanted, index.codes[np.searchsorted(index.ids, wanted)], strict=True))
    hashes = pixel_hashes([rows[id_] for id_ in sorted(_undecided(groups, rows, codes))], catalogue, hash_pixels)
    described = [describe(group, rows, codes, lambda image: hashes.get(image.id), policy) for group in groups]
    described.sort(key=lambda group: (-group.bytes_to_free, group.keeper.path))
    return tuple(replace(group, number=number) for number, group in enumerate(described, 1))


def _without_aliases(group: CodeGroup, rows: dict[int, ImageRow]) -> CodeGroup | None:
    """Leave out other names of a file that is in the group already; return None if one file is left.

    A link and what it leads to are one file: reported as duplicates, one could be removed and take the other with it.
    Two hard links are one file as well, and removing one frees nothing. The name without a link in it stays.
    """
    named: dict[tuple[int, int] | int, int] = {}
    for id_ in sorted(group.members, key=lambda id_: (os.path.islink(rows[id_].path), id_)):
        try:
            status = os.stat(rows[id_].path)
        except OSError:
            named[id_] = id_
            continue
        named.setdefault((status.st_dev, status.st_ino), id_)
    kept = set(named.values())
    if len(kept) == len(group.members):
        return group
    if len(kept) < 2:
        return None
    pairs = [(id_, d) for id_, d in zip(group.members, group.distances, strict=True) if id_ in kept]
    members, distances = zip(*pairs, strict=True)
    return replace(group, members=members, distances=distances)


def _undecided(groups: Sequence[CodeGroup], rows: dict[int, ImageRow], codes: dict[int, Codes]) -> set[int]:
    """Return the images whose pixels have to be compared: equal codes and sizes, different files."""
    wanted: set[int] = set()
    for group in groups:
        alike: dict[tuple[bytes, int, int], list[ImageRow]] = {}
        for id_ in group.members:
            row = rows[id_]
            alike.setdefault((codes[id_].tobytes(), row.width, row.height), []).append(row)
        for same in alike.values():
            if len({row.content for row in same}) > 1:
                wanted.update(row.id for row in same)
    return wanted
