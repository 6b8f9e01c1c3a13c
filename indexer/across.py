"""Two sets of pictures: what of a folder is in another one, or in another collection."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashae.calibration import MIN_CODES
from hashae.codes import Codes
from hashae.errors import ConfigError, EncoderMismatch
from hashae.indexer.catalogue import Catalogue
from hashae.indexer.cross import best_matches
from hashae.indexer.image_row import ImageRow
from hashae.indexer.overlap import OverlapPair, OverlapReport
from hashae.indexer.parts import Parts
from hashae.indexer.pixel_hashes import pixel_hashes
from hashae.indexer.pixels import hash_pixels
from hashae.indexer.radius_rule import RadiusRule
from hashae.indexer.report import TIERS
from hashae.indexer.sources import absolute_path, is_below
from hashae.indexer.summary import Progress

Hashing = Callable[[Sequence[ImageRow]], dict[int, bytes]]


class _Side:
    """One of the two sets: some images of a collection.

    Parameters
    ----------
    parts
        Of the collection.
    ids
        Of the images; None takes all.
    """

    def __init__(self, parts: Parts, ids: Iterable[int] | None) -> None:
        self.parts = parts
        self.encoder_id, self.encoder, self.table = parts.table()
        index = self.table.index
        self.chosen = np.ones(len(index), np.bool_) if ids is None else np.isin(index.ids, list(ids))
        featureless = np.isin(index.ids, parts.featureless(self.encoder_id))
        self.seen = np.flatnonzero(self.chosen & ~featureless)
        self.plain = np.flatnonzero(self.chosen & featureless)

    def ids(self, rows: NDArray[np.int64]) -> list[int]:
        """Return the image ids of rows of the index."""
        ids: list[int] = self.table.index.ids[rows].tolist()
        return ids

    def codes(self, rows: NDArray[np.int64]) -> Codes:
        """Return the codes of rows of the index."""
        return self.table.index.codes[rows]

    def images(self, rows: NDArray[np.int64]) -> list[ImageRow]:
        """Return what is known of the images in rows of the index; one that is gone meanwhile is left out."""
        known = self.parts.catalogue.rows(self.ids(rows))
        return [known[id_] for id_ in sorted(known)]

    def margins(self, rule: RadiusRule, on_progress: Callable[[Progress], None] | None) -> NDArray[np.float64]:
        """Return the margins of the images that are seen: zeros with one radius for all."""
        if rule.tau is None:
            return np.zeros(len(self.seen))
        return rule.margins(self.parts.tables.crowding(self.table, on_progress)[self.seen]).astype(np.float64)


def search_across(
    parts: Parts,
    other: Parts,
    *,
    folder: str | Path | None,
    against: str | Path | None,
    radius: int | None,
    when: str,
    on_progress: Callable[[Progress], None] | None,
) -> OverlapReport:
    """Find which images of one set are in another; see :meth:`hashae.indexer.collection.Collection.overlap`.

    Parameters
    ----------
    parts, other
        Of the two collections; the same for two folders of one.
    folder, against
        Folder of each; None takes the whole collection.
    radius, on_progress
        As of the method.
    when
        Written into the report.
    """
    mine, its = _sides(parts, other, folder, against)
    if mine.encoder.fingerprint != its.encoder.fingerprint:
        raise EncoderMismatch(
            f"{other.database.path} is encoded by {its.encoder.name!r} (fingerprint {its.encoder.fingerprint}), and "
            f"{parts.database.path} by {mine.encoder.name!r} ({mine.encoder.fingerprint}); expected one encoder: index "
            "one of them again with the encoder of the other (hashae index --encoder)"
        )
    sizes = [len(side.table.index) for side in (mine, its)]
    rule = parts.rule(mine.encoder_id, mine.encoder, sizes[0] if parts is other else sum(sizes), radius)
    if min(sizes) < MIN_CODES:
        rule = replace(rule, tau=None)  # too few for the crowding of each
    margins, others = mine.margins(rule, on_progress), its.margins(rule, on_progress)

    def told(done: int, total: int) -> None:
        if on_progress:
            on_progress(Progress("compare", done, total))

    found = best_matches(
        mine.codes(mine.seen),
        its.codes(its.seen),
        rule.radius if rule.tau is None else 0,
        margins,
        others,
        threads=parts.threads,
        on_step=told,
    )
    hashing = partial(hash_pixels, threads=parts.threads, on_progress=on_progress)
    near = np.flatnonzero((found.rows >= 0) & (found.distances > 0))
    pairs = _near(mine, its, mine.seen[near], its.seen[found.rows[near]], found.distances[near])
    pairs += _alike(mine, its, mine.seen[(found.rows >= 0) & (found.distances == 0)], its.seen, hashing, code=True)
    pairs += _alike(mine, its, mine.plain, its.plain, hashing, code=False)
    pairs.sort(key=lambda pair: (TIERS.index(pair.tier), pair.distance, pair.image.path))
    own = rule.tau is not None
    return OverlapReport(
        collection=str(parts.database.path),
        folder=None if folder is None else absolute_path(folder),
        against=str(other.database.path) if against is None else absolute_path(against),
        encoder=mine.encoder.name,
        bits=mine.encoder.bits,
        radius=int(np.median(margins)) if own and len(margins) else rule.radius,
        images=int(mine.chosen.sum()),
        others=int(its.chosen.sum()),
        created=when,
        pairs=tuple(pairs),
        own_radius=own,
        calibration=rule.calibration,
    )


def _sides(parts: Parts, other: Parts, folder: str | Path | None, against: str | Path | None) -> tuple[_Side, _Side]:
    """Return the two sets; of two folders, one inside the other, the outer one is without the inner one."""
    mine = None if folder is None else set(parts.sources.inside(folder))
    its = None if against is None else set(other.sources.inside(against))
    if parts is other:
        assert its is not None, "the other set of one collection is a folder of it"
        if mine is not None and folder is not None and against is not None:
            here, there = absolute_path(folder), absolute_path(against)
            if here == there:
                raise ConfigError(f"both sets are {here}; expected two folders: duplicates in one: hashae dedup {here}")
            if is_below(here, there):
                its -= mine
            else:
                mine -= its
        else:
            everything = parts.table()[2].index.ids.tolist()
            mine = set(everything) - its
    return _Side(parts, mine), _Side(other, its)


def _near(
    mine: _Side, its: _Side, rows: NDArray[np.int64], others: NDArray[np.int64], distances: NDArray[np.int32]
) -> list[OverlapPair]:
    """Write down the matches whose codes differ."""
    images = mine.parts.catalogue.rows(mine.ids(rows))
    matches = its.parts.catalogue.rows(its.ids(others))
    pairs = zip(mine.ids(rows), its.ids(others), distances.tolist(), strict=True)
    return [
        OverlapPair(images[id_], matches[match], distance, "near")
        for id_, match, distance in pairs
        if id_ in images and match in matches
    ]


def _alike(
    mine: _Side, its: _Side, rows: NDArray[np.int64], others: NDArray[np.int64], hash_all: Hashing, *, code: bool
) -> list[OverlapPair]:
    """Write down the best match of each image among those with its code: same bytes, else same pixels, else same code.

    Without `code`, equal codes alone say nothing.
    """
    wanted = {value.tobytes() for value in mine.codes(rows)}
    others = others[[value.tobytes() in wanted for value in its.codes(others)]] if wanted else others[:0]
    images, matches = _by_code(mine, rows), _by_code(its, others)
    undecided = [
        (image, match) for value, some in images.items() for image, match in _undecided(some, matches.get(value, []))
    ]
    mine_shown = _shown([image for image, _ in undecided], mine.parts.catalogue, hash_all)
    its_shown = _shown([match for _, match in undecided], its.parts.catalogue, hash_all)
    pairs = []
    for value, some in images.items():
        content = {match.content: match for match in reversed(matches.get(value, []))}
        pixels = {its_shown[match.id]: match for match in reversed(matches.get(value, [])) if match.id in its_shown}
        for image in some:
            same = mine_shown.get(image.id)
            if image.content in content:
                pairs.append(OverlapPair(image, content[image.content], 0, "bytes"))
            elif same is not None and same in pixels:
                pairs.append(OverlapPair(image, pixels[same], 0, "pixels"))
            elif code and matches.get(value, []):
                pairs.append(OverlapPair(image, matches.get(value, [])[0], 0, "code"))
    return pairs


def _by_code(side: _Side, rows: NDArray[np.int64]) -> dict[bytes, list[ImageRow]]:
    """Return what is known of images, by code, each list by id."""
    found: dict[bytes, list[ImageRow]] = {}
    code_of = dict(zip(side.ids(rows), side.codes(rows), strict=True))
    for image in side.images(rows):
        found.setdefault(code_of[image.id].tobytes(), []).append(image)
    return found


def _undecided(images: Sequence[ImageRow], matches: Sequence[ImageRow]) -> list[tuple[ImageRow, ImageRow]]:
    """Return pairs that name all images whose pixels have to be compared: equal sizes, no equal bytes."""
    content = {match.content for match in matches}
    by_size: dict[tuple[int, int], list[ImageRow]] = {}
    for match in matches:
        by_size.setdefault((match.width, match.height), []).append(match)
    left = [image for image in images if image.content not in content]
    pairs = []
    for size, some in by_size.items():
        alike = [image for image in left if (image.width, image.height) == size]
        if alike:
            pairs += [(image, some[0]) for image in alike] + [(alike[0], match) for match in some[1:]]
    return pairs


def _shown(rows: Sequence[ImageRow], catalogue: Catalogue, hash_all: Hashing) -> dict[int, bytes]:
    """Return the pixel hashes of images by id; each is read once."""
    return pixel_hashes(list({row.id: row for row in rows}.values()), catalogue, hash_all)
