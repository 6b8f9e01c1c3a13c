"""Few labels: a classifier on a pre-trained encoder, fine-tuned, against the same network from scratch.

Both have the layers of the encoder and one linear layer on its latents, both are trained on the same few labelled
images with the same corrupted views, for the same number of steps. The only difference is where the weights start.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from hashae.config import FINE_TUNING, TrainConfig
from hashae.errors import ConfigError
from hashae.images.canonical import CanonicalForm
from hashae.models import MODELS
from hashae.models.base import HashModel
from hashae.training.dataset import TrainingImages
from hashae.training.schedule import learning_rate
from hashae.training.small_views import create_views

BATCH = 64
BLOCK = 500

FROZEN = 0.3
"""Share of the steps in which only the new layer learns: its random start would spoil what the encoder knows."""


@dataclass(frozen=True)
class FewLabels:
    """What came of it.

    Attributes
    ----------
    labelled
        Number of labelled images.
    scratch, tuned
        Accuracy on the test images: of the network from scratch, and of the pre-trained one.
    """

    labelled: int
    scratch: float
    tuned: float

    def to_dict(self) -> dict[str, Any]:
        """Return all values, ready for JSON."""
        return asdict(self)


def draw_labelled(labels: NDArray[np.int64], count: int, seed: int = 0) -> NDArray[np.int64]:
    """Return rows of `count` images, as many of each class as can be, ``int64 (count,)``.

    Parameters
    ----------
    labels
        ``int64 (n,)``.
    count
        At least one of each class, at most all.
    seed
        Of the draw.

    Raises
    ------
    ConfigError
        If there is one class only, or `count` cannot be had.
    """
    classes = np.unique(labels)
    if len(classes) < 2:
        raise ConfigError("all labels are of one class; telling classes apart needs at least two")
    if not len(classes) <= count <= len(labels):
        raise ConfigError(
            f"{count} labelled images asked for; expected {len(classes)} (one of each class) to {len(labels)}"
        )
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    # The first of each class, then the second of each, and so on.
    turn = np.empty(len(labels), np.int64)
    for one in classes:
        rows = order[labels[order] == one]
        turn[rows] = np.arange(len(rows))
    return order[np.argsort(turn[order], kind="stable")][:count]


def few_labels(
    model: HashModel,
    form: CanonicalForm,
    train: TrainingImages,
    labels: NDArray[np.int64],
    test: TrainingImages,
    test_labels: NDArray[np.int64],
    *,
    count: int = 100,
    steps: int = 300,
    augment: str = "digits",
    strength: float = 1.0,
    seed: int = 0,
    threads: int | None = None,
    on_step: Callable[[str, int, int], None] | None = None,
) -> FewLabels:
    """Train a classifier twice on a few labelled images, from scratch and from a pre-trained encoder.

    Parameters
    ----------
    model
        Pre-trained; not changed.
    form
        Its canonical form.
    train, labels
        Images to draw the labelled ones from, ``int64 (n,)``.
    test, test_labels
        Images to measure on.
    count
        Labelled images, as many of each class as can be.
    steps
        Optimiser steps of each.
    augment
        Kind of the corrupted views, see :class:`hashae.config.TrainConfig`.
    strength
        Of the views, from 0 (none) to 1.
    seed
        Of the draw, the fresh weights and the views.
    threads
        CPU threads of torch; None leaves them.
    on_step
        Called with (which, step, steps).
    """
    if threads:
        torch.set_num_threads(threads)
    rows = draw_labelled(labels, count, seed)
    few, known = train.take(rows), torch.from_numpy(labels[rows])
    classes = int(max(labels.max(), test_labels.max())) + 1
    asked = torch.from_numpy(form(test.thumbs(form)))
    accuracy = []
    for which in ("from scratch", "pre-trained"):
        torch.manual_seed(seed)
        network = MODELS[model.config.model](model.config)
        if which == "pre-trained":
            network.load_state_dict(model.state_dict())
        head = nn.Linear(model.config.bits, classes)
        views = create_views(few, form, TrainConfig(augment=augment, views=strength, seed=seed))  # type: ignore[arg-type]
        _fit(network, head, views, known, steps, seed, which, on_step)
        with torch.no_grad():
            parts = [head(_features(network, part)).argmax(dim=1) for part in torch.split(asked, BLOCK)]
        accuracy.append(float((torch.cat(parts).numpy() == test_labels).mean()))
    return FewLabels(count, *accuracy)


def _features(network: HashModel, images: torch.Tensor) -> torch.Tensor:
    return network.encode(images).float()


def _fit(
    network: HashModel,
    head: nn.Linear,
    views: Any,
    labels: torch.Tensor,
    steps: int,
    seed: int,
    which: str,
    on_step: Callable[[str, int, int], None] | None,
) -> None:
    tuned = which == "pre-trained"
    peak = TrainConfig.learning_rate
    encoder = [weight for name, weight in network.named_parameters() if not name.startswith("decoder")]
    optimiser = torch.optim.AdamW(
        [{"params": encoder, "share": FINE_TUNING if tuned else 1.0}, {"params": head.parameters(), "share": 1.0}],
        lr=peak,
        weight_decay=TrainConfig.weight_decay,
    )
    batch = min(BATCH, len(labels))
    for step in range(steps):
        frozen = tuned and step < FROZEN * steps
        network.train(not frozen)  # a frozen encoder keeps its running means, too
        rate = learning_rate(step / steps, peak)
        for group in optimiser.param_groups:
            group["lr"] = 0.0 if frozen and group["params"][0] is encoder[0] else rate * group["share"]
        rng = np.random.default_rng([seed, 4, step])
        drawn = rng.choice(len(labels), batch, replace=False)
        images = torch.from_numpy(views.corrupted(views.pixels(drawn), drawn, rng))
        with torch.set_grad_enabled(not frozen):
            features = _features(network, images)
        loss = F.cross_entropy(head(features), labels[drawn])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if on_step:
            on_step(which, step + 1, steps)
    network.eval()
