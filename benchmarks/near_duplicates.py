"""Measure how many edited copies of photographs each hash finds, at a precision that a person would accept.

The database are all photographs of ``photos-eval.zip``. The queries are thirty edits (:mod:`hashae.images.edits`,
without the half size) of some of them, drawn with a seed, as JPEG bytes; every method reads the same bytes. hashae's
code and its 64-bit key stand beside PDQ, pHash, dHash and aHash, all in one run.

A right pair is a copy and its original. A wrong pair is a copy and any other photograph, except for those that a
person has confirmed to show the same picture (``confirmed_duplicates.json``): these are neither right nor wrong. There
is one threshold for all edits: the largest at which the precision over all edits and all pairs is at least 99.99 %, and
once more 99.9 %. Pairs of equal score are all taken or none. Then the recall of each edit is counted.

Two columns for each method. "one": one radius for all images. "own": a radius for every image; the score of a pair is
``distance - beta * (crowding_a + crowding_b) / 2``, where the crowding of an original is its mean distance to its 3rd
to 7th nearest other original, and that of a copy the one to its 3rd to 7th nearest original. Of beta 0.5, 0.7 and 1.0
the one with the best mean of all edits is shown, for each method its own.

Further columns give the peers pictures whose borders were trimmed first: the border is looked for as hashae does, on
a thumb of 96 pixels, and the full picture is cut at the same places.

Thumbs and the peers' codes are kept in the cache folder; a second run with another encoder is quick. With few queries
the tables say little: 99.99 % allows one wrong pair in ten thousand, and none at all among fewer.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from answers import same_picture
from data import encoder_file, unpacked
from measure import circumstances
from peers import TRIMMED, copies, edited_copy
from PIL import Image, ImageDraw
from planted import PHOTOS, confirmed_sets
from thresholds import SCALE, Pairs, Tally, Worst, ignored_pairs, neighbour_sums, scores

from hashae import pretrained
from hashae.calibration import health
from hashae.codes import KEY_BITS, Codes, hamming
from hashae.encoder import Encoder
from hashae.images.edits import EDITS
from hashae.images.query_views import QUERY_VIEWS, QueryView, view_levels

LEFT_OUT = "resize 50 %"
MEASURED = tuple(edit for edit in EDITS if edit != LEFT_OUT)
MIRROR = MEASURED.index("mirror")
ONE, BETAS = 0.0, (0.5, 0.7, 1.0)
PRECISIONS = (0.9999, 0.999)
SHOWN = 20
"""Wrong pairs of each rule on the contact sheet."""


@dataclass(frozen=True)
class Line:
    """What one method finds under one rule at one precision.

    Attributes
    ----------
    beta
        0 for one radius.
    threshold
        In parts of a bit, see `thresholds.SCALE`; None if no threshold reaches the precision.
    recall
        Share found of each edit.
    wrong
        Wrong pairs within the threshold.
    """

    beta: float
    threshold: int | None
    recall: list[float]
    wrong: int

    @property
    def mean(self) -> float:
        """Mean recall over all edits."""
        return float(np.mean(self.recall))

    @property
    def mean_unmirrored(self) -> float:
        """Mean recall over the edits other than mirror."""
        return float(np.mean(np.delete(self.recall, MIRROR)))

    @property
    def bits(self) -> str:
        """The threshold in bits, as text."""
        if self.threshold is None:
            return "none"
        return f"{self.threshold // SCALE}" if self.beta == ONE else f"{self.threshold / SCALE:.2f}"

    def to_dict(self) -> dict[str, Any]:
        """Return everything for a JSON file."""
        return {
            "beta": self.beta,
            "threshold_bits": None if self.threshold is None else self.threshold / SCALE,
            "mean": self.mean,
            "mean_without_mirror": self.mean_unmirrored,
            "wrong_pairs": self.wrong,
            "recall": dict(zip(MEASURED, self.recall, strict=True)),
        }


@dataclass(frozen=True)
class Result:
    """What was measured of one method.

    Attributes
    ----------
    bits, effective_bits
        Of its codes of the originals.
    lines
        By precision: one for one radius, then one for each beta.
    worst
        By beta: the worst wrong pairs, if asked for.
    """

    bits: int
    effective_bits: float
    lines: dict[float, list[Line]]
    worst: dict[float, Worst] = field(default_factory=dict)

    def one(self, precision: float) -> Line:
        """Return what one radius finds."""
        return self.lines[precision][0]

    def own(self, precision: float) -> Line:
        """Return what an own radius for every image finds, with the best beta."""
        return max(self.lines[precision][1:], key=lambda line: line.mean)


def measured(
    codes: Codes,
    originals: int,
    own: np.ndarray,
    ignored: Pairs,
    *,
    views: Sequence[Codes] = (),
    worst: bool = False,
) -> Result:
    """Count pairs of one method and set its thresholds.

    Parameters
    ----------
    codes
        ``uint8 (n, bytes)``: all originals, then the copies, edit by edit.
    originals
        How many of them are originals.
    own
        Place of the original of each copy of an edit.
    ignored
        Pairs that are neither right nor wrong, the same in each edit.
    views
        Further codes of all copies; the nearest of them counts.
    worst
        Also keep the worst wrong pairs.
    """
    bits, database = codes.shape[1] * 8, codes[:originals]
    crowded = neighbour_sums(hamming(database, database), among_themselves=True)
    tallies = {beta: Tally(bits, beta, len(MEASURED)) for beta in (ONE, *BETAS)}
    kept = {beta: Worst(own, ignored, originals) for beta in tallies} if worst else {}
    for edit, blocks in enumerate(zip(*(np.split(c, len(MEASURED)) for c in (codes[originals:], *views)), strict=True)):
        distances = hamming(blocks[0], database)
        for block in blocks[1:]:
            distances = np.minimum(distances, hamming(block, database))
        crowded_copies = neighbour_sums(distances)
        for beta, tally in tallies.items():
            counted = scores(distances, crowded_copies, crowded, beta)
            tally.add(edit, counted, own, ignored)
            if worst:
                kept[beta].add(edit, counted)
    lines: dict[float, list[Line]] = {}
    for precision in PRECISIONS:
        lines[precision] = []
        for beta, tally in tallies.items():
            at = tally.threshold(precision)
            lines[precision].append(Line(beta, at, tally.recall(at).tolist(), tally.wrong_pairs(at)))
    return Result(bits, health(database)["effective_bits"], lines, kept)


def codes_of_view(encoder: Encoder, thumbs: np.ndarray, view: QueryView) -> Codes:
    """Return the codes of thumbs seen in one way."""
    parts = [view_levels(thumbs[start : start + 512], encoder.form, view) for start in range(0, len(thumbs), 512)]
    return encoder.encode_levels(np.concatenate(parts)).codes


def summary_rows(results: dict[str, Result], precision: float) -> list[list[str]]:
    """Return one row a method: bits, thresholds and means under both rules."""
    head = ["method", "bits", "effective", "radius", "mean 30", "mean 29", "wrong"]
    rows = [[*head, "beta", "tau", "own: mean 30", "own: mean 29", "own: wrong"]]
    for name, result in results.items():
        one, own = result.one(precision), result.own(precision)
        row = [name, str(result.bits), f"{result.effective_bits:.0f}"]
        row += [one.bits, f"{one.mean:.3f}", f"{one.mean_unmirrored:.3f}", str(one.wrong)]
        row += [f"{own.beta:g}", own.bits, f"{own.mean:.3f}", f"{own.mean_unmirrored:.3f}", str(own.wrong)]
        rows.append(row)
    return rows


def edit_rows(results: dict[str, Result], precision: float) -> list[list[str]]:
    """Return one row an edit, two columns a method, and the means."""
    lines = [line for result in results.values() for line in (result.one(precision), result.own(precision))]
    rows = [["edit", *(f"{name} {rule}" for name in results for rule in ("one", "own"))]]
    rows += [[edit, *(f"{line.recall[place]:.3f}" for line in lines)] for place, edit in enumerate(MEASURED)]
    rows.append(["mean of 30", *(f"{line.mean:.3f}" for line in lines)])
    rows.append(["mean without mirror", *(f"{line.mean_unmirrored:.3f}" for line in lines)])
    return rows


def print_markdown(rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table: the first column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for number, row in enumerate(rows):
        cells = [row[0].ljust(widths[0]), *(text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True))]
        print("| " + " | ".join(cells) + " |")
        if number == 0:
            print("|" + "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])]) + "|")


def contact_sheet(cells: Sequence[tuple[str, bytes, Path]], target: Path) -> None:
    """Draw copies and the originals they are taken for side by side, three pairs a row, each under its text."""
    width, height, columns = 400, 220, 3
    sheet = Image.new("RGB", (width * columns, height * max(1, -(-len(cells) // columns))), (96, 96, 96))
    pen = ImageDraw.Draw(sheet)
    for number, (text, copy, original) in enumerate(cells):
        left, top = number % columns * width, number // columns * height
        pen.text((left + 4, top + 3), text, fill="yellow")
        for side, source in enumerate((BytesIO(copy), original)):
            with Image.open(source) as opened:
                picture = opened.convert("RGB")
            picture.thumbnail((width // 2 - 6, height - 24))
            sheet.paste(picture, (left + side * width // 2 + 3, top + 20))
    sheet.save(target)


def show_worst(
    result: Result, codes: Codes, photos: Sequence[Path], folder: Path, chosen: Sequence[int], seed: int, target: Path
) -> None:
    """Print the worst wrong pairs under both rules, and draw them; `codes` as in `measured`."""
    found: dict[frozenset[int], tuple[str, int, int, int]] = {}
    for line in (result.one(PRECISIONS[0]), result.own(PRECISIONS[0])):
        for row, column, edit, score in result.worst[line.beta].pairs(SHOWN):
            copy = len(photos) + edit * len(chosen) + row
            text = f"{hamming(codes[copy : copy + 1], codes[column : column + 1])[0, 0]} bits, {MEASURED[edit]}"
            if line.beta != ONE:
                text = f"own {score / SCALE:.2f}, {text}"
            if line.threshold is not None and score <= line.threshold:
                text += " (taken)"
            pair = frozenset((chosen[row], column))
            before = found[pair][0] + "; " if pair in found else ""
            found[pair] = (before + text, chosen[row], column, edit)
    print(
        "\nThe worst wrong pairs of hashae with one radius and with own radii: distance or score, the worst edit, the"
    )
    print("photograph that was copied, the photograph that it is near to; (taken): within the threshold\n")
    cells = []
    for number, (text, photo, column, edit) in enumerate(found.values(), start=1):
        names = [photos[place].relative_to(folder).as_posix() for place in (photo, column)]
        print(f"{number:4}  {text}:  {names[0]}  {names[1]}")
        cells.append((f"{number}: {text}", edited_copy(photos[photo], photo, MEASURED[edit], seed), photos[column]))
    contact_sheet(cells, target)
    print(f"drawn in {target}; pairs that show one picture belong into confirmed_duplicates.json")


def processor() -> str:
    """Return the name of the processor."""
    listed = Path("/proc/cpuinfo")
    lines = listed.read_text("utf-8").splitlines() if listed.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def options_given() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", type=Path, metavar="FILE", help="default: the encoder that comes with hashae")
    parser.add_argument("--queries", type=int, default=1000, help="photographs to edit (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="which photographs, and their edits (default: 0)")
    parser.add_argument("--workers", type=int, default=2, help="processes that make copies (default: 2)")
    parser.add_argument(
        "--trim-peers", action=argparse.BooleanOptionalAction, default=True, help="columns of peers on trimmed pictures"
    )
    parser.add_argument(
        "--views",
        action="store_true",
        help="a column where each copy is asked for in all views of query --views",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep everything measured, every beta included")
    parser.add_argument("--contact-sheet", type=Path, metavar="PNG", help="draw the worst wrong pairs of hashae")
    return parser.parse_args()


def main() -> None:
    """Run the command line."""
    options = options_given()
    begin = time.perf_counter()
    folder = unpacked("photos-eval.zip")
    photos = sorted(folder.rglob("*.jpg"))
    if not 0 < options.queries <= len(photos):
        raise SystemExit(f"--queries is {options.queries}; expected 1 to {len(photos)}")
    encoder = Encoder.load(encoder_file(options.encoder)) if options.encoder else pretrained.load()
    chosen = np.random.default_rng(options.seed).permutation(len(photos))[: options.queries].tolist()
    made = copies(
        photos, chosen, MEASURED, seed=options.seed, form=encoder.form, trim=options.trim_peers, workers=options.workers
    )
    copied = time.perf_counter()
    codes = encoder.encode_thumbs(made.thumbs).codes
    encoded = time.perf_counter()

    place = {f"{PHOTOS}/{path.relative_to(folder).as_posix()}": number for number, path in enumerate(photos)}
    sets: dict[str, list[int]] = {}
    for name, group in same_picture(confirmed_sets()).items():
        if name in place:
            sets.setdefault(group, []).append(place[name])
    ignored = ignored_pairs(chosen, list(sets.values()))
    ours = f"hashae-{encoder.bits}"
    of_method = {ours: codes}
    if encoder.bits > KEY_BITS:
        of_method[f"hashae-{KEY_BITS} key"] = codes[:, : KEY_BITS // 8]
    of_method |= made.peers
    results = {
        name: measured(each, len(photos), np.array(chosen), ignored, worst=name == ours)
        for name, each in of_method.items()
    }
    if options.views:
        seen = [codes_of_view(encoder, made.thumbs[len(photos) :], view) for view in QUERY_VIEWS]
        results[f"{ours} views"] = measured(codes, len(photos), np.array(chosen), ignored, views=seen)
    seconds = {"copies": copied - begin, "encoding": encoded - copied, "all": time.perf_counter() - begin}

    about = circumstances("onnxruntime", "numpy", "pillow", "pdqhash", "imagehash", seed=options.seed)
    label = f"{encoder.name}, {encoder.bits} bits, {encoder.form.size} pixels, {encoder.fingerprint[:12]}"
    print(f"{about}, {processor()}")
    print(f"encoder {label}; {len(photos)} originals, {len(chosen)} photographs with {len(MEASURED)} edits each")
    source = "read from the cache" if made.kept else "made"
    print(f"thumbs and peers' codes {source} in {seconds['copies']:.0f} s, ", end="")
    print(f"{len(codes)} pictures encoded in {seconds['encoding']:.1f} s, all in {seconds['all']:.0f} s")
    plain = {name: result for name, result in results.items() if not name.endswith(TRIMMED)}
    cut = {name: result for name, result in results.items() if name.endswith(TRIMMED)}
    for precision in PRECISIONS:
        print(f"\nPrecision {precision * 100:g} %\n")
        print_markdown(summary_rows(results, precision))
        for part in filter(None, (plain, cut)):
            print(f"\nRecall at precision {precision * 100:g} %\n")
            print_markdown(edit_rows(part, precision))
    if options.json:
        report = {
            "circumstances": about,
            "processor": processor(),
            "encoder": label,
            "fingerprint": encoder.fingerprint,
            "seed": options.seed,
            "originals": len(photos),
            "queries": len(chosen),
            "seconds": seconds,
            "methods": {
                name: {
                    "bits": result.bits,
                    "effective_bits": result.effective_bits,
                    "precision": {
                        f"{precision}": [line.to_dict() for line in lines] for precision, lines in result.lines.items()
                    },
                }
                for name, result in results.items()
            },
        }
        options.json.write_text(json.dumps(report, indent=1), encoding="utf-8")
    if options.contact_sheet:
        show_worst(results[ours], codes, photos, folder, chosen, options.seed, options.contact_sheet)


if __name__ == "__main__":
    main()
