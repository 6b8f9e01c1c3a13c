"""Everything the routes share: the collection, its pictures, reviews and jobs, and answers that are kept."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any, TypeVar

import numpy as np
from starlette.concurrency import run_in_threadpool

from hashae.indexer.collection import Collection
from hashae.indexer.collection_health import CollectionHealth
from hashae.indexer.keeping import Keeper
from hashae.indexer.projection import project
from hashae.indexer.served import ServedCollection
from hashae.indexer.summary import Progress
from hashae.serve.jobs import Jobs
from hashae.serve.pictures import KEPT_BYTES, Thumbnails
from hashae.serve.review import Review
from hashae.serve.settings import ServeSettings

Tell = Callable[[Progress], None]
T = TypeVar("T")


class Desk:
    """What one server works with.

    Parameters
    ----------
    settings
        Of the server.

    Raises
    ------
    CollectionError
        If the collection cannot be opened.
    """

    def __init__(self, settings: ServeSettings) -> None:
        self.settings = settings
        self.collection = Collection.open(settings.collection, create=False, threads=settings.threads)
        self._keeper = Keeper(settings.collection, threads=1)
        # Of several processes the one in the background makes the index, as it answers nobody; a single one calls for
        # another when the index is to be made anew.
        self.served = ServedCollection(
            self.collection,
            decoders=settings.threads,
            makes=settings.folder is not None and not settings.forwards,
            on_behind=self._keeper if settings.folder is None else _nobody,
        )
        self.thumbnails = Thumbnails(self.served, decoders=settings.threads, kept_bytes=KEPT_BYTES // settings.workers)
        self.review = Review(self.served)
        self.jobs = Jobs()
        self._lock = Lock()
        self._kept: dict[str, tuple[int, Any]] = {}

    def close(self) -> None:
        """Wait for what runs, and close the collection."""
        self.jobs.close()
        self.served.close()
        self._keeper.close()
        self.collection.close()

    @property
    def is_idle(self) -> bool:
        """True if nothing is lost when this process ends: no job runs, and no review is open."""
        return not self.jobs.running and self.review.is_empty

    def warm(self) -> None:
        """Load and count what the first pages need, so that they are as quick as the next."""
        self.served.warm()
        self.stats()

    async def quickly(self, work: Callable[[], T]) -> T:
        """Answer a question that takes a moment: here where nothing is waited for, else in a thread.

        To hand it to a thread and take its answer back takes as long as the question itself, and on a busy machine each
        of the two waits for a processor.
        """
        with self.served.at_once() as can:
            if can:
                return work()
        return await run_in_threadpool(work)

    def stats(self) -> dict[str, Any]:
        """Return counts of the collection, counted anew when it has changed."""
        return self._once("stats", self.served.stats)

    def health(self) -> CollectionHealth:
        """Return the health of the collection, measured anew when it has changed."""
        return self._once("health", lambda: self._alone(lambda collection: collection.health()))

    def points(self) -> bytes:
        """Return the map: for each image its id, ``uint32`` little-endian, then x and y, ``uint16`` of 65,535 each."""
        ids, codes, generation = self.served.codes()

        def make() -> bytes:
            points = np.empty(len(ids), np.dtype([("id", "<u4"), ("x", "<u2"), ("y", "<u2")]))
            places = (project(codes) * 65535).round().astype(np.uint16)
            points["id"], points["x"], points["y"] = ids, places[:, 0], places[:, 1]
            return points.tobytes()

        return self._once("map", make, generation)

    def some_images(self, count: int, seed: int) -> list[int]:
        """Return the ids of some images, drawn with a seed; fewer if there are fewer."""
        ids = self.served.codes()[0]
        if not len(ids):
            return []
        drawn = np.random.default_rng(seed).choice(len(ids), min(count, len(ids)), replace=False)
        return [int(ids[place]) for place in drawn]

    def curve(self) -> list[dict[str, Any]] | None:
        """Return recall and precision of every radius as measured since the start, or None."""
        job = self.jobs.get("calibrate")
        return job.result["curve"] if job.state == "done" else None

    def calibrate(self, tell: Tell) -> dict[str, Any]:
        """Measure which radius keeps the promise; it is stored, and the curve is kept for the page."""
        found = self._alone(lambda collection: collection.calibrate(workers=self.settings.threads, on_progress=tell))
        return {"calibration": found.calibration.to_dict(), "curve": found.one.rows()}

    def index(self, tell: Tell) -> dict[str, Any]:
        """Bring the folders of the collection up to date."""
        summary = self._alone(lambda collection: collection.index(workers=self.settings.threads, on_progress=tell))
        self.served.catch_up()
        names = ("added", "changed", "unchanged", "missing", "encoded", "seconds")
        return {name: getattr(summary, name) for name in names} | {"failed": len(summary.failed)}

    def _alone(self, work: Callable[[Collection], T]) -> T:
        """Do something long with a collection of its own: the one that is served answers others meanwhile."""
        settings = self.settings
        with Collection.open(settings.collection, create=False, threads=settings.threads) as collection:
            return work(collection)

    def _once(self, name: str, make: Callable[[], T], generation: int | None = None) -> T:
        """Return what was made before if the collection is still of that generation; by default that of this moment."""
        generation = self.served.generation() if generation is None else generation
        with self._lock:
            kept = self._kept.get(name)
        if kept is not None and kept[0] == generation:
            found: T = kept[1]
            return found
        value = make()
        with self._lock:
            self._kept[name] = (generation, value)
        return value


def _nobody() -> None:
    """Call for nobody: the process that makes the index runs already."""
