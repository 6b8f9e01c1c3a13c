"""The default recipe: from a folder of pictures to an encoder."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from hashae.config import ModelConfig, TrainConfig
from hashae.encoder import Encoder
from hashae.images.canonical import CanonicalForm
from hashae.models import create_model
from hashae.training.dataset import TrainingImages, load_training_images
from hashae.training.loop import StepReport, train
from hashae.training.radius import choose_radii

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
    TrainingDiverged
        If the loss is not finite.
    """
    form = form or CanonicalForm.preset("photo")
    model = replace(model or ModelConfig(), image_shape=form.shape)
    config = config or TrainConfig()
    images = load_training_images(folder, form, limit=limit, seed=config.seed, workers=workers, on_progress=on_load)
    config = replace(config, steps=steps or default_steps(len(images), config.batch))
    torch.manual_seed(config.seed)  # the weights a model starts from are part of the recipe
    settings = {field: getattr(model, field) for field in ("bits", "image_shape", "trunk", "width", "noise")}
    network = create_model(model.model, **settings)
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
    return encoder, images
