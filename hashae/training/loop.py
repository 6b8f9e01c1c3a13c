"""The training loop.

One step, in order: set the rate and the noise, take a batch of views, forward, loss, check, backward, clip, step, log.

    hashae train FOLDER -o encoder.onnx --budget 2m
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hashae.codes import Codes, pack
from hashae.config import TrainConfig
from hashae.errors import ConfigError, TrainingDiverged
from hashae.images.canonical import CanonicalForm
from hashae.models.base import HashModel, LossWeights, Views
from hashae.training.batches import BatchRows
from hashae.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from hashae.training.dataset import MIN_IMAGES, TrainingImages
from hashae.training.log import RunLog
from hashae.training.positives import NeighbourPositives
from hashae.training.schedule import learning_rate, noise_sigma
from hashae.training.small_views import create_views
from hashae.training.views import ViewMaker
from hashae.training.weights import WEIGHTS, save_weights

PREPARED = 10_000
"""Most training images from which a model computes what is not learned, such as the scaling of its inputs."""

TIMED_STEPS = 8
"""Steps that are timed before the number of steps is fitted to a budget."""


@dataclass(frozen=True)
class StepReport:
    """What one step looked like.

    Attributes
    ----------
    step, steps
        Steps done and planned.
    loss
        Total loss of this batch.
    terms
        Its unweighted terms.
    sigma
        Standard deviation of the noise.
    rate
        Learning rate.
    balance
        Mean over bits of ``|2 * mean - 1|`` in this batch: 0 balanced, 1 stuck.
    seconds
        Since training began.
    """

    step: int
    steps: int
    loss: float
    terms: dict[str, float]
    sigma: float
    rate: float
    balance: float
    seconds: float


@dataclass(frozen=True)
class TrainResult:
    """How a training ended.

    Attributes
    ----------
    steps
        Steps made.
    images
        Number of training images.
    loss
        Mean total loss of the last twentieth of the steps, NaN if none was made.
    seconds
        Wall-clock time.
    """

    steps: int
    images: int
    loss: float
    seconds: float


def train(
    model: HashModel,
    images: TrainingImages | NDArray[np.uint8],
    config: TrainConfig | None = None,
    *,
    form: CanonicalForm | None = None,
    run: Path | None = None,
    resume: bool = False,
    on_step: Callable[[StepReport], None] | None = None,
) -> TrainResult:
    """Train a model in place.

    Parameters
    ----------
    model
        From :func:`hashae.models.create_model`; moved to the device of the training and back to the CPU.
    images
        Training images, or ``uint8 (n, [channels,] side, side)``.
    config
        Settings; None takes the defaults.
    form
        Canonical form; None takes ``photo`` for the model's image size, or ``plain`` if `images` is an array.
    run
        Folder for checkpoints, ``log.jsonl``, the finished ``weights.safetensors`` and, when TensorBoard is
        installed, its event files; None writes nothing.
    resume
        Go on from the checkpoint in `run`, to the number of steps planned there. Nothing is lost or drawn twice; only
        with ``neighbours`` above 1 or ``positives`` the similar images are looked for again, with the codes of then.
    on_step
        Called after every step.

    Raises
    ------
    ConfigError
        If model, images and canonical form do not fit each other.
    CheckpointError
        If `resume` finds no checkpoint, or one of another model.
    TrainingDiverged
        If the loss is not finite.
    """
    config = config or TrainConfig()
    images, form = _check_inputs(model, images, form, config)
    if config.threads:
        torch.set_num_threads(config.threads)
    device = _device(config)
    torch.manual_seed(config.seed)
    if model.needs_images and not resume:
        _prepare(model, images, form, config.seed)
    if model.closed_form:
        return _closed_form_result(model, images, form, run)
    # Channels last: the memory layout that the fast convolution kernels want.
    model.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    # The fused optimiser updates all weights in one pass over memory.
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    done = Progress(step=0, steps=config.steps, seconds=0.0)
    if resume:
        done = load_checkpoint(run, model, optimiser)
    views = create_views(images, form, config)
    rows = BatchRows(len(images), config.batch, config.neighbours, config.seed, lambda: _codes(model, views))
    friends = NeighbourPositives(
        config.positives, config.seed, lambda: _logits(model, views).numpy(), config.positives_from
    )
    started = time.monotonic() - done.seconds
    saved = time.monotonic()
    step, steps, history = done.step, done.steps, []
    half = _bfloat16(config, device)
    with RunLog(run, config) as log:
        timed_from, timed_at = step, time.monotonic()
        while step < steps:
            progress = step / steps
            drawn = rows.draw(step, progress)
            batch = views.batch(drawn, np.random.default_rng([config.seed, 1, step]))
            rate = learning_rate(progress, config.learning_rate)
            for group in optimiser.param_groups:
                group["lr"] = rate
            sigma = noise_sigma(progress, config.sigma, model.config.noise)
            weights = LossWeights(
                config.reconstruction,
                config.agreement,
                config.balance,
                config.decorrelation,
                config.temperature,
                sigma,
                progress,
                config.prefixes,
            )
            moved = _moved(batch, friends.pairs(drawn, progress), device)
            with torch.autocast(device.type, torch.bfloat16, enabled=half):
                losses = model.loss(moved, weights)
            loss = float(losses.total.detach())
            if not math.isfinite(loss):
                raise TrainingDiverged(
                    f"the loss is {loss} at step {step} with learning rate {rate:.2g} and noise {sigma:.2f}; "
                    "try a smaller learning_rate, or precision='float32'"
                )
            optimiser.zero_grad(set_to_none=True)
            losses.total.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimiser.step()
            step += 1
            history.append(loss)
            elapsed = time.monotonic() - started
            if config.budget is not None:
                pace = (time.monotonic() - timed_at) / (step - timed_from)
                steps = _fit_steps(config, step, steps, elapsed, pace, step - timed_from)
            terms = {name: float(value.detach()) for name, value in losses.terms.items()}
            report = StepReport(step, steps, loss, terms, sigma, rate, log.bit_balance(model, batch, step), elapsed)
            log.write(report)
            if on_step:
                on_step(report)
            if run is not None and (time.monotonic() - saved > config.checkpoint_every or step >= steps):
                save_checkpoint(run, model, optimiser, config, Progress(step, steps, elapsed, _recent(history)))
                saved = time.monotonic()
    model.to("cpu").eval()
    model.fit_threshold(_logits(model, views, 4096))
    _keep_weights(model, form, run)
    return TrainResult(step, len(images), _recent(history) if history else done.loss, time.monotonic() - started)


def _check_inputs(
    model: HashModel, images: TrainingImages | NDArray[np.uint8], form: CanonicalForm | None, config: TrainConfig
) -> tuple[TrainingImages, CanonicalForm]:
    size = model.config.image_shape[-1]
    if isinstance(images, np.ndarray):
        images = TrainingImages.from_array(images)
        channels, side = images.pixels.shape[1], images.pixels.shape[-1]
        form = form or CanonicalForm(
            name="plain" if channels == 1 else "colour",
            size=size,
            thumb=side,
            channels=channels,
            trim=False,
            rank=False,
        )
    form = form or CanonicalForm.preset("photo", size)
    if max(config.prefixes, default=0) > model.config.bits:
        raise ConfigError(f"prefixes are {config.prefixes}; expected at most the {model.config.bits} bits of the code")
    if form.shape != model.config.image_shape:
        raise ConfigError(f"the canonical form gives images {form.shape}; the model takes {model.config.image_shape}")
    if config.view_side not in {None, size} and (model.config.trunk != "pooled" or model.scaling is not None):
        raise ConfigError(
            f"view_side is {config.view_side} and the model's images are {size} pixels a side; expected "
            "trunk='pooled' and scaling='none' with it"
        )
    side = images.pixels.shape[-1]
    if images.pixels.shape[1] != form.channels or side % form.thumb:
        raise ConfigError(
            f"training images are {images.pixels.shape[1:]}; expected {form.channels} channels and a side that is a "
            f"multiple of the thumb, {form.thumb}"
        )
    if len(images) < MIN_IMAGES:
        raise ConfigError(f"{len(images)} images given; learning a code needs at least {MIN_IMAGES}")
    return images, form


def _prepare(model: HashModel, images: TrainingImages, form: CanonicalForm, seed: int) -> None:
    """Let the model compute what is not learned, from a sample of the clean training images."""
    rows = np.random.default_rng([seed, 3]).permutation(len(images))[:PREPARED]
    with torch.no_grad():
        model.prepare(torch.from_numpy(ViewMaker(images, form, strength=0).clean(np.sort(rows))))


def _closed_form_result(model: HashModel, images: TrainingImages, form: CanonicalForm, run: Path | None) -> TrainResult:
    """Finish a model that is computed and not trained; its loss is that of the training images."""
    started = time.monotonic()
    views = ViewMaker(images, form, strength=0)
    model.eval().fit_threshold(_logits(model, views, 4096))
    _keep_weights(model, form, run)
    clean = torch.from_numpy(views.clean(np.arange(min(len(images), 4096))))
    with torch.no_grad():
        loss = float(model.loss(Views(clean, clean, clean), LossWeights()).total)
    return TrainResult(0, len(images), loss, time.monotonic() - started)


def _keep_weights(model: HashModel, form: CanonicalForm, run: Path | None) -> None:
    """Write the finished model, thresholds and canonical form included, beside the checkpoint."""
    if run is not None:
        run.mkdir(parents=True, exist_ok=True)
        save_weights(model, form, run / WEIGHTS)


def _moved(batch: Views, alike: NDArray[np.bool_] | None, device: torch.device) -> Views:
    """Return the batch on the device, with the pairs that count as alike."""
    pairs = None if alike is None else torch.from_numpy(alike).to(device)
    return Views(batch.clean.to(device), batch.first.to(device), batch.second.to(device), pairs)


def _recent(history: list[float]) -> float:
    """Return the mean loss of the last twentieth of the steps."""
    return float(np.mean(history[-max(len(history) // 20, 1) :]))


def _device(config: TrainConfig) -> torch.device:
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device is cuda, but torch sees no CUDA device here; use device='auto' or 'cpu'")
    if config.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(config.device)


def _bfloat16(config: TrainConfig, device: torch.device) -> bool:
    if config.precision != "auto":
        return config.precision == "bfloat16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    # Without the instructions, bfloat16 is emulated and slower than float32.
    native = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return bool(native())


def _fit_steps(config: TrainConfig, step: int, steps: int, elapsed: float, pace: float, timed: int) -> int:
    """Fit the number of steps to what is left of the budget, from the seconds a step takes; again every 50 steps."""
    assert config.budget is not None
    if timed == TIMED_STEPS or (timed > TIMED_STEPS and timed % 50 == 0):
        return min(config.steps, step + math.floor(max(0.0, config.budget - elapsed) / pace))
    return min(steps, step) if elapsed >= config.budget else steps


def _logits(model: HashModel, views: ViewMaker, limit: int | None = None) -> Tensor:
    """Return logits of the clean training images, of the first `limit`, in evaluation mode."""
    training, device = model.training, model.threshold.device
    model.eval()
    total = min(len(views.images), limit or len(views.images))
    with torch.no_grad():
        parts = [
            model.encode(torch.from_numpy(views.clean(np.arange(i, min(i + 256, total)))).to(device)).float().cpu()
            for i in range(0, total, 256)
        ]
    model.train(training)
    return torch.cat(parts)


def _codes(model: HashModel, views: ViewMaker) -> Codes:
    """Return the codes of all clean training images, with the model as it is."""
    return pack((_logits(model, views) > model.threshold.cpu()).numpy())
