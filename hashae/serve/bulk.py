"""Deciding of many groups at once: which image of each stays by rules, and what a plan would do, in words and bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from hashae.indexer.executor import ActionSummary
from hashae.indexer.keep_rules import keep_policy
from hashae.indexer.pixels import metadata_reader
from hashae.indexer.plan import Plan
from hashae.indexer.report import ReportGroup, ReportImage
from hashae.indexer.served import ServedCollection


@dataclass(frozen=True)
class Choice:
    """Which image of each group stays.

    Attributes
    ----------
    keep
        Keep rules with commas between them; None: what the search chose.
    prefer
        Absolute folders, the most preferred first.
    protect
        Absolute folders of which nothing may be removed.
    """

    keep: str | None = None
    prefer: tuple[str, ...] = ()
    protect: tuple[str, ...] = ()


def keepers(served: ServedCollection, groups: Sequence[ReportGroup], choice: Choice) -> dict[int, int]:
    """Return the image of each group that stays: number of the group -> id.

    Parameters
    ----------
    served
        The collection.
    groups
        Of a duplicate search.
    choice
        By which rules. What a person said to keep comes before them, as in a search.

    Raises
    ------
    ConfigError
        If a rule is unknown.
    """
    if choice.keep is None and not choice.prefer:
        return {group.number: group.keeper.id for group in groups}
    policy = keep_policy(choice.keep, prefer=choice.prefer, protect=choice.protect)
    policy = replace(policy, kept=served.collection.verdicts.rulings().kept, metadata=metadata_reader())
    rows = served.images([image.id for group in groups for image in group.images])
    found = {}
    for group in groups:
        left = [rows[image.id] for image in group.images if image.id in rows]
        found[group.number] = policy.choose(left)[0].id if left else group.keeper.id
    return found


def digest(plan: Plan) -> str:
    """Return a text that differs for two plans that do different things."""
    lines = (f"{action.path}\0{action.keeper}\0{action.content.hex()}" for action in plan.actions)
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def summary_dict(summary: ActionSummary, known: Mapping[str, ReportImage] | None = None) -> dict[str, Any]:
    """Return what a run did, ready for JSON.

    Parameters
    ----------
    summary
        Of the run.
    known
        Images by path: what is known of a file and of its keeper is told, so that they can be shown.
    """
    outcomes = [asdict(outcome) for outcome in summary.outcomes]
    for one in outcomes if known is not None else ():
        for name in ("path", "keeper"):
            image = known.get(one[name]) if known is not None else None
            one[f"{name}_image"] = None if image is None else {"id": image.id, "content": image.content}
    return {
        "action": summary.action,
        "run": summary.run,
        "files": summary.count("would", "done", "undone"),
        "bytes": summary.size("would", "done", "undone"),
        "refused": summary.count("skipped", "failed"),
        "outcomes": outcomes,
    }
