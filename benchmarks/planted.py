"""Measure whether `hashae dedup` finds edited copies in real photographs, and nothing else.

The collection is ``photos-eval.zip`` (2,200 photographs) and 300 edited copies of 300 of them: six edits, fifty each,
drawn with a seed. ``hashae dedup FOLDER --json`` runs at its default settings as a program of its own, on a new
collection, and is timed; ``--encoder train`` times the training with it. Two pictures in one group that are neither
planted nor confirmed are a wrong pair. The set holds true duplicates that nobody planted: those that a person has
looked at stand in ``confirmed_duplicates.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from answers import Planted, grouped_paths, print_table, score, score_table
from data import cache_folder, hashae, unpacked
from measure import circumstances
from PIL import Image, ImageDraw

from hashae.images.edits import save_edit

EDITS_PLANTED = ("re-encode q30", "resize 50 %", "crop 5 %", "pad 10 % black", "brightness 1.4", "watermark text")
COPIES_EACH = 50
CONFIRMED = Path(__file__).with_name("confirmed_duplicates.json")
PHOTOS, COPIES = "photos", "edited"


def planted_collection(seed: int) -> tuple[Path, list[Planted]]:
    """Return the folder of photographs and copies, made once for a seed, and which copies are in it."""
    photos = unpacked("photos-eval.zip")
    folder = cache_folder() / f"planted-seed{seed}-{photos.name}"
    paths = [path.relative_to(photos) for path in sorted(photos.rglob("*.jpg"))]
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(paths), COPIES_EACH * len(EDITS_PLANTED), replace=False)
    planted = [
        Planted(
            original=(PHOTOS / paths[photo]).as_posix(),
            copy=f"{COPIES}/{EDITS_PLANTED[number // COPIES_EACH]}/copy {number % COPIES_EACH:02d}.jpg",
            edit=EDITS_PLANTED[number // COPIES_EACH],
        )
        for number, photo in enumerate(chosen)
    ]
    if not folder.is_dir():
        print(f"making {len(planted)} edited copies in {folder}", file=sys.stderr)
        unfinished = folder.with_name(folder.name + ".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(photos, unfinished / PHOTOS, copy_function=link_or_copy)
        for pair in planted:
            with Image.open(unfinished / pair.original) as photo:
                save_edit(photo.convert("RGB"), pair.edit, unfinished / pair.copy, rng)
        unfinished.rename(folder)
    return folder, planted


def link_or_copy(source: str, target: str) -> None:
    """Give a file a second name, or copy it where the file system cannot."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def confirmed_sets() -> list[list[str]]:
    """Return the sets of pictures that a person found to be the same."""
    listed = json.loads(CONFIRMED.read_text("utf-8"))
    return [[f"{PHOTOS}/{path}" for path in entry["pictures"]] for entry in listed]


def timed_report(folder: Path, arguments: Sequence[str], keep_db: Path | None) -> tuple[dict[str, Any], float]:
    """Run `hashae dedup` on a new collection; returns its JSON and the seconds it took."""
    with tempfile.TemporaryDirectory() as scratch:
        database = keep_db or Path(scratch) / "collection.db"
        if database.exists():
            raise SystemExit(f"{database} exists; expected a new file, so that the time holds everything")
        command = hashae("dedup", folder, "--db", database, "--json", *arguments)
        start = time.perf_counter()
        done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
        elapsed = time.perf_counter() - start
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {done.returncode}")
    return json.loads(done.stdout), elapsed


def contact_sheet(pairs: Sequence[tuple[str, str]], folder: Path, target: Path) -> None:
    """Draw the pairs side by side, four pairs a row, numbered as they are printed."""
    width, height, columns = 340, 190, 4
    rows = max(1, -(-len(pairs) // columns))
    sheet = Image.new("RGB", (width * columns, height * rows), (96, 96, 96))
    pen = ImageDraw.Draw(sheet)
    for number, pair in enumerate(pairs):
        left, top = number % columns * width, number // columns * height
        pen.text((left + 4, top + 2), f"{number + 1}", fill="yellow")
        for side, name in enumerate(pair):
            with Image.open(folder / name) as opened:
                picture = opened.convert("RGB")
            picture.thumbnail((width // 2 - 6, height - 20))
            sheet.paste(picture, (left + side * width // 2 + 2, top + 16))
    sheet.save(target)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", help="photo, train, or an encoder file; default: the shipped one, photo")
    parser.add_argument("--radius", help="passed on to hashae dedup; default: its own choice")
    parser.add_argument("--budget", help="time for training, passed on to hashae dedup; default: its own")
    parser.add_argument("--seed", type=int, default=0, help="which photographs are copied (default: 0)")
    parser.add_argument("--keep-db", type=Path, metavar="FILE", help="keep the collection as this new file")
    parser.add_argument("--save-json", type=Path, metavar="FILE", help="keep the report")
    parser.add_argument("--contact-sheet", type=Path, metavar="PNG", help="picture of the wrong pairs, to look at them")
    options = parser.parse_args()

    folder, planted = planted_collection(options.seed)
    arguments = [
        word
        for name in ("encoder", "radius", "budget")
        if getattr(options, name) is not None
        for word in (f"--{name}", str(getattr(options, name)))
    ]
    report, elapsed = timed_report(folder, arguments, options.keep_db)
    if options.save_json:
        options.save_json.write_text(json.dumps(report, indent=1))
    result = score(grouped_paths(report, folder), planted, confirmed_sets())

    print(circumstances("onnxruntime", "torch", "pillow", seed=options.seed))
    print(f"hashae dedup {' '.join(arguments)}: {report['summary']['images']} pictures in {elapsed:.0f} s")
    print(f"{report['bits']} bits, radius {report['radius']}, {len(report['groups'])} groups\n")
    print_table(score_table(result))
    grouped = result.right_pairs + len(result.wrong_pairs)
    print(f"\nwrong pairs: {len(result.wrong_pairs)} of {grouped} grouped pairs, {result.wrong_share:.2%}")
    for number, (a, b) in enumerate(result.wrong_pairs, start=1):
        print(f"{number:4}  {a}  {b}")
    for pair in result.missed:
        print(f"missed, {pair.edit}: {pair.original}")
    if options.contact_sheet and result.wrong_pairs:
        contact_sheet(result.wrong_pairs, folder, options.contact_sheet)
        print(f"wrong pairs side by side, to be looked at: {options.contact_sheet}")
        print(f"those that show the same picture belong into {CONFIRMED.name}")


if __name__ == "__main__":
    main()
