"""The application: routes, errors as sentences, numbers for Prometheus, and the guard around everything."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException

import hashae
from hashae.errors import CollectionError, HashaeError, ImageError, UnknownName
from hashae.serve import api, api_changes, assets, pages
from hashae.serve.desk import Desk
from hashae.serve.guard import Guard
from hashae.serve.metrics import CONTENT_TYPE
from hashae.serve.settings import ServeSettings
from hashae.serve.text import AsciiJson, shown

DESCRIPTION = (
    "Duplicates and look-alikes by learned binary codes. Requests that change something show the text of "
    "/api/v1/session in the header X-Hashae-Session; where the server asks for an access token, every request shows it "
    "as a bearer."
)


def create_app(settings: ServeSettings) -> FastAPI:
    """Return the application over one collection, which is open until the application ends.

    Parameters
    ----------
    settings
        Of the server.

    Raises
    ------
    CollectionError
        If the collection cannot be opened.
    """
    desk = Desk(settings)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        desk.close()

    app = FastAPI(
        title="hashae",
        version=hashae.__version__,
        description=DESCRIPTION,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,  # those pages load scripts from another host
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.desk = desk

    @app.middleware("http")
    async def measure(request: Request, call: Callable[[Request], Awaitable[Response]]) -> Response:
        start, status = perf_counter(), 500
        try:
            response = await call(request)
            status = response.status_code
        finally:
            route = getattr(request.scope.get("route"), "path", "other")
            desk.metrics.count(request.method, route, status, perf_counter() - start)
        return response

    @app.get("/healthz", tags=["server"], summary="Is the server there, and can it read its collection?")
    def healthz() -> Response:
        desk.served.generation()
        return AsciiJson({"status": "ok", "version": hashae.__version__})

    @app.get("/metrics", tags=["server"], summary="Numbers for Prometheus")
    def metrics() -> Response:
        stats = desk.stats()
        gauges = {
            "hashae_images": ("Images of the collection.", float(stats["images"])),
            "hashae_failures": ("Files that cannot be used.", float(len(stats["failures"]))),
            "hashae_generation": ("Changes of the collection so far.", float(stats["generation"])),
        }
        return Response(desk.metrics.text(gauges), media_type=CONTENT_TYPE)

    _handle_errors(app)
    app.include_router(api.make_router(desk))
    app.include_router(api_changes.make_router(desk))
    app.include_router(pages.make_router(desk, app))
    app.include_router(assets.make_router())
    pages.load_templates()
    app.add_middleware(Guard, settings=settings)
    return app


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
        if status == 404 and not request.url.path.startswith("/api/"):
            return HTMLResponse(pages.not_found(UnknownName(message)), status_code=404)
        return AsciiJson({"detail": message}, status_code=status)

    @app.exception_handler(RequestValidationError)
    def refuse(_request: Request, error: RequestValidationError) -> Response:
        # What was given is not repeated: it may hold numbers that JSON has not, or half of a character.
        found = [{"where": list(map(str, one["loc"])), "message": shown(str(one["msg"]))} for one in error.errors()]
        return AsciiJson({"detail": "the request is not as expected", "errors": found}, status_code=422)

    @app.exception_handler(HTTPException)
    def say(_request: Request, error: Any) -> Response:
        return AsciiJson({"detail": error.detail}, status_code=error.status_code, headers=error.headers)
