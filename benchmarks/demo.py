"""A sample collection whose right answer is known, made from pictures inside scikit-learn.

``python benchmarks/demo.py write FOLDER`` writes some hundred pictures: handwritten digits, tiles of two photographs,
and copies of a few of them, exact and edited. ``FOLDER/answer.json`` says which copy belongs to which original.
``python benchmarks/demo.py check REPORT.json FOLDER`` holds the output of ``hashae dedup FOLDER --json`` against it.

Writing again changes nothing: the same bytes come out, and files that are already right are left alone.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from io import BytesIO
from pathlib import Path

import numpy as np
from answers import Planted, grouped_paths, print_table, score, score_table
from numpy.typing import NDArray
from PIL import Image

from hashae.images.edits import JPEG_QUALITY, edited_bytes

ANSWER = "answer.json"
SEED = 0

DIGITS = 80
"""How many of the 1,797 digits go in: the most different ones, for digits written alike are rightly near."""
DIGIT_SIZE = 64

TILE = 64
ENLARGED = 192
"""Tiles are enlarged threefold, to the size of a thumbnail that one would find on a web page."""
FLAT = 26.0
"""Tiles whose grey levels deviate less than this (of 255) show sky or blur; many of them really look alike."""

EXACT = "exact copy"
FOLDERS = {
    EXACT: "backup",
    "re-encode q30": "from the chat",
    "resize 50 %": "for the web",
    "crop 5 %": "cropped",
    "rotate 2": "scanned",
}
"""Folder of the copies of each edit."""
COPIED_TILES, COPIED_DIGITS = 8, 4
"""Originals of each kind that get a copy, for each edit."""
ODD_NAME = "my favourite 🌼 of all.jpg"


def encoded(picture: Image.Image, suffix: str) -> bytes:
    """Return the picture as the content of a file."""
    buffer = BytesIO()
    picture.save(buffer, Image.registered_extensions()[suffix], quality=JPEG_QUALITY)
    return buffer.getvalue()


def most_different(rows: NDArray[np.float64], count: int) -> list[int]:
    """Choose `count` rows that lie far apart: each next one is farthest from all chosen before (Gonzalez 1985)."""
    chosen = [0]
    nearest = np.linalg.norm(rows - rows[0], axis=1)
    while len(chosen) < count:
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, np.linalg.norm(rows - rows[chosen[-1]], axis=1))
    return sorted(chosen)


def digit_pictures() -> dict[str, Image.Image]:
    """Return path -> picture for the chosen handwritten digits, enlarged eightfold."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    pictures = {}
    for number in most_different(digits.data, DIGITS):
        levels = np.rint(digits.images[number] * (255 / 16)).astype(np.uint8)
        enlarged = Image.fromarray(levels).resize((DIGIT_SIZE, DIGIT_SIZE), Image.Resampling.BICUBIC)
        pictures[f"digits/digit {digits.target[number]} no {number:04d}.png"] = enlarged.convert("RGB")
    return pictures


