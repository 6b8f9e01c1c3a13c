"""Restoration of a folder: learn on most pictures, restore the others, measure against the trivial answer."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from hashae.drawing import picture_table
from hashae.errors import ConfigError, ImageError, SourceError
from hashae.evaluation.likeness import psnr, ssim
from hashae.images.decode import large_images_allowed, opened, read_bytes
from hashae.images.scan import Problem, check_folder, scan
from hashae.training.restoring import MIN_SIDE, restore_picture, train_restorer
from hashae.uses.damage import HOLE, NOISE, TASKS, Damaged, answer, check_task, damage, greyed, is_grey

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hashae.models.restorer import Restorer

MIN_PICTURES = 5
TEST_SHARE = 0.2
MAX_SIDE = 1024
"""Largest side of a picture that is restored; larger ones are made smaller."""

SHOWN = 8

Picture = NDArray[np.float32]


@dataclass(frozen=True)
class Loaded:
    """A picture of a folder: ``uint8 (3, height, width)``, and ``bool (1, height, width)`` where it is transparent."""

    relative: str
    pixels: NDArray[np.uint8]
    hole: NDArray[np.bool_]


@dataclass(frozen=True)
class Restored:
    """One picture that was not learned from: original, damaged, trivial answer, restored; ``float32 (3, h, w)``."""

    relative: str
    original: Picture
    damaged: Damaged
    again: Picture


@dataclass(frozen=True)
class RestoreReport:
    """What was measured on pictures that were not learned from; means over them.

    Attributes
    ----------
    task, amount
        The damage.
    learned, tested
        Numbers of pictures.
    steps
        Of the training.
    trivial
        Name of the trivial answer.
    psnr_damaged, psnr_trivial, psnr
        Of what was seen, of the trivial answer and of the restored pictures, in decibels.
    pooled_trivial, pooled
        Ratios of the mean squared error of all test pixels together: pictures that are hard to restore count for more.
    ssim_trivial, ssim
        Structural similarity.
    grey
        Pictures that have no colours of their own: none could be taken away, so they are neither learned from nor
        measured on where the task is to give colours back.
    applied
        Pictures of another folder that were restored.
    failed
        Files that could not be read.
    """

    task: str
    amount: float
    learned: int
    tested: int
    steps: int
    trivial: str
    psnr_damaged: float
    psnr_trivial: float
    psnr: float
    pooled_trivial: float
    pooled: float
    ssim_trivial: float
    ssim: float
    grey: int
    applied: int
    failed: tuple[Problem, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return all values, ready for JSON."""
        return asdict(self)


