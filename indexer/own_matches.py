"""Which images of a collection match a new code, every one by its own radius."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hashae.codes import Codes
from hashae.indexer.crowding import Reference
from hashae.indexer.index import HashIndex
from hashae.indexer.match import Match
from hashae.indexer.radius_rule import RadiusRule


@dataclass(frozen=True, slots=True)
class RuledMatches:
    """Matches by a rule.

    Attributes
    ----------
    matches
        Ordered by (distance, id).
    allowed
        For each, the largest distance at which it would match, in bits.
    searched
        Radius within which all codes were looked at, in bits.
    """

    matches: list[Match]
    allowed: list[float]
    searched: int


def matches_by_rule(
    index: HashIndex, code: Codes, rule: RadiusRule, *, crowding: NDArray[np.float32] | None = None, threads: int = 1
) -> RuledMatches:
    """Find every code that matches, exactly.

    A code that the collection holds already has the crowding that it has there; another one's is computed among the
    collection's. All codes are searched within the largest distance that can match, and the rule decides.

    Parameters
    ----------
    index
        Codes of the whole collection; for own radii as many as :class:`hashae.indexer.crowding.Reference` needs.
    code
        ``uint8 (bits // 8,)``.
    rule
        Of the collection.
    crowding
        ``float32 (n,)`` of the codes in the index, where it is known; None computes that of the few that may match.
    threads
        Of the search.
    """
    if rule.tau is None:
        found = index.within(code, rule.radius)
        return RuledMatches(found, [float(rule.radius)] * len(found), rule.radius)
    reference = Reference(index.codes, threads=threads)

    def known(matches: list[Match]) -> NDArray[np.float32]:
        rows = np.searchsorted(index.ids, [match.id for match in matches])
        return reference.crowding(rows) if crowding is None else crowding[rows]

    own, reach = reference.around(code)
    same = index.exact(code)
    mine = float(rule.margins(known(same[:1]) if same else np.array([own], np.float32))[0])
    searched = min(rule.widest(mine, reach), index.bits)
    near = index.within(code, searched)
    allowed = (mine + rule.margins(known(near)).astype(np.float64)) / 2
    kept = [(match, most) for match, most in zip(near, allowed.tolist(), strict=True) if match.distance <= most]
    return RuledMatches([match for match, _ in kept], [most for _, most in kept], searched)
