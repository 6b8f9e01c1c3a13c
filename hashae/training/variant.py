"""One model among others: trained, exported, and what only the torch model can tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from hashae.config import ModelConfig, TrainConfig
from hashae.encoder import Encoder
from hashae.images.canonical import CanonicalForm
from hashae.models import MODELS
from hashae.training.dataset import TrainingImages
from hashae.training.loop import StepReport, train
from hashae.training.radius import choose_radii

BLOCK = 256


@dataclass(frozen=True)
class TrainedVariant:
    """A trained model as an encoder.

    Attributes
    ----------
    encoder
        Exported, with its decoder.
    error
        Mean squared error of the test images, reconstructed from the latent before anything is rounded.
    sample
        These reconstructions of the first test images, ``float32 (shown, channels, size, size)``.
    seconds, steps
        Of the training; exporting is not counted.
    """

    encoder: Encoder
    error: float
    sample: NDArray[np.float32]
    seconds: float
    steps: int


def train_variant(
    name: str,
    model: ModelConfig,
    images: TrainingImages,
    test: TrainingImages,
    config: TrainConfig,
    form: CanonicalForm,
    *,
    shown: int = 12,
    on_step: Callable[[StepReport], None] | None = None,
) -> TrainedVariant:
    """Train a model and export it.

    Parameters
    ----------
    name
        Of the encoder.
    model, config, form
        Settings.
    images, test
        Training images, and others to measure the reconstruction on.
    shown
        Number of reconstructions to return.
    on_step
        As in :func:`hashae.training.train`.

    Raises
    ------
    ConfigError
        If settings cannot be used.
    TrainingDiverged
        If the loss is not finite.
    """
    from hashae.training.export import export_encoder  # slow to import

    torch.manual_seed(config.seed)
    network = MODELS[model.model](model)
    result = train(network, images, config, form=form, on_step=on_step)
    clean = form(test.thumbs(form))
    with torch.no_grad():
        parts = [network.reconstruct(torch.from_numpy(clean[i : i + BLOCK])) for i in range(0, len(clean), BLOCK)]
    again = torch.cat(parts).numpy()
    encoder = export_encoder(
        network, form, name=name, radii=choose_radii(network, images, form, config.seed), result=result, config=config
    )
    error = float(np.square(again - clean).mean())
    return TrainedVariant(encoder, error, again[:shown], result.seconds, result.steps)
