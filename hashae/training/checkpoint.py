"""A run folder on disk: weights, optimiser and random state as tensors, everything else as JSON. No pickle.

``model.safetensors``, ``optimiser.safetensors`` and ``state.json`` are replaced one by one, each in one step; all carry
the step they belong to, so that a run that was killed between two of them is noticed and not mixed.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hashae.config import ModelConfig, TrainConfig
from hashae.errors import CheckpointError
from hashae.models.base import HashModel

FORMAT = 1


@dataclass(frozen=True)
class Progress:
    """How far a run is."""

    step: int
    steps: int
    seconds: float
    loss: float = math.nan


def save_checkpoint(
    run: Path,
    model: HashModel,
    optimiser: torch.optim.Optimizer,
    config: TrainConfig,
    progress: Progress,
) -> None:
    """Write a checkpoint into the folder `run`, over the last one."""
    from safetensors.torch import save

    run.mkdir(parents=True, exist_ok=True)
    mark = {"step": str(progress.step)}
    moments = {
        f"{number}.{name}": torch.as_tensor(value).contiguous()
        for number, values in optimiser.state_dict()["state"].items()
        for name, value in values.items()
    }
    moments["torch_rng"] = torch.get_rng_state()
    state = {
        "format": FORMAT,
        "step": progress.step,
        "steps": progress.steps,
        "seconds": progress.seconds,
        "loss": progress.loss,
        "model": asdict(model.config),
        "train": asdict(config),
    }
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    _replace(run / "model.safetensors", save(weights, mark))
    _replace(run / "optimiser.safetensors", save(moments, mark))
    _replace(run / "state.json", json.dumps(state, indent=1).encode())


def load_checkpoint(run: Path | None, model: HashModel, optimiser: torch.optim.Optimizer) -> Progress:
    """Fill model, optimiser and random generators from a checkpoint.

    Raises
    ------
    CheckpointError
        If there is none, it is damaged, or it belongs to a model with other settings.
    """
    state = read_state(run)
    assert run is not None
    try:
        saved = ModelConfig.from_dict(state["model"])
        progress = Progress(int(state["step"]), int(state["steps"]), float(state["seconds"]), float(state["loss"]))
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{run}/state.json is damaged ({error}); start a new run folder") from error
    if saved != model.config:
        raise CheckpointError(
            f"{run} holds another model ({_differences(saved, model.config)}); start a new run folder"
        )
    weights = _load(run / "model.safetensors", state["step"])
    moments = _load(run / "optimiser.safetensors", state["step"])
    try:
        model.load_state_dict(weights)
        torch.set_rng_state(moments.pop("torch_rng"))
        parameters = [weight for group in optimiser.param_groups for weight in group["params"]]
        whole = optimiser.state_dict()
        whole["state"] = {}
        for name, value in moments.items():
            number, field = name.split(".", 1)
            # The fused optimiser reads weights and moments in memory order: it has to be the same.
            weight = parameters[int(number)]
            alike = value.shape == weight.shape
            moment = torch.empty_like(weight, device=value.device).copy_(value) if alike else value
            whole["state"].setdefault(int(number), {})[field] = moment
        optimiser.load_state_dict(whole)
    except (RuntimeError, LookupError, ValueError, TypeError) as error:
        raise CheckpointError(f"{run} does not fit this model ({error}); start a new run folder") from error
    return progress


def read_state(run: Path | None) -> dict[str, Any]:
    """Return ``state.json`` of a run folder.

    Raises
    ------
    CheckpointError
        If it is missing, damaged or of another format.
    """
    if run is None or not (run / "state.json").is_file():
        raise CheckpointError(f"{run} holds no checkpoint to resume from; train without resuming first")
    try:
        state: dict[str, Any] = json.loads((run / "state.json").read_text("utf-8"))
        if state["format"] != FORMAT:
            raise CheckpointError(f"{run} has checkpoint format {state['format']}; this version reads {FORMAT}")
        int(state["step"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{run}/state.json is damaged ({error}); start a new run folder") from error
    return state


def _differences(saved: ModelConfig, wanted: ModelConfig) -> str:
    """Name the settings in which two models differ, with both values; of two kinds of models, only the kinds."""
    if saved.model != wanted.model:
        return f"model {saved.model}, not {wanted.model}"
    one, other = ({**asdict(config), **config.options} for config in (saved, wanted))
    changed = [name for name in one if name != "options" and one[name] != other.get(name)]
    return ", ".join(f"{name} {one[name]}, not {other.get(name)}" for name in changed)


def _load(path: Path, step: int) -> dict[str, Tensor]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            found = (file.metadata() or {}).get("step")
            if found != str(step):
                raise CheckpointError(
                    f"{path} is of step {found}, state.json of step {step}: the run was killed while "
                    "saving; start a new run folder"
                )
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (OSError, SafetensorError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{path} is missing or damaged ({error}); start a new run folder") from error


def _replace(path: Path, data: bytes) -> None:
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
