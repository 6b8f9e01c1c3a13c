"""The application: routes, errors as sentences, numbers for Prometheus, and the guard around everything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException

import hashae
from hashae.errors import CollectionError, HashaeError, ImageError, UnknownName
from hashae.serve import api, api_changes, assets, pages, server
from hashae.serve.desk import Desk
from hashae.serve.forward import Forward
from hashae.serve.guard import Guard
from hashae.serve.metrics import Measured, Metrics
from hashae.serve.settings import ServeSettings
from hashae.serve.text import AsciiJson, shown

DESCRIPTION = (
    "Duplicates and look-alikes by learned binary codes. Requests that change something show the text of "
    "/api/v1/session in the header X-Hashae-Session; where the server asks for an access token, every request shows it "
    "as a bearer. Where several collections are served, each has all this below /c/NAME, see /api/v1/collections."
)


def create_app(settings: ServeSettings) -> FastAPI:
    """Return the application over one collection or several, which are open until the application ends.

    Parameters
    ----------
    settings
        Of the server.

    Returns
    -------
    the application; ``state.desks`` are what it works with, in the order of the collections

    Raises
    ------
    CollectionError
        If a collection cannot be opened.
    """
    desks = _open(settings)
    metrics = _metrics(settings)

    async def keep_counts() -> None:
        while True:
            await asyncio.sleep(1)
            metrics.keep()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        keeping = asyncio.create_task(keep_counts())
        yield
        keeping.cancel()
        metrics.close()
        for desk in desks.values():
            desk.close()

    app = _empty(lifespan=lifespan)
    app.state.desks = list(desks.values())

    bases = {name: "" if len(desks) == 1 else f"/c/{name}" for name in desks}
    app.include_router(server.make_router(desks, bases, metrics))
    app.include_router(assets.make_router())
    if len(desks) == 1:
        _add_collection(app, *desks.values(), base="", bases=bases)
    else:
        app.include_router(pages.make_overview(desks, bases))
        for name, desk in desks.items():
            part = _empty()
            _add_collection(part, desk, base=bases[name], bases=bases)
            app.mount(bases[name], part)
    pages.load_templates()
    if settings.forwards:
        app.add_middleware(Forward, path=settings.background)
    app.add_middleware(Measured, metrics=metrics)
    app.add_middleware(Guard, settings=settings)
    return app


def _metrics(settings: ServeSettings) -> Metrics:
    """Return counters: shared with the other workers if there are any."""
    if settings.folder is None or not settings.forwards:
        return Metrics()
    from hashae.serve.shared_metrics import SharedMetrics  # locks files in the way of Unix

    return SharedMetrics(settings.folder)


def _open(settings: ServeSettings) -> dict[str, Desk]:
    """Open all collections, or none."""
    desks: dict[str, Desk] = {}
    try:
        for name, path in settings.names.items():
            desks[name] = Desk(replace(settings, collection=path, others=()))
    except BaseException:
        for desk in desks.values():
            desk.close()
        raise
    return desks


def _empty(**more: Any) -> FastAPI:
    """Return an application without routes."""
    app = FastAPI(
        title="hashae",
        version=hashae.__version__,
        description=DESCRIPTION,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,  # those pages load scripts from another host
        redoc_url=None,
        **more,
    )
    _handle_errors(app)
    return app


def _add_collection(app: FastAPI, desk: Desk, *, base: str, bases: dict[str, str]) -> None:
    app.include_router(api.make_router(desk))
    app.include_router(api_changes.make_router(desk))
    app.include_router(pages.make_router(desk, app, base=base, bases=bases))


def _handle_errors(app: FastAPI) -> None:
    @app.exception_handler(HashaeError)
    def tell(request: Request, error: HashaeError) -> Response:
        if isinstance(error, UnknownName):
            status = 404
        elif isinstance(error, CollectionError):
            status = 409
        elif isinstance(error, ImageError):
            status = 409 if request.method == "GET" else 422
        else:
            status = 422
        message = shown(" ".join(str(error).split()))
        base = request.scope.get("root_path", "")
        if status == 404 and not request.url.path.removeprefix(base).startswith("/api/"):
            return HTMLResponse(pages.not_found(UnknownName(message), base), status_code=404)
        return AsciiJson({"detail": message}, status_code=status)

    @app.exception_handler(RequestValidationError)
    def refuse(_request: Request, error: RequestValidationError) -> Response:
        # What was given is not repeated: it may hold numbers that JSON has not, or half of a character.
        found = [{"where": list(map(str, one["loc"])), "message": shown(str(one["msg"]))} for one in error.errors()]
        return AsciiJson({"detail": "the request is not as expected", "errors": found}, status_code=422)

    @app.exception_handler(HTTPException)
    def say(_request: Request, error: Any) -> Response:
        return AsciiJson({"detail": error.detail}, status_code=error.status_code, headers=error.headers)
