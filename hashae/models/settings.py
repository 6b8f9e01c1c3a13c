"""Settings that only one model has: a small frozen dataclass beside the model, checked from what its fields say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from hashae.config import ModelConfig, Option
from hashae.errors import ConfigError

T = TypeVar("T")
S = TypeVar("S", bound="Settings")

KINDS = {bool: "True or False", int: "a whole number", float: "a number"}


def setting(default: T, *, above: float | None = None, least: float | None = None, below: float | None = None) -> T:
    """Return a field with a range: larger than `above`, at least `least`, smaller than `below`; None is no limit."""
    limits = {"larger than": above, "at least": least, "smaller than": below}
    return field(default=default, metadata=limits)


@dataclass(frozen=True)
class Settings:
    """Base of the settings of one model; has none itself."""

    @classmethod
    def read(cls: type[S], model: str, options: Mapping[str, Option]) -> S:
        """Return the settings in `options`, defaults for the rest.

        Parameters
        ----------
        model
            Named in errors.
        options
            Values by name. A whole number may stand for any number.

        Raises
        ------
        ConfigError
            If a setting is unknown, of another type, or out of its range.
        """
        known = {item.name: item for item in fields(cls)}
        unknown = sorted(set(options) - set(known))
        if unknown:
            shared = ", ".join(sorted(item.name for item in fields(ModelConfig) if item.name != "options"))
            own = f"its own are {', '.join(sorted(known))}" if known else "it has none of its own"
            raise ConfigError(
                f"unknown setting {', '.join(unknown)} of the {model} model; {own}, those of every model {shared}"
            )
        hints = get_type_hints(cls)
        values = {name: _typed(name, model, value, hints[name]) for name, value in options.items()}
        for name, value in values.items():
            _check_range(name, model, value, known[name].metadata)
        return cls(**values)


def _typed(name: str, model: str, value: Any, kind: Any) -> Any:
    if get_origin(kind) is Literal:
        choices = get_args(kind)
        if value not in choices:
            raise ConfigError(f"{name} of the {model} model is {value!r}; expected one of {', '.join(choices)}")
        return value
    right = isinstance(value, (int, float) if kind is float else kind) and (kind is bool or not isinstance(value, bool))
    if not right:
        raise ConfigError(f"{name} of the {model} model is {value!r}; expected {KINDS[kind]}")
    return kind(value)


def _check_range(name: str, model: str, value: Any, limits: Mapping[str, float | None]) -> None:
    tests = {"larger than": lambda limit: value > limit, "at least": lambda limit: value >= limit}
    tests["smaller than"] = lambda limit: value < limit
    given = {words: limit for words, limit in limits.items() if limit is not None}
    if not all(tests[words](limit) for words, limit in given.items()):
        expected = " and ".join(f"{words} {limit:g}" for words, limit in given.items())
        raise ConfigError(f"{name} of the {model} model is {value}; expected {expected}")
