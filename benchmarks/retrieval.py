"""Measure how well codes find images of the same class: hashae beside LSH, PCA and ITQ, on raw pixels.

MNIST: database and training set are the 60,000 training images, queries 100 test images of each class, drawn with a
seed. CIFAR-10: 50,000 training images and 1,000 queries likewise, from JPEG files. No label is used in training. Every
model is trained once for each number of bits, or, with ``--nested``, once for the largest, and shorter codes are its
first bits.

mAP is the average precision over the whole ranking, expected over random orders of equal distances; mAP@1000 is the
literature's, with ties in the order of the database, which is random. P@100: share of the right class among the first
100. P@r2: the same within 2 bits, 0 for a query with nothing there; "empty" is the share of those. NN: share of the 100
nearest in pixel space among the first 1,000. Several seeds: mean and standard deviation over trainings; the queries
stay. CPU: processor time of the training, of all threads together: on a machine that others use, too, it says more than
the clock.

    python benchmarks/retrieval.py --data mnist --seeds 0 1 2 --json mnist.json
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from labelled import DATA, Labelled, load_labelled
from learned import (
    RECIPES,
    Recipe,
    Rows,
    baseline_score,
    codes_of,
    learn,
    mean_and_deviation,
    score,
    seconds_of,
)
from measure import circumstances
from near_duplicates import print_markdown, processor
from numpy.typing import NDArray

from hashae.evaluation import BASELINES, nearest_in_pixels
from hashae.models import list_models
from hashae.training import StepReport

NEIGHBOURS = 100
MEASURES = {
    "mAP": "map",
    "mAP@1000": "map_top",
    "P@100": "precision",
    "P@r2": "precision_radius",
    "empty": "empty",
    "NN": "neighbour_recall",
}
EVERY = 500
"""Steps between two lines of progress."""


def show(report: StepReport) -> None:
    """Print how a training goes."""
    if report.step % EVERY == 0:
        terms = ", ".join(f"{name} {value:.3f}" for name, value in report.terms.items())
        print(f"  {report.step}/{report.steps} {report.seconds:.0f} s: {terms}", file=sys.stderr, flush=True)


def trained_rows(
    model: str,
    widths: Sequence[int],
    seed: int,
    *,
    recipe: Recipe,
    options: argparse.Namespace,
    data: Labelled,
    neighbours: NDArray[Any],
) -> dict[str, Any]:
    """Train once, at the largest width, and measure the codes and their prefixes; one result for each width."""
    begin = time.process_time()
    network, seconds, steps = learn(
        data,
        recipe,
        bits=max(widths),
        model=model,
        seed=seed,
        budget=options.budget,
        threads=options.threads,
        on_step=show,
        **{"prefixes": sorted(widths), **options.set},
    )
    cpu = time.process_time() - begin
    queries, database = codes_of(network, data.queries), codes_of(network, data.database)
    found = {}
    for bits in widths:
        result = score(queries[:, : bits // 8], database[:, : bits // 8], data, neighbours)
        found[str(bits)] = {**result.to_dict(), "seconds": seconds, "cpu_seconds": cpu, "steps": steps}
        print(f"{model} {bits} bits, seed {seed}: mAP {result.map:.4f}, {steps} steps", file=sys.stderr, flush=True)
    return found


def table(rows: dict[tuple[str, int], list[dict[str, Any]]]) -> list[list[str]]:
    """Return the table: one row for each method and number of bits."""
    lines = [["method", "bits", *MEASURES, "training", "CPU"]]
    for (name, bits), results in rows.items():
        cells = [mean_and_deviation([result[measure] for result in results]) for measure in MEASURES.values()]
        times = [max(result[kind] for result in results) for kind in ("seconds", "cpu_seconds")]
        cells += [f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min" for seconds in times]
        lines.append([name, str(bits), *cells])
    return lines


def setting(text: str) -> tuple[str, Any]:
    """Read ``name=value``, the value as JSON where it is."""
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(text)
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def options_given() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=DATA, default="mnist")
    parser.add_argument("--bits", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="one training for each (default: 0)")
    parser.add_argument(
        "--models", nargs="*", default=["binary"], metavar="NAME", help="of " + ", ".join(list_models())
    )
    parser.add_argument("--baselines", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--budget", type=seconds_of, help="of each training (default: 15m for mnist, 1h for cifar10)")
    parser.add_argument("--threads", type=int, default=2, help="of the training (default: 2)")
    parser.add_argument("--nested", action="store_true", help="train once; shorter codes are prefixes of the longest")
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--query-seed", type=int, default=0)
    parser.add_argument("--tuning", action="store_true", help="queries from the training images, for choosing settings")
    parser.add_argument(
        "--set", type=setting, action="append", default=[], metavar="NAME=VALUE", help="another setting of TrainConfig"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep every row; those in it are not measured again")
    options = parser.parse_args()
    options.set = dict(options.set)
    return options


def main() -> None:
    """Run the command line."""
    options = options_given()
    data = load_labelled(options.data, options.queries, seed=options.query_seed, tuning=options.tuning)
    neighbours = nearest_in_pixels(data.queries, data.database, NEIGHBOURS)
    recipe = RECIPES[options.data]
    about = f"{circumstances('torch', 'numpy', 'faiss-cpu', 'scikit-learn')}, {processor()}"
    title = f"{data.title}: queries {len(data.queries)} / database = training set {len(data.database)} / full ranking"
    kept = Rows(options.json, {"circumstances": about, "title": title})
    protocol = f"{options.data} {len(data.queries)} queries of seed {options.query_seed}{' tuning' * options.tuning}"
    budget = options.budget or recipe.budget
    how = f"{budget:g} s, {options.threads} threads {json.dumps({**recipe.model, **recipe.training, **options.set})}"
    rows: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for name in BASELINES if options.baselines else ():
        for bits in options.bits:
            for seed in options.seeds:
                measure = partial(baseline_score, name, bits, seed, data, neighbours)
                row = kept.get(f"{protocol}: {name} {bits} bits seed {seed}", measure)
                rows.setdefault((name, bits), []).append(row)
    for model in options.models:
        for widths in [options.bits] if options.nested else [[bits] for bits in options.bits]:
            for seed in options.seeds:
                measure = partial(
                    trained_rows, model, widths, seed, recipe=recipe, options=options, data=data, neighbours=neighbours
                )
                found = kept.get(f"{protocol}: {model} {widths} bits seed {seed} {how}", measure)
                for bits in widths:
                    rows.setdefault((model, bits), []).append(found[str(bits)])
    print(f"{about}\n{title}")
    trained = f"budget {budget:g} s, {options.threads} threads, seeds {' '.join(map(str, options.seeds))}"
    print(f"{trained}, queries of seed {options.query_seed}\n")
    print_markdown(table(rows))


if __name__ == "__main__":
    main()
