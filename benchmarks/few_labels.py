"""Few labels on MNIST: 100 labelled digits, from scratch against a pre-trained encoder that is fine-tuned.

The encoder learns from 10,000 digits without labels, once for each seed; then both networks learn from the same few
labelled ones, with the same views (corrupted copies) and steps; and both once more without views. Accuracy is that on
2,000 test digits. Beside it, classifiers on the frozen codes and latents of the first encoder, trained on all 10,000
labels.

    python benchmarks/few_labels.py --seeds 3
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from data import data_folder

from hashae.comparison import load_data
from hashae.config import TrainConfig
from hashae.models import create_model
from hashae.training import train
from hashae.training.few_labels import few_labels
from hashae.training.trained import TrainedModel
from hashae.uses.study import check_labels, run_probes


def main() -> None:
    """Pre-train, fine-tune, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="binary")
    parser.add_argument("--labels", default="100", help="numbers of labelled digits, with commas between")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=600, help="of the pre-training, without labels")
    parser.add_argument("--tuning", type=int, default=300, help="steps with labels, of both networks")
    parser.add_argument("--bits", type=int, default=64)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print("labels  views  seed  from scratch  pre-trained   gain  seconds (pre-training, both trainings)")
    gains: dict[tuple[int, str], list[float]] = {}
    for seed in range(arguments.seeds):
        data = load_data(data_folder() / "mnist.npz", images=10_000, queries=2000, seed=seed)
        train_labels, test_labels = check_labels(data)
        torch.manual_seed(seed)
        model = create_model(arguments.model, bits=arguments.bits, image_shape=data.form.shape, width=arguments.width)
        config = TrainConfig(
            steps=arguments.steps,
            augment="digits",
            batch=256,
            neighbours=1,
            temperature=0.5,
            decorrelation=0.0,
            seed=seed,
        )
        seconds = train(model, data.train, config, form=data.form).seconds
        if seed == 0:
            for one in run_probes(TrainedModel.of(model, data.form), data):
                print(f"frozen {one.features:8} {one.classifier:9} {one.accuracy:.3f}", flush=True)
        runs = [(int(count), views) for count in arguments.labels.split(",") for views in ("yes", "no")]
        for count, views in runs:
            start = time.perf_counter()
            found = few_labels(
                model,
                data.form,
                data.train,
                train_labels,
                data.test,
                test_labels,
                count=count,
                steps=arguments.tuning,
                strength=float(views == "yes"),
                seed=seed,
            )
            spent = time.perf_counter() - start
            gain = found.tuned - found.scratch
            gains.setdefault((count, views), []).append(gain)
            print(
                f"{count:6}  {views:5}  {seed:4}  {found.scratch:12.3f}  {found.tuned:11.3f}  {gain:+.3f}  "
                f"{seconds:.0f}, {spent:.0f}",
                flush=True,
            )
    for (count, views), values in gains.items():
        print(f"{count} labels, views {views}: pre-trained wins by {np.mean(values):.3f}, mean of {len(values)} seeds")


if __name__ == "__main__":
    main()
