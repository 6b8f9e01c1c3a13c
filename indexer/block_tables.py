"""Tables of keys made of blocks: pairs within a radius by sorting.

Cut a code into k blocks of bits. Two codes within r bits differ in at most r of the blocks, so they agree on at least
k - r of them: among the C(k, r) keys made of k - r blocks each, one is equal (Manku, Jain, Das Sarma: Detecting
near-duplicates for web crawling, WWW 2007); fewer keys do where a pair may be met twice, see
:mod:`hashae.indexer.block_designs`. Each key is a table: one sort brings equal keys together, and only codes in one run
of equal keys are compared. Few blocks make few tables of long runs, many blocks the contrary; k is chosen by
what a sample of the codes says about both.

Learned bits are correlated, and some say nothing: a block of dead bits would make one run of everything. So the bits
are dealt to the blocks by their entropy, where the sample shows that this pays.

A row of a table is one 64-bit value: the key, then as many more bits of the code as fit, then the row number. One sort
of plain integers carries all three, and most pairs of a run are told apart by the bits in the value, without a look at
the codes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hashae.indexer.block_designs import Design, all_sets, few_sets
from hashae.indexer.scan import Words

MOST_TABLES = 300
"""More tables than this are not considered."""
MORE_BLOCKS = 6
"""Blocks beyond the fewest possible that are considered."""
SAMPLE = 8192
"""Codes that are looked at to choose the blocks."""
SAMPLED_TABLES = 6
"""Tables whose runs are counted in the sample, of each number of blocks considered."""
DEAD = 0.02
"""A bit that is one, or zero, in so small a share of codes says nothing."""
CHUNK = 1 << 16
"""Rows or pairs handled at a time, so that temporary arrays stay in the processor's cache."""


@dataclass(frozen=True, slots=True)
class JoinCosts:
    """What the steps of a join take, in nanoseconds.

    Attributes
    ----------
    row
        Pack, sort and read one row of a table.
    pair
        Compare two rows with the same key.
    word
        The same, for every 64 bits of a code beyond the first: they are not in the value, and have to be fetched.
    permute
        Put the bits of one byte of a code into another order.
    call
        Overhead of a table.
    """

    row: float
    pair: float
    word: float
    permute: float
    call: float


@dataclass(frozen=True, slots=True)
class Table:
    """One table.

    Attributes
    ----------
    chosen
        ``bool (blocks,)``: the blocks of the key.
    segments
        ``uint64 (segments, 4)``: bits of a code go to the value as ``(word[s0] >> s1 & s2) << s3``.
    key_bits
        Width of the key, the highest bits of the value.
    """

    chosen: NDArray[np.bool_]
    segments: NDArray[np.uint64]
    key_bits: int


