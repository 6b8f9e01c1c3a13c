"""The JSON API: duplicates, verdicts, actions and jobs. What changes something needs the header X-Hashae-Session."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, Field

from hashae.indexer.decisions import Verdict
from hashae.indexer.report import TIERS
from hashae.serve.desk import Desk
from hashae.serve.found import STATES, Search, choices
from hashae.serve.text import AsciiJson

LAST_ID = (1 << 63) - 1
Id = Annotated[int, Field(ge=1, le=LAST_ID)]
Tier = Literal["bytes", "pixels", "code", "near"]
JobName = Literal["duplicates", "calibrate", "index", "apply", "undo"]
Number = Annotated[int, Path(ge=1, le=LAST_ID)]


class SearchBody(BaseModel):
    """How to search for duplicates; the default is that of `hashae dedup`."""

    radius: int | None = Field(None, ge=0, le=512)
    linkage: Literal["star", "complete", "component"] = "star"
    folder: str | None = Field(None, max_length=4096)
    keep: str | None = Field(None, max_length=200, description="Keep rules, with commas between them.")
    prefer: list[str] = Field([], max_length=20)
    protect: list[str] = Field([], max_length=20)


class DecisionBody(BaseModel):
    """What to do with one group."""

    decision: Literal["keep", "distinct", "ignore", "open"]
    keep: list[Id] = Field([], max_length=1000, description="Images that stay, the keeper first.")


class BulkBody(BaseModel):
    """Mark all open groups of some tiers, or take the marks back."""

    decision: Literal["keep", "open"]
    tiers: list[Tier] = Field(min_length=1, max_length=4)
    keep: str | None = Field(None, max_length=200, description="Keep rules, commas between; none: as the search chose.")
    prefer: list[str] = Field([], max_length=20, description="Folders of which images rather stay.")
    dry: bool = Field(False, description="Change nothing, only tell what would be marked.")


class VerdictBody(BaseModel):
    """A verdict about some images."""

    kind: Literal["keep", "distinct", "ignore"]
    images: list[Id] = Field(min_length=1, max_length=1000)


class ApplyBody(BaseModel):
    """The plan that was previewed."""

    digest: str = Field(pattern=r"^[0-9a-f]{64}$")


class UndoBody(BaseModel):
    """Which run to undo; none is the newest."""

    run: int | None = Field(None, ge=1, le=LAST_ID)


def make_router(desk: Desk) -> APIRouter:
    """Return the routes of duplicates, verdicts, actions and jobs.

    Parameters
    ----------
    desk
        What the server works with.
    """
    router = APIRouter(prefix="/api/v1", default_response_class=AsciiJson)
    review, jobs = desk.review, desk.jobs
    verdicts = desk.collection.verdicts

    def start(name: JobName, work: Callable[[Any], Any]) -> Response:
        return AsciiJson(jobs.start(name, work).to_dict(), status_code=202)

    @router.get("/duplicates", tags=["duplicates"], summary="The newest search in numbers, and its job")
    def duplicates() -> Response:
        return AsciiJson({"job": jobs.get("duplicates").to_dict(), "summary": review.summary()})

    @router.post("/duplicates", tags=["duplicates"], summary="Search for duplicates", status_code=202)
    def search(body: SearchBody) -> Response:
        values = body.model_dump()
        asked = Search(**values | {"prefer": tuple(body.prefer), "protect": tuple(body.protect)})
        return start("duplicates", lambda tell: review.search(asked, tell))

    @router.get("/duplicates/groups", tags=["duplicates"], summary="Groups, page by page")
    def groups(
        offset: Annotated[int, Query(ge=0, le=LAST_ID)] = 0,
        limit: Annotated[int, Query(ge=1, le=200)] = 20,
        tier: Annotated[list[str], Query(max_length=4)] = [],  # noqa: B006  FastAPI reads it, nobody changes it
        state: Annotated[list[str], Query(max_length=5)] = [],  # noqa: B006
        sort: Literal["bytes", "distance", "size", "date"] = "bytes",
        text: Annotated[str, Query(max_length=500)] = "",
    ) -> Response:
        chosen = choices(tier, TIERS, "tier"), choices(state, STATES, "state")
        return AsciiJson(
            review.groups(offset=offset, limit=limit, tiers=chosen[0], states=chosen[1], sort=sort, text=text)
        )

    @router.get("/duplicates/groups/{number}", tags=["duplicates"], summary="One group")
    def group(number: Number) -> Response:
        return AsciiJson(review.group(number))

    @router.post("/duplicates/groups/{number}", tags=["duplicates"], summary="Decide of one group")
    def decide(number: Number, body: DecisionBody) -> Response:
        return AsciiJson(review.decide(number, body.decision, body.keep))

    @router.post("/duplicates/decisions", tags=["duplicates"], summary="Decide of many groups by the keep rules")
    def decide_all(body: BulkBody) -> Response:
        tiers = frozenset(body.tiers)
        return AsciiJson(review.decide_all(body.decision, tiers, keep=body.keep, prefer=body.prefer, dry=body.dry))

    @router.get("/verdicts", tags=["verdicts"], summary="What people decided about pictures")
    def list_verdicts() -> Response:
        listed = [
            {
                "id": verdict.id,
                "kind": verdict.kind,
                "made": verdict.made,
                "contents": [{"content": key.hex(), "path": path} for key, path in verdict.contents.items()],
            }
            for verdict in verdicts.all()
        ]
        return AsciiJson({"verdicts": listed})

    @router.post("/verdicts", tags=["verdicts"], summary="Store a verdict", status_code=201)
    def add_verdict(body: VerdictBody) -> Response:
        rows = [desk.served.image(id_) for id_ in dict.fromkeys(body.images)]
        now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        added = verdicts.add([Verdict(0, body.kind, now, {row.content: row.path for row in rows})])
        return AsciiJson({"id": added[0].id if added else None, "new": bool(added)}, status_code=201)

    @router.delete("/verdicts/{number}", tags=["verdicts"], summary="Take a verdict back")
    def forget_verdict(number: Number) -> Response:
        return AsciiJson({"forgotten": verdicts.forget([number])})

    @router.get("/actions", tags=["actions"], summary="What was done to files")
    def history() -> Response:
        return AsciiJson({"runs": [asdict(run) for run in desk.collection.actions.history()]})

    @router.post("/actions/preview", tags=["actions"], summary="What would happen to the marked files")
    def preview() -> Response:
        return AsciiJson(review.preview())

    @router.post("/actions/apply", tags=["actions"], summary="Put the marked files into the trash", status_code=202)
    def apply(body: ApplyBody) -> Response:
        return start("apply", lambda tell: review.apply(body.digest, tell))

    @router.post("/actions/undo", tags=["actions"], summary="Bring back what a run did", status_code=202)
    def undo(body: UndoBody) -> Response:
        return start("undo", lambda tell: review.undo(body.run, tell))

    @router.post("/index", tags=["collection"], summary="Bring all folders up to date", status_code=202)
    def index() -> Response:
        return start("index", desk.index)

    @router.post("/calibration", tags=["collection"], summary="Measure the radius of the promise", status_code=202)
    def calibrate() -> Response:
        return start("calibrate", desk.calibrate)

    @router.get("/jobs/{name}", tags=["collection"], summary="How far a job is")
    def job(name: JobName) -> Response:
        return AsciiJson(jobs.get(name).to_dict())

    return router
