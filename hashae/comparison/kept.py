"""Finished variants in a folder: a comparison that was interrupted goes on after them."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import numpy as np

from hashae.comparison.measure import Measures
from hashae.comparison.rows import Row
from hashae.encoder import Encoder, write_file
from hashae.errors import ConfigError

log = logging.getLogger(__name__)


class Kept:
    """Finished variants in a folder, one sub-folder each: ``row.json``, ``examples.npz`` and ``encoder.onnx``."""

    def __init__(self, run: Path, settings: dict[str, Any]) -> None:
        self._run = run
        run.mkdir(parents=True, exist_ok=True)
        file = run / "settings.json"
        if not file.exists():
            write_file(file, json.dumps(settings, indent=1).encode())
        try:
            found = json.loads(file.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{file} is damaged ({error}); use a new --run folder") from error
        if found != json.loads(json.dumps(settings)):
            known = found if isinstance(found, dict) else {}
            other = ", ".join(sorted(name for name in settings if known.get(name) != settings[name])) or "format"
            raise ConfigError(f"{run} holds a comparison with other settings ({other}); use a new --run folder")

    def _folder(self, variant: str, seed: int | None) -> Path:
        return self._run / f"{re.sub('[^A-Za-z0-9.=_-]+', '-', variant)}-{seed}"

    def find(self, variant: str, seed: int) -> Row | None:
        """Return a finished row, or None if there is none, or one that cannot be read: it is then made again."""
        folder = self._folder(variant, seed)
        try:
            values = json.loads((folder / "row.json").read_text("utf-8"))
            measures = Measures(**values["measures"])
            with np.load(folder / "examples.npz", allow_pickle=False) as file:
                examples = {name: file[name] for name in file.files}
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("%s cannot be read (%s); the variant is trained again", folder, error)
            return None
        return Row(variant, seed, measures, None, examples) if values["variant"] == variant else None

    def keep(self, row: Row, encoder: Encoder) -> None:
        """Write a row; ``row.json`` last, so that what is interrupted does not count as finished."""
        folder = self._folder(row.variant, row.seed)
        folder.mkdir(parents=True, exist_ok=True)
        encoder.save(folder / "encoder.onnx")
        with (folder / "examples.npz").open("wb") as file:
            np.savez_compressed(file, **row.examples)  # type: ignore[arg-type]  # names are strings
        write_file(folder / "row.json", json.dumps(row.to_dict(), indent=1).encode())
