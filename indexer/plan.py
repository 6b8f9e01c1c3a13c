"""A plan: which files could go, beside which file that stays. A person reads it, edits it, and applies it later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hashae.errors import DocumentError
from hashae.indexer.documents import content_entry, entry, path_entry, read_document, write_document
from hashae.indexer.report import TIERS, DedupReport

SCHEMA = 1
"""Version of the layout; it grows when a field changes its meaning or goes away."""

NOTE = (
    "Each action names a file that could go (path) and the file beside it that stays (keeper). Take out the actions "
    "whose files you want to keep. Nothing happens before: hashae apply THIS_FILE --action trash"
)


@dataclass(frozen=True, slots=True)
class PlannedAction:
    """A file that could go.

    Attributes
    ----------
    group
        Number of its group in the report.
    tier
        How it equals the keeper: one of `hashae.indexer.report.TIERS`.
    reason
        What it is beside the keeper, in words.
    path, content, size
        The file: absolute path, content hash, bytes.
    keeper, keeper_content
        The file that stays: absolute path, content hash.
    keeper_reason
        Why that one, in words.
    """

    group: int
    tier: str
    reason: str
    path: str
    content: bytes
    size: int
    keeper: str
    keeper_content: bytes
    keeper_reason: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """Actions that one report allows.

    Attributes
    ----------
    created
        ISO 8601 time, UTC.
    collection
        Path of the collection file.
    actions
        In the order of the report.
    keep_rules
        Rules that chose the keepers, most important first.
    protect
        Absolute folders of which nothing may be removed.
    """

    created: str
    collection: str
    actions: tuple[PlannedAction, ...]
    keep_rules: tuple[str, ...] = ()
    protect: tuple[str, ...] = ()


def plan_of(report: DedupReport, *, protect: Sequence[str] = ()) -> Plan:
    """Return the plan of a report: one action for every image that need not be kept.

    Parameters
    ----------
    report
        Its images carry content hashes.
    protect
        Absolute folders of which nothing may be removed; the report was made with them.
    """
    actions = []
    for group in report.groups:
        keeper = group.keeper
        kept = (keeper.path, bytes.fromhex(keeper.content), keeper.reason)
        for image in group.images:
            if image.spare:
                head = (group.number, image.tier, image.reason)
                actions.append(PlannedAction(*head, image.path, bytes.fromhex(image.content), image.size, *kept))
    return Plan(report.created, report.collection, tuple(actions), report.keep_rules, tuple(protect))


def write_plan(plan: Plan, path: Path) -> None:
    """Write a plan as JSON.

    Raises
    ------
    ConfigError
        If the folder of `path` does not exist, or `path` is not a file.
    HashaeError
        If the file cannot be written.
    """
    actions = [
        {
            "group": action.group,
            "tier": action.tier,
            "reason": action.reason,
            "path": action.path,
            "content": action.content.hex(),
            "size": action.size,
            "keeper": {
                "path": action.keeper,
                "content": action.keeper_content.hex(),
                "reason": action.keeper_reason,
            },
        }
        for action in plan.actions
    ]
    head = {"note": NOTE, "created": plan.created, "collection": plan.collection}
    rules = {"keep_rules": list(plan.keep_rules), "protect": list(plan.protect)}
    write_document(path, "plan", SCHEMA, {**head, **rules, "actions": actions}, option="--plan")


def read_plan(path: Path) -> Plan:
    """Read a plan that a person may have edited.

    Raises
    ------
    DocumentError
        If the file is no plan, an entry is missing or of another type, or a file is to go twice, or to go and to stay.
    """
    value = read_document(path, "plan", SCHEMA)
    where = str(path)
    listed = entry(value, "actions", list, where)
    actions = tuple(_action(one, f"{path}, action {number}") for number, one in enumerate(listed, 1))
    protect = entry(value, "protect", list, where)
    rules = entry(value, "keep_rules", list, where)
    for name in rules:
        if not isinstance(name, str):
            raise DocumentError(f'{where}: "keep_rules" holds {name!r}; expected texts')
    plan = Plan(
        created=entry(value, "created", str, where),
        collection=entry(value, "collection", str, where),
        actions=actions,
        keep_rules=tuple(rules),
        protect=tuple(path_entry({"protect": folder}, where, "protect") for folder in protect),
    )
    _check_consistent(plan, where)
    return plan


def _action(value: Any, where: str) -> PlannedAction:
    keeper = entry(value, "keeper", dict, where)
    tier, size = entry(value, "tier", str, where), entry(value, "size", int, where)
    if tier not in TIERS:
        raise DocumentError(f'{where}: "tier" is {tier[:40]!r}; expected one of {", ".join(TIERS)}')
    if not 0 <= size < 1 << 63:
        raise DocumentError(f'{where}: "size" is no number of bytes')
    return PlannedAction(
        group=value.get("group") if type(value.get("group")) is int else 0,
        tier=tier,
        reason=entry(value, "reason", str, where),
        path=path_entry(value, where),
        content=content_entry(value, where),
        size=size,
        keeper=path_entry(keeper, f"{where}, keeper"),
        keeper_content=content_entry(keeper, f"{where}, keeper"),
        keeper_reason=str(keeper.get("reason", "")),
    )


def _check_consistent(plan: Plan, where: str) -> None:
    kept = {action.keeper for action in plan.actions}
    gone: set[str] = set()
    for number, action in enumerate(plan.actions, 1):
        if action.path in kept:
            raise DocumentError(
                f"{where}, action {number}: {action.path} is to go, and is the keeper of another file; one must stay"
            )
        if action.path in gone:
            raise DocumentError(f"{where}, action {number}: {action.path} is named twice; take one of the two out")
        gone.add(action.path)
