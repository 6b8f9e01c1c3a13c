"""HashIndex: packed codes in memory, three exact questions, duplicate groups.

Every method of a question answers alike, ordered by (distance, id); `method` only says how, and ``"auto"`` picks the
cheapest. An index is a cache of codes kept elsewhere: it is cheap to make and has no file format.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashae.codes import Codes, check_bits, check_codes
from hashae.errors import CodeError, ConfigError, UnknownName
from hashae.indexer.bands import BandIndex, check_order
from hashae.indexer.flips import check_flips, flips_within
from hashae.indexer.groups import CodeGroup, find_groups
from hashae.indexer.match import Match
from hashae.indexer.nearest import FlatIndex, has_faiss
from hashae.indexer.planner import Explanation, Plan, plan_nearest, plan_within
from hashae.indexer.scan import Hits, check_ids, check_radius, check_threads, scan_nearest, scan_within

WITHIN_METHODS = ("auto", "bands", "flips", "scan", "faiss")
NEAREST_METHODS = ("auto", "faiss", "scan")
KEPT = 4
"""Band tables kept, one a radius: a caller who tries radii must not fill the memory."""

Built = TypeVar("Built")


class HashIndex:
    """Binary codes with ids, searched exactly by Hamming distance.

    Searches build what they need on first use and keep it until the next :meth:`add` or :meth:`remove`. Reading from
    several threads is safe once built; changing is not.

    Parameters
    ----------
    bits
        Code length: a multiple of 8 from 8 to 512.
    threads
        Threads for large batches through FAISS and for :meth:`duplicates`, 1 or more. Default 1. No answer depends on
        them.
    order
        ``int (bits,)``: bit positions in the order in which they are dealt to bands. Default: as they come.

    Raises
    ------
    ConfigError
        If a setting is outside its range.

    Examples
    --------
    >>> index = HashIndex(bits=8)
    >>> index.add([7, 8, 9], np.array([[0b0000], [0b0011], [0b0001]], np.uint8))
    >>> index.within(np.array([0b0000], np.uint8), radius=1)
    [Match(distance=0, id=7), Match(distance=1, id=9)]
    """

    def __init__(self, bits: int, *, threads: int = 1, order: ArrayLike | None = None) -> None:
        self.bits = check_bits(bits)
        self.threads = check_threads(threads)
        self._order = check_order(order, bits)
        self._ids: NDArray[np.int64] = np.empty(0, np.int64)
        self._codes: Codes = np.empty((0, bits // 8), np.uint8)
        self._added: list[tuple[NDArray[np.int64], Codes]] = []
        self._added_ids: set[int] = set()
        self._generation = 0
        self._built: dict[tuple[str, int], object] = {}
        self._built_for = 0

    def __repr__(self) -> str:
        return f"HashIndex(bits={self.bits}, threads={self.threads}): {len(self):,} codes"

    def __len__(self) -> int:
        return len(self._ids) + len(self._added_ids)

    def __contains__(self, id_: object) -> bool:
        if not isinstance(id_, int | np.integer):
            return False
        return int(id_) in self._added_ids or bool(self._known(np.array([id_])).any())

    @property
    def ids(self) -> NDArray[np.int64]:
        """Ids of all codes, ascending: ``int64 (n,)``, read-only."""
        return self._rows()[0]

    @property
    def codes(self) -> Codes:
        """Codes in the order of `ids`: ``uint8 (n, bits // 8)``, read-only."""
        return self._rows()[1]

    def add(self, ids: ArrayLike, codes: ArrayLike) -> None:
        """Add codes; all of them or, after an error, none.

        Parameters
        ----------
        ids
            ``int64 (n,)``, not in the index yet, in any order.
        codes
            ``uint8 (n, bits // 8)``.

        Raises
        ------
        CodeError
            If the codes have another width, their number differs from that of the ids, or an id is known or repeated.
        """
        codes = check_codes(codes, self.bits)
        new = check_ids(ids, len(codes))
        listed = new.tolist()
        known = self._added_ids.intersection(listed) or set(new[self._known(new)].tolist())
        if known:
            raise CodeError(f"id {min(known)} is in the index already; remove it first or leave it out")
        if listed:
            self._added.append((new.copy(), codes.copy()))
            self._added_ids.update(listed)
            self._generation += 1

    def remove(self, ids: ArrayLike) -> int:
        """Remove the codes of `ids`, skipping ids that are not there; return how many were removed."""
        known, codes = self._rows()
        gone = np.isin(known, check_ids(list(set(np.ravel(ids).tolist()))))  # an id named twice is one id
        if gone.any():
            self._ids, self._codes = _frozen(known[~gone]), _frozen(codes[~gone])
            self._generation += 1
        return int(gone.sum())

    def exact(self, code: ArrayLike) -> list[Match]:
        """Find every image with this code, by id.

        Parameters
        ----------
        code
            ``uint8 (bits // 8,)`` or ``(1, bits // 8)``.
        """
        return self._within(self._one(code), 0, "bands").matches(1)[0]

    def within(self, code: ArrayLike, radius: int, *, method: str = "auto") -> list[Match]:
        """Find every code at most `radius` bits from `code`, ordered by (distance, id).

        Parameters
        ----------
        code
            ``uint8 (bits // 8,)`` or ``(1, bits // 8)``.
        radius
            Bits, 0 to `bits`, inclusive.
        method
            ``"auto"`` lets the planner choose: bands while they are wide enough to tell codes apart, a scan where they
            are not, for example for radius 33 on 256 bits (34 bands of 7 bits).
            ``"bands"`` looks up ``radius + 1`` bands, ``"flips"`` every code within the radius, ``"scan"`` reads all
            codes with numpy, ``"faiss"`` with FAISS. All answer alike.

        Raises
        ------
        CodeError
            If `code` is not one code of the index's width.
        ConfigError
            If the radius is outside its range.
        SearchTooLarge
            If the method is ``"flips"`` and more than a million codes would be looked up.
        UnknownName
            If there is no such method.
        """
        return self._within(self._one(code), radius, method).matches(1)[0]

    def within_many(self, codes: ArrayLike, radius: int, *, method: str = "auto") -> list[list[Match]]:
        """Answer :meth:`within` for each of `codes`, ``uint8 (m, bits // 8)``, at once."""
        queries = check_codes(codes, self.bits)
        return self._within(queries, radius, method).matches(len(queries))

    def nearest(self, code: ArrayLike, k: int, *, method: str = "auto") -> list[Match]:
        """Find the `k` codes with the fewest differing bits, ordered by (distance, id).

        Parameters
        ----------
        code
            ``uint8 (bits // 8,)`` or ``(1, bits // 8)``.
        k
            Number of codes, 1 or more; above the number in the index, all of them answer. Of equal distances at the
            cut-off the smaller ids are kept.
        method
            ``"faiss"``, ``"scan"`` (numpy) or ``"auto"``: FAISS where it is installed. Both are exact.

        Raises
        ------
        CodeError
            If `code` is not one code of the index's width.
        ConfigError
            If `k` is below 1.
        UnknownName
            If there is no such method.
        """
        return self._nearest(self._one(code), k, method).matches(1)[0]

    def nearest_many(self, codes: ArrayLike, k: int, *, method: str = "auto") -> list[list[Match]]:
        """Answer :meth:`nearest` for each of `codes`, ``uint8 (m, bits // 8)``, at once."""
        queries = check_codes(codes, self.bits)
        return self._nearest(queries, k, method).matches(len(queries))

    def duplicates(self, radius: int, *, chains: bool = False, margins: ArrayLike | None = None) -> list[CodeGroup]:
        """Group the codes that lie within `radius` of a common representative.

        Parameters
        ----------
        radius
            Bits, 0 to `bits`, inclusive.
        chains
            Report each connected component as one group, even where members are farther from the representative.
        margins
            ``float32 (n,)`` in the order of `ids`: own radius of every image, see
            :func:`hashae.indexer.groups.find_groups`.
        """
        ids, codes = self._rows()
        return find_groups(codes, ids, radius, chains=chains, threads=self.threads, margins=margins)

    def explain(self, code: ArrayLike, *, radius: int | None = None, k: int | None = None) -> Explanation:
        """Answer one search and tell how: the path, the reason, what was read and the time.

        Parameters
        ----------
        code
            ``uint8 (bits // 8,)`` or ``(1, bits // 8)``.
        radius
            Explains ``within(code, radius)``.
        k
            Explains ``nearest(code, k)``. Give exactly one of the two.

        Raises
        ------
        ConfigError
            If both or neither of `radius` and `k` are given.
        """
        query = self._one(code)
        if radius is not None and k is None:
            plan = self._plan_within(radius, "auto", 1)
            search = partial(self._run_within, query, radius, plan.method)
        elif k is not None and radius is None:
            plan = self._plan_nearest(k, "auto")
            search = partial(self._run_nearest, query, k, plan.method)
        else:
            raise ConfigError(f"radius is {radius} and k is {k}; expected exactly one of them")
        search()  # builds what the path needs
        start = perf_counter()
        hits = search()
        seconds = perf_counter() - start
        return Explanation(plan.method, plan.why, hits.probes, hits.candidates, seconds, len(hits.ids))

    def _within(self, queries: Codes, radius: int, method: str) -> Hits:
        return self._run_within(queries, radius, self._plan_within(radius, method, len(queries)).method)

    def _nearest(self, queries: Codes, k: int, method: str) -> Hits:
        return self._run_nearest(queries, k, self._plan_nearest(k, method).method)

    def _plan_within(self, radius: int, method: str, queries: int) -> Plan:
        check_radius(radius, self.bits)
        if method != "auto":
            return Plan(_checked(method, WITHIN_METHODS), "asked for by name")
        return plan_within(len(self), self.bits, radius, queries=queries, faiss=has_faiss())

    def _plan_nearest(self, k: int, method: str) -> Plan:
        if not isinstance(k, int | np.integer) or k < 1:
            raise ConfigError(f"k is {k}; expected a whole number, 1 or more")
        if method != "auto":
            return Plan(_checked(method, NEAREST_METHODS), "asked for by name")
        return plan_nearest(len(self), faiss=has_faiss())

    def _run_within(self, queries: Codes, radius: int, method: str) -> Hits:
        ids, codes = self._rows()
        if method == "scan":
            return scan_within(codes, ids, queries, radius)
        if method == "faiss":
            return self._flat().within(queries, radius)
        if method == "flips":
            check_flips(self.bits, radius)  # before a table is built for nothing
            return flips_within(self._bands(0), queries, radius)
        return self._bands(radius).search(queries, radius)

    def _run_nearest(self, queries: Codes, k: int, method: str) -> Hits:
        if method == "faiss":
            return self._flat().nearest(queries, k)
        ids, codes = self._rows()
        return scan_nearest(codes, ids, queries, k)

    def _bands(self, radius: int) -> BandIndex:
        ids, codes = self._rows()
        return self._once(("bands", radius), lambda: BandIndex(codes, ids, radius, self._order))

    def _flat(self) -> FlatIndex:
        if not has_faiss():
            raise ConfigError(
                "method 'faiss' needs FAISS, which is not installed; install faiss-cpu or use method 'scan'"
            )
        ids, codes = self._rows()
        return self._once(("faiss", 0), lambda: FlatIndex(codes, ids, self.threads))

    def _once(self, key: tuple[str, int], build: Callable[[], Built]) -> Built:
        """Return what was built under `key` for the present codes, building it if need be."""
        if self._built_for != self._generation:
            self._built.clear()
            self._built_for = self._generation
        if key not in self._built:
            while len(self._built) >= KEPT:
                del self._built[next(iter(self._built))]
            self._built[key] = build()
        return self._built[key]  # type: ignore[return-value]  # a key always holds what its builder returns

    def _rows(self) -> tuple[NDArray[np.int64], Codes]:
        """Return ids and codes by id, merging what was added since: one sort for many small calls of add."""
        if self._added:
            ids = np.concatenate([self._ids, *(ids for ids, _ in self._added)])
            codes = np.concatenate([self._codes, *(codes for _, codes in self._added)])
            order = np.argsort(ids)
            self._ids, self._codes = _frozen(ids[order]), _frozen(codes[order])
            self._added.clear()
            self._added_ids.clear()
        return self._ids, self._codes

    def _known(self, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell which `ids` are among the merged rows."""
        if not len(self._ids):
            return np.zeros(len(ids), np.bool_)
        found: NDArray[np.bool_] = self._ids[np.searchsorted(self._ids, ids) % len(self._ids)] == ids
        return found

    def _one(self, code: ArrayLike) -> Codes:
        array = check_codes(np.atleast_2d(np.asarray(code)), self.bits)
        if len(array) != 1:
            raise CodeError(f"{len(array)} codes are given; expected one: use within_many or nearest_many for a batch")
        return array


Array = TypeVar("Array", bound=NDArray[np.generic])


def _frozen(array: Array) -> Array:
    array.flags.writeable = False
    return array


def _checked(method: str, known: tuple[str, ...]) -> str:
    if method not in known:
        raise UnknownName(f"unknown method {method!r}; expected one of {', '.join(known)}")
    return method
