"""The default recipe: from a folder of pictures to an encoder."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from hashae.config import FINE_TUNING, ModelConfig, TrainConfig
from hashae.encoder import Encoder
from hashae.errors import ConfigError
from hashae.images.canonical import CanonicalForm
from hashae.models import create_model
from hashae.training.dataset import TrainingImages, load_training_images
from hashae.training.loop import StepReport, train
from hashae.training.radius import choose_radii
from hashae.training.views import ViewMaker
from hashae.training.weights import load_weights, save_weights

EPOCHS = 40
MIN_STEPS, MAX_STEPS = 300, 6000


def default_steps(images: int, batch: int) -> int:
    """Return how many steps the recipe makes without a budget: 40 looks at each picture, from 300 to 6,000 steps."""
    return min(max(math.ceil(EPOCHS * images / min(batch, images)), MIN_STEPS), MAX_STEPS)


def learn_encoder(
    folder: str | Path,
    *,
    model: ModelConfig | None = None,
    config: TrainConfig | None = None,
    form: CanonicalForm | None = None,
    name: str | None = None,
    steps: int | None = None,
    limit: int = 10_000,
    workers: int = 2,
    run: Path | None = None,
    resume: bool = False,
    start: str | Path | None = None,
    weights: Path | None = None,
    quantised: bool = False,
    on_load: Callable[[int, int], None] | None = None,
    on_step: Callable[[StepReport], None] | None = None,
) -> tuple[Encoder, TrainingImages]:
    """Train an encoder on the pictures of a folder.

    Parameters
    ----------
    folder
        Scanned with its sub-folders.
    model, config, form
        Settings; None takes the defaults: the binary model with 256 bits on the ``photo`` form. The image shape of
        `model` follows from `form`.
    name
        Of the encoder; None takes the folder's name.
    steps
        Optimiser steps; None takes :func:`default_steps`. A budget in `config` can only make them fewer.
    limit
        Most pictures that are learned from.
    workers
        Decoding threads.
    run, resume
        As in :func:`hashae.training.train`.
    start
        Weights to start from instead of random ones: ``photo`` for those of the shipped encoder, or a file that
        `weights` wrote. They bring their own model and canonical form; `model` and `form` must be None. Without a
        `config`, the learning rate is a quarter of the usual.
    weights
        File (``.safetensors``) to write the trained weights to, so that another training can start from them.
    quantised
        Return the encoder with 8-bit arithmetic, see :mod:`hashae.training.quantise`.
    on_load
        Called with (done, total) while pictures are decoded.
    on_step
        Called after each step.

    Returns
    -------
    Encoder and the images it was trained on.

    Raises
    ------
    SourceError
        If the folder is missing or holds too few pictures.
    ConfigError
        If settings contradict each other.
    CheckpointError
        If `start` names no weights.
    TrainingDiverged
        If the loss is not finite.
    """
    network = None
    if start is not None:
        if model is not None or form is not None:
            raise ConfigError("model settings are given beside weights to start from; the weights bring their own")
        network, form = load_weights(start)
        config = config or TrainConfig(learning_rate=TrainConfig.learning_rate * FINE_TUNING)
    form = form or CanonicalForm.preset("photo")
    config = config or TrainConfig()
    images = load_training_images(folder, form, limit=limit, seed=config.seed, workers=workers, on_progress=on_load)
    config = replace(config, steps=steps or default_steps(len(images), config.batch))
    torch.manual_seed(config.seed)  # the weights a model starts from are part of the recipe
    if network is None:
        settings = {**asdict(model or ModelConfig()), "image_shape": form.shape}
        network = create_model(settings.pop("model"), **settings)
    result = train(network, images, config, form=form, run=run, resume=resume, on_step=on_step)
    # The exporter is slow to import: nobody should wait for it before the first step.
    from hashae.training.export import export_encoder

    encoder = export_encoder(
        network,
        form,
        name=name or Path(folder).resolve().name or "encoder",
        radii=choose_radii(network, images, form, config.seed),
        result=result,
        config=config,
    )
    if quantised:
        from hashae.training.quantise import CALIBRATION, quantise

        rows = np.sort(np.random.default_rng(config.seed).permutation(len(images))[:CALIBRATION])
        encoder = quantise(encoder, ViewMaker(images, form).clean(rows))
    if weights is not None:
        save_weights(network, form, weights)
    return encoder, images
