"""Measure what each part of the binary autoencoder is worth: the same short training with one thing changed.

On MNIST: the average precision of retrieval (see ``retrieval.py``). On photographs: the mean share of edited copies,
those that are mirrored left out, that is found at 99.99 % precision, with one radius and with an own radius for every
image (see ``near_duplicates.py``). Every row has the same time, not the same steps. Rows that are in the ``--json``
file are not trained again, so an interrupted run goes on where it was.

    python benchmarks/ablation.py --data mnist --budget 2m --json ablation.json
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from answers import same_picture
from data import unpacked
from labelled import load_labelled
from learned import NO_LIMIT, RECIPES, Rows, codes_of, learn, mean_and_deviation, score, seconds_of
from measure import circumstances
from near_duplicates import MEASURED, PRECISIONS, measured, print_markdown, processor
from peers import copies
from planted import PHOTOS, confirmed_sets
from thresholds import ignored_pairs

from hashae.calibration import health
from hashae.config import ModelConfig, TrainConfig
from hashae.evaluation import nearest_in_pixels
from hashae.images.canonical import CanonicalForm
from hashae.training.recipe import learn_encoder

Settings = dict[str, Any]

BITS = {"mnist": 32, "photos": 256}
"""Of every row that says nothing else."""

WITHOUT_CANONICAL = "canonical form off"

SHARED: dict[str, Settings] = {
    "as it is": {},
    "noise: constant": {"noise": "constant"},
    "noise: none, straight-through": {"noise": "straight-through"},
    "noise: none, plain sigmoid": {"noise": "none"},
    "without reconstruction": {"reconstruction": 0.0},
    "without agreement": {"agreement": 0.0},
    "without balance": {"balance": 0.0},
    **{f"temperature {value:g}": {"temperature": value} for value in (0.07, 0.15, 0.3, 0.5)},
}
VARIANTS: dict[str, dict[str, Settings]] = {
    "mnist": {
        **SHARED,
        "with decorrelation 0.05": {"decorrelation": 0.05},
        "views of photographs": {"augment": "photo"},
        "views at half strength": {"views": 0.5},
        "no views": {"views": 0.0},
        "without neighbours as positives": {"positives": 0.0},
        **{f"{bits} bits": {"bits": bits} for bits in (16, 64, 128, 256)},
    },
    "photos": {
        **SHARED,
        "without decorrelation": {"decorrelation": 0.0},
        "random batches": {"neighbours": 1},
        WITHOUT_CANONICAL: {},
        **{f"{bits} bits": {"bits": bits} for bits in (16, 32, 64, 128)},
    },
}
MEASURES = {
    "mnist": {"mAP": "map", "mAP@1000": "map_top", "P@r2": "precision_radius", "effective bits": "effective_bits"},
    "photos": {"one radius": "one", "own radius": "own", "effective bits": "effective_bits"},
}


def mnist_rows(options: argparse.Namespace) -> Callable[[str, Settings, int], dict[str, Any]]:
    """Return what measures one variant with one seed on MNIST."""
    data = load_labelled("mnist")
    neighbours = nearest_in_pixels(data.queries, data.database, 100)

    def measure(name: str, settings: Settings, seed: int) -> dict[str, Any]:
        changed = dict(settings)
        bits = changed.pop("bits", BITS["mnist"])
        network, seconds, steps = learn(
            data,
            RECIPES["mnist"],
            bits=bits,
            seed=seed,
            budget=options.budget,
            threads=options.threads,
            **{"steps": NO_LIMIT, **changed},
        )
        database = codes_of(network, data.database)
        result = score(codes_of(network, data.queries), database, data, neighbours)
        effective = health(database[:4096])["effective_bits"]
        return {**result.to_dict(), "effective_bits": effective, "seconds": seconds, "steps": steps}

    return measure


def photo_rows(options: argparse.Namespace) -> Callable[[str, Settings, int], dict[str, Any]]:
    """Return what measures one variant with one seed on photographs."""
    folder = unpacked("photos-eval.zip")
    photos = sorted(folder.rglob("*.jpg"))
    chosen = np.random.default_rng(0).permutation(len(photos))[: options.queries].tolist()
    place = {f"{PHOTOS}/{path.relative_to(folder).as_posix()}": number for number, path in enumerate(photos)}
    sets: dict[str, list[int]] = {}
    for name, group in same_picture(confirmed_sets()).items():
        if name in place:
            sets.setdefault(group, []).append(place[name])
    ignored = ignored_pairs(chosen, list(sets.values()))

    def measure(name: str, settings: Settings, seed: int) -> dict[str, Any]:
        changed = dict(settings)
        model = ModelConfig(bits=changed.pop("bits", BITS["photos"]), width=24, noise=changed.pop("noise", "rising"))
        form = CanonicalForm.preset("plain" if name == WITHOUT_CANONICAL else "photo", options.size)
        start = time.perf_counter()
        encoder, _ = learn_encoder(
            unpacked("photos-train.zip"),
            model=model,
            config=TrainConfig(budget=options.budget, seed=seed, threads=options.threads, **changed),
            form=form,
            name="ablation",
            steps=NO_LIMIT,
            limit=20_000,
        )
        seconds = time.perf_counter() - start
        made = copies(photos, chosen, MEASURED, seed=0, form=form, trim=True, workers=options.threads)
        codes = encoder.encode_thumbs(made.thumbs).codes
        result = measured(codes, len(photos), np.array(chosen), ignored)
        one, own = result.one(PRECISIONS[0]).mean_unmirrored, result.own(PRECISIONS[0]).mean_unmirrored
        return {
            "one": one,
            "own": own,
            "effective_bits": result.effective_bits,
            "seconds": seconds,
            "steps": encoder.info.made["result"]["steps"],
        }

    return measure


def options_given() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=tuple(VARIANTS), default="mnist")
    parser.add_argument("--budget", type=seconds_of, default=120.0, help="of each training (default: 2m)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="one training for each (default: 0)")
    parser.add_argument("--only", nargs="+", metavar="TEXT", help="only rows whose name holds one of these texts")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--size", type=int, default=32, help="side of the input for photographs (default: 32)")
    parser.add_argument("--queries", type=int, default=1000, help="photographs to edit (default: 1000)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep every row; those in it are not trained again")
    return parser.parse_args()


def main() -> None:
    """Run the command line."""
    options = options_given()
    about = f"{circumstances('torch', 'numpy')}, {processor()}"
    kept = Rows(options.json, {"circumstances": about})
    measure = mnist_rows(options) if options.data == "mnist" else photo_rows(options)
    lines = [["variant", *MEASURES[options.data], "steps"]]
    for name, settings in VARIANTS[options.data].items():
        if options.only and not any(text in name for text in options.only):
            continue
        found = []
        for seed in options.seeds:
            size = f" of {options.size} pixels, {options.queries} queries" if options.data == "photos" else ""
            key = f"{options.data}{size}, {options.budget:g} s, {options.threads} threads, seed {seed}: {name}"
            found.append(kept.get(key, partial(measure, name, settings, seed)))
            shown = ", ".join(f"{label} {found[-1][field]:.3f}" for label, field in MEASURES[options.data].items())
            print(f"{key}: {shown}", file=sys.stderr, flush=True)
        cells = [mean_and_deviation([row[field] for row in found]) for field in MEASURES[options.data].values()]
        lines.append([name, *cells, str(min(row["steps"] for row in found))])
    print(
        f"{about}\n{options.data}, {BITS[options.data]} bits unless said, {options.budget:g} s of training for each row"
    )
    print(f"seeds {' '.join(map(str, options.seeds))}, {options.threads} threads\n")
    print_markdown(lines)


if __name__ == "__main__":
    main()
