"""What the collection knows about one image."""

from __future__ import annotations

from dataclasses import dataclass

from hashae.object_store import is_address


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

    @property
    def modified_ns(self) -> int:
        """When the file was modified; of an object in whole seconds, for what is below stands for its entity tag."""
        return self.mtime_ns - self.mtime_ns % 10**9 if is_address(self.path) else self.mtime_ns
