"""What a server says of itself: is it there, which collections it has, and its numbers for Prometheus."""

from __future__ import annotations

import os
from collections.abc import Mapping

from fastapi import APIRouter, Response

import hashae
from hashae.serve.desk import Desk
from hashae.serve.metrics import CONTENT_TYPE, Metrics
from hashae.serve.text import AsciiJson, shown


def make_router(desks: Mapping[str, Desk], bases: Mapping[str, str], metrics: Metrics) -> APIRouter:
    """Return the routes that belong to no single collection.

    Parameters
    ----------
    desks
        Name of each collection -> what the server works with.
    bases
        Name -> what stands before its paths; empty for the only one.
    metrics
        Of all requests.
    """
    router = APIRouter(tags=["server"], default_response_class=AsciiJson)

    @router.get("/healthz", summary="Is the server there, and can it read its collections?")
    def healthz() -> Response:
        for desk in desks.values():
            desk.served.generation()
        return AsciiJson({"status": "ok", "version": hashae.__version__, "process": os.getpid()})

    @router.get("/metrics", summary="Numbers for Prometheus")
    def numbers() -> Response:
        stats = {name if len(desks) > 1 else "": desk.stats() for name, desk in desks.items()}
        gauges = {
            "hashae_images": ("Images of the collection.", {n: float(one["images"]) for n, one in stats.items()}),
            "hashae_failures": (
                "Files that cannot be used.",
                {n: float(len(one["failures"])) for n, one in stats.items()},
            ),
            "hashae_generation": (
                "Changes of the collection so far.",
                {n: float(one["generation"]) for n, one in stats.items()},
            ),
        }
        return Response(metrics.text(gauges), media_type=CONTENT_TYPE)

    @router.get("/api/v1/collections", summary="The collections of this server, and where each is")
    def collections() -> Response:
        listed = [
            {
                "name": name,
                "file": shown(os.path.basename(str(desk.collection.path))),
                "images": desk.stats()["images"],
                "base": bases[name],
            }
            for name, desk in desks.items()
        ]
        return AsciiJson({"collections": listed})

    return router
