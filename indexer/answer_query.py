"""Answer a question about one picture: by the file alone where that is enough, else by the index in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import perf_counter

from hashae.codes import Codes
from hashae.encoder import Encoder
from hashae.errors import ConfigError
from hashae.indexer.answer import Answer, ImageMatch
from hashae.indexer.facts import Fact
from hashae.indexer.file_search import FileAnswer
from hashae.indexer.match import Match
from hashae.indexer.memory import TooLittleMemory
from hashae.indexer.parts import Parts
from hashae.indexer.planner import Explanation
from hashae.indexer.scan import check_radius


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a picture: exactly one of the four.

    Attributes
    ----------
    exact
        Every image with exactly its code.
    radius
        Every image at most so many bits away.
    k
        So many images with the fewest differing bits.
    matches
        Every image that a duplicate search would take for the same.
    pgvector
        With `k`: by the index of pgvector, which may miss some; how many is measured and told.

    Raises
    ------
    ConfigError
        If it is none of them, or more than one.
    """

    exact: bool = False
    radius: int | None = None
    k: int | None = None
    matches: bool = False
    pgvector: bool = False

    def __post_init__(self) -> None:
        if self.exact + (self.radius is not None) + (self.k is not None) + self.matches != 1:
            raise ConfigError("a query takes exactly one of exact, radius, k and matches")
        if self.pgvector and self.k is None:
            raise ConfigError("pgvector finds nearest images only; give k")


@dataclass(frozen=True, slots=True)
class _Found:
    matches: Sequence[Match]
    allowed: Sequence[float | None]
    rule: str | None = None
    explanation: Explanation | None = None


def answer_query(
    parts: Parts, encoder: tuple[int, Encoder], code: Codes, fact: Fact, question: Question, *, explain: bool
) -> Answer:
    """Answer a question about one picture.

    Parameters
    ----------
    parts
        Of the collection.
    encoder
        Row id and encoder in use.
    code, fact
        Of the picture, ``uint8 (bits // 8,)``, made by that encoder.
    question
        What is asked.
    explain
        Say how the answer was found.

    Raises
    ------
    ConfigError
        If a number is out of range.
    """
    found = _search(parts, encoder, code, question, explain=explain)
    rows = parts.catalogue.rows(match.id for match in found.matches)
    facts = parts.facts.of(encoder[0], rows)
    return Answer(
        matches=tuple(
            ImageMatch(
                *(row.id, row.path, match.distance, row.size, row.width, row.height, row.format),
                confidence=known.confidence,
                featureless=parts.is_featureless(known),
                allowed=most,
            )
            for match, most in zip(found.matches, found.allowed, strict=True)
            if (row := rows.get(match.id)) is not None and (known := facts.get(match.id)) is not None
        ),
        bits=encoder[1].bits,
        code=code.tobytes().hex(),
        confidence=fact.confidence,
        featureless=parts.is_featureless(fact),
        rule=found.rule,
        explanation=found.explanation,
    )


def _search(parts: Parts, encoder: tuple[int, Encoder], code: Codes, question: Question, *, explain: bool) -> _Found:
    id_, bits = encoder[0], encoder[1].bits
    k, radius = question.k, 0 if question.exact else question.radius
    asked = None if radius is None else _ask_file(parts, id_, bits, code.tobytes(), radius)
    if question.pgvector and k is not None:
        return _ask_pgvector(parts, id_, bits, code.tobytes(), k)
    if k is not None and parts.database.is_server and not parts.tables.loaded(id_):
        asked = parts.file.nearest(id_, bits, code.tobytes(), k)  # reading all codes over a network takes longer
    if asked is None and not question.matches:
        asked = _ask_blocks(parts, id_, bits, code, radius, k)
    if asked is not None:
        return _Found(asked.matches, [None] * len(asked.matches), explanation=asked.explanation if explain else None)
    table = parts.tables.current(id_, bits)
    index, how = table.index, None
    if question.matches:
        from hashae.indexer.own_matches import matches_by_rule

        ruling = parts.rule(*encoder, len(index))
        known = parts.tables.stored_crowding(table)
        ruled = matches_by_rule(index, code, ruling, crowding=known, threads=parts.threads)
        if explain:
            how = replace(index.explain(code, radius=ruled.searched), answers=len(ruled.matches))
        return _Found(ruled.matches, ruled.allowed, str(ruling), how)
    if explain:
        found, how = index.explained(code, radius=radius if k is None else None, k=k)
    else:
        found = index.nearest(code, k) if k is not None else index.within(code, radius or 0)
    return _Found(found, [None] * len(found), explanation=how)


def _ask_pgvector(parts: Parts, encoder: int, bits: int, code: bytes, k: int) -> _Found:
    from hashae.indexer.pgvector import MEASURED, SAMPLE, VectorIndex

    index, start = VectorIndex(parts.database, encoder, bits), perf_counter()
    made = index.current(parts.catalogue.generation())
    found = index.nearest(code, k)
    why = (
        f"the index of pgvector, asked for by name; of the {MEASURED} nearest it finds {made.recall:.1%}, measured on "
        f"{SAMPLE} codes of the collection"
    )
    how = Explanation("pgvector", why, 1, len(found), perf_counter() - start, len(found))
    return _Found(found, [None] * len(found), explanation=how)  # told unasked: some may be missing


def _ask_file(parts: Parts, encoder: int, bits: int, code: bytes, radius: int) -> FileAnswer | None:
    """Return what the file answers by itself, or None where an index in memory is there, or is worth making."""
    if check_radius(radius, bits) == 0:
        return parts.file.exact(encoder, code)
    return None if parts.tables.loaded(encoder) else parts.file.within(encoder, bits, code, radius)


def _ask_blocks(
    parts: Parts, encoder: int, bits: int, code: Codes, radius: int | None, k: int | None
) -> FileAnswer | None:
    """Read the file block by block where all codes together do not fit into memory; else return None."""
    try:
        parts.tables.current(encoder, bits)
    except TooLittleMemory:
        return parts.indexes.search(encoder, bits, code[None], radius=radius, k=k)
    return None
