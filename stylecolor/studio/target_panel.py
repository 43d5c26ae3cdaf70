"""The photograph to colorize: where it is dropped."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from stylecolor.errors import one_line
from stylecolor.studio.messages import warn
from stylecolor.studio.picture_drop import drop_picture, dropped_file
from stylecolor.studio.previews import make_preview
from stylecolor.studio.status import say_refused
from stylecolor.studio.visitor import keep_shown, session_of, visitor_of

if TYPE_CHECKING:
    from stylecolor.studio.sessions import Session
    from stylecolor.studio.signals import Signals
    from stylecolor.studio.visitor import VisitorState
    from stylecolor.studio.work import Studio


def build(studio: "Studio", signals: "Signals", status: gr.HTML) -> gr.Image:
    """The drop zone, which shows the target that there is; what is refused is said in `status`, too."""
    drop = drop_picture(
        label="Photograph",
        placeholder="Drop a photograph\nor choose one",
        alt_text="The photograph to colorize",
        elem_id="target",
    )

    def take(upload: Mapping[str, Any] | None, request: gr.Request) -> list[Any]:
        visitor, session = visitor_of(studio, request), session_of(studio, request)
        dropped = dropped_file(upload)
        assert dropped is not None
        try:
            with studio.named_plainly():
                set_target(studio, visitor, session, session.adopt(*dropped))
        except ValueError as error:
            warn(one_line(error))
            # the one before is still the target
            return [visitor.preview, say_refused(one_line(error)), gr.skip()]
        return [visitor.preview, gr.skip(), visitor.changed()]

    def clear(request: gr.Request) -> int:
        visitor = visitor_of(studio, request)
        forget_target(visitor, session_of(studio, request))
        return visitor.changed()

    drop.upload(take, drop, [drop, status, signals.target], preprocess=False, show_progress="minimal", api_visibility="private")
    drop.clear(clear, None, signals.target, show_progress="hidden", api_visibility="private")
    return drop


def set_target(studio: "Studio", visitor: "VisitorState", session: "Session", path: Path) -> None:
    """Take a file of the session for the target.

    Raises:
        ValueError: for a file that is no picture, is damaged, or has more pixels than the studio takes. The target stays what it was.
        OSError: for one that cannot be read.
    """
    preview = make_preview(studio, session, path)
    forget_target(visitor, session)
    session.keep("target", path, preview.path)
    visitor.target = path
    visitor.preview, visitor.target_size = preview


def forget_target(visitor: "VisitorState", session: "Session") -> None:
    """Take the target away, and all that belongs to it."""
    if visitor.job is not None:
        visitor.job.cancel()
        visitor.job, visitor.job_taken = None, True
    visitor.target = visitor.preview = visitor.target_size = None
    visitor.points = []
    visitor.target_labels = None
    visitor.request = visitor.result = visitor.result_preview = None
    keep_shown(session, "result-preview")
    for slot in ("target", "job", "result", "steps", "sheet"):
        session.keep(slot)
