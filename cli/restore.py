"""``hashae restore``."""

from __future__ import annotations

import os
from pathlib import Path

import click

from hashae.cli.options import Duration, json_option, workers_option


@click.command()
@click.argument("folder", type=click.Path(readable=False, path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the restored pictures, the sheet and the measures; outside FOLDER.",
)
@click.option(
    "--task",
    type=click.Choice(["denoise", "inpaint", "colour"]),
    default="denoise",
    show_default=True,
    help="Take noise away, fill holes, or give grey pictures colours.",
)
@click.option("--amount", type=float, help="Deviation of the noise (0.1), or side of the holes as a share (0.4).")
@click.option(
    "--apply",
    "damaged",
    type=click.Path(readable=False, path_type=Path),
    help="Folder of pictures that are damaged already: noisy, grey, or with transparent holes.",
)
@click.option("--size", type=click.IntRange(8, 1024), default=128, show_default=True, help="Longest side to learn at.")
@click.option("--images", type=click.IntRange(5), default=2000, show_default=True, help="Most pictures to learn from.")
@click.option("--steps", type=click.IntRange(1), default=600, show_default=True, help="Optimiser steps.")
@click.option("--budget", type=Duration(), help="Most time to spend on the steps: 90s, 2m, 1h.  [default: no limit]")
@click.option("--seed", type=int, default=0, show_default=True, help="Of every random choice.")
@workers_option
@json_option
def restore(
    folder: Path,
    output: Path,
    task: str,
    amount: float | None,
    damaged: Path | None,
    size: int,
    images: int,
    steps: int,
    budget: float | None,
    seed: int,
    workers: int,
    as_json: bool,
) -> None:
    """Learn from the pictures in FOLDER to restore pictures like them, and say how well it works.

    A fifth of the pictures is kept apart, damaged, restored and compared with the originals and with the trivial answer
    (blurred, mean-filled, grey). Pictures that are damaged already are restored with --apply. FOLDER is only read.

    \b
    Examples:
      hashae restore ~/Pictures -o restored
      hashae restore ~/Pictures -o restored --task inpaint --amount 0.3 --budget 5m
      hashae restore ~/Pictures -o coloured --task colour --apply ~/Old
    """
    # Before torch is loaded: threads that wait without spinning.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import json

    from hashae.cli.output import print_failures, print_json, print_table, say
    from hashae.cli.progress import ProgressLine
    from hashae.drawing import new_figure, to_png
    from hashae.encoder import write_file
    from hashae.errors import MissingDependency
    from hashae.indexer.report import Failure

    try:
        from hashae.uses.restore import restore_folder, sheet
    except ModuleNotFoundError as error:
        raise MissingDependency(f"restoring ({error.name} is missing)", "train") from error
    new_figure(1, 1)  # refuses without matplotlib, before the work
    with ProgressLine(quiet=as_json) as progress:
        report, results = restore_folder(
            folder,
            output,
            task,
            amount=amount,
            apply=damaged,
            size=size,
            images=images,
            steps=steps,
            budget=budget,
            seed=seed,
            threads=workers,
            on_progress=progress.update,
        )
    write_file(output / "sheet.png", to_png(sheet(results, report.trivial)))
    write_file(output / "measures.json", json.dumps(report.to_dict(), indent=1).encode())
    if as_json:
        print_json(report.to_dict())
        return
    print_failures([Failure(problem.path, problem.reason) for problem in report.failed])
    print_table(
        f"{report.task}: learned from {report.learned:,} pictures in {report.steps:,} steps, measured on "
        f"{report.tested:,} others",
        ("answer", "PSNR in dB, mean of pictures", "of all pixels", "SSIM"),
        [
            (
                report.trivial,
                f"{report.psnr_trivial:.2f}",
                f"{report.pooled_trivial:.2f}",
                f"{report.ssim_trivial:.3f}",
            ),
            ("restored", f"{report.psnr:.2f}", f"{report.pooled:.2f}", f"{report.ssim:.3f}"),
        ],
    )
    if report.grey:
        say(f"{report.grey:,} pictures are grey themselves: not learned from, not measured on")
    say(f"wrote {output}{f', {report.applied:,} pictures restored' if damaged else ''}")
