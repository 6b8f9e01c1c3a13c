"""What travels between this process and those of a cluster: tables of files to read, and of what became of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from hashae.encoder import Encoded
from hashae.indexer.remote import Outcome, Wanted

_SCHEMA = ("content", "width", "height", "format", "reason", "lasts", "thumb")


def table_of(number: int, files: Sequence[Wanted], *, isolate: bool) -> Any:
    """Return the block of that number, as it is sent to :func:`hashae.indexer.cluster.reading.read_block`."""
    import pyarrow

    return pyarrow.table(
        {
            "block": pyarrow.array([number] * len(files), pyarrow.int64()),
            "path": pyarrow.array([os.fsencode(file.path) for file in files], pyarrow.binary()),
            "known": pyarrow.array([file.known for file in files], pyarrow.binary()),
            "alone": pyarrow.array([file.alone or isolate for file in files], pyarrow.bool_()),
        }
    )


def table_back(rows: Sequence[tuple[Outcome, bytes | None]]) -> Any:
    """Return what became of the files of a block, with the thumbs of those that were decoded."""
    import pyarrow

    columns: dict[str, list[Any]] = {name: [] for name in _SCHEMA}
    for outcome, thumb in rows:
        for name, value in zip(_SCHEMA, (*_row(outcome), thumb), strict=True):
            columns[name].append(value)
    kinds = {"width": pyarrow.int32(), "height": pyarrow.int32(), "lasts": pyarrow.bool_()}
    return pyarrow.table({name: pyarrow.array(columns[name], kinds.get(name, pyarrow.binary())) for name in _SCHEMA})


def _row(outcome: Outcome) -> tuple[Any, ...]:
    width, height, kind = outcome.image or (None, None, None)
    reason = None if outcome.reason is None else outcome.reason.encode("utf-8", "surrogatepass")
    return outcome.content, width, height, None if kind is None else kind.encode(), reason, outcome.lasts


def part_of(table: Any) -> tuple[list[Outcome], Encoded | None]:
    """Return what a part of the last stage says: outcomes, and codes of those that were decoded."""
    names = ("content", "width", "height", "format", "reason", "lasts")
    outcomes = [
        Outcome(
            content,
            None if kind is None else (width, height, kind.decode()),
            None if reason is None else reason.decode("utf-8", "surrogatepass"),
            lasts,
        )
        for content, width, height, kind, reason, lasts in zip(*(table[n].to_pylist() for n in names), strict=True)
    ]
    codes = [code for code in table["code"].to_pylist() if code is not None]
    if not codes:
        return outcomes, None
    sure, grey = (
        np.array([value for value in table[name].to_pylist() if value is not None], np.float32)
        for name in ("confidence", "detail")
    )
    return outcomes, Encoded(np.frombuffer(b"".join(codes), np.uint8).reshape(len(codes), -1), sure, grey)
