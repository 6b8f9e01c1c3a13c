"""Train hashae's models on labelled images without their labels, and score them and the baselines.

The settings in `RECIPES` were chosen with queries held out of the training images (``--tuning``); the labels of these
were looked at for that, those of the test images were not. Training itself never sees a label.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from labelled import Labelled
from numpy.typing import NDArray

from hashae.codes import Codes, pack
from hashae.config import TrainConfig
from hashae.evaluation import RetrievalResult, create_baseline, evaluate_retrieval
from hashae.images.canonical import CanonicalForm
from hashae.models import MODELS, HashModel, create_model
from hashae.training import StepReport, train

NO_LIMIT = 1_000_000
"""Steps where only the budget counts."""


@dataclass(frozen=True)
class Recipe:
    """How a model is trained on one data set.

    Attributes
    ----------
    model
        Fields of ModelConfig, but for ``model``, ``bits`` and ``image_shape``.
    training
        Fields of TrainConfig, but for ``budget``, ``seed`` and ``threads``; without ``steps`` only the budget counts.
    budget
        Seconds at most, where the command line names none.
    """

    model: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    budget: float = 900.0


RECIPES = {
    "mnist": Recipe(
        model={"width": 16},
        training={
            "steps": 2500,
            "batch": 256,
            "augment": "digits",
            "neighbours": 1,
            "positives": 0.05,
            "temperature": 0.5,
            "decorrelation": 0.0,
        },
        budget=900.0,
    ),
    "cifar10": Recipe(
        model={"trunk": "pooled", "width": 32},
        training={
            "steps": 9000,
            "batch": 256,
            "augment": "tiny",
            "mirror": True,
            "view_side": 24,
            "neighbours": 1,
            "positives": 0.03,
            "positives_from": 0.5,
            "temperature": 0.3,
            "reconstruction": 0.0,
            "decorrelation": 0.0,
        },
        budget=3600.0,
    ),
}


def form_of(images: NDArray[np.uint8]) -> CanonicalForm:
    """Return the canonical form that takes images ``(n, channels, side, side)`` as they are, in [0, 1]."""
    channels, side = images.shape[1], images.shape[-1]
    name = "plain" if channels == 1 else "colour"
    return CanonicalForm(name=name, size=side, thumb=side, channels=channels, trim=False, rank=False)


def learn(
    data: Labelled,
    recipe: Recipe,
    *,
    bits: int,
    model: str = "binary",
    seed: int = 0,
    budget: float | None = None,
    threads: int = 2,
    on_step: Callable[[StepReport], None] | None = None,
    **training: Any,
) -> tuple[HashModel, float, int]:
    """Train a model on the database of `data`.

    Parameters
    ----------
    data
        Its labels are not used.
    recipe
        Settings.
    bits, model, seed, threads
        As in ModelConfig and TrainConfig.
    budget
        Seconds; None takes that of the recipe.
    training
        Further fields of TrainConfig, in place of those of the recipe; ``noise`` is one of ModelConfig.

    Returns
    -------
    Model, seconds and steps of the training.
    """
    noise = {"noise": training.pop("noise")} if "noise" in training else {}
    settings = {"steps": NO_LIMIT, **recipe.training, **training}
    config = TrainConfig(**settings, budget=budget or recipe.budget, seed=seed, threads=threads)
    torch.manual_seed(seed)  # the weights that it starts from
    form = form_of(data.database)
    trunks = MODELS[model].trunks
    trunk = {} if "conv" in trunks else {"trunk": trunks[0]}
    network = create_model(model, bits=bits, image_shape=form.shape, **{**recipe.model, **noise, **trunk})
    start = time.perf_counter()
    result = train(network, data.database, config, form=form, on_step=on_step)
    return network, time.perf_counter() - start, result.steps


def codes_of(model: HashModel, images: NDArray[np.uint8], block: int = 1000) -> Codes:
    """Return the codes ``uint8 (n, bits // 8)`` of images, as the exported encoder makes them."""
    form = form_of(images)
    model.eval()
    with torch.no_grad():
        parts = [
            (model.encode(torch.from_numpy(form(images[i : i + block]))) > model.threshold).numpy()
            for i in range(0, len(images), block)
        ]
    return pack(np.concatenate(parts))


def score(queries: Codes, database: Codes, data: Labelled, neighbours: NDArray[np.int64]) -> RetrievalResult:
    """Measure codes against the labels and the true nearest neighbours."""
    return evaluate_retrieval(queries, database, data.query_labels, data.database_labels, neighbours=neighbours)


def baseline_score(name: str, bits: int, seed: int, data: Labelled, neighbours: NDArray[np.int64]) -> dict[str, Any]:
    """Fit a hash without a network and measure it; returns the measures and both times of the fit."""
    start, begin = time.perf_counter(), time.process_time()
    fitted = create_baseline(name, bits, seed).fit(data.database)
    seconds, cpu = time.perf_counter() - start, time.process_time() - begin
    result = score(fitted.encode(data.queries), fitted.encode(data.database), data, neighbours)
    return {**result.to_dict(), "seconds": seconds, "cpu_seconds": cpu}


class Rows:
    """Rows of measurements that are kept in a JSON file: what is there already is not measured again.

    Parameters
    ----------
    path
        The file; None keeps nothing.
    about
        Stored beside the rows: circumstances.
    """

    def __init__(self, path: Path | None, about: Mapping[str, Any]) -> None:
        self._path = path
        kept = json.loads(path.read_text("utf-8")) if path is not None and path.is_file() else {}
        self._rows: dict[str, dict[str, Any]] = kept.get("rows", {})
        self._about = dict(about)

    def get(self, key: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return the row called `key`, measured now if it is not in the file."""
        if key not in self._rows:
            self._rows[key] = measure()
            if self._path is not None:
                text = json.dumps({"about": self._about, "rows": self._rows}, indent=1)
                unfinished = self._path.with_suffix(".unfinished")
                unfinished.write_text(text, encoding="utf-8")
                unfinished.rename(self._path)
        return self._rows[key]


def seconds_of(text: str) -> float:
    """Read a length of time such as ``90``, ``90s``, ``15m`` or ``1h``."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if not found or not float(found[1]):
        raise ValueError(f"{text!r} is no length of time; expected for example 90s, 15m or 1h")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]


def mean_and_deviation(values: list[float]) -> str:
    """Return the mean, with the standard deviation if there is more than one value."""
    text = f"{np.mean(values):.3f}"
    return text if len(values) == 1 else f"{text} ± {np.std(values, ddof=1):.3f}"
