"""Every error hashae raises on purpose.

::

    HashaeError
    ├── ConfigError        (ValueError)       a setting that cannot be used
    ├── CodeError          (ValueError)       codes of the wrong dtype, shape or width
    ├── ImageError         (OSError)          a picture that cannot be read; carries `path` and `reason`
    ├── SourceError        (OSError)          a folder that is missing, empty or unreadable
    ├── EncoderFileError   (ValueError)       a model file that is not a hashae encoder
    ├── CheckpointError    (ValueError)       a training checkpoint that does not fit
    ├── EncoderMismatch    (ValueError)       codes of one encoder offered to another
    ├── CollectionError    (OSError)          a collection file that cannot be used
    │   └── ConnectionLost                    its server is away, or went away in the middle
    ├── DocumentError      (ValueError)       a plan or verdict file that cannot be used
    ├── UnknownName        (LookupError)      no model, image or encoder of that name
    ├── SearchTooLarge     (ValueError)       a search that would not end in reasonable time
    ├── TrainingDiverged   (ArithmeticError)  the loss is no longer a finite number
    └── MissingDependency  (ImportError)      an optional library is not installed

A message says what was given, what was expected and what to do. The second base class lets callers keep
writing ``except ValueError``. The command line turns any `HashaeError` into one line and an exit status.
"""

from __future__ import annotations

from pathlib import Path


class HashaeError(Exception):
    """Base of all errors raised by hashae."""


class ConfigError(HashaeError, ValueError):
    """A setting is outside its range or contradicts another one."""


class CodeError(HashaeError, ValueError):
    """An array is not a batch of packed codes of the expected width."""


class ImageError(HashaeError, OSError):
    """A picture cannot be read.

    Parameters
    ----------
    path
        The file as it was given.
    reason
        Short sentence without the path, for example ``"truncated file"``.
    """

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = Path(path)
        self.reason = reason


class SourceError(HashaeError, OSError):
    """A folder of pictures is missing, holds no picture or cannot be listed."""


class EncoderFileError(HashaeError, ValueError):
    """A file is not an encoder written by hashae, or is damaged."""


class CheckpointError(HashaeError, ValueError):
    """A training checkpoint is damaged or belongs to other settings."""


class EncoderMismatch(HashaeError, ValueError):
    """Codes of one encoder meet codes of another."""


class CollectionError(HashaeError, OSError):
    """A collection file is missing, foreign, newer, locked, read-only or out of space."""


class ConnectionLost(CollectionError):
    """The server of a collection cannot be reached, or went away in the middle; later the same may work."""


class DocumentError(HashaeError, ValueError):
    """A plan or verdict file is damaged, of another kind, or written by a newer hashae."""


class UnknownName(HashaeError, LookupError):
    """A name is not among the known ones."""


class SearchTooLarge(HashaeError, ValueError):
    """A search method was asked for by name but would look up too many keys."""


class TrainingDiverged(HashaeError, ArithmeticError):
    """The training loss became infinite or not a number."""


class MissingDependency(HashaeError, ImportError):
    """A library of an optional extra is not installed.

    Parameters
    ----------
    need
        What cannot be done without it, for example ``"training"``.
    extra
        Name of the extra that brings it, for example ``"train"``.
    """

    def __init__(self, need: str, extra: str) -> None:
        super().__init__(f"{need} needs libraries that are not installed; run: pip install 'hashae[{extra}]'")
        self.extra = extra
