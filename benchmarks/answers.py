"""Planted copies against found groups: how many pairs came back, of which edit, and what was grouped wrongly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

NO_EDIT = "(no copy)"


@dataclass(frozen=True, slots=True)
class Planted:
    """A copy that a script made; paths are relative to the folder of the collection, with forward slashes."""

    original: str
    copy: str
    edit: str


@dataclass(frozen=True, slots=True)
class Score:
    """What a report found of the planted copies.

    Attributes
    ----------
    planted, found, wrong
        Pairs an edit. A wrong pair counts for the edit of each copy in it, or for `NO_EDIT` if it has none.
    right_pairs
        Number of grouped pairs that are planted, follow from planted ones, or are confirmed duplicates.
    wrong_pairs
        Grouped pairs that are none of these.
    missed
        Planted copies that are in no group with their original.
    """

    planted: Counter[str]
    found: Counter[str]
    wrong: Counter[str]
    right_pairs: int
    wrong_pairs: list[tuple[str, str]]
    missed: list[Planted]

    @property
    def recall(self) -> float:
        """Share of the planted pairs that were found."""
        return self.found.total() / max(1, self.planted.total())

    @property
    def wrong_share(self) -> float:
        """Share of wrong pairs among all grouped pairs."""
        return len(self.wrong_pairs) / max(1, len(self.wrong_pairs) + self.right_pairs)


def same_picture(sets: Iterable[Iterable[str]]) -> dict[str, str]:
    """Merge sets that share a member; returns member -> name of its merged set."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for members in sets:
        first, *others = members
        for other in others:
            parent[root(other)] = root(first)
    return {name: root(name) for name in list(parent)}


def grouped_paths(report: dict[str, Any], folder: Path) -> list[list[str]]:
    """Return the groups of a ``hashae dedup --json`` report as paths relative to `folder`."""
    base = folder.resolve()
    groups = []
    for group in report["groups"]:
        paths = [Path(image["path"]).resolve() for image in group["images"]]
        groups.append([path.relative_to(base).as_posix() for path in paths if path.is_relative_to(base)])
    return groups


def score(
    groups: Sequence[Sequence[str]], planted: Sequence[Planted], confirmed: Iterable[Iterable[str]] = ()
) -> Score:
    """Compare found groups with planted copies.

    Parameters
    ----------
    groups
        Members of each found group.
    planted
        The copies that were made.
    confirmed
        Sets of pictures that a person found to be the same although nobody planted them.
    """
    truth = same_picture([*((pair.original, pair.copy) for pair in planted), *confirmed])
    group_of = {path: number for number, group in enumerate(groups) for path in group}
    edits = {pair.copy: pair.edit for pair in planted}
    found: Counter[str] = Counter()
    missed = []
    for pair in planted:
        if pair.copy in group_of and group_of[pair.copy] == group_of.get(pair.original):
            found[pair.edit] += 1
        else:
            missed.append(pair)
    wrong: Counter[str] = Counter()
    wrong_pairs, right_pairs = [], 0
    for group in groups:
        for a, b in combinations(group, 2):
            if truth.get(a, a) == truth.get(b, b):
                right_pairs += 1
            else:
                wrong_pairs.append((a, b))
                wrong.update({edits[path] for path in (a, b) if path in edits} or {NO_EDIT})
    return Score(Counter(pair.edit for pair in planted), found, wrong, right_pairs, wrong_pairs, missed)


def score_table(result: Score) -> list[list[str]]:
    """Return the rows of a table: a head, one row an edit, and the sum."""
    rows = [["edit", "planted", "found", "share", "wrong pairs"]]
    for edit, planted in result.planted.items():
        found = result.found[edit]
        rows.append([edit, str(planted), str(found), f"{found / planted:.1%}", str(result.wrong[edit])])
    if result.wrong[NO_EDIT]:
        rows.append([NO_EDIT, "", "", "", str(result.wrong[NO_EDIT])])
    total, found = result.planted.total(), result.found.total()
    rows.append(["all", str(total), str(found), f"{result.recall:.1%}", str(len(result.wrong_pairs))])
    return rows


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows as columns: the first to the left, numbers to the right; the first row is underlined."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for number, row in enumerate(rows):
        numbers = [text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True)]
        print("  ".join([row[0].ljust(widths[0]), *numbers]).rstrip())
        if number == 0:
            print("  ".join("-" * width for width in widths))
