"""Lay the source out as it is imported, for mypy and pyright: run before either.

``hashae.indexer``, ``hashae.db`` and ``hashae.cli`` live in top-level folders and are mapped into the package by an
import hook, which type checkers do not follow. This makes ``build/types/hashae`` out of links to all parts.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import tomllib

ROOT = Path(__file__).resolve().parents[1]
VIEW = ROOT / "build" / "types"


def main() -> None:
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    shutil.rmtree(VIEW, ignore_errors=True)
    (VIEW / "hashae").mkdir(parents=True)
    for source in (ROOT / "hashae").iterdir():
        if source.name != "__pycache__":
            (VIEW / "hashae" / source.name).symlink_to(source)
    for package, folder in tool["package-dir"].items():
        VIEW.joinpath(*package.split(".")).symlink_to(ROOT / folder)


if __name__ == "__main__":
    main()
