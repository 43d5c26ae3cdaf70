"""What is dropped on tabs that have pictures of their own."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import gradio as gr

from stylecolor.errors import one_line
from stylecolor.studio.messages import warn
from stylecolor.studio.picture_drop import dropped_file
from stylecolor.studio.previews import make_preview
from stylecolor.studio.status import say_refused
from stylecolor.studio.visitor import Shown, TabState, VisitorState, keep_shown, session_of, visitor_of

if TYPE_CHECKING:
    from stylecolor.studio.sessions import Session
    from stylecolor.studio.work import Studio

CSS = """
.invitation .prose { display: grid; place-content: center; min-height: min(30vh, 40vw, 300px); padding: var(--spacing-lg);
  text-align: center; border: 1px dashed var(--border-color-primary); border-radius: var(--radius-md); }
.invitation p { margin: 0; max-width: 40ch; color: var(--body-text-color-subdued); }
"""

Read = Callable[["Studio", "Session", Path], Shown]


def take(
    studio: "Studio",
    drop: gr.Image | gr.File,
    status: gr.HTML,
    changed: gr.State,
    field: Literal["source", "reference"],
    tab: Literal["stylize", "clip"],
    read: Read,
) -> None:
    """Let what is dropped become the source or the reference of a tab, whose job is cancelled and whose result is forgotten.

    Args:
        studio: has the sessions.
        drop: is given the preview, or again the one before where the upload is refused.
        status: says why, where it is.
        changed: is raised where there is another one, or none, as `stylecolor.studio.signals` are. On its `.change` the tab shows what it
            has: the answers to two drops may come in another order, so they themselves say nothing of the other one.
        field: of the tab's state.
        tab: the field of a visitor that has the tab's state.
        read: looks at a file of the session.
    """

    def upload(value: Mapping[str, Any], request: gr.Request) -> dict[Any, Any]:
        visitor, session = visitor_of(studio, request), session_of(studio, request)
        dropped = dropped_file(value)
        assert dropped is not None
        try:
            with studio.named_plainly():
                shown = read(studio, session, session.adopt(*dropped))
        except (ValueError, OSError) as error:
            warn(one_line(error))
            before: Shown | None = getattr(getattr(visitor, tab), field)
            return {drop: None if before is None else str(before.preview), status: say_refused(one_line(error))}
        replace(visitor, session, shown)
        return {drop: str(shown.preview), changed: visitor.changed()}

    def clear(request: gr.Request) -> int:
        visitor = visitor_of(studio, request)
        replace(visitor, session_of(studio, request), None)
        return visitor.changed()

    def replace(visitor: VisitorState, session: "Session", shown: Shown | None) -> None:
        state: TabState = getattr(visitor, tab)
        if state.job is not None:
            state.job.cancel()
        state.job = state.result = None
        setattr(state, field, shown)
        session.keep(f"{tab}-{field}", *(() if shown is None else (shown.path,)))
        # a film is not fetched
        keep_shown(session, f"{tab}-{field}-preview", *(() if shown is None or shown.preview == shown.path else (shown.preview,)))
        session.keep(f"{tab}-result")
        keep_shown(session, f"{tab}-result-preview")

    # in turn, so that what is taken away while it is looked at is gone; those of all visitors, whose previews are made in turn anyway
    ordered: dict[str, Any] = {"concurrency_id": tab, "concurrency_limit": 1, "api_visibility": "private"}
    drop.upload(upload, drop, [drop, status, changed], preprocess=False, show_progress="minimal", **ordered)
    drop.clear(clear, None, changed, show_progress="hidden", **ordered)


def invite(text: str) -> gr.HTML:
    """What stands where the result will be."""
    return gr.HTML(f"<p>{text}</p>", elem_classes="invitation")


def read_shown_picture(studio: "Studio", session: "Session", path: Path) -> Shown:
    """A picture and its preview; raises as `make_preview`."""
    return Shown(path, make_preview(studio, session, path).path)
