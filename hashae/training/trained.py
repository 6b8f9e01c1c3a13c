"""A trained model to look into: arrays in, arrays out, with the latents and variances that an encoder file lacks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hashae.codes import Codes, pack, unpack
from hashae.errors import CheckpointError, ConfigError
from hashae.images.canonical import CanonicalForm
from hashae.models.base import HashModel
from hashae.models.binary import BinaryAutoencoder
from hashae.models.variational import VariationalAutoencoder
from hashae.training.weights import WEIGHTS, load_weights

Images = NDArray[np.float32]

BLOCK = 256


class TrainedModel:
    """A model with the weights of a finished training.

    Parameters
    ----------
    source
        A run folder (of ``train --run``), a file of weights (of ``train --weights``), or the name of a shipped encoder.

    Raises
    ------
    CheckpointError
        If there are no weights, or damaged ones.
    """

    def __init__(self, source: str | Path) -> None:
        path = Path(source)
        if path.is_dir():
            if not (path / WEIGHTS).is_file():
                raise CheckpointError(
                    f"{path} holds no {WEIGHTS}; it is written when a training is finished: train with --run {path}, "
                    "or go on with --resume"
                )
            path = path / WEIGHTS
            source = path
        model, self.form = load_weights(source)
        self.model = model.eval()
        self.name = model.config.model
        if path.name == WEIGHTS and path.parent.name != self.name:
            self.name += f" ({path.parent.name})"

    @classmethod
    def of(cls, model: HashModel, form: CanonicalForm) -> TrainedModel:
        """Return a model that is in memory already; `form` is the canonical form it was trained with."""
        made = cls.__new__(cls)
        made.model, made.form, made.name = model.eval(), form, model.config.model
        return made

    @property
    def bits(self) -> int:
        """Code length."""
        return self.model.config.bits

    @property
    def variational(self) -> bool:
        """Whether latents have a prior, the standard normal one, that random latents can be drawn from."""
        return isinstance(self.model, VariationalAutoencoder)

    @property
    def binary(self) -> bool:
        """Whether latents are meant to be zeros and ones."""
        return isinstance(self.model, BinaryAutoencoder)

    def latents(self, images: Images) -> Images:
        """Return what the decoder is fed, without noise: ``float32 (n, latent_size)``.

        Parameters
        ----------
        images
            Canonical images ``float32 (n, channels, size, size)``.
        """
        return self._run(lambda x: self.model.latent(self.model.encode(x)), images)

    def codes(self, images: Images) -> Codes:
        """Return codes ``uint8 (n, bits // 8)``."""
        return pack(self._run(lambda x: self.model.code(self.model.encode(x)), images) > 0)

    def decode(self, latents: Images) -> Images:
        """Return images ``float32 (n, channels, size, size)`` of latents."""
        return self._run(self.model.decode, latents)

    def decode_codes(self, codes: Codes) -> Images:
        """Return the images that codes stand for."""
        return self._run(self.model.decode_code, unpack(codes).astype(np.float32))

    def reconstruct(self, images: Images) -> Images:
        """Return what is left of images after the bottleneck, before anything is rounded."""
        return self._run(self.model.reconstruct, images)

    def variances(self, images: Images) -> tuple[Images, Images]:
        """Return mean and variance that the decoder predicts for every pixel, each shaped like `images`.

        Raises
        ------
        ConfigError
            If the decoder predicts no variances.
        """
        model = self.model
        if not isinstance(model, VariationalAutoencoder) or model.settings.likelihood != "predicted":
            raise ConfigError(
                f"{self.name} predicts no variances; expected a variational model trained with "
                "--model variational --set likelihood=predicted"
            )
        latents = self.latents(images)
        mean = self._run(lambda z: model.decode_distribution(z)[0], latents)
        return mean, self._run(lambda z: model.decode_distribution(z)[1], latents)

    @staticmethod
    def _run(function: Callable[[Tensor], Any], values: NDArray[Any]) -> Images:
        with torch.no_grad():
            parts = [
                function(torch.from_numpy(values[start : start + BLOCK])).float()
                for start in range(0, max(len(values), 1), BLOCK)
            ]
        whole: Images = torch.cat(parts).numpy()
        return whole
