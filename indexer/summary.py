"""What a long run tells: how far it is, and at the end what it did."""

from __future__ import annotations

from dataclasses import dataclass, field

from hashae.indexer.report import Failure


@dataclass(frozen=True)
class Progress:
    """How far a run is; `total` is None while the folder is still being scanned."""

    stage: str
    done: int
    total: int | None


@dataclass
class IndexSummary:
    """What one run of indexing did.

    Attributes
    ----------
    added, changed, unchanged
        Files new to the collection, with other content than before, and as they were.
    moved
        Files known by their content from another place, where they are no more; they keep all that is known of them.
    missing
        Files gone since the last run; they stay in the collection, marked, and take part in nothing.
    unreadable
        Files that could be used before and cannot be now: they count as failed, and what is known of them is kept.
    pruned
        Missing images that were forgotten, because that was asked for.
    failed
        Files that cannot be used, and why, those known from earlier runs included.
    encoded
        Images whose code was computed.
    waiting
        Images that an encoder which is to follow the one in use has still to encode; 0 if there is none, or it is done.
    seconds
        Wall-clock time.
    """

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    moved: int = 0
    missing: int = 0
    unreadable: int = 0
    pruned: int = 0
    failed: list[Failure] = field(default_factory=list)
    encoded: int = 0
    waiting: int = 0
    seconds: float = 0.0

    @property
    def images(self) -> int:
        """Number of usable images in the folder."""
        return self.added + self.changed + self.moved + self.unchanged

    def include(self, part: IndexSummary) -> None:
        """Count what another run did, too."""
        self.added += part.added
        self.changed += part.changed
        self.unchanged += part.unchanged
        self.moved += part.moved
        self.missing += part.missing
        self.unreadable += part.unreadable
        self.pruned += part.pruned
        self.encoded += part.encoded
        self.seconds += part.seconds
        self.failed += part.failed
