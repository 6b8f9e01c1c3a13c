"""Acting on a plan: every action is checked, written down, done and written down again; runs can be undone."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import partial

from hashae.db import Database
from hashae.errors import ConfigError
from hashae.indexer.actions import ACTIONS, perform
from hashae.indexer.actions import undo as undo_one
from hashae.indexer.checks import Checker
from hashae.indexer.decisions import VerdictBook
from hashae.indexer.journal import Entry, Journal, Run
from hashae.indexer.plan import Plan, PlannedAction
from hashae.indexer.presence import Presence
from hashae.indexer.recovery import recover
from hashae.indexer.report import TIERS
from hashae.indexer.sources import is_below
from hashae.indexer.summary import Progress
from hashae.object_store import collapsed, is_address


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file.

    Attributes
    ----------
    state
        ``would`` (nothing was done), ``done``, ``undone``, ``skipped`` (a check refused) or ``failed``.
    path, size, tier, keeper
        As in the plan; tier is empty when undoing.
    target
        Where it went, if it went anywhere and that is known.
    reason
        Why it was skipped or failed; else what it is beside its keeper.
    """

    state: str
    path: str
    size: int
    tier: str
    keeper: str
    target: str | None
    reason: str


@dataclass
class ActionSummary:
    """What a run did.

    Attributes
    ----------
    action
        What was asked for.
    run
        Its number in the journal; None if nothing was to be done.
    outcomes
        One for each file, in the order of the plan.
    recovered
        Actions of an interrupted run that were settled first.
    """

    action: str
    run: int | None = None
    outcomes: list[Outcome] = field(default_factory=list)
    recovered: list[Entry] = field(default_factory=list)

    def count(self, *states: str) -> int:
        """Return the number of files in one of these states."""
        return sum(outcome.state in states for outcome in self.outcomes)

    def size(self, *states: str) -> int:
        """Return the bytes of the files in one of these states."""
        return sum(outcome.size for outcome in self.outcomes if outcome.state in states)


