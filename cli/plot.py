"""Pictures of numbers: a figure and its file. The only place of the command line that knows matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hashae.errors import HashaeError, MissingDependency


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

    _figure_class()
    check_target(path, option="--plot")


def new_figure(width: float, height: float) -> Any:
    """Return an empty figure of so many inches; no window is ever opened."""
    return _figure_class()(figsize=(width, height), layout="constrained")


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


def _figure_class() -> Any:
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise MissingDependency(f"a plot ({error.name} is missing)", "train") from error
    return Figure
