"""What passes between :class:`hashae.indexer.ingest.Ingest` and processes that read files for it, wherever they run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from hashae.encoder import Encoded
from hashae.errors import ImageError


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file to read.

    Attributes
    ----------
    path
        Absolute path.
    known
        Hash of the content that has a code already: the file is not decoded if it has that content; None decodes.
    alone
        Decode in a process that may be lost.
    """

    path: str
    known: bytes | None = None
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a file.

    Attributes
    ----------
    content
        Hash of its bytes; empty if it could not be read.
    image
        Width, height and format if it was decoded.
    reason
        Why it cannot be used.
    lasts
        True if that lies in the content.
    """

    content: bytes
    image: tuple[int, int, str] | None = None
    reason: str | None = None
    lasts: bool = True


class Reader(Protocol):
    """Reads, decodes and encodes files elsewhere."""

    def read(self, folder: str, files: Sequence[Wanted]) -> Iterator[tuple[list[Outcome], Encoded | None]]:
        """Yield the outcomes of the files in order, part by part, with the codes of those that were decoded."""
        ...


def lies_in_the_content(error: ImageError) -> bool:
    """Return False for a file that could not be opened or did not fit into memory: the next time it may."""
    cause = error.__cause__
    return not (isinstance(cause, MemoryError) or (isinstance(cause, OSError) and cause.errno is not None))
