"""Options that several commands share, defined once."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from hashae.place import SCHEMES, Place, ServerUrl, place_of

F = TypeVar("F", bound=Callable[..., Any])

UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}


def default_workers() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Duration(click.ParamType[float]):
    """A length of time such as ``90``, ``90s``, ``2m`` or ``1.5h``, in seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds."""
        if isinstance(value, (int, float)):
            return float(value)
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", str(value).strip())
        seconds = float(found[1]) * UNITS[found[2]] if found else 0.0
        if not 0 < seconds < math.inf:
            self.fail(f"{value!r} is no length of time; expected for example 90s, 2m or 1h", param, ctx)
        return seconds


class PlaceType(click.ParamType[Place]):
    """Where a collection is: a file, or the URL of a PostgreSQL database.

    Parameters
    ----------
    folders
        Take a folder, too.
    exists
        Refuse a path at which nothing is.
    """

    name = "place"

    def __init__(self, *, folders: bool = False, exists: bool = False) -> None:
        self._file = click.Path(exists=exists, dir_okay=folders, readable=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Place:
        """Return a path, or the URL."""
        from hashae.errors import ConfigError

        try:
            place = place_of(value)
        except ConfigError as error:
            self.fail(str(error), param, ctx)
        if isinstance(place, ServerUrl):
            return place
        path: Path = self._file.convert(str(value), param, ctx)
        return path


class PicturesType(click.ParamType["Path | str"]):
    """A folder or file of pictures: a path of this machine, or the address of an object store, kept as text.

    Parameters
    ----------
    path
        Checks paths of this machine.
    """

    name = "path"

    def __init__(self, path: click.Path | None = None) -> None:
        self._path = path or click.Path(readable=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path | str:
        """Return a path, or the address as the collection spells it."""
        if "://" not in str(value):
            return cast("Path | str", self._path.convert(value, param, ctx))
        from hashae.errors import SourceError
        from hashae.object_store import spelled

        try:
            return spelled(str(value))
        except SourceError as error:
            self.fail(str(error), param, ctx)


PICTURES = PicturesType()
"""An argument that names pictures, wherever they are."""


class OtherType(click.ParamType["Place | str"]):
    """Pictures or a collection: a folder, the address of one in an object store, a file, or the URL of a database."""

    name = "other"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Place | str:
        """Return a place, or an address as text."""
        scheme, colon, _ = str(value).partition("://")
        if colon and scheme not in SCHEMES:
            return str(PICTURES.convert(value, param, ctx))
        return PlaceType(folders=True, exists=True).convert(value, param, ctx)


def db_option(function: F) -> F:
    """Add ``--db FILE|URL``, else ``HASHAE_DB``, else the user's data folder."""
    return click.option(
        "--db",
        type=PlaceType(),
        metavar="FILE|URL",
        envvar="HASHAE_DB",
        show_envvar=True,
        help="Collection file, or postgresql+psycopg://USER@HOST/DATABASE.  [default: in the user's data folder]",
    )(function)


def json_option(function: F) -> F:
    """Add ``--json``: machine-readable output."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")(function)


def encoder_option(function: F) -> F:
    """Add ``--encoder NAME``: a shipped encoder, ``train``, or a file."""
    return click.option(
        "--encoder",
        "encoder_name",
        metavar="NAME",
        help="photo (shipped), train (learn one from the folder), or an encoder file that train wrote; becomes the "
        "collection's.  [default: the collection's own, else photo]",
    )(function)


def budget_option(function: F) -> F:
    """Add ``--budget TIME``."""
    return click.option(
        "--budget",
        type=Duration(),
        default="2m",
        show_default=True,
        help="Most time to spend on learning, with --encoder train: 90s, 2m, 1h.",
    )(function)


def workers_option(function: F) -> F:
    """Add ``--workers N``."""
    return click.option(
        "--workers",
        type=click.IntRange(1, 256),
        default=default_workers,
        show_default="number of cores",
        help="Threads that read and decode pictures.",
    )(function)


def calibrate_option(function: F) -> F:
    """Add ``--no-calibrate``."""
    return click.option(
        "--no-calibrate", is_flag=True, help="Do not measure the radius of a collection that is new or has grown."
    )(function)


def ray_option(function: F) -> F:
    """Add ``--ray [ADDRESS]``."""
    return click.option(
        "--ray",
        "ray_address",
        is_flag=False,
        flag_value="local",
        metavar="[ADDRESS]",
        callback=_ray_address,
        help="Let the processes of a Ray cluster do the work: local (started for this run), auto or HOST:PORT (one of "
        "which this machine is a node). Same answers. Needs the extra ray.",
    )(function)


def _ray_address(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is not None and os.path.isdir(value):  # `--ray FOLDER`: the option has taken the argument
        raise click.BadParameter(f"{value} is a folder; write --ray=local {value}, or --ray=HOST:PORT", ctx, param)
    return value


def collection_path(db: Place | None) -> Place:
    """Return the collection file, or URL, to use; the default folder is made if missing."""
    if db is not None:
        return db
    import platformdirs

    return platformdirs.user_data_path("hashae", ensure_exists=True) / "collection.db"
