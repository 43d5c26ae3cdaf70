"""The endpoint of Gradio's own clients: `gradio_client.Client(url).predict(..., api_name="/colorize")`."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.data_classes import FileData
from pydantic import BaseModel, ConfigDict, ValidationError

from stylecolor.studio.line import Cancelled
from stylecolor.studio.messages import describe_invalid, refusal, shown
from stylecolor.studio.requests import QUALITY, SIZE, ColorizeRequest
from stylecolor.studio.work import Studio

NAME = "colorize"


class _Arguments(BaseModel):
    """What a client may send, of which Gradio checks nothing."""

    model_config = ConfigDict(strict=True)
    target: FileData
    references: list[FileData] | None
    weights: list[float] | None
    target_labels: FileData | None
    reference_labels: FileData | None
    points: FileData | None
    strength: float
    saturation: float
    matching: str | None
    sites: list[str] | None
    size: int
    quality: int


def add_client_endpoint(studio: Studio) -> None:
    """Add the endpoint to the `gr.Blocks` that is being built."""

    def colorize(
        request: gr.Request,
        target: FileData,
        references: list[FileData] | None = None,
        weights: list[float] | None = None,
        target_labels: FileData | None = None,
        reference_labels: FileData | None = None,
        points: FileData | None = None,
        strength: float = 1.0,
        saturation: float = 1.0,
        matching: str | None = None,
        sites: list[str] | None = None,
        size: int = SIZE,
        quality: int = QUALITY,
    ) -> FileData:
        """Colorize a picture as `stylecolor colorize` does, byte for byte; `points` is the JSON that `stylecolor hints` reads."""
        assert request.session_hash is not None
        inputs: list[Path] = []

        def adopted(file: FileData) -> Path:
            inputs.append(session.adopt(file.path, file.orig_name))
            return inputs[-1]

        def adopted_if_any(file: FileData | None) -> Path | None:
            return None if file is None else adopted(file)

        with shown(markup=False), studio.named_plainly(), ExitStack() as ending:
            sent = _check(
                target=target,
                references=references,
                weights=weights,
                target_labels=target_labels,
                reference_labels=reference_labels,
                points=points,
                strength=strength,
                saturation=saturation,
                matching=matching,
                sites=sites,
                size=size,
                quality=quality,
            )
            session = studio.sessions.begin(request.session_hash)
            # a job from the beginning, as the session of a client that keeps no connection open would end while the networks are loaded
            ticket = ending.enter_context(session.job())
            ending.callback(lambda: session.discard(*inputs))
            asked = ColorizeRequest(
                target=adopted(sent.target),
                references=tuple(adopted(file) for file in sent.references or ()),
                weights=None if sent.weights is None else tuple(sent.weights),
                target_labels=adopted_if_any(sent.target_labels),
                reference_labels=adopted_if_any(sent.reference_labels),
                strength=sent.strength,
                saturation=sent.saturation,
                matching=sent.matching,
                sites=None if sent.sites is None else tuple(sent.sites),
                size=sent.size,
                points=() if sent.points is None else studio.read_points(adopted(sent.points)),
                quality=sent.quality,
            )
            try:
                result = studio.colorize(asked, session, lambda share, step: None, ticket)
            except Cancelled:
                raise refusal("cancelled") from None
        return FileData(path=str(result.path), orig_name=result.path.name)

    gr.api(colorize, api_name=NAME, concurrency_limit=None)


def _check(**sent: Any) -> _Arguments:
    try:
        return _Arguments(**sent)
    except ValidationError as error:
        raise ValueError(describe_invalid(error.errors())) from error