def photo_tiles() -> dict[str, Image.Image]:
    """Return path -> picture for the tiles of the two photographs that show something."""
    from sklearn.datasets import load_sample_images

    photos = load_sample_images()
    pictures = {}
    for name, levels in zip(photos.filenames, photos.images, strict=True):
        for row in range(levels.shape[0] // TILE):
            for column in range(levels.shape[1] // TILE):
                corner = levels[row * TILE :, column * TILE :][:TILE, :TILE]
                tile = Image.fromarray(corner)
                if np.asarray(tile.convert("L"), np.float64).std() >= FLAT:
                    path = f"photos/{Path(name).stem}/tile {row + 1}-{column + 1:02d}.jpg"
                    pictures[path] = tile.resize((ENLARGED, ENLARGED), Image.Resampling.LANCZOS)
    return pictures


def sample_files() -> tuple[dict[str, bytes], list[Planted]]:
    """Return path -> content of all files of the sample, and which of them are copies."""
    rng = np.random.default_rng(SEED)
    tiles, digits = photo_tiles(), digit_pictures()
    files = {path: encoded(picture, Path(path).suffix) for path, picture in (tiles | digits).items()}
    kinds = list(FOLDERS)
    originals = {
        edit: [*own_tiles, *own_digits]
        for edit, own_tiles, own_digits in zip(
            kinds,
            rng.permutation(list(tiles))[: COPIED_TILES * len(kinds)].reshape(len(kinds), -1).tolist(),
            rng.permutation(list(digits))[: COPIED_DIGITS * len(kinds)].reshape(len(kinds), -1).tolist(),
            strict=True,
        )
    }
    planted = []
    for edit, paths in originals.items():
        for number, original in enumerate(paths, start=1):
            suffix = ".jpg" if edit.startswith("re-encode") else Path(original).suffix
            name = ODD_NAME if edit == "re-encode q30" and number == 1 else f"picture {number:02d}{suffix}"
            copy = f"{FOLDERS[edit]}/{name}"
            if edit == EXACT:
                files[copy] = files[original]
            else:
                with Image.open(BytesIO(files[original])) as picture:
                    files[copy] = edited_bytes(picture.convert("RGB"), edit, suffix, rng)
            planted.append(Planted(original, copy, edit))
    return files, planted


def write(folder: Path) -> None:
    """Write the sample and its answer into `folder`, which has to be new, empty or an earlier sample."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / ANSWER).is_file():
        raise SystemExit(f"{folder} holds other files; expected a new or empty folder, or one written by this script")
    files, planted = sample_files()
    answer = {"pictures": len(files), "copies": [asdict(pair) for pair in planted]}
    files[ANSWER] = json.dumps(answer, indent=1, ensure_ascii=False).encode()
    for name, content in files.items():
        path = folder / name
        # A file that is right keeps its time: indexing the folder again then finds nothing to do.
        if not path.is_file() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    print(f"{folder}: {len(files) - 1} pictures, {len(planted)} of them copies of others ({ANSWER} says of which)")


def print_some(lines: list[str], at_most: int = 10) -> None:
    """Print the first lines, and how many more there are."""
    for line in lines[:at_most]:
        print(line)
    if len(lines) > at_most:
        print(f"... and {len(lines) - at_most} more of these")


def check(report_file: Path, folder: Path) -> float:
    """Print what a report found of the planted copies; returns the share of pairs found."""
    try:
        report = json.loads(report_file.read_text("utf-8"))
        answer = json.loads((folder / ANSWER).read_text("utf-8"))
    except FileNotFoundError as error:
        raise SystemExit(f"{error.filename} is missing; write the sample and run hashae dedup --json first") from error
    except json.JSONDecodeError as error:
        raise SystemExit(f"{report_file} is no JSON ({error}); expected the output of hashae dedup --json") from error
    result = score(grouped_paths(report, folder), [Planted(**pair) for pair in answer["copies"]])
    print(f"Planted copies in {folder} against the groups found at radius {report['radius']}:\n")
    print_table(score_table(result))
    print_some([f"missed, {pair.edit}: {pair.copy} is a copy of {pair.original}" for pair in result.missed])
    print_some([f"not planted, look at them: {a} and {b}" for a, b in result.wrong_pairs])
    return result.recall


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    writing = commands.add_parser("write", help="write the sample collection")
    writing.add_argument("folder", type=Path)
    checking = commands.add_parser("check", help="compare a report with the planted copies")
    checking.add_argument("report", type=Path, help="output of: hashae dedup FOLDER --json")
    checking.add_argument("folder", type=Path, help="folder that `write` has written")
    checking.add_argument(
        "--fail-below", type=float, default=0.0, metavar="SHARE", help="exit with 1 if fewer pairs are found (0 to 1)"
    )
    options = parser.parse_args(arguments)
    if options.command == "write":
        write(options.folder)
        return 0
    return int(check(options.report, options.folder) < options.fail_below)


if __name__ == "__main__":
    sys.exit(main())
