"""The REST endpoint: a picture and its references in, the colorized picture out. `/api/openapi.json` describes it."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import anyio.to_thread
from fastapi import APIRouter, FastAPI, File, Form, HTTPException, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from pydantic import BaseModel, Field
from starlette.background import BackgroundTask

from stylecolor.errors import NoRoomError, did_you_mean, one_line
from stylecolor.studio.line import WAITING, Cancelled, LineFullError
from stylecolor.studio.messages import describe_invalid
from stylecolor.studio.model import NoNetworksError
from stylecolor.studio.requests import QUALITY, SIZE, ColorizeRequest
from stylecolor.studio.sessions import Session
from stylecolor.studio.work import Result, Studio, TooLargePictureError

COMMAND_HEADER = "Stylecolor-Command"
"""Of an answer: the command that makes the same file, percent-encoded as in URLs."""
RETRY_SECONDS = 5
FILES = ("target", "reference", "target_labels", "reference_labels", "points")
FIELDS = (*FILES, "weights", "strength", "saturation", "matching", "sites", "size", "quality")
ENCODED = {"%22": '"', "%0D": "\r", "%0A": "\n"}
"""How clients write what names of files in forms cannot have."""
OTHER_METHODS = ["GET", "HEAD", "PUT", "PATCH", "DELETE"]
THREADS = WAITING + 16
"""More than may wait, so that who comes too late is told at once."""
STATUSES = {LineFullError: 503, NoNetworksError: 503, NoRoomError: 507, TooLargePictureError: 413, Cancelled: 499, ValueError: 400}
"""Of answers to what cannot be done; 499 is for a client that has gone."""
MEDIA_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".webp": "image/webp",
}


class Refusal(BaseModel):
    """Why a request cannot be fulfilled."""

    detail: Annotated[str, Field(description="In one line.")]


REFUSALS = {
    400: "A file or a setting that cannot be used.",
    401: "Name and password are needed (HTTP Basic).",
    403: "A page of another site asks.",
    408: "Nothing of the request has come for a minute.",
    413: "A picture or a request that is too large.",
    421: "The studio is asked by a name that is not its own.",
    503: "Too many wait already, or there are no networks.",
    507: "The studio's memory or disk is full.",
}
RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The picture, of the target's size and format; formats that are read but not written become PNG.",
        "content": {media: {"schema": {"type": "string", "format": "binary"}} for media in dict.fromkeys(MEDIA_TYPES.values())},
        "headers": {COMMAND_HEADER: {"description": "Makes the same file; percent-encoded.", "schema": {"type": "string"}}},
    },
    **{status: {"model": Refusal, "description": description} for status, description in REFUSALS.items()},
}
Target = Annotated[UploadFile, File(description="The picture to colorize: PNG, JPEG, TIFF, WebP, BMP or GIF.")]
References = Annotated[
    list[UploadFile] | None,
    File(description="The pictures that lend their colours; several are mixed. Without any the colorization network chooses the colours."),
]
Weights = Annotated[str | None, Form(description="Of several references, in which they are mixed, such as 0.7,0.3; equal if left out.")]
TargetLabels = Annotated[UploadFile | None, File(description="Label map of the target: PNG, 8 bits, 255 for none.")]
ReferenceLabels = Annotated[UploadFile | None, File(description="Label map of the one reference; regions of the same label are matched.")]
Points = Annotated[UploadFile | None, File(description="Colours at points: the JSON that `stylecolor hints` reads.")]
Strength = Annotated[float, Form(description="How far the result follows the reference, from 0 to 1.")]
Saturation = Annotated[float, Form(description="Of the new colours: 0 is grey, above 1 they are stronger.")]
Matching = Annotated[str | None, Form(description="adain, wct or none; as the networks were trained if left out.")]
Sites = Annotated[str | None, Form(description="Where features are matched, such as bottleneck,encoder; as trained if left out.")]
Size = Annotated[int, Form(description="Shorter side at which the networks see the picture, px.")]
Quality = Annotated[int, Form(description="Of JPEG and lossy WebP, 1 to 100.")]


def add_rest(app: FastAPI, studio: Studio) -> None:
    """Add the endpoint to an application."""
    app.include_router(_router(studio))
    for error, status in STATUSES.items():
        app.add_exception_handler(error, _refusing(status))
    app.add_exception_handler(RequestValidationError, _refuse_validation)


def _router(studio: Studio) -> APIRouter:
    router = APIRouter()
    threads = anyio.CapacityLimiter(THREADS)

    @router.post("/api/colorize", response_class=Response, responses=RESPONSES)
    async def colorize(
        request: Request,
        target: Target,
        reference: References = None,
        weights: Weights = None,
        target_labels: TargetLabels = None,
        reference_labels: ReferenceLabels = None,
        points: Points = None,
        strength: Strength = 1.0,
        saturation: Saturation = 1.0,
        matching: Matching = None,
        sites: Sites = None,
        size: Size = SIZE,
        quality: Quality = QUALITY,
    ) -> Response:
        """Colorize a picture as `stylecolor colorize` does, byte for byte."""
        _check_fields((await request.form()).multi_items())
        with ExitStack() as ending:
            with studio.named_plainly():
                session = ending.enter_context(studio.sessions.single())

            def work() -> Result:
                # its files are written as a part of the job, so that it ends after that if the client goes meanwhile
                with studio.named_plainly(), session.job() as ticket:
                    asked = ColorizeRequest(
                        target=_store(session, target),
                        references=tuple(_store(session, file) for file in reference or ()),
                        weights=None if weights is None else _numbers(weights),
                        target_labels=None if target_labels is None else _store(session, target_labels),
                        reference_labels=None if reference_labels is None else _store(session, reference_labels),
                        strength=strength,
                        saturation=saturation,
                        matching=matching,
                        sites=None if sites is None else tuple(sites.split(",")),
                        size=size,
                        points=() if points is None else studio.read_points(_store(session, points)),
                        quality=quality,
                    )
                    return studio.colorize(asked, session, lambda share, step: None, ticket)

            result = await _unless_gone(request, session, lambda: anyio.to_thread.run_sync(work, limiter=threads))
            # the file has to be there until it is sent
            sent = ending.pop_all()
        return FileResponse(
            result.path,
            media_type=MEDIA_TYPES[result.path.suffix.lower()],
            filename=result.path.name,
            headers={COMMAND_HEADER: quote(result.command)},
            background=BackgroundTask(sent.close),
        )

    @router.api_route("/api/colorize", methods=OTHER_METHODS, include_in_schema=False)
    async def refuse_method(request: Request) -> Response:
        # Gradio, which answers to all other addresses, would say that there is nothing here
        raise HTTPException(405, f"{request.method} is not POST, by which pictures are sent", {"Allow": "POST"})

    return router


def _check_fields(fields: Sequence[tuple[str, Any]]) -> None:
    """Refuse what would be ignored.

    Raises:
        ValueError: naming the field.
    """
    for name, count in Counter(name for name, _ in fields).items():
        if name not in FIELDS:
            raise ValueError(f"{name}: is no field; they are {', '.join(FIELDS)}{did_you_mean(name, FIELDS)}")
        if count > 1 and name != "reference":
            raise ValueError(f"{name}: is given {count} times; only reference may be repeated")


async def _unless_gone(request: Request, session: Session, work: Callable[[], Awaitable[Result]]) -> Result:
    """Do the work, and end the session if the client goes meanwhile."""

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        session.end()

    watching = asyncio.create_task(watch())
    try:
        return await work()
    finally:
        watching.cancel()


def _store(session: Session, file: UploadFile) -> Path:
    name = file.filename or "picture"
    for code, character in ENCODED.items():
        name = name.replace(code, character)
    try:
        return session.write(name, file.file)
    finally:
        # it takes as much room as what is written
        file.file.close()


def _numbers(weights: str) -> tuple[float, ...]:
    try:
        return tuple(float(weight) for weight in weights.split(","))
    except ValueError:
        raise ValueError(f"weights={weights}: is no list of numbers; write one for each reference, such as 0.7,0.3") from None


def _refusing(status: int) -> Callable[[Request, Exception], Response]:
    def refuse(request: Request, error: Exception) -> Response:
        headers = {"Retry-After": str(RETRY_SECONDS)} if status == 503 else None
        return JSONResponse({"detail": one_line(error)}, status, headers)

    return refuse


def _refuse_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    reasons = [{**reason, "loc": reason["loc"][1:]} for reason in error.errors()]
    texts = [reason for reason in reasons if reason["loc"][:1] and reason["loc"][0] in FILES and isinstance(reason["input"], str)]
    if texts:
        name, text = texts[0]["loc"][0], texts[0]["input"]
        return JSONResponse({"detail": f"{name}={text}: is a text, not a file; send the file, as curl does for -F {name}=@{text}"}, 400)
    return JSONResponse({"detail": describe_invalid(reasons)}, 400)
