"""What `train`, `index` and `dedup` share: find or learn the encoder, bring a collection up to date."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hashae.cli.output import say
from hashae.cli.progress import ProgressLine
from hashae.errors import HashaeError, MissingDependency, SourceError

if TYPE_CHECKING:
    from hashae.config import TrainConfig
    from hashae.encoder import Encoder
    from hashae.indexer import Collection
    from hashae.indexer.summary import IndexSummary
    from hashae.training import StepReport

STAGES = {
    "scan": "looking for pictures",
    "index": "indexing",
    "crowding": "looking for neighbours",
    "compare": "comparing codes",
    "group": "forming groups",
    "pixels": "comparing pixels",
    "calibrate": "editing copies",
}


def learn(
    folder: str | Path,
    *,
    quiet: bool,
    workers: int,
    budget: float | None = None,
    config: TrainConfig | None = None,
    **settings: Any,
) -> Encoder:
    """Train an encoder on a folder and show the progress; settings as :func:`hashae.training.recipe.learn_encoder`."""
    # Threads that wait without spinning: beside a busy neighbour, spinning ones made a step twenty times slower. The
    # OpenMP runtime reads this once, when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        from hashae.training.dataset import FEW_IMAGES
        from hashae.training.recipe import learn_encoder
    except ModuleNotFoundError as error:
        raise MissingDependency(
            f"learning an encoder ({error.name} is missing; or give --encoder FILE)", "train"
        ) from error
    from hashae.config import TrainConfig

    with ProgressLine(quiet=quiet) as progress:

        def step(report: StepReport) -> None:
            note = f"loss {report.loss:.3f}, noise {report.sigma:.2f}, bit balance {1 - report.balance:.2f}"
            progress.update("learning", report.step, report.steps, note)

        encoder, images = learn_encoder(
            folder,
            config=config or TrainConfig(budget=budget, threads=workers),
            workers=workers,
            on_load=lambda done, total: progress.update("reading pictures", done, total),
            on_step=step,
            **settings,
        )
    if not quiet:
        made = encoder.info.made["result"]
        say(
            f"learned a {encoder.bits}-bit encoder from {len(images):,} pictures: {made['steps']:,} steps in "
            f"{made['seconds']:.0f} s, radius {encoder.info.radius} bits"
        )
        if len(images) < FEW_IMAGES:
            say(f"note: fewer than {FEW_IMAGES} pictures to learn from; near matches are uncertain, look at them")
    return encoder


def ensure_encoder(
    collection: Collection, folder: Path | str | None, name: str | None, *, budget: float, quiet: bool, workers: int
) -> bool:
    """Give the collection an encoder: the one asked for by name, else its own, else the shipped one.

    `name` is that of a shipped encoder, ``train`` to learn one from `folder` now, or an encoder file. Return whether
    it is to follow another one, so that all folders have to be encoded again; that one stays in use until they are.
    """
    if name is None and collection.has_encoder:
        return collection.changes_encoder  # a run before this one was stopped
    if folder is None and not collection.has_encoder:
        raise SourceError(f"{collection.path} is empty; name a folder of pictures: hashae index FOLDER")
    encoder = _encoder_named(name, folder, budget=budget, quiet=quiet, workers=workers)
    changes = collection.has_encoder
    if changes:
        if collection.encoder.fingerprint == encoder.fingerprint:
            collection.add_encoder(encoder)  # one that was to follow does not any more
            return False
        if not quiet:
            say(f"the collection changes to encoder {encoder.name!r}; all its images will be encoded again")
    collection.add_encoder(encoder)
    return changes


def _encoder_named(name: str | None, folder: Path | str | None, *, budget: float, quiet: bool, workers: int) -> Encoder:
    from hashae import pretrained

    if name is None or name in pretrained.NAMES:
        return pretrained.load(name or pretrained.DEFAULT, threads=workers)
    if name != "train":
        from hashae.encoder import Encoder

        return Encoder.load(name, threads=workers)
    if folder is None:
        raise SourceError("--encoder train needs the folder to learn from: hashae index FOLDER --encoder train")
    if not quiet:
        say(f"learning an encoder from {folder}, once")
    return learn(folder, quiet=quiet, budget=budget, workers=workers)


def bring_up_to_date(
    collection: Collection, folder: Path | str | None, *, workers: int, quiet: bool, **settings: Any
) -> IndexSummary:
    """Index a folder, or all folders of the collection, with progress, and tell what was found.

    Settings as those of :meth:`hashae.indexer.Collection.index`.
    """
    with ProgressLine(quiet=quiet) as progress:
        summary = collection.index(
            folder, workers=workers, on_progress=lambda p: progress.update(STAGES[p.stage], p.done, p.total), **settings
        )
    if not quiet:
        say(describe(summary))
        if summary.waiting:
            say(
                f"{summary.waiting:,} images are still to be encoded by the new encoder; the old one stays in use "
                "until they are, or until: hashae encoders use NAME"
            )
    return summary


def describe(summary: IndexSummary) -> str:
    """Return one line on what indexing did."""
    parts = [f"{summary.images:,} images"]
    for count, word in (
        (summary.added, "new"),
        (summary.changed, "changed"),
        (summary.moved, "moved"),
        (summary.unchanged, "unchanged"),
        (summary.missing, "gone since the last run"),
        (summary.pruned, "forgotten"),
        (len(summary.failed), "unusable"),
        (summary.unreadable, "of them usable before (what is known is kept)"),
    ):
        if count:
            parts.append(f"{count:,} {word}")
    rate = f" ({summary.encoded / summary.seconds:,.0f} encoded/s)" if summary.encoded and summary.seconds else ""
    return f"{parts[0]}: {', '.join(parts[1:]) or 'none'}, in {summary.seconds:.1f} s{rate}"


def refuse_nothing(summary: IndexSummary, folder: Path | str | None) -> None:
    """Fail if there was not one usable picture.

    Raises
    ------
    HashaeError
        With the first reason, if there were files at all.
    """
    if summary.images:
        return
    where = folder or "the folders of the collection"
    if summary.failed:
        first = summary.failed[0]
        raise HashaeError(
            f"none of the {len(summary.failed)} pictures in {where} can be used; the first: {first.path}: "
            f"{first.reason}"
        )
    raise SourceError(f"{where} holds no pictures; give a folder with JPEG, PNG or other image files")
