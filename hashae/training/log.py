"""What a run writes down: JSON lines always, TensorBoard when it is installed."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch

from hashae.config import TrainConfig
from hashae.models.base import HashModel, Views

if TYPE_CHECKING:
    from hashae.training.loop import StepReport

BALANCE_EVERY = 10
"""Steps between two looks at the balance of the bits: it costs a forward pass."""


class RunLog:
    """Writes ``log.jsonl`` into a run folder; a no-op if the folder is None.

    Parameters
    ----------
    run
        Folder, made if missing.
    config
        Written as the first line.
    """

    def __init__(self, run: Path | None, config: TrainConfig) -> None:
        self._file = None
        self._board: Any = None
        self._balance = 0.0
        if run is not None:
            run.mkdir(parents=True, exist_ok=True)
            self._file = (run / "log.jsonl").open("a", encoding="utf-8")
            self._line({"config": asdict(config)})
            if find_spec("tensorboard") is not None:
                from torch.utils.tensorboard import SummaryWriter

                self._board = SummaryWriter(str(run))

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
        if self._board is not None:
            self._board.close()

    def bit_balance(self, model: HashModel, batch: Views, step: int) -> float:
        """Return the mean of ``|2 * mean - 1|`` over the bits of a batch, looked at every `BALANCE_EVERY` steps."""
        if step % BALANCE_EVERY == 1:
            device = next(model.parameters()).device
            with torch.no_grad():
                model.eval()
                bits = model.code(model.encode(batch.clean[:128].to(device))).float()
                model.train()
            self._balance = float((2 * bits.mean(dim=0) - 1).abs().mean())
        return self._balance

    def write(self, report: StepReport) -> None:
        """Log one step."""
        values = asdict(report)
        self._line(values)
        if self._board is not None:
            terms = values.pop("terms")
            for name, value in {**values, **terms}.items():
                self._board.add_scalar(name, value, report.step)

    def _line(self, values: dict[str, Any]) -> None:
        if self._file is not None:
            self._file.write(json.dumps(values) + "\n")
            self._file.flush()
