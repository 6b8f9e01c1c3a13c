"""Verdicts: what a person decided about pictures, bound to their contents, and so to no path, time or encoder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from sqlalchemy import delete, insert, select

from hashae.db import Database, inserted_id
from hashae.db.schema import verdict_contents, verdicts
from hashae.errors import ConfigError, ImageError, UnknownName
from hashae.indexer.content import content_hash
from hashae.indexer.sources import absolute_path

KINDS = {
    "keep": "always keep this picture",
    "distinct": "these pictures are not duplicates of each other",
    "ignore": "leave out a group of no other pictures than these",
}
"""Each kind of verdict, and what it means."""

CHUNK = 500
"""Rows named in one statement."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One decision.

    Attributes
    ----------
    id
        Number in the collection; 0 before it is stored.
    kind
        One of `KINDS`. ``keep`` holds for each of its contents, ``distinct`` for each pair of them.
    made
        ISO 8601 time, UTC.
    contents
        Content hash -> path of the file when it was judged, for people to read.
    """

    id: int
    kind: str
    made: str
    contents: Mapping[bytes, str]


@dataclass(frozen=True)
class Rulings:
    """All verdicts of a collection in the form in which groups are checked against them.

    Attributes
    ----------
    kept
        Contents to keep.
    apart
        Content -> contents that it is no duplicate of.
    ignored
        Sets of contents to be left out where they make up a group.
    """

    kept: frozenset[bytes] = frozenset()
    apart: Mapping[bytes, frozenset[bytes]] | None = None
    ignored: tuple[frozenset[bytes], ...] = ()

    def are_apart(self, one: bytes, other: bytes) -> bool:
        """Tell whether a person said that two contents are no duplicates."""
        return self.apart is not None and other in self.apart.get(one, ())

    def ignores(self, contents: Iterable[bytes]) -> bool:
        """Tell whether a group of these contents is to be left out: one that has got a new member is not."""
        wanted = frozenset(contents)
        return any(wanted <= these for these in self.ignored)


def rulings(found: Iterable[Verdict]) -> Rulings:
    """Return verdicts as `Rulings`."""
    kept: set[bytes] = set()
    apart: dict[bytes, set[bytes]] = {}
    ignored = []
    for verdict in found:
        contents = frozenset(verdict.contents)
        if verdict.kind == "keep":
            kept |= contents
        elif verdict.kind == "ignore":
            ignored.append(contents)
        else:
            for content in contents:
                apart.setdefault(content, set()).update(contents - {content})
    return Rulings(frozenset(kept), {key: frozenset(value) for key, value in apart.items()}, tuple(ignored))


def check_verdict(kind: str, contents: Mapping[bytes, str]) -> None:
    """Refuse a verdict that says nothing.

    Raises
    ------
    ConfigError
        If the kind is unknown, there is no content, or fewer than two to tell apart.
    """
    if kind not in KINDS:
        raise ConfigError(f"{kind!r} is no verdict; expected one of {', '.join(KINDS)}")
    if not contents:
        raise ConfigError(f"verdict {kind!r} names no picture; name at least one")
    if kind == "distinct" and len(contents) < 2:
        raise ConfigError(
            "verdict 'distinct' names one content only; name two or more pictures that are no duplicates "
            "(copies of one file are duplicates whatever one says)"
        )


class VerdictBook:
    """The verdicts of one collection.

    Parameters
    ----------
    database
        Open collection file.
    collection
        Row id of the collection.
    """

    def __init__(self, database: Database, collection: int) -> None:
        self._database, self._collection = database, collection

    def all(self) -> list[Verdict]:
        """Return all verdicts, oldest first."""
        mine = verdicts.c.collection == self._collection
        heads = select(verdicts.c.id, verdicts.c.kind, verdicts.c.made).where(mine).order_by(verdicts.c.id)
        columns = (verdict_contents.c.verdict, verdict_contents.c.content, verdict_contents.c.path)
        bodies = select(*columns).select_from(verdict_contents.join(verdicts)).where(mine)
        contents: dict[int, dict[bytes, str]] = {}
        with self._database.read() as connection:
            found = connection.execute(heads).all()
            for id_, content, path in connection.execute(bodies.order_by(*columns[:2])):
                contents.setdefault(id_, {})[content] = path
        return [Verdict(id_, kind, made, contents.get(id_, {})) for id_, kind, made in found]

    def rulings(self) -> Rulings:
        """Return all verdicts in the form in which groups are checked against them."""
        return rulings(self.all())

    def add(self, new: Sequence[Verdict]) -> list[Verdict]:
        """Store verdicts in one transaction and return those that were not there before, with their numbers.

        Raises
        ------
        ConfigError
            If one says nothing; then none is stored.
        """
        for verdict in new:
            check_verdict(verdict.kind, verdict.contents)
        known = {_said(verdict) for verdict in self.all()}
        added = []
        with self._database.write() as connection:
            for verdict in new:
                if _said(verdict) in known:
                    continue
                known.add(_said(verdict))
                head = {"collection": self._collection, "kind": verdict.kind, "made": verdict.made}
                id_ = inserted_id(connection.execute(insert(verdicts).values(head)))
                rows = [{"verdict": id_, "content": c, "path": path} for c, path in verdict.contents.items()]
                connection.execute(insert(verdict_contents), rows)
                added.append(Verdict(id_, verdict.kind, verdict.made, verdict.contents))
        return added

    def judge(self, kind: str, paths: Iterable[str | Path]) -> Verdict | None:
        """Store one verdict about files as they are now; return None if it is known already.

        Parameters
        ----------
        kind
            One of `KINDS`.
        paths
            Files; they need not be in the collection.

        Raises
        ------
        ConfigError
            If that says nothing.
        ImageError
            If a file cannot be read.
        """
        contents = {}
        for path in paths:
            absolute = absolute_path(path)
            try:
                contents[content_hash(absolute)] = absolute
            except OSError as error:
                raise ImageError(path, f"cannot be read ({error.strerror or error})") from error
        now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        return next(iter(self.add([Verdict(0, kind, now, contents)])), None)

    def forget(self, numbers: Iterable[int]) -> int:
        """Delete verdicts by number and return how many.

        Raises
        ------
        UnknownName
            If a number is that of no verdict; then none is deleted.
        """
        wanted = sorted(set(numbers))
        known = {verdict.id for verdict in self.all()}
        unknown = [number for number in wanted if number not in known]
        if unknown:
            raise UnknownName(f"there is no verdict {unknown[0]}; see their numbers with: hashae verdict list")
        with self._database.write() as connection:
            for start in range(0, len(wanted), CHUNK):
                connection.execute(delete(verdicts).where(verdicts.c.id.in_(wanted[start : start + CHUNK])))
        return len(wanted)


def _said(verdict: Verdict) -> tuple[str, frozenset[bytes]]:
    """Return what a verdict says, whoever said it when and of which path."""
    return verdict.kind, frozenset(verdict.contents)
