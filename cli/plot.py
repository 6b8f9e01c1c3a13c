"""Pictures of numbers: a figure and its file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hashae.drawing import new_figure
from hashae.errors import HashaeError


def check_plot(path: Path) -> None:
    """Refuse what could not be drawn or written.

    Raises
    ------
    MissingDependency
        If matplotlib is not installed.
    ConfigError
        If there is no such folder, or a folder has this name.
    """
    from hashae.indexer.new_file import check_target

    new_figure(1, 1)
    check_target(path, option="--plot")


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure as PNG.

    Raises
    ------
    HashaeError
        If the file cannot be written.
    """
    try:
        figure.savefig(path, format="png", dpi=120)
    except OSError as error:
        raise HashaeError(f"cannot write the plot {path}: {error.strerror or error}") from error
