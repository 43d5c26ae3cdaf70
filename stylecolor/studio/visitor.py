"""What the page holds of one visitor. It lives on the server, as `Session.visitor`, for as long as the page is open there.

The page is put together from parts, each a module with one function, called once, inside the layout where the part is to stand:

    build(studio: Studio, signals: Signals) -> None

A part makes its components (with stable `elem_id`s) and the handlers of their events. A handler takes `request: gr.Request`, finds its
visitor with `visitor_of(studio, request)`, reads and changes the fields below, and tells the other parts by returning `visitor.changed()`
as the new value of one of the signals, which are `gr.State`s (see `stylecolor.studio.signals`). Whoever depends on a signal listens to its
`.change` event. So the colorize tab clears `points` and `target_labels` and raises `signals.target` for a new target, on which the hints
panel draws the new `preview`; a point that is put there changes `points` and raises `signals.inputs`, on which the colorize tab
computes the result anew, if there is one. What is shown where pictures are dropped is returned along with the signal, and not on its
`.change`: meanwhile the visitor may have dropped another one there, which would be lost.

Hints and regions stand as tabs beside the result, in the wide column of the colorize tab; the status line and the button are always
beside them. The stylize and clip tabs stand beside the colorize tab, and each has inputs, a button and results of its own. A button that
starts work and cancels it is run by `stylecolor.studio.cancelable`.

What a handler refuses (ValueError, OSError) is shown in one line by `stylecolor.studio.messages.shown`.

Files that the fields below name, or the page shows, have to be in a slot of the session (`Session.keep`), which removes those that were
there before; pictures that pages fetch, by `keep_shown`.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import gradio as gr

    from stylecolor.studio.line import Ticket
    from stylecolor.studio.requests import ColorizeRequest
    from stylecolor.studio.running import Job
    from stylecolor.studio.sessions import Session
    from stylecolor.studio.work import ClipResult, Result, Studio
    from stylecolor.user_hints import HintPoint


class Shown(NamedTuple):
    """A file of the session, and what the page shows of it."""

    path: Path
    preview: Path


@dataclass(eq=False)
class TabState:
    """The choices of one visitor on a tab that has pictures of its own."""

    source: Shown | None = None
    """The photograph or the clip."""
    reference: Shown | None = None
    result: "Result | ClipResult | None" = None
    """The newest; None until there is one, and again for another source or reference."""
    job: "Job | None" = None
    """While it waits or runs, as that of `VisitorState`."""
    advised: tuple[object, ...] | None = None
    """What the status line's last advice was, and for which pictures; None where there were none."""


@dataclass(eq=False)
class VisitorState:
    """The choices of one visitor. The lists are replaced, never changed in place, as other threads may be reading them."""

    target: Path | None = None
    """The photograph to colorize, in the session's directory under the name that it came with."""
    preview: Path | None = None
    """What the page shows of it: a file that browsers show, no side longer than `stylecolor.studio.previews.LONGEST_SIDE`."""
    target_size: tuple[int, int] | None = None
    """Height and width of the target, px."""
    references: list[Path] = field(default_factory=list)
    """Uploads in the session's directory, and pictures of the folder that --references names."""
    points: list["HintPoint"] = field(default_factory=list)
    """Colour hints. They belong to the target and go with it."""
    target_labels: Path | None = None
    """The label map of the target, of its size. It goes with the target."""
    reference_labels: Path | None = None
    """The label map of the one reference, of its size. It goes with the references."""
    result: "Result | None" = None
    """The newest; None until there is one, and again for a new target."""
    request: "ColorizeRequest | None" = None
    """What it was made by."""
    result_preview: Path | None = None
    """What the page shows of it, of the size of `preview`."""
    job: "Job | None" = None
    """Of the colorize tab, while it waits or runs. Who starts another one, or takes its target away, cancels it and puts another here, or
    None, and then it changes nothing on the page any more."""
    asked: "ColorizeRequest | None" = None
    """What the job is to make, or the one before it."""
    job_taken: bool = False
    """Whether its target was taken away from a job, whose button still offers to cancel it."""
    advised: tuple[object, ...] | None = None
    """As that of `TabState`."""
    shown_references: dict[Path, Path] = field(default_factory=dict)
    """The reference of each thumbnail that the page shows of `references`."""
    weighted: list[Path] = field(default_factory=list)
    """The references that the fields of weights belong to."""
    offered: list[Path] = field(default_factory=list)
    """The pictures of the folder that --references names, in the order in which the page shows them."""
    offer: "Ticket | None" = None
    """Of what puts them into that order, the newest; another one cancels it."""
    stylize: TabState = field(default_factory=TabState)
    clip: TabState = field(default_factory=TabState)
    fetched: dict[str, tuple[Path, ...]] = field(default_factory=dict)
    """What `keep_shown` has put into each slot."""
    _count: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def changed(self) -> int:
        """A number that no signal of this visitor had before: returned as a signal's value it raises it."""
        return next(self._count)


def keep_shown(session: "Session", slot: str, *files: Path) -> None:
    """Let pictures that the page shows be what a slot has from now on, beside those before, which the browser may still be fetching."""
    before = session.visitor.fetched.get(slot, ())
    session.visitor.fetched[slot] = files
    session.keep(slot, *before, *files)


def visitor_of(studio: "Studio", request: "gr.Request") -> VisitorState:
    """The visitor whose event a handler is given.

    Raises:
        gr.Error: as `session_of`.
    """
    return session_of(studio, request).visitor


def session_of(studio: "Studio", request: "gr.Request") -> "Session":
    """Their session, which has their files.

    Raises:
        gr.Error: which says so, where it has ended: what the page shows is not there any more.
    """
    # imported late: only the page needs Gradio
    from stylecolor.studio.messages import shown

    assert request.session_hash is not None
    with shown():
        return studio.sessions.get(request.session_hash)
