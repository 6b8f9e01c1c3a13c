"""Going through the groups of a duplicate search: what a person decided of each, and acting on it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from threading import RLock
from typing import Any

from hashae.errors import ConfigError, UnknownName
from hashae.indexer.chosen import check_choice, plan_of_choices
from hashae.indexer.collection import Collection as ImageCollection
from hashae.indexer.decisions import Verdict
from hashae.indexer.keep_rules import keep_policy
from hashae.indexer.plan import Plan
from hashae.indexer.report import TIERS, ReportGroup
from hashae.indexer.served import ServedCollection
from hashae.indexer.summary import Progress
from hashae.serve.bulk import Choice, digest, keepers, summary_dict
from hashae.serve.found import SORTS, STATES, Decision, Found, Search

ORIGIN = "hashae serve"
"""Stands in the history where the command line writes the path of a plan."""


class Review:
    """The groups of the newest search, and what was decided of them.

    Parameters
    ----------
    served
        The collection.
    """

    def __init__(self, served: ServedCollection) -> None:
        self._served, self._lock = served, RLock()
        self._found: Found | None = None

    @property
    def is_empty(self) -> bool:
        """True before the first search."""
        return self._found is None

    def search(self, asked: Search, tell: Callable[[Progress], None]) -> dict[str, Any]:
        """Search for duplicates and go through them anew; decisions that were not applied are forgotten.

        Raises
        ------
        HashaeError
            As :meth:`hashae.indexer.collection.Collection.dedup`.
        """
        path = self._served.collection.path
        policy = keep_policy(asked.keep, prefer=asked.prefer, protect=asked.protect)
        # A collection of its own: the one that is served answers others meanwhile.
        with ImageCollection.open(path, create=False, threads=self._served.threads) as collection:
            report = collection.dedup(
                asked.folder, radius=asked.radius, linkage=asked.linkage, policy=policy, on_progress=tell
            )
        found = Found.of(report, asked, self._served.generation())
        with self._lock:
            self._found = found
        return {"groups": len(report.groups)}

    def summary(self) -> dict[str, Any] | None:
        """Return what was found and decided, in numbers; None before the first search."""
        with self._lock:
            found = self._found
            if found is None:
                return None
            report = found.report
            states = dict.fromkeys(STATES, 0)
            for number in found.groups:
                states[self._decision(number).state] += 1
            marked = self._marked()
            plan = plan_of_choices(report, marked, protect=found.search.protect)
            return {
                "created": report.created,
                "rule": report.rule,
                "images": report.images,
                "groups": len(report.groups),
                "duplicates": report.duplicates,
                "bytes_to_free": report.bytes_to_free,
                "by_tier": report.by_tier(),
                "keep_rules": list(report.keep_rules),
                "featureless": len(report.featureless),
                "separated": report.separated,
                "ignored": report.ignored,
                "states": states,
                "gone": {"files": len(found.gone), "bytes": sum(found.known[path].size for path in found.gone)},
                "marked": {"files": len(plan.actions), "bytes": sum(action.size for action in plan.actions)},
                "stale": found.generation != self._served.generation(),
                "search": asdict(found.search),
                "folders": found.folders,
            }

    def groups(
        self,
        *,
        offset: int,
        limit: int,
        tiers: Collection[str] = (),
        states: Collection[str] = (),
        sort: str = "bytes",
        text: str = "",
    ) -> dict[str, Any]:
        """Return some groups, ready for JSON.

        Parameters
        ----------
        offset, limit
            Which of them.
        tiers, states
            Only groups of these; empty: all.
        sort
            One of `SORTS`.
        text
            Only groups with this in one of their paths, in any case.

        Raises
        ------
        UnknownName
            If there was no search yet.
        """
        with self._lock:
            found, wanted = self._current(), text.casefold()
            chosen = [
                group
                for group in found.groups.values()
                if (not tiers or group.tier in tiers)
                and (not states or self._decision(group.number).state in states)
                and (not wanted or any(wanted in image.path.casefold() for image in group.images))
            ]
            chosen.sort(key=SORTS[sort])
            listed = [self._shown(group) for group in chosen[offset : offset + limit]]
            numbers = [group.number for group in chosen]
            left = [number for number in numbers if self._decision(number).state == "open"]
            return {"total": len(chosen), "offset": offset, "numbers": numbers, "open": left, "groups": listed}

    def group(self, number: int) -> dict[str, Any]:
        """Return one group, ready for JSON.

        Raises
        ------
        UnknownName
            If there is no such group.
        """
        with self._lock:
            return self._shown(self._group(number))

    def decide(self, number: int, state: str, keep: Sequence[int] = ()) -> dict[str, Any]:
        """Decide of one group; what was decided before is taken back first.

        Parameters
        ----------
        number
            Of the group.
        state
            ``keep`` marks all but `keep` to go, ``distinct`` and ``ignore`` store a verdict, ``open`` takes back.
        keep
            Ids of images, the keeper first; empty: what the keep rules chose.

        Raises
        ------
        UnknownName
            If there is no such group.
        ConfigError
            If nothing would stay, or the group was applied already.
        """
        with self._lock:
            group, before = self._group(number), self._decision(number)
            if state not in {"keep", "distinct", "ignore", "open"}:
                raise ConfigError(f"{state!r} is no decision; expected keep, distinct, ignore or open")
            if before.state == "done":
                raise ConfigError(f"group {number} was applied; undo that first")
            chosen = tuple(dict.fromkeys(keep)) or (group.keeper.id,)
            if state == "keep":
                check_choice(group, chosen)
            verdict = self._judge(group, state) if state in {"distinct", "ignore"} else None
            if before.verdict is not None:
                self._served.collection.verdicts.forget([before.verdict])
            decision = Decision(state, chosen if state == "keep" else (), verdict)
            self._current().decisions[number] = decision
            return self._shown(group)

    def decide_all(
        self,
        state: str,
        tiers: Collection[str],
        *,
        keep: str | None = None,
        prefer: Sequence[str] = (),
        dry: bool = False,
    ) -> dict[str, int]:
        """Mark all open groups of some tiers by the keep rules, or take all marks of these tiers back.

        Parameters
        ----------
        state
            ``keep`` or ``open``.
        tiers
            Of the groups.
        keep, prefer
            Keep rules and folders, as of :func:`hashae.indexer.keep_rules.keep_policy`; neither: what the search chose.
        dry
            Change nothing.

        Returns
        -------
        ``changed``, groups; ``files`` and ``bytes``, which the marks of these groups let go

        Raises
        ------
        UnknownName
            If there was no search yet.
        ConfigError
            If a rule is unknown.
        """
        with self._lock:
            found, wanted = self._current(), "open" if state == "keep" else "keep"
            chosen = [
                group
                for group in found.groups.values()
                if group.tier in tiers and self._decision(group.number).state == wanted
            ]
            if state == "open":
                if not dry:
                    found.decisions |= {group.number: Decision() for group in chosen}
                return {"changed": len(chosen), "files": 0, "bytes": 0}
            stays = keepers(self._served, chosen, Choice(keep, tuple(prefer), found.search.protect))
            marks = {number: Decision("keep", (id_,)) for number, id_ in stays.items()}
            plan = plan_of_choices(
                found.report, {n: one.keep for n, one in marks.items()}, protect=found.search.protect
            )
            if not dry:
                found.decisions |= marks
            size = sum(action.size for action in plan.actions)
            return {"changed": len(chosen), "files": len(plan.actions), "bytes": size}

    def preview(self) -> dict[str, Any]:
        """Return what applying would do with every marked file, and the digest of that plan."""
        plan = self._plan()
        summary = self._served.collection.actions.apply(plan, "trash", tier=TIERS[-1], dry_run=True, origin=ORIGIN)
        with self._lock:
            return {"digest": digest(plan), **summary_dict(summary, self._current().known)}

    def apply(self, wanted: str, tell: Callable[[Progress], None]) -> dict[str, Any]:
        """Put the marked files into the trash.

        Parameters
        ----------
        wanted
            Digest of the plan that was previewed.
        tell
            Is told the progress.

        Raises
        ------
        ConfigError
            If the plan is another one now.
        CollectionError
            As :meth:`hashae.indexer.executor.Executor.apply`.
        """
        with self._lock:
            plan = self._plan()
            if digest(plan) != wanted:
                raise ConfigError("the decisions have changed since the preview; look at it again")
            marked = set(self._marked())
            found = self._current()
        summary = self._served.collection.actions.apply(plan, "trash", tier=TIERS[-1], origin=ORIGIN, on_progress=tell)
        with self._lock:
            found.gone |= {outcome.path for outcome in summary.outcomes if outcome.state == "done"}
            failed = {outcome.path for outcome in summary.outcomes if outcome.state != "done"}
            for number in marked:
                left = any(image.path in failed for image in found.groups[number].images)
                found.decisions[number].state = "keep" if left else "done"
            found.generation = self._served.generation()
        return summary_dict(summary)

    def undo(self, run: int | None, tell: Callable[[Progress], None]) -> dict[str, Any]:
        """Bring back what a run did; None takes the newest.

        Raises
        ------
        HashaeError
            As :meth:`hashae.indexer.executor.Executor.undo`.
        """
        summary = self._served.collection.actions.undo(run, on_progress=tell)
        with self._lock:
            found = self._found
            if found is not None:
                back = {outcome.path for outcome in summary.outcomes if outcome.state == "undone"}
                found.gone -= back
                for number, decision in found.decisions.items():
                    if decision.state == "done" and any(image.path in back for image in found.groups[number].images):
                        decision.state = "keep"
                found.generation = self._served.generation()
        return summary_dict(summary)

    def _judge(self, group: ReportGroup, kind: str) -> int | None:
        now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        contents = {bytes.fromhex(image.content): image.path for image in group.images}
        added = self._served.collection.verdicts.add([Verdict(0, kind, now, contents)])
        return added[0].id if added else None

    def _plan(self) -> Plan:
        with self._lock:
            marked = self._marked()
            if not marked:
                raise ConfigError("no group is marked; decide first which images to keep")
            found = self._current()
            plan = plan_of_choices(found.report, marked, protect=found.search.protect)
            left = tuple(action for action in plan.actions if action.path not in found.gone)
            return Plan(plan.created, plan.collection, left, plan.keep_rules, plan.protect)

    def _marked(self) -> Mapping[int, Sequence[int]]:
        found = self._current()
        return {number: one.keep for number, one in found.decisions.items() if one.state == "keep"}

    def _current(self) -> Found:
        if self._found is None:
            raise UnknownName("no search for duplicates was made yet; start one")
        return self._found

    def _group(self, number: int) -> ReportGroup:
        group = self._current().groups.get(number)
        if group is None:
            raise UnknownName(f"there is no group {number}; there are {len(self._current().groups)}")
        return group

    def _decision(self, number: int) -> Decision:
        return self._current().decisions.get(number) or Decision()

    def _shown(self, group: ReportGroup) -> dict[str, Any]:
        decision, gone = self._decision(group.number), self._current().gone
        images = [{**asdict(image), "spare": image.spare, "gone": image.path in gone} for image in group.images]
        head = {"number": group.number, "tier": group.tier, "diameter": group.diameter, "chained": group.chained}
        made = {"state": decision.state, "keep": list(decision.keep), "verdict": decision.verdict}
        return {**head, **made, "bytes_to_free": group.bytes_to_free, "images": images}
