"""The pictures that lend their colours: dropped, or chosen from the folder that --references names."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from stylecolor.errors import one_line
from stylecolor.studio.abilities import abilities_of
from stylecolor.studio.messages import warn
from stylecolor.studio.picture_drop import Dropped, dropped_files
from stylecolor.studio.previews import THUMBNAIL_SIDE, make_preview
from stylecolor.studio.requests import REFERENCES
from stylecolor.studio.status import say_refused
from stylecolor.studio.thumbnails import mend_thumbnails
from stylecolor.studio.visitor import keep_shown, session_of, visitor_of

if TYPE_CHECKING:
    from stylecolor.studio.sessions import Session
    from stylecolor.studio.signals import Signals
    from stylecolor.studio.visitor import VisitorState
    from stylecolor.studio.work import Studio


def build(studio: "Studio", signals: "Signals", status: gr.HTML) -> gr.Gallery:
    """The drop zone, which shows the references that there are; what is refused is said in `status`, too."""
    drop = gr.Gallery(
        label="References",
        type="filepath",
        interactive=True,
        file_types=["image"],
        columns=2,
        height=150,
        object_fit="cover",
        fit_columns=False,
        allow_preview=False,
        buttons=[],
        elem_id="references",
    )

    def take(pictures: Sequence[Mapping[str, Any]] | None, request: gr.Request) -> list[Any]:
        visitor, session = visitor_of(studio, request), session_of(studio, request)
        dropped = dropped_files(pictures)
        before = visitor.shown_references
        if [path for path, _ in dropped] == list(before):
            # it was the page that changed them
            return [gr.skip()] * 3
        references, refused = [], []
        for file in dropped:
            try:
                with studio.named_plainly():
                    references.append((file.path, before[file.path]) if file.path in before else _adopt(studio, session, file))
            except ValueError as error:
                refused.append(one_line(error))
        if len(references) > REFERENCES:
            refused.append(f"{len(references)} references are more than the {REFERENCES} that are mixed; the first {REFERENCES} are taken")
            references = references[:REFERENCES]
        for reason in refused:
            warn(reason)
        changed = gr.skip() if dict(references) == before else set_references(visitor, session, references)
        return [thumbnails_of(visitor), say_refused(refused[-1]) if refused else gr.skip(), changed]

    def offer(request: gr.Request) -> list[Any]:
        visitor, session = visitor_of(studio, request), session_of(studio, request)
        offered = abilities_of(studio.model).follow_references
        # they were dropped while nobody knew yet
        forgotten = bool(visitor.references) and not offered
        changed = set_references(visitor, session, []) if forgotten else gr.skip()
        return [gr.Gallery([], visible=offered) if forgotten else gr.Gallery(visible=offered), changed]

    signals.model.change(offer, None, [drop, signals.references], show_progress="hidden", api_visibility="private")
    changed = drop.change(
        take, drop, [drop, status, signals.references], preprocess=False, show_progress="hidden", api_visibility="private"
    )
    changed.then(None, js=mend_thumbnails("references"))
    return drop


def build_weights(studio: "Studio", signals: "Signals") -> list[gr.Number]:
    """The fields of the references' weights, which are seen where there are several."""
    with gr.Row(visible=False, elem_id="weights") as row:
        fields = [
            gr.Number(1, minimum=0, step=0.1, visible=False, min_width=110, label=f"Weight {number}", elem_id=f"weight-{number}")
            for number in range(1, REFERENCES + 1)
        ]

    def show(request: gr.Request) -> list[Any]:
        visitor = visitor_of(studio, request)
        kept = len(visitor.weighted) if visitor.references[: len(visitor.weighted)] == visitor.weighted else 0
        visitor.weighted = visitor.references
        several = len(visitor.references) > 1
        updates = []
        for number in range(REFERENCES):
            seen = several and number < len(visitor.references)
            label = f"Weight {number + 1}: {visitor.references[number].name}" if seen else f"Weight {number + 1}"
            updates.append(gr.Number(visible=seen, label=label) if number < kept else gr.Number(1, visible=seen, label=label))
        return [visitor.changed(), gr.Row(visible=several), *updates]

    signals.references.change(show, None, [signals.inputs, row, *fields], show_progress="hidden", api_visibility="private")
    return fields


def thumbnails_of(visitor: "VisitorState") -> list[tuple[str, str]]:
    """The thumbnails, and what the pictures are called."""
    return [(str(thumbnail), path.name) for thumbnail, path in visitor.shown_references.items()]


def _adopt(studio: "Studio", session: "Session", upload: Dropped) -> tuple[Path, Path]:
    path = session.adopt(*upload)
    return write_thumbnail(studio, session, path), path


def write_thumbnail(studio: "Studio", session: "Session", path: Path) -> Path:
    """A small form of a picture, in the session's directory; raises as `make_preview`."""
    return make_preview(studio, session, path, THUMBNAIL_SIDE).path


def set_references(visitor: "VisitorState", session: "Session", references: Sequence[tuple[Path, Path]]) -> int:
    """Take pictures, each with its thumbnail before it, for the references; returns the new value of `signals.references`."""
    visitor.shown_references = dict(references)
    visitor.references = [path for _, path in references]
    visitor.reference_labels = None
    session.keep("references", *visitor.references)
    keep_shown(session, "reference-thumbnails", *visitor.shown_references)
    return visitor.changed()
