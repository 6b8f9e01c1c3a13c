"""Restoration of small pictures: noise, holes and missing colours, against the trivial answer to each.

A sample of the training pictures of CIFAR-10: four fifths of it are learned from, the others damaged, restored and
measured, which is what `hashae restore` does with a folder. Pictures that are grey themselves are left out where
colours are to be given back; their number is printed.

    python benchmarks/restore.py
    python benchmarks/restore.py --tasks colour --images 5000 --steps 2000
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import numpy as np
from data import unpacked

from hashae.drawing import to_png
from hashae.uses.damage import TASKS
from hashae.uses.restore import restore_folder, sheet


def sample(count: int, target: Path) -> None:
    """Copy `count` training pictures of CIFAR-10, always the same ones, to a folder."""
    paths = sorted(path for path in unpacked("cifar10.zip").rglob("*.jpg") if "train" in path.parts)
    for row in np.sort(np.random.default_rng(0).permutation(len(paths))[:count]):
        shutil.copyfile(paths[row], target / f"{paths[row].parent.name}-{paths[row].name}")


def main() -> None:
    """Learn, restore, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--tasks", default=",".join(TASKS), help="some of them, with commas between")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sheets", type=Path, help="existing folder for a picture of each task, before and after")
    arguments = parser.parse_args()
    print("| task | learned from / measured on / grey | answer | PSNR | of all pixels | SSIM | closer |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "pictures"
        folder.mkdir()
        sample(arguments.images, folder)
        for task in arguments.tasks.split(","):
            report, results = restore_folder(
                folder,
                Path(scratch) / task,
                task,
                images=arguments.images,
                steps=arguments.steps,
                seed=arguments.seed,
                threads=arguments.threads,
            )
            errors = [
                [float(np.square(image - one.original).mean()) for image in (one.damaged.trivial, one.again)]
                for one in results
            ]
            closer = np.mean([again < trivial for trivial, again in errors])
            about = f"{task}, {report.steps:,} steps | {report.learned} / {report.tested} / {report.grey}"
            trivial = f"{report.psnr_trivial:.2f} dB | {report.pooled_trivial:.2f} dB | {report.ssim_trivial:.3f}"
            again = f"{report.psnr:.2f} dB | {report.pooled:.2f} dB | {report.ssim:.3f} | {closer:.0%}"
            print(f"| {about} | {report.trivial} | {trivial} | |\n| | | restored | {again} |", flush=True)
            if arguments.sheets:
                (arguments.sheets / f"{task}.png").write_bytes(to_png(sheet(results, report.trivial)))


if __name__ == "__main__":
    main()
