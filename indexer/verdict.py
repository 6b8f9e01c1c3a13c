"""From a group of equal or near codes to a group of a report: which image to keep, and how each other equals it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hashae.codes import Codes, hamming_to
from hashae.indexer.groups import CodeGroup
from hashae.indexer.image_row import ImageRow
from hashae.indexer.keep_rules import LOSSLESS, KeepPolicy
from hashae.indexer.report import TIERS, ReportGroup, ReportImage


def describe(
    group: CodeGroup,
    images: dict[int, ImageRow],
    codes: dict[int, Codes],
    pixel_hash: Callable[[ImageRow], bytes | None],
    policy: KeepPolicy | None = None,
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
    policy
        Which one to keep, and which others must stay. Default: `DEFAULT_RULES`, and all others may go.
    """
    policy = policy or KeepPolicy()
    members = [images[id_] for id_ in group.members]
    keeper, reason = policy.choose(members)
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
            spared = policy.spares(image, keeper)
            shown = _report_image(image, distances[image.id], tier, spared or _beside(image, keeper, tier))
            others.append(replace(shown, protected=spared is not None))
    others.sort(key=lambda image: (TIERS.index(image.tier), image.distance, image.path))
    tier = max((image.tier for image in others), key=TIERS.index)
    first = replace(_report_image(keeper, 0, tier, reason), keep=True)
    return ReportGroup(
        number=0,
        tier=tier,
        images=(first, *others),
        representative=group.representative,
        diameter=group.diameter,
        chained=group.chained,
    )


def _report_image(image: ImageRow, distance: int, tier: str, reason: str) -> ReportImage:
    return ReportImage(
        id=image.id,
        path=image.path,
        size=image.size,
        width=image.width,
        height=image.height,
        format=image.format,
        modified=image.modified_ns / 1e9,
        distance=distance,
        tier=tier,
        keep=False,
        reason=reason,
        content=image.content.hex(),
    )


def _beside(image: ImageRow, keeper: ImageRow, tier: str) -> str:
    """Say what an image is beside the keeper."""
    if tier == "bytes":
        return "the same file"
    if tier == "pixels":
        return "the same pixels in another file"
    pixels, kept = image.width * image.height, keeper.width * keeper.height
    if pixels != kept:
        word = "smaller" if pixels < kept else "larger"
        return f"{word}: {image.width} × {image.height} against {keeper.width} × {keeper.height}"
    if image.format not in LOSSLESS and keeper.format in LOSSLESS:
        return f"{image.format} beside lossless {keeper.format}"
    if image.size != keeper.size:
        word = "fewer" if image.size < keeper.size else "more"
        return f"same size in pixels, {word} bytes ({image.size:,} against {keeper.size:,})"
    return "same size in pixels and bytes"
