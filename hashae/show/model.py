"""What is looked into: an encoder file (ONNX, with its decoder) or a trained model (torch), behind one interface."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hashae import pretrained
from hashae.codes import Codes
from hashae.encoder import Encoder
from hashae.errors import CheckpointError, ConfigError, MissingDependency
from hashae.images.canonical import CanonicalForm

Images = NDArray[np.float32]


class LatentModel(Protocol):
    """A model that can be looked into; images are canonical, ``float32 (n, channels, size, size)`` in [0, 1]."""

    @property
    def name(self) -> str:
        """Name for people."""

    @property
    def form(self) -> CanonicalForm:
        """Canonical form of its images."""

    @property
    def bits(self) -> int:
        """Code length."""

    @property
    def variational(self) -> bool:
        """Whether latents have a prior, the standard normal one."""

    @property
    def binary(self) -> bool:
        """Whether latents are meant to be zeros and ones."""

    def latents(self, images: Images) -> Images:
        """Return latents ``float32 (n, latent_size)``."""

    def decode(self, latents: Images) -> Images:
        """Return the images of latents."""

    def codes(self, images: Images) -> Codes:
        """Return codes ``uint8 (n, bits // 8)``."""

    def decode_codes(self, codes: Codes) -> Images:
        """Return the images that codes stand for."""

    def reconstruct(self, images: Images) -> Images:
        """Return what is left of images after the bottleneck."""

    def variances(self, images: Images) -> tuple[Images, Images]:
        """Return predicted mean and variance of every pixel."""


class EncoderModel:
    """An encoder file as a model.

    The latent of the binary model is the sigmoid of its logits, and its decoder takes it as it is. Of other models the
    file holds only a decoder of codes: their latent here is the code itself, as zeros and ones.

    Parameters
    ----------
    encoder
        With a decoder, where pictures are to be decoded.
    """

    variational = False
    binary = True

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.name, self.form, self.bits = encoder.name, encoder.form, encoder.bits
        made = encoder.info.made.get("model")
        self.model = str(made["model"]) if isinstance(made, dict) and "model" in made else "unknown"

    def latents(self, images: Images) -> Images:
        """Return latents ``float32 (n, bits)`` in [0, 1]."""
        logits = self.encoder.canonical_logits(images)
        if self.model != "binary":
            return (logits > 0).astype(np.float32)
        shares: Images = (0.5 + 0.5 * np.tanh(logits / 2)).astype(np.float32)  # the sigmoid, without overflow
        return shares

    def decode(self, latents: Images) -> Images:
        """Return the images of latents ``(n, bits)``."""
        return self.encoder.decode_shares(latents.clip(0, 1).astype(np.float32))

    def codes(self, images: Images) -> Codes:
        """Return codes ``uint8 (n, bits // 8)``."""
        return np.packbits(self.encoder.canonical_logits(images) > 0, axis=1)

    def decode_codes(self, codes: Codes) -> Images:
        """Return the images that codes stand for."""
        return self.encoder.decode(codes)

    def reconstruct(self, images: Images) -> Images:
        """Return what is left of images after the bottleneck."""
        return self.decode(self.latents(images))

    def variances(self, images: Images) -> tuple[Images, Images]:
        """Refuse: an encoder file holds no variances."""
        raise ConfigError(
            f"{self.name} is an encoder file, which holds no variances; give the run folder (train --run) or the "
            "weights (train --weights) of a variational model with likelihood=predicted"
        )


def open_model(source: str | Path, *, threads: int | None = None) -> LatentModel:
    """Open what a person named: an encoder file, a shipped encoder, a run folder, or a file of weights.

    Parameters
    ----------
    source
        ``x.onnx``, ``photo``, a folder that ``train --run`` wrote, or ``x.safetensors``.
    threads
        CPU threads; None leaves them.

    Raises
    ------
    EncoderFileError, CheckpointError
        If it is missing, damaged or something else.
    MissingDependency
        If torch is needed and not installed.
    """
    path = Path(source)
    if str(source) in pretrained.NAMES and not path.exists():
        return EncoderModel(pretrained.load(str(source), threads=threads))
    if path.is_dir() or path.suffix == ".safetensors":
        try:
            from hashae.training.trained import TrainedModel
        except ModuleNotFoundError as error:
            raise MissingDependency(f"looking into a run folder ({error.name} is missing)", "train") from error
        return TrainedModel(path)
    return EncoderModel(Encoder.load(path, threads=threads))


def read_log(run: str | Path) -> list[dict[str, Any]]:
    """Return the steps of a run folder's ``log.jsonl``, ordered; a step that was made again counts once, as last made.

    Raises
    ------
    CheckpointError
        If there is no log, or fewer than two steps in it.
    """
    path = Path(run) / "log.jsonl"
    try:
        lines = path.read_text("utf-8").splitlines()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CheckpointError(
            f"{run} holds no log.jsonl; expected the folder of a training: train --run {run}"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} cannot be read ({error})") from error
    steps: dict[int, dict[str, Any]] = {}
    for number, line in enumerate(lines, 1):
        try:
            values = json.loads(line)
            if "step" in values:
                steps[int(values["step"])] = {**values, "loss": float(values["loss"]), "sigma": float(values["sigma"])}
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines):
                break  # the last line of a run that was killed, or goes on at this moment
            raise CheckpointError(f"line {number} of {path} is damaged ({error}); train again") from error
    if len(steps) < 2:
        raise CheckpointError(f"{path} holds {len(steps)} steps; a curve needs two or more")
    return [steps[step] for step in sorted(steps)]


def has_noise(run: str | Path) -> bool:
    """Return whether the model of a run folder has noise before its sigmoid; one that was never saved is said to."""
    try:
        return bool(json.loads((Path(run) / "state.json").read_text("utf-8"))["model"]["model"] == "binary")
    except (OSError, ValueError, KeyError, TypeError):
        return True
