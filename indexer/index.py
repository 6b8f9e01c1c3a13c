"""HashIndex: packed codes in memory, three exact questions, duplicate groups.

Every method of a question answers alike, ordered by (distance, id); `method` only says how, and ``"auto"`` picks the
cheapest. An index is a cache of codes kept elsewhere: it is cheap to make, and :mod:`hashae.indexer.cache` keeps what
was made beside them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashae.codes import Codes, check_bits, check_codes
from hashae.errors import CodeError, ConfigError, MissingDependency, UnknownName
from hashae.indexer.approximate import Recall, recall_of
from hashae.indexer.compiled import has_numba
from hashae.indexer.engines import Engines
from hashae.indexer.groups import CodeGroup, find_groups
from hashae.indexer.hits import Hits
from hashae.indexer.match import Match
from hashae.indexer.multi import MultiIndex
from hashae.indexer.order import check_order
from hashae.indexer.planner import Explanation
from hashae.indexer.scan import check_ids, check_radius, check_threads

if TYPE_CHECKING:
    from hashae.indexer.cluster import Cluster

WITHIN_METHODS = ("auto", "bands", "flips", "scan", "faiss")
NEAREST_METHODS = ("auto", "bands", "scan", "faiss")
WITHIN_BY_NAME = (*WITHIN_METHODS, "key")
NEAREST_BY_NAME = (*NEAREST_METHODS, "gpu", "ivf")
"""What may be asked for: of these, ``key`` and ``ivf`` may miss something, all others answer alike."""

MERGED_FROM = 10_000
"""Codes added at once from which they are merged at once; fewer wait, so that many small calls cost one sort."""


class HashIndex:
    """Binary codes with ids, searched exactly by Hamming distance.

    Searches build what they need on first use and keep it until the next :meth:`add` or :meth:`remove`. Reading from
    several threads is safe once built; changing is not.

    Parameters
    ----------
    bits
        Code length: a multiple of 8 from 8 to 512.
    threads
        Threads that share large batches, and work on :meth:`duplicates`, 1 or more. Default 1. No answer depends on
        them.
    order
        ``int (bits,)``: bit positions in the order in which they are dealt to bands. Default: derived from the codes,
        see :func:`hashae.indexer.order.band_order`.
    compiled
        Whether the compiled loops of the extra ``fast`` run. Default: where that pays, their loading included. No
        answer depends on it.

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

    def __init__(
        self, bits: int, *, threads: int = 1, order: ArrayLike | None = None, compiled: bool | None = None
    ) -> None:
        self.bits = check_bits(bits)
        self.threads = check_threads(threads)
        self._order = None if order is None else check_order(order, bits)
        self._compiled = compiled
        if compiled and not has_numba():
            raise MissingDependency("HashIndex(compiled=True)", "fast")
        self._ids: NDArray[np.int64] = np.empty(0, np.int64)
        self._codes: Codes = np.empty((0, bits // 8), np.uint8)
        self._added: list[tuple[NDArray[np.int64], Codes]] = []
        self._added_ids: set[int] = set()
        self._engines: Engines | None = None

    @classmethod
    def from_sorted(
        cls,
        bits: int,
        ids: NDArray[np.int64],
        codes: Codes,
        *,
        bands: MultiIndex | None = None,
        threads: int = 1,
        compiled: bool | None = None,
    ) -> HashIndex:
        """Make an index of rows that are in order already, without copying them.

        Parameters
        ----------
        bits
            Code length.
        ids
            ``int64 (n,)``, ascending.
        codes
            ``uint8 (n, bits // 8)``.
        bands
            Multi-index of these codes, if there is one.
        threads, compiled
            As in the class.

        Raises
        ------
        CodeError
            If codes and ids do not belong together or the ids do not ascend.
        """
        if not (ids[1:] > ids[:-1]).all():
            raise CodeError("ids do not ascend; expected each id once, in order: use add for others")
        codes = check_codes(codes, bits)
        if ids.shape != (len(codes),) or ids.dtype != np.int64:
            raise CodeError(f"ids are {ids.dtype} of shape {ids.shape}; expected int64 of shape ({len(codes)},)")
        index = cls(bits, threads=threads, compiled=compiled)
        index._ids, index._codes = ids, codes
        index._engines = Engines(codes, threads=threads, compiled=compiled, bands=bands)
        return index

    def bands(self) -> MultiIndex:
        """Return the sorted bands, made now if they are not there; the next :meth:`add` forgets them."""
        return self._ready().bands()

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
        return _read_only(self._rows()[0])

    @property
    def codes(self) -> Codes:
        """Codes in the order of `ids`: ``uint8 (n, bits // 8)``, read-only."""
        return _read_only(self._rows()[1])

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
        if len(new) >= MERGED_FROM:
            self._rows()  # what waits is merged, and nothing has to be looked up in a set
        listed = new.tolist() if len(new) < MERGED_FROM else []
        known = self._added_ids.intersection(listed) or set(new[self._known(new)].tolist())
        if known:
            raise CodeError(f"id {min(known)} is in the index already; remove it first or leave it out")
        if len(new):
            self._added.append((new.copy(), codes.copy()))
            self._added_ids.update(listed)
            self._engines = None
        if len(new) >= MERGED_FROM:
            self._rows()

    def remove(self, ids: ArrayLike) -> int:
        """Remove the codes of `ids`, skipping ids that are not there; return how many were removed."""
        known, codes = self._rows()
        gone = np.isin(known, check_ids(list(set(np.ravel(ids).tolist()))))  # an id named twice is one id
        if gone.any():
            self._ids, self._codes = known[~gone], codes[~gone]
            self._engines = None
        return int(gone.sum())

    def exact(self, code: ArrayLike) -> list[Match]:
        """Find every image with this code, by id.

        Parameters
        ----------
        code
            ``uint8 (bits // 8,)`` or ``(1, bits // 8)``.
        """
        return self._matches(self._within(self._one(code), 0, "auto"))[0]

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
            are not. ``"bands"`` takes ``radius + 1`` steps through the multi-index, ``"flips"`` looks up every code
            within the radius, ``"scan"`` reads all codes, ``"faiss"`` too, with FAISS. All these answer alike.
            ``"key"``, for codes above 64 bits, misses codes whose first 64 bits differ in too many bits: see
            :meth:`recall`.

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
        return self._matches(self._within(self._one(code), radius, method))[0]

    def within_many(self, codes: ArrayLike, radius: int, *, method: str = "auto") -> list[list[Match]]:
        """Answer :meth:`within` for each of `codes`, ``uint8 (m, bits // 8)``, at once."""
        return self._matches(self._within(check_codes(codes, self.bits), radius, method))

    def within_arrays(
        self, codes: ArrayLike, radius: int, *, method: str = "auto"
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
        """Answer :meth:`within_many` with arrays: no Python object is made for a hit.

        Returns
        -------
        limits : int64 of shape (m + 1,)
            The answers to query q are those from ``limits[q]`` to ``limits[q + 1]``.
        ids : int64 of shape (h,)
            Those of one query ordered by (distance, id).
        distances : int32 of shape (h,)
            In bits.
        """
        hits = self._within(check_codes(codes, self.bits), radius, method)
        return hits.limits, self._rows()[0][hits.rows], hits.distances

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
            ``"auto"`` lets the planner choose. ``"scan"`` and ``"faiss"`` read all codes; ``"bands"`` lets the radius
            grow in the multi-index, and reads all codes where nothing is near. ``"gpu"`` is FAISS on a graphics card.
            All these answer alike. ``"ivf"`` is FAISS's inverted file, which misses some: see :meth:`recall`.

        Raises
        ------
        CodeError
            If `code` is not one code of the index's width.
        ConfigError
            If `k` is below 1.
        UnknownName
            If there is no such method.
        """
        return self._matches(self._nearest(self._one(code), k, method))[0]

    def nearest_many(self, codes: ArrayLike, k: int, *, method: str = "auto") -> list[list[Match]]:
        """Answer :meth:`nearest` for each of `codes`, ``uint8 (m, bits // 8)``, at once."""
        return self._matches(self._nearest(check_codes(codes, self.bits), k, method))

    def nearest_arrays(
        self, codes: ArrayLike, k: int, *, method: str = "auto"
    ) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Answer :meth:`nearest_many` with arrays: no Python object is made for a hit.

        Returns
        -------
        ids : int64 of shape (m, min(k, n))
            Each row ordered by (distance, id). Where the method ``"ivf"`` found fewer, the rest is -1.
        distances : int32 of shape (m, min(k, n))
            In bits; where there is no answer, `bits` and one.
        """
        hits = self._nearest(check_codes(codes, self.bits), k, method)
        queries, width = len(hits.limits) - 1, min(k, len(self))
        found = self._rows()[0][hits.rows]
        if len(found) == queries * width:
            return found.reshape(queries, width), hits.distances.reshape(queries, width)
        counts = np.diff(hits.limits)
        place = np.arange(len(found)) - np.repeat(hits.limits[:-1], counts), np.repeat(np.arange(queries), counts)
        ids, distances = np.full((queries, width), -1), np.full((queries, width), self.bits + 1, np.int32)
        ids[place[::-1]], distances[place[::-1]] = found, hits.distances
        return ids, distances

    def duplicates(
        self,
        radius: int,
        *,
        linkage: str = "star",
        margins: ArrayLike | None = None,
        method: str = "exact",
        on_progress: Callable[[str, int, int], None] | None = None,
        on_recall: Callable[[Recall], None] | None = None,
        cluster: Cluster | None = None,
    ) -> list[CodeGroup]:
        """Group the codes that lie within `radius` of a common representative.

        Parameters
        ----------
        radius
            Bits, 0 to `bits`, inclusive.
        linkage
            ``"star"``, ``"complete"`` (every two members match) or ``"component"`` (groups may chain).
        margins
            ``float32 (n,)`` in the order of `ids`: own radius of every image, see
            :func:`hashae.indexer.groups.find_groups`.
        method
            ``"exact"``, ``"approximate"`` or ``"auto"``; see there.
        on_progress
            Called with the stage, the work done and the work in all.
        on_recall
            Called with what an approximate search found, measured on a sample.
        cluster
            Compares the codes; the answer is the same.
        """
        ids, codes = self._rows()
        engine = "auto" if self._compiled is None else "compiled" if self._compiled else "numpy"
        return find_groups(
            codes,
            ids,
            radius,
            linkage=linkage,
            threads=self.threads,
            margins=margins,
            engine=engine,
            method=method,
            on_progress=on_progress,
            on_recall=on_recall,
            **_joined_on(cluster),
        )

    def explain(self, code: ArrayLike, *, radius: int | None = None, k: int | None = None) -> Explanation:
        """Answer one search and tell how; parameters and errors as in :meth:`explained`."""
        return self.explained(code, radius=radius, k=k)[1]

    def explained(
        self, code: ArrayLike, *, radius: int | None = None, k: int | None = None
    ) -> tuple[list[Match], Explanation]:
        """Answer one search and tell how: the path, the reason, what was read and the time.

        Parameters
        ----------
        code
            ``uint8 (bits // 8,)`` or ``(1, bits // 8)``.
        radius
            Answers ``within(code, radius)``.
        k
            Answers ``nearest(code, k)``. Give exactly one of the two.

        Raises
        ------
        ConfigError
            If both or neither of `radius` and `k` are given.
        """
        query, engines = self._one(code), self._ready()
        if radius is not None and k is None:
            plan = engines.plan_within(1, check_radius(radius, self.bits))
            search = partial(engines.within, query, radius, plan)
        elif k is not None and radius is None:
            plan = engines.plan_nearest(1, _checked_k(k))
            search = partial(engines.nearest, query, k, plan)
        else:
            raise ConfigError(f"radius is {radius} and k is {k}; expected exactly one of them")
        path = ("within" if k is None else "nearest", plan.method, plan.compiled)
        if path not in engines.used:
            search()  # makes what the path needs
            engines.used.add(path)
        start = perf_counter()
        hits = search()
        seconds = perf_counter() - start
        how = Explanation(
            plan.method,
            plan.why,
            hits.probes,
            hits.candidates,
            seconds,
            len(hits.rows),
            plan.compiled,
            plan.seconds,
            plan.alternatives,
        )
        return self._matches(hits)[0], how

    def recall(
        self, method: str, *, k: int | None = None, radius: int | None = None, sample: int = 200, seed: int = 0
    ) -> Recall:
        """Measure how much of the exact answer a method finds, asking codes of the index itself.

        Parameters
        ----------
        method
            ``"ivf"`` with `k`, ``"key"`` with `radius`; for any other the answer is 1.
        k
            Measures ``nearest(code, k)``: the share of answers no farther than the exact k-th.
        radius
            Measures ``within(code, radius)``. Give exactly one of the two.
        sample
            Most codes asked, 1 or more. A code itself does not count among its answers.
        seed
            Of the choice.

        Raises
        ------
        ConfigError
            If both or neither of `radius` and `k` are given, or a number is out of range.
        UnknownName
            If there is no such method.
        """
        if sample < 1:
            raise ConfigError(f"sample is {sample}; expected 1 or more")
        _, codes = self._rows()
        chosen = np.sort(np.random.default_rng(seed).permutation(len(codes))[:sample])
        if radius is not None and k is None:
            exact, found = (self._within(codes[chosen], radius, name) for name in ("auto", method))
            return recall_of(method, exact, found, chosen)
        if k is not None and radius is None:
            exact, found = (self._nearest(codes[chosen], _checked_k(k) + 1, name) for name in ("auto", method))
            return recall_of(method, exact, found, chosen, k=k)
        raise ConfigError(f"radius is {radius} and k is {k}; expected exactly one of them")

    def _matches(self, hits: Hits) -> list[list[Match]]:
        return hits.matches(self._rows()[0])

    def _within(self, queries: Codes, radius: int, method: str) -> Hits:
        radius, engines = check_radius(radius, self.bits), self._ready()
        return engines.within(
            queries, radius, engines.plan_within(len(queries), radius, _checked(method, WITHIN_BY_NAME))
        )

    def _nearest(self, queries: Codes, k: int, method: str) -> Hits:
        k, engines = _checked_k(k), self._ready()
        return engines.nearest(queries, k, engines.plan_nearest(len(queries), k, _checked(method, NEAREST_BY_NAME)))

    def _ready(self) -> Engines:
        """Return the paths of search over the present codes."""
        _, codes = self._rows()
        if self._engines is None:
            self._engines = Engines(codes, threads=self.threads, order=self._order, compiled=self._compiled)
        return self._engines

    def _rows(self) -> tuple[NDArray[np.int64], Codes]:
        """Return ids and codes by id, merging what was added since: one sort for many small calls of add."""
        if self._added:
            ids = np.concatenate([self._ids, *(ids for ids, _ in self._added)])
            codes = np.concatenate([self._codes, *(codes for _, codes in self._added)])
            order = np.argsort(ids)
            self._ids, self._codes = ids[order], codes[order]
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


def _read_only(array: Array) -> Array:
    """Return a view that cannot be written to; inside, arrays stay writable, or loops would be compiled twice."""
    view = array.view()
    view.flags.writeable = False
    return view


def _joined_on(cluster: Cluster | None) -> dict[str, Any]:
    """Return how components are found, as arguments of :func:`hashae.indexer.groups.find_groups`."""
    if cluster is None:
        return {}
    from hashae.indexer.cluster.join import connected_on

    return {"join": partial(connected_on, cluster)}


def _checked_k(k: int) -> int:
    if not isinstance(k, int | np.integer) or k < 1:
        raise ConfigError(f"k is {k}; expected a whole number, 1 or more")
    return int(k)


def _checked(method: str, known: tuple[str, ...]) -> str:
    if method not in known:
        raise UnknownName(f"unknown method {method!r}; expected one of {', '.join(known)}")
    return method