def restore_folder(
    folder: str | Path,
    output: str | Path,
    task: str,
    *,
    amount: float | None = None,
    apply: str | Path | None = None,
    size: int = 128,
    images: int = 2000,
    steps: int = 600,
    budget: float | None = None,
    seed: int = 0,
    threads: int | None = None,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> tuple[RestoreReport, list[Restored]]:
    """Learn to restore pictures like those of a folder, and restore.

    Parameters
    ----------
    folder
        Whole pictures, never written to: a fifth of them is damaged, restored and measured, the others are learned
        from.
    output
        Folder for the restored pictures (PNG); made if missing.
    task
        One of :data:`hashae.uses.damage.TASKS`.
    amount
        Of the damage; None takes a noise of 0.1, or holes of up to 0.4 of a side.
    apply
        Folder of pictures that are damaged already: noisy, grey, or with transparent holes.
    size
        Longest side to which whole pictures are made smaller.
    images
        Most whole pictures.
    steps, budget, seed, threads
        Of the training, see :func:`hashae.training.restoring.train_restorer`.
    on_progress
        Called with (stage, done, total).

    Raises
    ------
    SourceError
        If there are too few pictures.
    ConfigError
        If `output` lies in a folder of pictures that are read, or a setting cannot be used.
    """
    check_task(task)
    amount = _check_amount(task, amount)
    check_output(Path(output), *([folder] if apply is None else [folder, apply]))
    tell = on_progress or (lambda _stage, _done, _total: None)
    failed: list[Problem] = []
    whole = _load(folder, size, images, seed, failed, tell)
    grey = 0
    if task == "colour":
        coloured = [one for one in whole if not is_grey(_levels(one))]
        grey, whole = len(whole) - len(coloured), coloured
    if len(whole) < MIN_PICTURES:
        first = f" (the first problem: {failed[0].path}: {failed[0].reason})" if failed else ""
        first += f", not counting {grey} that are grey" if grey else ""
        raise SourceError(
            f"{folder} holds {len(whole)} usable pictures{first}; learning to restore needs {MIN_PICTURES} or more"
        )
    order = np.random.default_rng(seed).permutation(len(whole))
    tested = max(round(TEST_SHARE * len(whole)), 1)
    learned = [whole[row].pixels for row in order[tested:]]
    network, made = train_restorer(
        learned,
        task,
        amount=amount,
        steps=steps,
        budget=budget,
        seed=seed,
        threads=threads,
        on_step=lambda step, total, _loss: tell("learning", step, total),
    )
    results = _restore([whole[row] for row in sorted(order[:tested])], network, task, amount, seed)
    target = Path(output)
    for one in results:
        _write(target / "restored" / one.relative, one.again)
        _write(target / "damaged" / one.relative, one.damaged.seen)
    applied = 0 if apply is None else _apply(apply, target / "applied", network, task, failed, tell)
    means = np.mean([_measures(one) for one in results], axis=0).tolist()
    report = RestoreReport(
        task=task,
        amount=amount,
        learned=len(learned),
        tested=len(results),
        steps=made,
        trivial=TASKS[task],
        psnr_damaged=means[0],
        psnr_trivial=means[1],
        psnr=means[2],
        pooled_trivial=_pooled([(one.damaged.trivial, one.original) for one in results]),
        pooled=_pooled([(one.again, one.original) for one in results]),
        ssim_trivial=means[3],
        ssim=means[4],
        grey=grey,
        applied=applied,
        failed=tuple(failed),
    )
    return report, results


def check_output(output: Path, *folders: str | Path) -> None:
    """Refuse an output folder that is one of the folders of pictures, or lies in one.

    Raises
    ------
    ConfigError
        If it is; if a file has its name; or if its parent does not exist.
    """
    target = Path(os.path.realpath(output))
    for folder in folders:
        source = check_folder(folder)
        if target == source or source in target.parents:
            raise ConfigError(f"{output} lies in {folder}, which is only read; give a folder elsewhere")
    if target.exists() and not target.is_dir():
        raise ConfigError(f"{output} is a file; give a folder to write to")
    if not target.parent.is_dir():
        raise ConfigError(f"{target.parent} does not exist; create the folder first")


def sheet(results: Sequence[Restored], trivial: str, shown: int = SHOWN) -> Figure:
    """Draw original, damaged, trivial and restored pictures, a column each.

    Parameters
    ----------
    results
        From :func:`restore_folder`.
    trivial
        Name of the trivial answer.
    shown
        Most pictures.
    """
    some = [results[row] for row in np.linspace(0, len(results) - 1, min(shown, len(results))).astype(int)]
    titles = ["original", "damaged", trivial, "restored"]
    same = trivial != "blurred"  # what is given is the trivial answer
    if same:
        titles.remove("damaged")
    columns = []
    for one in some:
        column = [one.original, one.damaged.seen, one.damaged.trivial, one.again]
        if same:
            del column[1]
        columns.append(column)
    return picture_table(list(zip(titles, zip(*columns, strict=True), strict=True)), side=1.3, names=1.0)


def _check_amount(task: str, amount: float | None) -> float:
    if amount is None:
        return {"denoise": NOISE, "inpaint": HOLE, "colour": 0.0}[task]
    if task == "colour":
        raise ConfigError(f"amount is {amount}, and taking colours away has none; leave it out")
    if not 0 < amount < 1:
        raise ConfigError(f"amount is {amount}; expected a number above 0 and below 1")
    return amount


def _levels(one: Loaded) -> Picture:
    levels: Picture = one.pixels.astype(np.float32) / np.float32(255)
    return levels


def _measures(one: Restored) -> list[float]:
    # A picture that is restored without any error would be infinitely good: 100 dB is far beyond what 8 bits tell.
    ratios = [min(psnr(image, one.original), 100.0) for image in (one.damaged.seen, one.damaged.trivial, one.again)]
    return [*ratios, ssim(one.damaged.trivial, one.original), ssim(one.again, one.original)]


def _pooled(pairs: Sequence[tuple[Picture, Picture]]) -> float:
    return min(psnr(*(np.concatenate([image.ravel() for image in side]) for side in zip(*pairs, strict=True))), 100.0)


def _restore(some: Sequence[Loaded], network: Restorer, task: str, amount: float, seed: int) -> list[Restored]:
    results = []
    for number, one in enumerate(some):
        original = _levels(one)
        damaged = damage(task, original, amount, np.random.default_rng([seed, 6, number]))
        results.append(Restored(one.relative, original, damaged, restore_picture(network, damaged, task)))
    return results


def _apply(
    folder: str | Path,
    target: Path,
    network: Restorer,
    task: str,
    failed: list[Problem],
    tell: Callable[[str, int, int], None],
) -> int:
    """Restore the pictures of a folder, which are damaged already, one at a time; return their number."""
    files = list(scan(folder, failed.append))
    done = holes = 0
    for number, file in enumerate(files):
        tell("restoring", number + 1, len(files))
        try:
            one = _read(file.path, file.relative, MAX_SIDE)
        except ImageError as error:
            failed.append(Problem(file.path, file.relative, error.reason))
            continue
        picture = _levels(one)
        if task == "colour":
            picture = greyed(picture)
        hole = (one.hole & (task == "inpaint")).astype(np.float32)
        holes += bool(hole.any())
        _write(target / file.relative, restore_picture(network, answer(task, picture, hole), task))
        done += 1
    if task == "inpaint" and done and not holes:
        raise ConfigError(f"no picture in {folder} has transparent pixels; what is to be filled has to be transparent")
    return done


def _load(
    folder: str | Path,
    size: int,
    limit: int,
    seed: int,
    failed: list[Problem],
    tell: Callable[[str, int, int], None],
) -> list[Loaded]:
    files = list(scan(folder, failed.append))
    if len(files) > limit:
        rows = np.sort(np.random.default_rng(seed).choice(len(files), limit, replace=False))
        files = [files[row] for row in rows]
    found = []
    for number, file in enumerate(files):
        tell("reading pictures", number + 1, len(files))
        try:
            one = _read(file.path, file.relative, size)
        except ImageError as error:
            failed.append(Problem(file.path, file.relative, error.reason))
            continue
        if min(one.pixels.shape[1:]) < MIN_SIDE:
            failed.append(Problem(file.path, file.relative, f"smaller than {MIN_SIDE} pixels a side"))
        else:
            found.append(one)
    return found


def _read(path: str, relative: str, size: int) -> Loaded:
    with large_images_allowed(), opened(read_bytes(path), path) as image:
        image.draft("RGB", (size, size))
        upright = ImageOps.exif_transpose(image).convert("RGBA")
        upright.thumbnail((size, size), Image.Resampling.BOX)
        array = np.asarray(upright)
    hole = array[None, :, :, 3] < 128
    return Loaded(relative, np.ascontiguousarray(array[:, :, :3].transpose(2, 0, 1)), hole)


def _write(path: Path, picture: Picture) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    levels = np.rint(picture.clip(0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)
    # The whole name stays in front: a.jpg and a.png are two pictures.
    Image.fromarray(levels).save(path.with_name(path.name + ".png"))
