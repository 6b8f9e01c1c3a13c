"""The pages: search, duplicates, why, collection, map, and a description of the API."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Query
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

import hashae
from hashae import pretrained
from hashae.errors import CollectionError, UnknownName
from hashae.indexer.human_size import human_size
from hashae.indexer.keep_rules import DEFAULT_RULES, RULES
from hashae.indexer.report import TIER_TITLES
from hashae.serve.desk import Desk
from hashae.serve.plots import bars, curves
from hashae.serve.text import shown

PAGES = (
    ("/", "Search"),
    ("/duplicates", "Duplicates"),
    ("/map", "Map"),
    ("/collection", "Collection"),
    ("/api", "API"),
)
FAILURES_SHOWN = 200
LAST_ID = (1 << 63) - 1


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("hashae.serve"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"shown": shown, "size": human_size, "number": lambda value: f"{value:,}"}
    made.globals |= {"pages": PAGES, "version": hashae.__version__, "tiers": TIER_TITLES}
    return made


@cache
def _cards() -> dict[str, str]:
    """Return the model cards of the shipped encoders, by fingerprint."""
    return {pretrained.load(name, threads=1).fingerprint: pretrained.card(name) for name in pretrained.NAMES}


def load_templates() -> None:
    """Compile all templates, so that the first page need not wait for that."""
    for name in _environment().list_templates(extensions=["j2"]):
        _environment().get_template(name)


def make_overview(desks: Mapping[str, Desk], bases: Mapping[str, str]) -> APIRouter:
    """Return the first page of a server of several collections: which there are.

    Parameters
    ----------
    desks
        Name of each collection -> what the server works with.
    bases
        Name -> what stands before its paths.
    """
    router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

    @router.get("/")
    def overview() -> HTMLResponse:
        listed = []
        for name, desk in desks.items():
            ids = desk.some_images(4, 0) if desk.collection.has_encoder else []
            path = str(desk.collection.path)
            some = list(desk.served.images(ids).values())
            listed.append({"base": bases[name], "path": path, "stats": desk.stats(), "some": some})
        text = _environment().get_template("overview.html.j2").render(collections=listed)
        return HTMLResponse(text.encode("utf-8", "backslashreplace"))

    return router


def make_router(desk: Desk, app: FastAPI, *, base: str, bases: Mapping[str, str]) -> APIRouter:
    """Return the routes of the pages of one collection.

    Parameters
    ----------
    desk
        What the server works with.
    app
        Whose API is described.
    base
        What stands before the paths of this collection; empty for the only one.
    bases
        Name of each collection of the server -> what stands before its paths.
    """
    router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

    def page(template: str, here: str, **values: Any) -> HTMLResponse:
        name = desk.collection.path.name
        common = {"here": here, "session": desk.settings.session, "collection": shown(name), "stats": desk.stats()}
        common |= {"base": base, "bases": bases}
        text = _environment().get_template(template).render(**common, **values)
        return HTMLResponse(text.encode("utf-8", "backslashreplace"))

    def bits() -> int:
        return desk.served.encoder()[1].bits if desk.collection.has_encoder else 0

    @router.get("/")
    def search(
        image: Annotated[int | None, Query(ge=1, le=LAST_ID)] = None,
    ) -> HTMLResponse:
        calibration = desk.collection.calibration
        some = desk.served.images(desk.some_images(18, 0) if bits() else [])
        row = None if image is None else desk.served.image(image)
        return page(
            "search.html.j2",
            "/",
            bits=bits(),
            some=list(some.values()),
            image=row,
            calibration=calibration,
            curve=desk.curve(),
            start=_start_radius(desk, calibration),
        )

    @router.get("/duplicates")
    def duplicates() -> HTMLResponse:
        return page("duplicates.html.j2", "/duplicates", rules=RULES, default_rules=DEFAULT_RULES, bits=bits())

    @router.get("/why")
    def why(a: Annotated[int, Query(ge=1, le=LAST_ID)], b: Annotated[int, Query(ge=1, le=LAST_ID)]) -> HTMLResponse:
        return page("why.html.j2", "/why", a=desk.served.image(a), b=desk.served.image(b), bits=bits())

    @router.get("/map")
    def show_map() -> HTMLResponse:
        return page("map.html.j2", "/map")

    @router.get("/collection")
    def collection() -> HTMLResponse:
        stats = desk.stats()
        try:
            health = desk.health()
        except CollectionError as error:
            health, problem = None, str(error)
        else:
            problem = ""
        plots = {}
        if health is not None:
            codes = health.codes
            plots["means"] = bars(
                codes.means.tolist(),
                title=f"share of the images for which each of the {codes.bits} bits is on",
                x_label="bit",
                y_label="share on",
                marked=codes.dead_bits,
                line=0.5,
            )
            plots["distances"] = bars(
                codes.distances.tolist(),
                title="pairs of images at each distance",
                x_label="distance in bits",
                y_label="pairs, log",
                mark=(health.radius, f"radius {health.radius}"),
                log=True,
            )
        calibration, curve = desk.collection.calibration, desk.curve()
        if curve:
            mark = None if calibration is None else (float(calibration.radius), f"radius {calibration.radius}")
            plots["curve"] = curves(
                curve, title="recall and least precision of every radius", x_label="radius in bits", mark=mark
            )
        return page(
            "collection.html.j2",
            "/collection",
            health=health,
            problem=problem,
            plots=plots,
            calibration=calibration,
            failures=stats["failures"][:FAILURES_SHOWN],
            cards=_cards(),
        )

    @router.get("/api")
    def api() -> HTMLResponse:
        routes = [
            {"path": path, "method": method.upper(), **operation}
            for path, methods in app.openapi()["paths"].items()
            for method, operation in methods.items()
        ]
        address = desk.settings.url.partition("?")[0].rstrip("/") + base
        return page("api.html.j2", "/api", routes=routes, protected=bool(desk.settings.token), address=address)

    return router


def _start_radius(desk: Desk, calibration: Any) -> int:
    """Return where the slider stands at first: the radius that is promised, else that of the encoder."""
    if calibration is not None:
        return int(calibration.radius)
    return desk.served.encoder()[1].info.radius if desk.collection.has_encoder else 0


def not_found(error: UnknownName, base: str) -> str:
    """Return a page that says what is not there; `base` stands before the paths of the collection."""
    return _environment().get_template("missing.html.j2").render(message=shown(str(error)), base=base)