class Executor:
    """Acts on files of one collection, and takes it back.

    Parameters
    ----------
    database
        Open collection file.
    collection
        Row id of the collection.
    pixel_hash
        Hash of the decoded pixels of a file; raises `ImageError`.
    """

    def __init__(self, database: Database, collection: int, pixel_hash: Callable[[str], bytes]) -> None:
        self._database, self._collection, self._pixel_hash = database, collection, pixel_hash
        self._journal = Journal(database, collection)
        self._presence = Presence(database, collection)

    def apply(
        self,
        plan: Plan,
        action: str = "list",
        *,
        to: str | None = None,
        tier: str = "pixels",
        dry_run: bool = False,
        origin: str = "",
        on_progress: Callable[[Progress], None] | None = None,
    ) -> ActionSummary:
        """Do with the files of a plan what is asked for, as far as every single one may be touched.

        Parameters
        ----------
        plan
            What could go.
        action
            ``list`` only says what would happen; or one of `ACTIONS`.
        to
            Folder for ``move``; made if it is missing. Files keep their place below the folder of the collection.
        tier
            Weakest tier that is acted on.
        dry_run
            Check as for `action`, and touch nothing.
        origin
            Path of the plan file, for the history.
        on_progress
            Called from this thread, with the stage ``acting``.

        Raises
        ------
        ConfigError
            If there is no such action or tier, or `to` does not go with it.
        CollectionError
            If the journal cannot be written, or another process is acting on files of this collection.
        """
        folder = self._checked(action, tier, to)
        progress = on_progress or (lambda _progress: None)
        rulings = VerdictBook(self._database, self._collection).rulings()
        checker = Checker(plan, action, tier, rulings, self._pixel_hash)
        if action == "list" or dry_run:
            summary = ActionSummary(action)
            for number, planned in enumerate(plan.actions, 1):
                refusal = checker.refuse(planned)
                outcome = _outcome("would" if refusal is None else "skipped", planned, reason=refusal)
                summary.outcomes.append(outcome)
                progress(Progress("acting", number, len(plan.actions)))
            return summary
        with self._journal.alone(), self._presence:
            summary = ActionSummary(action, recovered=recover(self._journal))
            for number, planned in enumerate(plan.actions, 1):
                refusal = checker.refuse(planned)
                status = None if refusal else checker.unchanged(planned.path)
                if status is None:
                    outcome = _outcome("skipped", planned, reason=refusal or "has changed this very moment")
                else:
                    if summary.run is None:
                        summary.run = self._journal.begin(action, origin, _now())
                    entry = _entry(planned, summary.run, action, status)
                    if folder is not None:
                        entry = replace(entry, target=self._presence.place_in(folder, planned.path))
                    entry = perform(entry, self._journal, unchanged=partial(self._unchanged, checker, entry))
                    outcome = _outcome(entry.state, planned, target=entry.target, reason=entry.reason)
                    if entry.state == "done" and action in {"trash", "move"}:
                        self._presence.note(entry, missing=True)
                summary.outcomes.append(outcome)
                progress(Progress("acting", number, len(plan.actions)))
        return summary

    def undo(
        self, number: int | None = None, *, on_progress: Callable[[Progress], None] | None = None
    ) -> ActionSummary:
        """Bring back what a run did, the last action first.

        Parameters
        ----------
        number
            Of the run; None takes the newest of which something is left to undo.
        on_progress
            Called from this thread, with the stage ``undoing``.

        Raises
        ------
        UnknownName
            If there is no such run, or nothing is left to undo.
        CollectionError
            If the journal cannot be written, or another process is acting on files of this collection.
        """
        progress = on_progress or (lambda _progress: None)
        with self._journal.alone(), self._presence:
            recovered = recover(self._journal)
            run = self._journal.find(number)
            summary = ActionSummary("undo", run.id, recovered=recovered)
            entries = [entry for entry in reversed(self._journal.entries(run.id)) if entry.state == "done"]
            for at, before in enumerate(entries, 1):
                entry = undo_one(before, self._journal)
                state = "undone" if entry.state == "undone" else "failed"
                if state == "undone" and entry.action in {"trash", "move"}:
                    self._presence.note(entry, missing=False)
                summary.outcomes.append(
                    Outcome(state, entry.path, entry.size, "", entry.keeper, before.target, entry.reason or "")
                )
                progress(Progress("undoing", at, len(entries)))
        return summary

    def recover(self) -> list[Entry]:
        """Settle what an interrupted run left open, and return it.

        Raises
        ------
        CollectionError
            If the journal cannot be written, or another process is acting on files of this collection.
        """
        if not self._journal.interrupted():
            return []
        with self._journal.alone():
            return recover(self._journal)

    def history(self) -> list[Run]:
        """Return all runs, oldest first."""
        return self._journal.all()

    def entries(self, number: int) -> list[Entry]:
        """Return the actions of a run.

        Raises
        ------
        UnknownName
            If there is no such run.
        """
        return self._journal.entries(self._journal.find(number).id)

    @staticmethod
    def _unchanged(checker: Checker, entry: Entry) -> bool:
        return checker.unchanged(entry.path) is not None

    def _checked(self, action: str, tier: str, to: str | None) -> str | None:
        """Return the folder to move to, absolute, or None."""
        if action not in {"list", *ACTIONS}:
            raise ConfigError(f"{action!r} is no action; expected list, {', '.join(ACTIONS)}")
        if tier not in TIERS:
            raise ConfigError(f"{tier!r} is no tier; expected one of {', '.join(TIERS)}")
        if (to is not None) != (action == "move"):
            raise ConfigError("action move needs a folder to move to, and no other action takes one: --to FOLDER")
        if to is None:
            return None
        if is_address(to) or collapsed(to):
            raise ConfigError(f"--to: {to} is the address of an object store; expected a folder of this machine")
        folder = os.path.realpath(to)
        if os.path.lexists(folder) and not os.path.isdir(folder):
            raise ConfigError(f"--to: {folder} is no folder")
        for source in self._presence.folders():
            hidden = any(part.startswith(".") for part in os.path.relpath(folder, source).split(os.sep))
            if is_below(folder, source) and not hidden:
                raise ConfigError(
                    f"--to: {folder} lies in {source}, a folder of the collection: what is moved there would be found "
                    f"again; choose a folder outside, or one whose name starts with a dot"
                )
        return folder


def _entry(planned: PlannedAction, run: int, action: str, status: os.stat_result) -> Entry:
    return Entry(
        id=0,
        run=run,
        action=action,
        state="intent",
        path=planned.path,
        content=planned.content,
        size=planned.size,
        mtime_ns=status.st_mtime_ns,
        mode=stat.S_IMODE(status.st_mode),
        keeper=planned.keeper,
    )


def _outcome(state: str, planned: PlannedAction, *, target: str | None = None, reason: str | None = None) -> Outcome:
    told = planned.reason if reason is None else reason
    return Outcome(state, planned.path, planned.size, planned.tier, planned.keeper, target, told)


def _now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