@dataclass(frozen=True, slots=True)
class BlockPlan:
    """How a join goes about it.

    Attributes
    ----------
    order
        ``int64 (bits,)``: bit positions in the order in which :func:`permute` lays them down first; None leaves them.
    blocks
        Bit positions of each block, after that.
    tables
        One for each choice of blocks.
    row_bits
        Width of the row number, the lowest bits of a value.
    candidates
        Pairs that are expected to share a key, over all tables.
    cost
        Expected nanoseconds.
    """

    order: NDArray[np.int64] | None
    blocks: list[NDArray[np.int64]]
    tables: list[Table]
    row_bits: int
    candidates: float
    cost: float

    def masks(self, words: int) -> NDArray[np.uint64]:
        """Return the bits of each block as a mask, ``uint64 (blocks, words)``."""
        masks = np.zeros((len(self.blocks), words), np.uint64)
        for block, positions in enumerate(self.blocks):
            for position in positions.tolist():
                masks[block, position // 64] |= np.uint64(1 << (63 - position % 64))
        return masks


def code_positions(width: int) -> NDArray[np.int64]:
    """Return where the bits of a code of `width` bytes lie in its words: word * 64 + place from the highest bit.

    The words are those of :func:`hashae.indexer.scan.as_rows`, which view bytes as the machine does, and may be padded.
    """
    byte = np.arange(width)
    first = byte // 8 * 64 + ((7 - byte % 8) if np.little_endian else byte % 8) * 8
    return np.sort((first[:, None] + np.arange(8)).ravel())


def permute(words: Words, order: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return ``uint64 (n, words)`` whose bit i, from the highest of the first word, is bit ``order[i]`` of `words`."""
    rows = np.ascontiguousarray(words).view(np.uint8)
    wanted = -(-len(order) // 64)
    out = np.zeros((len(words), wanted if wanted <= 4 else 8), np.uint64)  # widths that compiled loops take
    target = np.full(words.shape[1] * 64, -1)
    target[order] = np.arange(len(order))
    byte = np.arange(256, dtype=np.uint8)
    for place in range(rows.shape[1]):
        within = place % 8 if not np.little_endian else 7 - place % 8
        for word in range(out.shape[1]):
            table = np.zeros(256, np.uint64)
            for bit in range(8):
                to = int(target[place // 8 * 64 + within * 8 + bit])
                if to // 64 == word and to >= 0:
                    table |= ((byte >> (7 - bit)) & 1).astype(np.uint64) << np.uint64(63 - to % 64)
            if table.any():
                for start in range(0, len(rows), CHUNK):
                    out[start : start + CHUNK, word] |= table[rows[start : start + CHUNK, place]]
    return out


def choose_blocks(
    words: Words, width: int, radius: int, costs: JoinCosts, *, repeats: bool = False
) -> BlockPlan | None:
    """Return the cheapest plan, as far as a sample of the codes can tell; None if there is none.

    Parameters
    ----------
    words
        ``uint64 (n, words)`` of :func:`hashae.indexer.scan.as_rows`.
    width
        Bytes of a code.
    radius
        Bits, inclusive, 0 to ``8 * width``.
    costs
        Of the machinery that will do it.
    repeats
        Pairs may be met several times, and :func:`in_first_table` is not asked: then fewer tables do.
    """
    designs = few_sets if repeats else all_sets
    n, bits = len(words), 8 * width
    row_bits = max(1, (n - 1).bit_length())
    places = code_positions(width)
    sample = words[np.linspace(0, n - 1, min(n, SAMPLE)).astype(np.int64)]
    ranked, live = _by_entropy(sample, places)
    pair = costs.pair + costs.word * (words.shape[1] - 1)
    best: BlockPlan | None = None
    for count in range(radius + 1, min(radius + 1 + MORE_BLOCKS, bits) + 1):
        for design in designs(count, radius, MOST_TABLES):
            for order in (None, _dealt(ranked, count)):
                cost = n * width * costs.permute if order is not None else 0.0
                cost += len(design) * (n * costs.row + costs.call)
                if best is not None and cost >= best.cost:
                    continue
                # positions in the words as they are, or all bits in a row once they have been permuted
                blocks = np.array_split(places if order is None else np.arange(bits), count)
                telling = [len(block) if order is None else -(-(live - i) // count) for i, block in enumerate(blocks)]
                tables = list(_tables(blocks, telling, design, row_bits))
                if min(table.key_bits for table in tables) == 0:
                    continue
                share = _shared(sample if order is None else permute(sample, order), tables)
                candidates = len(tables) * share * n * n / 2
                cost += candidates * pair
                if best is None or cost < best.cost:
                    best = BlockPlan(order, blocks, tables, row_bits, candidates, cost)
    return best


def pack(words: Words, table: Table, out: NDArray[np.uint64], first: int = 0) -> None:
    """Write the values of all rows, the first of which has number `first`: key, more bits, row number."""
    for start in range(0, len(words), CHUNK):
        part = words[start : start + CHUNK]
        value = np.arange(first + start, first + start + len(part), dtype=np.uint64)
        for word, right, mask, left in table.segments:
            value |= ((part[:, int(word)] >> right) & mask) << left
        out[start : start + CHUNK] = value


def in_first_table(
    words: Words, a: NDArray[np.int64], b: NDArray[np.int64], masks: NDArray[np.uint64], table: Table
) -> NDArray[np.bool_]:
    """Tell for each pair whether this is the first table in which its rows meet, so that it can be reported once.

    It is if the first blocks in which they agree are those of the key; `masks` are those of :meth:`BlockPlan.masks`.
    """
    differ = words[a] ^ words[b]
    upto = int(np.flatnonzero(table.chosen)[-1]) + 1
    first = np.ones(len(a), np.bool_)
    for mask, chosen in zip(masks[:upto], table.chosen[:upto], strict=True):
        first &= ~(differ & mask).any(axis=1) == chosen
    return first


def _by_entropy(sample: Words, places: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
    """Order `places`, those first whose bit is nearest to being one half of the time; tell how many say anything."""
    ones = np.unpackbits(sample.astype(">u8").view(np.uint8), axis=1)[:, places].mean(axis=0)
    away = np.abs(ones - 0.5)
    return places[np.argsort(away, kind="stable")], int((away < 0.5 - DEAD).sum())


def _dealt(ranked: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Deal ranked bits to `count` blocks, there and back, and return the blocks one after the other.

    Sizes are those of :func:`numpy.array_split`: the first blocks have one bit more.
    """
    rounds = [ranked[start : start + count] for start in range(0, len(ranked), count)]
    full = [part if turn % 2 == 0 else part[::-1] for turn, part in enumerate(rounds) if len(part) == count]
    rest = rounds[-1] if len(rounds[-1]) < count else ranked[:0]
    hands = [[part[block] for part in full] + ([rest[block]] if block < len(rest) else []) for block in range(count)]
    return np.array([position for hand in hands for position in hand])


def _tables(
    blocks: Sequence[NDArray[np.int64]], telling: Sequence[int], design: Design, row_bits: int
) -> Iterator[Table]:
    """Yield the tables; of each block, the first `telling` bits say something."""
    room = 64 - row_bits
    for taken in design:
        chosen = np.zeros(len(blocks), np.bool_)
        chosen[list(taken)] = True
        # a key without some bits of its blocks only makes longer runs, and loses nothing
        key = _dealt_out([blocks[block][: telling[block]] for block in taken], room)
        left = np.flatnonzero(~chosen).tolist()
        others = [blocks[block][: telling[block]] for block in left]
        whole = len(others) and sum(telling) == sum(map(len, blocks))  # then one piece is as good as many, and cheaper
        more = np.concatenate(others)[: room - len(key)] if whole else _dealt_out(others, room - len(key))
        yield Table(chosen, _segments(np.concatenate([key, more])), len(key))


def _dealt_out(parts: Sequence[NDArray[np.int64]], room: int) -> NDArray[np.int64]:
    """Put the beginnings of all parts one after the other, as evenly as they and the room allow."""
    lengths = [len(part) for part in parts]
    while sum(lengths) > room:
        lengths[int(np.argmax(lengths))] -= 1
    return np.concatenate(
        [np.empty(0, np.int64), *(part[:length] for part, length in zip(parts, lengths, strict=True))]
    )


def _segments(positions: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return how bits at these positions come to lie side by side, from the highest bit on."""
    if not len(positions):
        return np.empty((0, 4), np.uint64)
    breaks = np.flatnonzero((np.diff(positions) != 1) | (positions[1:] % 64 == 0)) + 1
    found, cursor = [], 64
    for piece in np.split(positions, breaks):
        cursor -= len(piece)
        word, end = divmod(int(piece[-1]), 64)
        found.append((word, 63 - end, (1 << len(piece)) - 1, cursor))
    return np.array(found, np.uint64)


def _shared(sample: Words, tables: Sequence[Table]) -> float:
    """Return the mean share of pairs of the sample that share a key, at least what balanced bits would make."""
    values, shares = np.empty(len(sample), np.uint64), []
    for number in np.linspace(0, len(tables) - 1, min(len(tables), SAMPLED_TABLES)).astype(np.int64).tolist():
        table = tables[number]
        pack(sample, table, values)
        keys = np.sort(values) >> np.uint64(64 - table.key_bits)
        edges = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1], True])
        runs = np.diff(edges).astype(np.float64)
        pairs = (runs * (runs - 1)).sum() / max(1.0, len(sample) * (len(sample) - 1.0))
        shares.append(max(pairs, 0.5**table.key_bits))
    return float(np.mean(shares))
