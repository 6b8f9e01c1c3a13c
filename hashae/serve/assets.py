"""Style sheet, scripts and icon: read once, sent with a tag by which browsers know whether theirs is still right."""

from __future__ import annotations

import hashlib
from importlib.resources import files

from fastapi import APIRouter, Request, Response

from hashae.errors import UnknownName

MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def make_router() -> APIRouter:
    """Return the route of all files; no other file is ever looked at."""
    router = APIRouter(include_in_schema=False)
    known: dict[str, tuple[bytes, str, str]] = {}
    for file in files("hashae.serve.static").iterdir():
        media = MEDIA_TYPES.get("." + file.name.rpartition(".")[2])
        if media is not None:
            data = file.read_bytes()
            known[file.name] = data, media, f'"{hashlib.sha256(data).hexdigest()[:20]}"'

    @router.get("/static/{name}")
    def asset(name: str, request: Request) -> Response:
        if name not in known:
            raise UnknownName(f"there is no file {name[:60]!r} here")
        data, media, tag = known[name]
        headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(data, media_type=media, headers=headers)

    return router
