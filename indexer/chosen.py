"""A plan from what a person chose group by group: which images stay, which of them the others are held against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hashae.errors import ConfigError
from hashae.indexer.plan import Plan, PlannedAction
from hashae.indexer.report import TIERS, DedupReport, ReportGroup, ReportImage


def plan_of_choices(report: DedupReport, choices: Mapping[int, Sequence[int]], *, protect: Sequence[str] = ()) -> Plan:
    """Return the plan of some groups of a report.

    Parameters
    ----------
    report
        Of a duplicate search.
    choices
        Number of a group -> ids of the images that stay, one or more; the first is the one that the others are held
        against. What is protected stays, too.
    protect
        Absolute folders of which nothing may be removed; the report was made with them.

    Raises
    ------
    ConfigError
        If there is no such group, or nothing of it would stay, or an image is not in it.
    """
    known = {group.number: group for group in report.groups}
    actions: list[PlannedAction] = []
    for number in sorted(choices):
        if number not in known:
            raise ConfigError(f"the report has no group {number}; it has {len(known)}")
        actions += _of_group(known[number], choices[number])
    return Plan(report.created, report.collection, tuple(actions), report.keep_rules, tuple(protect))


def check_choice(group: ReportGroup, keep: Sequence[int]) -> None:
    """Refuse a choice by which nothing stays, or that names an image of another group.

    Raises
    ------
    ConfigError
        If it does.
    """
    if not keep:
        raise ConfigError(f"nothing of group {group.number} would stay; keep one image at least")
    strangers = set(keep) - {image.id for image in group.images}
    if strangers:
        raise ConfigError(f"group {group.number} has no image {min(strangers)}")


def _of_group(group: ReportGroup, keep: Sequence[int]) -> list[PlannedAction]:
    check_choice(group, keep)
    keeper = next(image for image in group.images if image.id == keep[0])
    head = "chosen by hand" if keeper.id != group.keeper.id else keeper.reason
    return [
        PlannedAction(
            group=group.number,
            tier=tier_between(image, keeper),
            reason=image.reason if keeper.id == group.keeper.id else "you chose the other one",
            path=image.path,
            content=bytes.fromhex(image.content),
            size=image.size,
            keeper=keeper.path,
            keeper_content=bytes.fromhex(keeper.content),
            keeper_reason=head,
        )
        for image in group.images
        if image.id not in keep and not image.protected
    ]


def tier_between(image: ReportImage, other: ReportImage) -> str:
    """Return how two images of one group equal each other, as far as their equality with its keeper tells.

    Equal bytes, equal pixels and equal codes are each handed on from one image to the next; being near is not, but two
    of a group are never said to be less.
    """
    if image.content == other.content:
        return "bytes"
    weakest = max(("bytes" if one.keep else one.tier for one in (image, other)), key=TIERS.index)
    return "pixels" if weakest == "bytes" else weakest
