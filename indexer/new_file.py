"""Files that people get: a new one takes the place of an older one only when it is complete."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from hashae.errors import ConfigError, HashaeError


def check_target(path: Path, *, option: str = "--report") -> Path:
    """Return the file that writing to `path` would replace: a link stays a link, what it points to is replaced.

    Parameters
    ----------
    path
        File to write.
    option
        Named in errors.

    Raises
    ------
    ConfigError
        If the folder of `path` does not exist, or `path` is not a file.
    """
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise ConfigError(f"{option}: folder {target.parent} does not exist; create it first")
    if target.exists() and not target.is_file():
        what = "a folder" if target.is_dir() else "not a regular file"
        raise ConfigError(f"{option}: {path} is {what}; give the name of a file to write")
    return target


@contextmanager
def replacing(path: Path, *, what: str = "report", option: str = "--report") -> Iterator[TextIO]:
    """Open a file beside `path` that takes its place when the block ends well and vanishes when it does not.

    Parameters
    ----------
    path
        File to write, in UTF-8; bytes of file names that are no text are written as escapes.
    what, option
        Named in errors.

    Raises
    ------
    ConfigError
        As :func:`check_target`.
    HashaeError
        If the file cannot be written.
    """
    target = check_target(path, option=option)
    temporary = target.with_name(f".hashae-{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("x", encoding="utf-8", errors="backslashreplace", newline="") as file:
            if target.exists():
                shutil.copymode(target, temporary)  # a private file stays private
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except HashaeError:
        raise
    except OSError as err:
        reason = err.strerror or str(err)
        raise HashaeError(f"cannot write the {what} {path}: {reason}; nothing was changed there") from err
    finally:
        temporary.unlink(missing_ok=True)
