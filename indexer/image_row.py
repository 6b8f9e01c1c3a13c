"""What the collection knows about one image."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ImageRow:
    """What the collection knows about an image.

    Attributes
    ----------
    id, path, size, mtime_ns, width, height, format
        As in :class:`hashae.indexer.report.ReportImage`; `path` absolute.
    content
        Hash of the file's bytes, see :func:`hashae.indexer.content.content_hash`.
    """

    id: int
    path: str
    size: int
    mtime_ns: int
    width: int
    height: int
    format: str
    content: bytes
