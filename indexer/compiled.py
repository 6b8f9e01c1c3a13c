"""Which optional engines are installed, and whether they work."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType


@cache
def has_numba() -> bool:
    """Tell whether numba, the extra ``fast``, is installed, without importing it."""
    return find_spec("numba") is not None


@cache
def has_faiss() -> bool:
    """Tell whether FAISS is installed, without importing it."""
    return find_spec("faiss") is not None


@cache
def kernels() -> ModuleType | None:
    """Import the compiled loops; None where numba is missing, switched off, or does not fit this numpy.

    Loading takes some tenths of a second: ask :func:`has_numba` first where that would not pay.
    """
    return loops("kernels")


@cache
def loops(name: str) -> ModuleType | None:
    """Import one of the modules of compiled loops, ``hashae.indexer.<name>``; None as for :func:`kernels`."""
    if not has_numba():
        return None
    try:
        from numba.core import config

        module = import_module(f"hashae.indexer.{name}")
    except (ImportError, SystemError):  # what numba raises beside a numpy that it does not know
        return None
    return None if getattr(config, "DISABLE_JIT", 0) else module
