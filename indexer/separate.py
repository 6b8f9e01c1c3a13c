"""Groups that respect what a person said: two pictures judged to be no duplicates are never in one group."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from hashae.indexer.decisions import Rulings
from hashae.indexer.groups import CodeGroup


def separate(
    groups: Sequence[CodeGroup],
    judged: Mapping[int, bytes],
    rulings: Rulings,
    *,
    regroup: Callable[[Collection[int]], list[CodeGroup]],
    near: Callable[[Collection[int]], Collection[int]],
) -> tuple[list[CodeGroup], int]:
    """Cut groups that hold a pair judged apart.

    Of such a group, the members are taken in their order (the representative first) as long as they agree with those
    taken before; they are grouped again. What is left over is grouped once more, together with the images near it that
    are in no group: without that, an image would lose its duplicates with its place.

    Parameters
    ----------
    groups
        As the codes give them.
    judged
        Id -> content of every image that a verdict ``distinct`` names.
    rulings
        What was said of these contents.
    regroup
        Groups the images of the given ids by the rule that made `groups`.
    near
        Returns the ids of all images near those given.

    Returns
    -------
    Groups, ordered by the id of the representative, and the number of pairs of contents that were parted.

    Examples
    --------
    >>> from hashae.indexer.decisions import rulings, Verdict
    >>> said = rulings([Verdict(1, "distinct", "", {b"x": "", b"y": ""})])
    >>> group = CodeGroup(1, (1, 2, 3), (0, 1, 1), 2, False)
    >>> def regroup(ids):
    ...     return [CodeGroup(min(ids), tuple(sorted(ids)), (0,) * len(ids), 0, False)] if len(ids) > 1 else []
    >>> cut, parted = separate([group], {1: b"x", 3: b"y"}, said, regroup=regroup, near=lambda ids: ())
    >>> [one.members for one in cut], parted
    ([(1, 2)], 1)
    """
    done: list[CodeGroup] = []
    parted: set[frozenset[bytes]] = set()
    retired: set[int] = set()  # placed, or alone by the rule: looked at no more, so that this ends
    pending = list(groups)
    while pending:
        over: set[int] = set()
        for group in pending:
            accepted, refused = _split(group, judged, rulings, parted)
            done += regroup(accepted) if refused else [group]
            retired.update(accepted)
            over.update(refused)
        pool = over.union(id_ for id_ in near(over) if id_ not in retired) if over else over
        pending = regroup(pool) if len(pool) > 1 else []
    return sorted(done, key=lambda group: group.representative), len(parted)


def _split(
    group: CodeGroup, judged: Mapping[int, bytes], rulings: Rulings, parted: set[frozenset[bytes]]
) -> tuple[list[int], list[int]]:
    """Return the members that agree with all before them, and the others; note the pairs that do not agree."""
    accepted: list[int] = []
    refused: list[int] = []
    said: set[bytes] = set()
    for id_ in group.members:
        mine = judged.get(id_)
        against = {its for its in said if rulings.are_apart(mine, its)} if mine is not None else set()
        if mine is not None and against:
            parted.update(frozenset({mine, its}) for its in against)
            refused.append(id_)
            continue
        accepted.append(id_)
        if mine is not None:
            said.add(mine)
    return accepted, refused
