"""The pieces into which a search for connected components falls, and how one of them is done, in any process.

A piece gets all codes and joins what it can tell of them in a union-find of its own: of the rows that share a key in a
part of one sorted table, of a band of rows with all that follow, or of some lists. It answers with the edges of its
forest. Pieces share nothing, so they can be done in any order, anywhere, and twice; what all forests join together are
the components.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashae.errors import ConfigError
from hashae.indexer.block_tables import Table
from hashae.indexer.compiled import loops
from hashae.indexer.components import Joiner
from hashae.indexer.pair_plan import JoinPlan
from hashae.indexer.pivots import nearest_pivots
from hashae.indexer.rule import MatchRule
from hashae.indexer.scan import Words

CHUNK = 1 << 20
"""Rows whose keys are made at a time."""
SPREAD = 0x9E3779B97F4A7C15
"""Odd multiplier that spreads keys over the parts of a table."""

Edges: TypeAlias = tuple[NDArray[np.int32], NDArray[np.int32]]
"""Rows that are not the smallest of their tree, ``int32 (m,)``, and the smallest rows of their trees."""


@dataclass(frozen=True)
class Join:
    """What all pieces of one search share; arrays may be read-only.

    Attributes
    ----------
    words, width
        As of :class:`hashae.indexer.components.Joiner`.
    packed
        Words in the order of bits of the plan; None if that is the order of `words`.
    rule, limit, plan
        As there.
    laid
        Rows, columns, margins and largest margins of :func:`hashae.indexer.components.by_margin`; empty if no piece
        compares all.
    """

    words: Words
    width: int
    packed: Words | None
    rule: MatchRule
    limit: int
    plan: JoinPlan
    laid: tuple[NDArray[Any], ...] = ()


@dataclass(frozen=True)
class TablePart:
    """The rows of a sorted table whose spread key is `part` modulo `parts`."""

    table: Table
    part: int
    parts: int


@dataclass(frozen=True)
class Band:
    """The rows ``top <= i < bottom`` with all that follow."""

    top: int
    bottom: int


@dataclass(frozen=True)
class Lists:
    """Lists of rows, each ascending."""

    lists: tuple[NDArray[np.int64], ...]


Piece: TypeAlias = "TablePart | Band | Lists"


def join_part(join: Join, part: Piece) -> Edges:
    """Join what one piece can tell, and return the edges of its forest.

    Raises
    ------
    ConfigError
        If numba is not installed where this runs.
    """
    compiled: Any = loops("pair_kernels")
    if compiled is None:
        raise ConfigError("a process of the cluster has no numba; run there: pip install 'hashae[ray]'")
    words, rule = writable(join.words), MatchRule(join.rule.radius, writable(join.rule.margins))
    if isinstance(part, Lists):
        return _join_lists(join, part.lists, words, rule)
    joiner = Joiner(words, join.width, rule, join.limit, join.plan, 1, None)
    forest = np.arange(len(words), dtype=np.int32)
    if isinstance(part, TablePart):
        packed = words if join.packed is None else writable(join.packed)
        margins = rule.margins if rule.margins.any() else np.empty(0)
        assert join.plan.blocks is not None
        values = values_of(packed, part, join.plan.blocks.row_bits)
        joiner.join_runs(part.table, values, packed, margins, forest)
    else:
        bands: Any = loops("band_kernels")
        rows, columns, margins, largest = (writable(array) for array in join.laid)
        bands.connect_band(
            rows, columns, margins, largest, rule.radius, join.limit, forest, part.top, part.bottom
        )  # fmt: skip
    return _edges(forest)


def _join_lists(join: Join, lists: tuple[NDArray[np.int64], ...], words: Words, rule: MatchRule) -> Edges:
    """Join the rows of some lists: a forest of these rows alone, for all rows may be a thousand times as many."""
    rows = np.sort(np.concatenate(lists))
    rows = rows[np.r_[True, rows[1:] != rows[:-1]]]
    joiner = Joiner(words[rows], join.width, rule.of(rows), join.limit, join.plan, 1, None)
    forest = np.arange(len(rows), dtype=np.int32)
    for each in lists:
        joiner.join_list(np.searchsorted(rows, each), forest)
    nodes, roots = _edges(forest)
    return rows[nodes].astype(np.int32), rows[roots].astype(np.int32)


def _edges(forest: NDArray[np.int32]) -> Edges:
    """Return each row that is not the root of its tree, and that root."""
    loops("pair_kernels").flatten(forest)  # type: ignore[union-attr]
    nodes = np.flatnonzero(forest != np.arange(len(forest), dtype=np.int32))
    return nodes.astype(np.int32), forest[nodes]


def values_of(words: Words, part: TablePart, row_bits: int) -> Words:
    """Return the sorted values of a part of a table; all rows of one key are in one part."""
    compiled: Any = loops("pair_kernels")
    shift, found = np.uint64(64 - part.table.key_bits), []
    for start in range(0, len(words), CHUNK):
        chunk = words[start : start + CHUNK]
        values = np.empty(len(chunk), np.uint64)
        compiled.pack(chunk, part.table.segments, values)
        values += np.uint64(start)  # the row number is in the lowest bits, and there is room for all rows
        if part.parts > 1:
            # the high half of the product: its low bits depend on the low bits of the key alone
            spread = ((values >> shift) * np.uint64(SPREAD)) >> np.uint64(32)
            values = values[spread % np.uint64(part.parts) == part.part]
        found.append(values)
    assert (len(words) - 1).bit_length() <= row_bits
    values = np.concatenate(found)
    values.sort()
    return values


def nearest_part(shared: tuple[Words, Words, int], rows: tuple[int, int]) -> tuple[int, NDArray[np.int32]]:
    """Return the first of some rows, and the numbers of the pivots nearest to each of them.

    Parameters
    ----------
    shared
        Words, pivots, and how many are wanted.
    rows
        First, and last and one.
    """
    words, pivots, count = shared
    start, end = rows
    return start, nearest_pivots(writable(words[start:end]), writable(pivots), count, compiled=True)


def writable(array: NDArray[Any]) -> NDArray[Any]:
    """Return a view that numba takes for writable: for read-only arrays it would compile every loop once more.

    Memory that is shared between processes is read-only; no loop writes into what is made here.
    """
    if array.flags.writeable or array.size == 0:
        return array
    array = np.ascontiguousarray(array)
    if array.flags.writeable:
        return array
    buffer: Any = (ctypes.c_uint8 * array.nbytes).from_address(array.ctypes.data)
    buffer.keeps = array  # the memory lives as long as the view does
    view: NDArray[Any] = np.frombuffer(buffer, array.dtype).reshape(array.shape)
    return view
