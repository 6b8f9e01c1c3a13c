"""From a group of equal or near codes to a group of a report: which image to keep, and how each other equals it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hashae.codes import Codes, hamming_to
from hashae.indexer.groups import CodeGroup
from hashae.indexer.report import TIERS, ReportGroup, ReportImage

LOSSLESS = frozenset({"PNG", "BMP", "DIB", "TIFF", "PPM", "TGA"})


@dataclass(frozen=True, slots=True)
class ImageRow:
    """What the collection knows about an image.

    Attributes
    ----------
    id, path, size, mtime_ns, width, height, format
        As in :class:`hashae.indexer.report.ReportImage`; `path` absolute.
    content
        Hash of the file's bytes.
    """

    id: int
    path: str
    size: int
    mtime_ns: int
    width: int
    height: int
    format: str
    content: bytes


# First rule that tells two images apart decides. Each: name of the reason, sort key (smallest is kept).
KEEP_RULES: tuple[tuple[str, Callable[[ImageRow], object]], ...] = (
    ("most pixels", lambda image: -image.width * image.height),
    ("lossless format", lambda image: image.format not in LOSSLESS),
    ("largest file", lambda image: -image.size),
    ("oldest file", lambda image: image.mtime_ns),
    ("shortest path", lambda image: len(image.path)),
    ("first in the alphabet", lambda image: image.path),
)


def choose_keeper(images: Sequence[ImageRow]) -> tuple[ImageRow, str]:
    """Return the image to keep, and the first of `KEEP_RULES` that set it apart from all others."""
    left = list(images)
    reason = KEEP_RULES[-1][0]
    for name, rank in KEEP_RULES:
        best = min(rank(image) for image in left)  # type: ignore[type-var]
        kept = [image for image in left if rank(image) == best]
        if len(kept) < len(left):
            reason = name
        left = kept
        if len(left) == 1:
            break
    return left[0], reason


def describe(
    group: CodeGroup,
    images: dict[int, ImageRow],
    codes: dict[int, Codes],
    pixel_hash: Callable[[ImageRow], bytes | None],
) -> ReportGroup:
    """Return the report's view of a group; its number is given later.

    Parameters
    ----------
    group
        Ids of images whose codes lie together.
    images, codes
        Row and ``uint8 (bits // 8,)`` code of each member.
    pixel_hash
        Hash of the decoded pixels, or None if the file cannot be read; asked only where codes and sizes are equal.
    """
    members = [images[id_] for id_ in group.members]
    keeper, reason = choose_keeper(members)
    distances = {image.id: int(hamming_to(codes[image.id][None], codes[keeper.id])[0]) for image in members}

    def tier_of(image: ImageRow) -> str:
        if image.content == keeper.content:
            return "bytes"
        if distances[image.id]:
            return "near"
        if (image.width, image.height) == (keeper.width, keeper.height):
            mine, its = pixel_hash(image), pixel_hash(keeper)
            if mine is not None and mine == its:
                return "pixels"
        return "code"

    others = []
    for image in members:
        if image is not keeper:
            tier = tier_of(image)
            others.append(
                _report_image(image, distances[image.id], tier, keep=False, reason=_beside(image, keeper, tier))
            )
    others.sort(key=lambda image: (TIERS.index(image.tier), image.distance, image.path))
    tier = max((image.tier for image in others), key=TIERS.index)
    first = _report_image(keeper, 0, tier, keep=True, reason=_why_kept(keeper, reason))
    return ReportGroup(
        number=0,
        tier=tier,
        images=(first, *others),
        representative=group.representative,
        diameter=group.diameter,
        chained=group.chained,
    )


def _report_image(image: ImageRow, distance: int, tier: str, *, keep: bool, reason: str) -> ReportImage:
    return ReportImage(
        id=image.id,
        path=image.path,
        size=image.size,
        width=image.width,
        height=image.height,
        format=image.format,
        modified=image.mtime_ns / 1e9,
        distance=distance,
        tier=tier,
        keep=keep,
        reason=reason,
    )


def _why_kept(keeper: ImageRow, rule: str) -> str:
    details = {
        "most pixels": f"{keeper.width} × {keeper.height}",
        "lossless format": keeper.format,
        "largest file": f"{keeper.size:,} bytes",
    }
    return f"{rule} ({details[rule]})" if rule in details else rule


def _beside(image: ImageRow, keeper: ImageRow, tier: str) -> str:
    """Say what an image is beside the keeper."""
    if tier == "bytes":
        return "the same file"
    if tier == "pixels":
        return "the same pixels in another file"
    pixels, kept = image.width * image.height, keeper.width * keeper.height
    if pixels < kept:
        return f"smaller: {image.width} × {image.height} against {keeper.width} × {keeper.height}"
    if image.format not in LOSSLESS and keeper.format in LOSSLESS:
        return f"{image.format} beside lossless {keeper.format}"
    if image.size < keeper.size:
        return f"same size in pixels, fewer bytes ({image.size:,} against {keeper.size:,})"
    return "same size in pixels and bytes"
