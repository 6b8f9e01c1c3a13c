"""Groups of a collection after its verdicts: pairs told apart are parted, groups to be ignored are left out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hashae.indexer.catalogue import Catalogue
from hashae.indexer.decisions import Rulings
from hashae.indexer.groups import CodeGroup
from hashae.indexer.index import HashIndex
from hashae.indexer.radius_rule import RadiusRule
from hashae.indexer.separate import separate

Crowding = NDArray[np.float32]
Find = Callable[[HashIndex, Crowding | None], tuple[list[CodeGroup], int]]


@dataclass(frozen=True)
class Judged:
    """Groups after the verdicts.

    Attributes
    ----------
    groups
        What is left.
    separated
        Number of pairs of contents that a group would have held although a person told them apart.
    ignored
        Number of groups left out because a person said to ignore them.
    """

    groups: list[CodeGroup]
    separated: int = 0
    ignored: int = 0


def judge_groups(
    groups: Sequence[CodeGroup],
    index: HashIndex,
    crowding: Crowding | None,
    *,
    catalogue: Catalogue,
    rulings: Rulings,
    rule: RadiusRule,
    find: Find,
) -> Judged:
    """Hold groups against what a person said.

    Parameters
    ----------
    groups
        Of images in `index`, found by `find`; others hold equal images and are cut without their codes.
    index, crowding
        What was grouped: codes, and ``float32 (n,)`` in their order, or None with one radius for all.
    catalogue
        Knows the contents.
    rulings
        What was said.
    rule
        When two images match.
    find
        Groups the images of an index with this crowding; as :func:`hashae.indexer.duplicates.group_codes`.
    """
    judged = catalogue.images_of(rulings.apart or ())
    separated = 0
    found = list(groups)
    if judged:
        margins = 0.0 if crowding is None else float(rule.margins(crowding).max(initial=0))
        widest = rule.radius if crowding is None else int(margins)

        def mask(ids: Collection[int]) -> NDArray[np.bool_]:
            return np.isin(index.ids, list(ids))

        def regroup(ids: Collection[int]) -> list[CodeGroup]:
            chosen = mask(ids)
            part = HashIndex(index.bits, threads=index.threads)
            part.add(index.ids[chosen], index.codes[chosen])
            return find(part, None if crowding is None else crowding[chosen])[0]

        def near(ids: Collection[int]) -> set[int]:
            matches = index.within_many(index.codes[mask(ids)], min(widest, index.bits))
            return {match.id for each in matches for match in each}

        coded = [group for group in found if group.representative in index]
        equal = [group for group in found if group.representative not in index]
        coded, parted = separate(coded, judged, rulings, regroup=regroup, near=near)
        separated += parted
        equal, parted = separate(equal, judged, rulings, regroup=lambda ids: _within(equal, ids), near=lambda _ids: ())
        separated += parted
        found = coded + equal
    if not rulings.ignored:
        return Judged(found, separated)
    rows = catalogue.rows({id_ for group in found for id_ in group.members})
    left = [group for group in found if not rulings.ignores(rows[id_].content for id_ in group.members)]
    return Judged(left, separated, len(found) - len(left))


def _within(groups: Sequence[CodeGroup], ids: Collection[int]) -> list[CodeGroup]:
    """Return what is left of groups of equal images if only the given ones are looked at."""
    left = []
    for group in groups:
        members = tuple(id_ for id_ in group.members if id_ in ids)
        if len(members) > 1:
            left.append(replace(group, representative=members[0], members=members, distances=(0,) * len(members)))
    return left
