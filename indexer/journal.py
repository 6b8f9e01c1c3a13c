"""What was done to files, written down before it is done and after, so that it can be undone and nothing is unclear."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import insert, select, update

from hashae.db import Database, inserted_id
from hashae.db.schema import journal, runs
from hashae.errors import UnknownName

STATES = {
    "intent": "about to be done",
    "done": "done",
    "failed": "could not be done; the file is where it was",
    "undoing": "about to be undone",
    "undone": "undone",
}
"""States of an action. ``intent`` and ``undoing`` outlive only a crash, and are cleared up at the next start."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One action on one file.

    Attributes
    ----------
    id, run
        Numbers of the action and of its run.
    action
        ``trash``, ``move``, ``hardlink``, ``symlink`` or ``reflink``.
    state
        One of `STATES`.
    path, content, size, mtime_ns, mode
        The file as it was: absolute path, content hash, bytes, modification time, permission bits.
    keeper
        Absolute path of the file that stayed.
    target
        Where it went, if that is known.
    temporary
        Name of a file that is there only while the action is under way.
    reason
        Why it could not be done or undone.
    """

    id: int
    run: int
    action: str
    state: str
    path: str
    content: bytes
    size: int
    mtime_ns: int
    mode: int
    keeper: str
    target: str | None = None
    temporary: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """One run of actions.

    Attributes
    ----------
    id
        Number in the collection file.
    action
        What was done.
    plan
        Path of the plan file.
    started
        ISO 8601 time, UTC.
    counts
        State -> number of actions.
    bytes_done
        Bytes of the files that are done and not undone.
    """

    id: int
    action: str
    plan: str
    started: str
    counts: dict[str, int]
    bytes_done: int


class Journal:
    """The runs and actions of one collection.

    Parameters
    ----------
    database
        Open collection file.
    collection
        Row id of the collection.
    """

    def __init__(self, database: Database, collection: int) -> None:
        self._database, self._collection = database, collection

    def alone(self) -> AbstractContextManager[None]:
        """Let no other process act on the files of this collection; the lock ends with the process, however it ends.

        Raises
        ------
        CollectionError
            If another process is acting.
        """
        return self._database.alone()

    def begin(self, action: str, plan: str, when: str) -> int:
        """Note a new run and return its number."""
        values = {"collection": self._collection, "action": action, "plan": plan, "started": when}
        with self._database.write() as connection:
            return inserted_id(connection.execute(insert(runs).values(values)))

    def intend(self, entry: Entry) -> Entry:
        """Write down what is about to be done, so that it lasts even through a power cut; return it with its number."""
        columns = ("run", "path", "content", "size", "mtime_ns", "mode", "keeper", "target", "temporary")
        values = {name: getattr(entry, name) for name in columns}
        with self._database.write(durable=True) as connection:
            id_ = inserted_id(connection.execute(insert(journal).values(state="intent", **values)))
        return replace(entry, id=id_, state="intent")

    def settle(
        self,
        entry: Entry,
        state: str,
        *,
        target: str | None = None,
        temporary: str | None = None,
        reason: str | None = None,
        durable: bool = False,
    ) -> Entry:
        """Write down the new state of an action; what is not given becomes unknown again."""
        changes: dict[str, Any] = {"state": state, "target": target, "temporary": temporary, "reason": reason}
        with self._database.write(durable=durable) as connection:
            connection.execute(update(journal).where(journal.c.id == entry.id).values(changes))
        return replace(entry, **changes)

    def interrupted(self) -> list[Entry]:
        """Return the actions of which it is not known whether they were done or undone, oldest first."""
        return self._entries(journal.c.state.in_(("intent", "undoing")))

    def entries(self, run: int) -> list[Entry]:
        """Return the actions of a run in their order."""
        return self._entries(journal.c.run == run)

    def all(self) -> list[Run]:
        """Return all runs, oldest first."""
        mine = runs.c.collection == self._collection
        heads = select(runs.c.id, runs.c.action, runs.c.plan, runs.c.started).where(mine).order_by(runs.c.id)
        columns = (journal.c.run, journal.c.state, journal.c.size)
        bodies = select(*columns).select_from(journal.join(runs)).where(mine)
        counts: dict[int, dict[str, int]] = {}
        done: dict[int, int] = {}
        with self._database.read() as connection:
            found = connection.execute(heads).all()
            for run, state, size in connection.execute(bodies):
                counts.setdefault(run, {})
                counts[run][state] = counts[run].get(state, 0) + 1
                done[run] = done.get(run, 0) + size * (state == "done")
        return [
            Run(id_, action, plan, started, counts.get(id_, {}), done.get(id_, 0))
            for id_, action, plan, started in found
        ]

    def find(self, number: int | None) -> Run:
        """Return a run by number, or the newest of which something can be undone.

        Raises
        ------
        UnknownName
            If there is no such run, or nothing is left to undo.
        """
        listed = self.all()
        if number is not None:
            for run in listed:
                if run.id == number:
                    return run
            raise UnknownName(f"there is no run {number}; see their numbers with: hashae history")
        for run in reversed(listed):
            if run.counts.get("done"):
                return run
        raise UnknownName("nothing is left to undo; see what was done with: hashae history")

    def _entries(self, which: Any) -> list[Entry]:
        names = ("id", "run", "state", "path", "content", "size", "mtime_ns", "mode", "keeper")
        columns = [journal.c[name] for name in (*names, "target", "temporary", "reason")]
        query = (
            select(runs.c.action, *columns)
            .select_from(journal.join(runs))
            .where(runs.c.collection == self._collection, which)
            .order_by(journal.c.id)
        )
        with self._database.read() as connection:
            rows = connection.execute(query).mappings().all()
        return [Entry(**row) for row in rows]
