"""Calibrate a collection: edit copies of its pictures, and see at which radius they are found and others are not."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hashae import pretrained
from hashae.calibration import BETA, COPY_RATIO, MIN_CODES, SAMPLE
from hashae.codes import Codes, hamming, hamming_to
from hashae.encoder import Encoder
from hashae.errors import CollectionError, ConfigError, ImageError, SourceError, UnknownName
from hashae.images.canonical import CanonicalForm
from hashae.images.decode import decode, large_images_allowed, read_bytes, small_picture
from hashae.images.edits import EDITS, edited_bytes
from hashae.indexer.calibrated import Calibration
from hashae.indexer.crowding import reference_rows
from hashae.indexer.image_row import ImageRow
from hashae.indexer.index import HashIndex
from hashae.indexer.summary import Progress
from hashae.precision import CopyScores, Curve, precision_curve, radius_thresholds, tau_thresholds
from hashae.promise import Promise
from hashae.strangers import Strangers, crowding_among, draw_parts, match_scores, pretend_collections, strangers

DEFAULT_EDITS = tuple(edit for edit in EDITS if edit != "mirror")
"""Whether a mirrored picture is a copy is a matter of taste; no shipped encoder takes it for one."""

SMALLEST = 10
"""Fewest images that are calibrated."""

ENOUGH = 500
"""Fewest images that are calibrated by their own pairs alone."""

BORROWING = 1000
"""Fewest images that do not borrow: in smaller collections of their own, the bound on the tail is so wide that copies
are missed."""

AUTOMATIC = 300
"""Fewest images that are calibrated unasked."""

QUICK_SAMPLE, QUICK_SECONDS = 24, 5.0
"""Pictures that are edited, and seconds after which no more are begun, when nobody asked for a calibration."""

EDIT_SIDE = 640
"""Longer side, in pixels, of the pictures that are edited: larger ones are shrunk first, so that noise and blur, whose
strengths are in pixels, are as strong as in photographs on the web, and the time is bounded."""

LEAST_SIDE = 32
"""Shorter side below which a picture is not edited: bars and letters would not fit."""


@dataclass(frozen=True)
class Sampling:
    """What to measure.

    Attributes
    ----------
    promise
        That has to be kept.
    sample
        Pictures to edit, 1 or more.
    edits
        Names in :data:`hashae.images.edits.EDITS`.
    seed
        Of the sample and of everything random in the edits.
    seconds
        After which no further picture is begun, or None.
    automatic
        Nobody asked for it.

    Raises
    ------
    ConfigError
        If there is no picture or no edit.
    UnknownName
        If there is no such edit.
    """

    promise: Promise = field(default_factory=Promise)
    sample: int = 200
    edits: tuple[str, ...] = DEFAULT_EDITS
    seed: int = 0
    seconds: float | None = None
    automatic: bool = False

    def __post_init__(self) -> None:
        if self.sample < 1:
            raise ConfigError(f"sample is {self.sample}; expected 1 or more pictures")
        if not self.edits:
            raise ConfigError("no edit is named; expected at least one, or none for the usual ones")
        for name in self.edits:
            if name not in EDITS:
                raise UnknownName(f"no edit is called {name!r}; known ones are {', '.join(EDITS)}")


def check_enough(images: int, encoder: Encoder) -> None:
    """Refuse a collection with too few images.

    Raises
    ------
    CollectionError
        If it has fewer than `ENOUGH`, and fewer than `SMALLEST` or no reference codes to borrow.
    """
    if not can_calibrate(images, encoder.fingerprint):
        raise CollectionError(
            f"{images} images are too few to calibrate with encoder {encoder.name!r}; {ENOUGH} or more are needed, or "
            f"{SMALLEST} with the shipped encoder"
        )


def quick_sampling(before: Calibration | None) -> Sampling:
    """Return what indexing measures unasked: the promise of the last calibration, or the usual one."""
    promise = Promise() if before is None else Promise(before.precision, before.copies, before.confidence)
    edits = DEFAULT_EDITS if before is None else tuple(edit for edit in before.edits if edit in EDITS)
    return Sampling(promise, QUICK_SAMPLE, edits or DEFAULT_EDITS, seconds=QUICK_SECONDS, automatic=True)


def is_due(before: Calibration | None, images: int, fingerprint: str) -> bool:
    """Return True if a collection of so many images should be calibrated unasked: it never was, or changed in size."""
    if not can_calibrate(images, fingerprint):
        return False
    return images >= AUTOMATIC if before is None else before.drifted(images)


@dataclass(frozen=True)
class Measurement:
    """A calibration and the curves that it was read from; `own` is None where no image can have a radius of its own."""

    calibration: Calibration
    one: Curve
    own: Curve | None


def can_calibrate(images: int, fingerprint: str) -> bool:
    """Return True if so many images are enough to be calibrated, by borrowed codes if need be."""
    return images >= ENOUGH or (images >= SMALLEST and pretrained.reference(fingerprint) is not None)


def measure(
    index: HashIndex,
    crowding: NDArray[np.float32],
    encoder: Encoder,
    rows: Mapping[int, ImageRow],
    sampling: Sampling,
    *,
    date: str,
    threads: int = 2,
    on_progress: Callable[[Progress], None] | None = None,
) -> Measurement:
    """Measure recall and precision of every radius in a collection, and choose the radius that keeps the promise.

    Parameters
    ----------
    index
        Codes of all images of the collection that a duplicate search compares; :func:`check_enough` of them.
    crowding
        ``float32 (n,)``: of the codes in the index.
    encoder
        That made them.
    rows
        Images that may be edited, by id; all others are only looked at.
    sampling
        What to measure.
    date
        Written into the calibration.
    threads
        That edit and search.
    on_progress
        Called from this thread, with the stage ``calibrate``.

    Raises
    ------
    SourceError
        If no picture can be read.
    """
    n = len(index)
    reference = pretrained.reference(encoder.fingerprint) if n < BORROWING else None
    own_radius = n >= MIN_CODES
    codes = index.codes
    if reference is not None:
        # The smallest folders are judged like larger ones: alike pictures are common in them.
        images = n if own_radius else max(n, len(reference.codes))
        pairs = pretend_collections(reference.codes, min(images, len(reference.codes)), seed=sampling.seed)
    else:
        images = n
        chosen = np.sort(np.random.default_rng(sampling.seed).permutation(n)[:SAMPLE])
        pairs = strangers(codes[chosen], crowding[chosen], draw_parts(len(chosen), sampling.seed))
    one = CopyScores(radius_thresholds(pairs.distances), len(sampling.edits))
    own = CopyScores(tau_thresholds(crowding, pairs.scores), len(sampling.edits))
    others = reference_rows(n)
    near = codes[others]
    sampled = 0
    for id_, copies in _edited_codes(encoder, rows, sampling, threads, on_progress):
        row = int(np.searchsorted(index.ids, id_))
        _score(copies, row, codes[row], float(crowding[row]), (others, near, crowding[others]), one, own)
        sampled += 1
    if not sampled:
        raise SourceError(f"none of the {len(rows)} pictures can be read and edited now; are their folders there?")
    one_curve = precision_curve(sampling.promise, images, one, pairs.distances, pairs)
    own_curve = precision_curve(sampling.promise, images, own, pairs.scores, pairs) if own_radius else None
    borrowed = 0 if reference is None else len(reference.codes)
    return Measurement(
        _record(sampling, one_curve, own_curve, (one, own), pairs, n, sampled, borrowed, date), one_curve, own_curve
    )


def _score(
    copies: Codes,
    row: int,
    code: Codes,
    crowded: float,
    others: tuple[NDArray[np.int64], Codes, NDArray[np.float32]],
    one: CopyScores,
    own: CopyScores,
) -> None:
    """Add the copies of one picture; others that may be copies of it are left out."""
    rows, codes, of_others = others
    distances = hamming(copies, codes)  # (edits, others)
    of_copies = crowding_among(distances, themselves=False)
    different = hamming_to(codes, code) > COPY_RATIO * np.minimum(crowded, of_others)
    different &= rows != row
    to_own = hamming_to(copies, code)
    one.add(to_own, distances[:, different])
    scores = match_scores(distances[:, different], of_copies[:, None], of_others[None, different])
    own.add(match_scores(to_own, of_copies, np.full(1, crowded, np.float32)), scores)


def _record(
    sampling: Sampling,
    one: Curve,
    own: Curve | None,
    tallies: tuple[CopyScores, CopyScores],
    pairs: Strangers,
    images: int,
    sampled: int,
    borrowed: int,
    date: str,
) -> Calibration:
    used = one if own is None else own
    place = used.chosen or 0  # 0: only equal codes match
    promise, edits = sampling.promise, len(sampling.edits)
    return Calibration(
        tau=None if own is None else float(own.thresholds[place]),
        beta=BETA,
        radius=int(one.thresholds[one.chosen or 0]),
        precision=promise.precision,
        copies=promise.copies,
        confidence=promise.confidence,
        kept=used.chosen is not None,
        counted=used.chosen is not None and bool(used.counted[place]),
        recall=round(float(used.recall[place]), 4),
        radius_recall=round(float(one.recall[one.chosen or 0]), 4),
        edits={
            edit: round(float(share), 4) for edit, share in zip(sampling.edits, used.recall_each[place], strict=True)
        },
        images=images,
        sample=sampled,
        pairs={
            "copies": sampled * edits,
            "others": tallies[0].pictures * edits,
            "false": int(used.false[place]),
            "different": len(pairs),
            "suspected": pairs.suspected,
        },
        borrowed=borrowed,
        seed=sampling.seed,
        automatic=sampling.automatic,
        date=date,
    )


def _edited_codes(
    encoder: Encoder,
    rows: Mapping[int, ImageRow],
    sampling: Sampling,
    threads: int,
    on_progress: Callable[[Progress], None] | None,
) -> Iterator[tuple[int, Codes]]:
    """Yield the id of a picture and the codes of its copies, ``uint8 (edits, bytes)``, until the sample is full."""
    ids = np.random.default_rng(sampling.seed).permutation(np.array(sorted(rows), np.int64)).tolist()
    wanted = min(sampling.sample, len(ids))
    ends = None if sampling.seconds is None else time.monotonic() + sampling.seconds
    done = 0
    with large_images_allowed(), ThreadPoolExecutor(threads, thread_name_prefix="hashae-edit") as pool:
        pending: deque[tuple[int, Future[NDArray[np.uint8] | None]]] = deque()
        waiting = iter(ids)
        try:
            while done < wanted:
                # Never more begun than are still wanted: an unreadable one is replaced by the next.
                while len(pending) < min(2 * threads, wanted - done):
                    id_ = next(waiting, None)
                    if id_ is None or (ends is not None and done and time.monotonic() > ends):
                        break
                    pending.append((id_, pool.submit(_copies, rows[id_], sampling, encoder.form)))
                if not pending:
                    break
                id_, future = pending.popleft()
                thumbs = future.result()
                if thumbs is not None:
                    done += 1
                    yield id_, encoder.encode_thumbs(thumbs).codes
                if on_progress:
                    on_progress(Progress("calibrate", done, wanted))
        finally:
            pool.shutdown(cancel_futures=True)


def _copies(row: ImageRow, sampling: Sampling, form: CanonicalForm) -> NDArray[np.uint8] | None:
    """Return thumbs of the edited copies, ``uint8 (edits, channels, side, side)``; None if there can be none.

    A file that has changed since it was indexed is no longer the picture that its code stands for.
    """
    try:
        data = read_bytes(row.path)
        if hashlib.sha256(data).digest()[:16] != row.content:
            return None
        picture = small_picture(data, row.path, side=EDIT_SIDE)
    except ImageError:
        return None
    if min(picture.size) < LEAST_SIDE:
        return None
    thumbs = []
    for edit in sampling.edits:
        rng = np.random.default_rng([sampling.seed, row.id, list(EDITS).index(edit)])
        copy = edited_bytes(picture, edit, ".jpg", rng)
        thumbs.append(decode(copy, row.path, side=form.thumb, channels=form.channels).thumb)
    return np.stack(thumbs)
