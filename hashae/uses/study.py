"""Probes and the few-labels experiment on data of a comparison."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from hashae.codes import unpack
from hashae.comparison.data import ComparisonData
from hashae.errors import ConfigError
from hashae.show.model import LatentModel
from hashae.show.pictures import fit_form
from hashae.training.dataset import TrainingImages
from hashae.training.few_labels import FewLabels, few_labels
from hashae.training.trained import TrainedModel
from hashae.uses.probe import CLASSIFIERS, Labels, Probe, probe


def run_probes(
    model: LatentModel, data: ComparisonData, *, classifiers: Sequence[str] = CLASSIFIERS, seed: int = 0
) -> list[Probe]:
    """Train classifiers on the codes, and on the latents, of a model.

    Parameters
    ----------
    model
        Frozen.
    data
        With labels.
    classifiers
        Some of :data:`hashae.uses.probe.CLASSIFIERS`.
    seed
        Of the classifiers.

    Raises
    ------
    ConfigError
        If the data have no labels.
    """
    train_labels, test_labels = check_labels(data)
    train, test = (model.form(fit_form(part.pixels, model.form)) for part in (data.train, data.test))
    codes = [unpack(model.codes(images)).astype(np.float32) for images in (train, test)]
    latents = [model.latents(images) for images in (train, test)]
    return [
        one
        for name, (known, new) in (("codes", codes), ("latents", latents))
        for one in probe(name, known, train_labels, new, test_labels, classifiers=classifiers, seed=seed)
    ]


def run_few_labels(
    model: LatentModel,
    data: ComparisonData,
    *,
    count: int = 100,
    steps: int = 300,
    seed: int = 0,
    threads: int | None = None,
    on_step: Callable[[str, int, int], None] | None = None,
) -> FewLabels:
    """Run :func:`hashae.training.few_labels.few_labels` on the data.

    Parameters
    ----------
    model
        A :class:`hashae.training.trained.TrainedModel`: an encoder file cannot be trained further.
    data
        With labels.
    count, steps, seed, on_step
        As there.
    threads
        CPU threads; None leaves them.
    """
    if not isinstance(model, TrainedModel):
        raise ConfigError(f"{model.name} cannot be trained further; expected a run folder or weights")
    train_labels, test_labels = check_labels(data)
    train, test = (_fitted(part, model) for part in (data.train, data.test))
    return few_labels(
        model.model,
        model.form,
        train,
        train_labels,
        test,
        test_labels,
        count=count,
        steps=steps,
        augment=data.augment,
        seed=seed,
        threads=threads,
        on_step=on_step,
    )


def check_labels(data: ComparisonData) -> tuple[Labels, Labels]:
    """Return the labels of training and test images, or say that there are none."""
    if data.train_labels is None or data.test_labels is None:
        raise ConfigError(
            f"{data.name} has no labels; a probe needs at least two classes: sub-folders, or y_train and y_test"
        )
    return data.train_labels, data.test_labels


def _fitted(images: TrainingImages, model: TrainedModel) -> TrainingImages:
    """Return images whose side is a multiple of the thumb of the model's form, as the views want them."""
    form = model.form
    if images.pixels.shape[1] == form.channels and images.pixels.shape[-1] % form.thumb == 0:
        return images
    return TrainingImages(fit_form(images.pixels, form), images.aspects)
