"""The JSON API: images, questions, comparisons and numbers of the collection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Body, File, HTTPException, Path, Query, Response, UploadFile
from starlette.concurrency import run_in_threadpool

from hashae.codes import from_hex
from hashae.errors import CodeError, ConfigError
from hashae.indexer.answer_query import Question
from hashae.indexer.served import TimedAnswer
from hashae.serve.answers import answer_dict, image_dict, question
from hashae.serve.compare import compare_images, flip_bit
from hashae.serve.desk import Desk
from hashae.serve.pictures import MEDIA_TYPES, SIDES, png
from hashae.serve.text import AsciiJson

LAST_ID = (1 << 63) - 1
BATCH = 1000
"""Codes in one look-up."""
FEW, NEAR = 100, 16
"""Codes, or images, and bits up to which a question is one of a moment."""
LASTING = "private, max-age=604800, immutable"
"""For pictures whose address holds the hash of their content."""

ImageId = Annotated[int, Path(ge=1, le=LAST_ID, description="Id of an image of the collection.")]
Exact = Annotated[bool, Query(description="Images with exactly this code.")]
Radius = Annotated[int | None, Query(ge=0, le=512, description="Images at most so many bits away.")]
K = Annotated[int | None, Query(ge=1, le=1000, description="So many images with the fewest bits apart; default 24.")]
Matches = Annotated[bool, Query(description="Images that a duplicate search would take for the same.")]
CodeText = Annotated[str, Path(pattern=r"^[0-9a-f]{2,128}$", description="Code, hexadecimal.")]


def make_router(desk: Desk) -> APIRouter:
    """Return the routes that only read.

    Parameters
    ----------
    desk
        What the server works with.
    """
    router = APIRouter(prefix="/api/v1", tags=["look"], default_response_class=AsciiJson)
    served = desk.served

    def ask(exact: bool, radius: int | None, k: int | None, matches: bool) -> Question:
        asked = question(exact=exact, radius=radius, k=k, matches=matches)
        bits = served.encoder()[1].bits
        if asked.radius is not None and asked.radius > bits:
            raise ConfigError(f"radius is {asked.radius}; codes have {bits} bits")
        return asked

    async def answered(work: Callable[[], TimedAnswer], *, quick: bool) -> Response:
        def answer() -> Response:
            return AsciiJson(answer_dict(work()))

        return await (desk.quickly(answer) if quick else run_in_threadpool(answer))

    @router.post("/query", summary="Ask about an uploaded picture")
    async def query(
        image: Annotated[UploadFile, File(description="An image file.")],
        exact: Exact = False,
        radius: Radius = None,
        k: K = None,
        matches: Matches = False,
    ) -> Response:
        asked = await run_in_threadpool(ask, exact, radius, k, matches)
        data, settings = await image.read(), desk.settings
        work = partial(served.ask_bytes, data, "the uploaded picture", asked, max_pixels=settings.max_pixels)
        try:
            answer = await asyncio.wait_for(run_in_threadpool(work), settings.max_seconds)
        except asyncio.TimeoutError:
            raise HTTPException(408, f"no answer within {settings.max_seconds:g} s; try a smaller picture") from None
        return AsciiJson(answer_dict(answer))

    @router.get("/images", summary="Some images, drawn at random")
    def images(
        count: Annotated[int, Query(ge=1, le=200)] = 24, seed: Annotated[int, Query(ge=0, le=1 << 31)] = 0
    ) -> Response:
        ids = desk.some_images(count, seed)
        rows = served.images(ids)
        return AsciiJson({"images": [image_dict(rows[id_]) for id_ in ids if id_ in rows]})

    @router.get("/images/{id_}", summary="What is known of an image")
    async def image(id_: ImageId) -> Response:
        def find() -> Response:
            row = served.image(id_)
            code, fact = served.stored_code(id_)
            more = {"code": code.tobytes().hex(), "confidence": fact.confidence, "detail": fact.detail}
            return AsciiJson(image_dict(row) | more)

        return await desk.quickly(find)

    @router.get("/images/{id_}/matches", summary="Ask about an image of the collection")
    async def image_matches(
        id_: ImageId, exact: Exact = False, radius: Radius = None, k: K = None, matches: Matches = False
    ) -> Response:
        quick = exact or is_quick(radius, k, matches)
        return await answered(lambda: served.ask(id_, ask(exact, radius, k, matches)), quick=quick)

    @router.get("/images/{id_}/thumbnail", summary="A small picture of an image, JPEG")
    def thumbnail(
        id_: ImageId,
        side: Annotated[int, Query(description=f"One of {SIDES}.")] = 384,
        v: Annotated[str, Query(max_length=64, description="Hash of the content; then it may be kept for long.")] = "",
    ) -> Response:
        if side not in SIDES:
            raise ConfigError(f"side is {side}; expected one of {', '.join(map(str, SIDES))}")
        data = desk.thumbnails.get(id_, side)
        return Response(data, media_type="image/jpeg", headers={"Cache-Control": LASTING if v else "private, no-cache"})

    @router.get("/images/{id_}/file", summary="The file of an image, as it was indexed")
    def file(id_: ImageId) -> Response:
        row, data = served.read(id_)
        media = MEDIA_TYPES.get(row.format)
        kind = "inline" if media else "attachment"
        headers = {"Content-Disposition": kind, "Content-Security-Policy": "default-src 'none'; sandbox"}
        return Response(data, media_type=media or "application/octet-stream", headers=headers)

    @router.get("/images/{id_}/canonical.png", summary="An image as the encoder sees it")
    def canonical(id_: ImageId) -> Response:
        return Response(png(served.sight(id_).canonical, scale=4), media_type="image/png")

    @router.get("/codes/{code}/matches", summary="Ask about a code")
    async def code_matches(
        code: CodeText, exact: Exact = False, radius: Radius = None, k: K = None, matches: Matches = False
    ) -> Response:
        quick = exact or is_quick(radius, k, matches)
        return await answered(lambda: served.ask_code(_code(code), ask(exact, radius, k, matches)), quick=quick)

    @router.get("/codes/{code}/decoded.png", summary="The picture that a code stands for")
    def decoded(code: CodeText, flip: Annotated[int | None, Query(ge=0, le=511)] = None) -> Response:
        wanted, bits = _code(code), served.encoder()[1].bits
        if flip is not None:
            if flip >= bits or len(wanted) * 8 != bits:
                raise ConfigError(f"bit {flip} of a code of {len(wanted) * 8} bits; the encoder's codes have {bits}")
            wanted = flip_bit(wanted, flip)
        return Response(png(served.decode(wanted[None])[0], scale=4), media_type="image/png")

    @router.post("/codes/look-up", summary="Which images have these codes? Up to 1,000 codes")
    async def look_up(codes: Annotated[list[str], Body(embed=True, max_length=BATCH)]) -> Response:
        if not codes:
            return AsciiJson({"images": []})
        if len({len(code) for code in codes}) > 1:
            raise CodeError("the codes differ in their width; expected those of the encoder in use")

        def find() -> Response:
            return AsciiJson({"images": served.look_up(np.stack([_code(code) for code in codes]))})

        return await (desk.quickly(find) if len(codes) <= FEW else run_in_threadpool(find))

    @router.get("/compare", summary="Why two images match, or do not")
    def compare(a: Annotated[int, Query(ge=1, le=LAST_ID)], b: Annotated[int, Query(ge=1, le=LAST_ID)]) -> Response:
        return AsciiJson(compare_images(served, a, b))

    @router.get("/stats", summary="What the collection holds")
    def stats() -> Response:
        return AsciiJson(desk.stats())

    @router.get("/health", summary="What the codes of the collection are worth")
    def health() -> Response:
        return AsciiJson(desk.health().to_dict())

    @router.get("/calibration", summary="Which radius keeps the promised precision")
    def calibration() -> Response:
        found = desk.collection.calibration
        return AsciiJson({"calibration": None if found is None else found.to_dict(), "curve": desk.curve()})

    @router.get("/map", summary="All images as points: uint32 id, uint16 x, uint16 y, little-endian")
    def points() -> Response:
        return Response(desk.points(), media_type="application/octet-stream")

    @router.get("/session", summary="What requests that change something show in X-Hashae-Session")
    def session() -> Response:
        return AsciiJson({"session": desk.settings.session})

    return router


def is_quick(radius: int | None, k: int | None, matches: bool) -> bool:
    """Tell whether a question is one of a moment: neither many images answer it, nor is a rule applied to each.

    Examples
    --------
    >>> is_quick(None, None, False), is_quick(3, None, False), is_quick(80, None, False), is_quick(None, 1000, False)
    (True, True, False, False)
    """
    return not matches and (radius is None or radius <= NEAR) and (k is None or k <= FEW)


def _code(text: str) -> Any:
    """Return the code ``uint8 (bytes,)`` of a hexadecimal text."""
    try:
        return from_hex([text])[0]
    except ValueError as error:
        raise CodeError(f"{text[:40]!r} is no code; expected hexadecimal digits") from error
