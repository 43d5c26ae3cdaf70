"""The clip tab: a short film takes on the colours of a photograph, or those that the networks expect."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from stylecolor.studio import cancelable, command_panel, settings_panel, tab_pictures
from stylecolor.studio.abilities import abilities_of
from stylecolor.studio.clips import CLIP_BYTES, CLIP_SUFFIXES, check_clip
from stylecolor.studio.fields import read_number
from stylecolor.studio.line import Ticket
from stylecolor.studio.picture_drop import drop_picture
from stylecolor.studio.requests import CLIP_FRAMES, SATURATION, ClipRequest
from stylecolor.studio.status import advise, advise_anew, say
from stylecolor.studio.visitor import Shown, TabState, session_of, visitor_of
from stylecolor.studio.work import Report

if TYPE_CHECKING:
    from stylecolor.studio.sessions import Session
    from stylecolor.studio.signals import Signals
    from stylecolor.studio.work import ClipResult, Studio

NOTE = f"""Short films of up to {CLIP_FRAMES} frames (a minute at 25 a second) and {CLIP_BYTES // 1_000_000} MB. Sound is kept. Each frame
takes about as long as a picture."""
NO_CLIP = "Drop a short film to begin."
INVITATION = "The film in colour will be here, to be looked at and downloaded."

CSS = """
#clip [data-testid="upload-text"] { font-size: 0; }
#clip [data-testid="upload-text"] > * { display: none; }
#clip [data-testid="upload-text"]::after { content: "Drop a short film or choose one"; font-size: 1rem; }
"""
"""A `gr.File` takes no text of ours."""


def build(studio: "Studio", signals: "Signals") -> None:
    """Put the tab's contents here."""
    with gr.Row(elem_classes="workspace"):
        with gr.Column(elem_classes="inputs"):
            clip = gr.File(
                label="Short film", file_count="single", type="filepath", file_types=list(CLIP_SUFFIXES), height=150, elem_id="clip"
            )
            reference = drop_picture(
                label="Reference",
                placeholder="Drop a reference\nor choose one",
                alt_text="The photograph whose colours the film takes on",
                elem_id="clip-reference",
            )
        with gr.Column(elem_classes="action"):
            button = gr.Button("Colorize", variant="primary", elem_id="clip-colorize")
            status = gr.HTML(say(NO_CLIP), elem_id="clip-status", elem_classes="status")
        with gr.Column(elem_classes="result"):
            invitation = tab_pictures.invite(INVITATION)
            video = gr.Video(
                label="Colorized film",
                visible=False,
                interactive=False,
                buttons=[],
                height="min(62vh, 640px)",
                elem_id="clip-result",
            )
            with gr.Column(visible=False) as actions:
                with gr.Row(elem_classes="buttons"):
                    download = gr.DownloadButton("Download", variant="primary", size="sm", min_width=120, elem_id="clip-download")
                command = command_panel.build("clip-")
        with gr.Column(elem_classes="settings"):
            gr.Markdown(NOTE, elem_classes="note")
            strength = gr.Slider(
                0,
                1,
                1,
                step=0.05,
                label="Strength",
                info="How far the colours follow the reference: 0 not at all.",
                elem_id="clip-strength",
            )
            saturation = gr.Slider(
                0,
                settings_panel.MOST_SATURATION,
                1,
                step=0.05,
                label="Saturation",
                info="Of the new colours: 0 is grey.",
                elem_id="clip-saturation",
            )
    changed = gr.State(0)

    async def click(strength: object, saturation: object, request: gr.Request) -> AsyncIterator[dict[Any, Any]]:
        state, session = visitor_of(studio, request).clip, session_of(studio, request)
        if state.job is not None:
            yield cancelable.cancel(state, button, status)
            return

        def work(ticket: Ticket, report: Report) -> "ClipResult":
            if state.source is None:
                raise ValueError("there is no film yet; drop one")
            references = () if state.reference is None else (state.reference.path,)
            asked = ClipRequest(
                state.source.path,
                references,
                strength=read_number("strength", strength, 0, 1) if references else 1.0,
                saturation=read_number("saturation", saturation, 0, SATURATION),
            )
            return studio.colorize_clip(asked, session, report, ticket)

        def show(result: "ClipResult") -> dict[Any, Any]:
            state.result = result
            session.keep("clip-result", result.path)
            damage = f" The film is damaged: {result.damage}." if result.damage else ""
            return {
                status: say(f"Done in {result.seconds:.1f} s: {result.path.name}, {result.frames} frames.{damage}"),
                invitation: gr.HTML(visible=False),
                video: gr.Video(str(result.path), visible=True),
                actions: gr.Column(visible=True),
                download: gr.DownloadButton(f"Download {result.path.name}", value=result.path),
                command: result.command,
            }

        async for updates in cancelable.run(state, button, status, work, show):
            yield updates

    def show_state(request: gr.Request) -> dict[Any, Any]:
        state, session = visitor_of(studio, request).clip, session_of(studio, request)
        follows = abilities_of(studio.model).follow_references
        if state.reference is not None and not follows:
            # it was dropped while nobody knew yet
            state.reference = None
            session.keep("clip-reference")
        some = state.reference is not None
        updates: dict[Any, Any] = {
            button: gr.Button(interactive=studio.model.state != "missing"),
            reference: gr.Image(visible=follows),
            strength: gr.Slider(visible=follows, interactive=some, info=settings_panel.FOLLOWS if some else settings_panel.NO_REFERENCE),
        }
        if state.result is None:
            updates |= {invitation: gr.HTML(visible=True), video: gr.Video(None, visible=False), actions: gr.Column(visible=False)}
            if state.job is None:
                updates |= {
                    button: gr.Button("Colorize", variant="primary", interactive=studio.model.state != "missing"),
                    status: advise_anew(state, _advise(studio, state), state.source, state.reference),
                }
        return updates

    shown = [button, status, invitation, video, actions]
    # one answer after the other, the last one to the last change
    gr.on(
        [changed.change, signals.model.change],
        show_state,
        None,
        [*shown, reference, strength],
        trigger_mode="always_last",
        show_progress="hidden",
        api_visibility="private",
    )
    tab_pictures.take(studio, clip, status, changed, "source", "clip", _read_clip)
    tab_pictures.take(studio, reference, status, changed, "reference", "clip", tab_pictures.read_shown_picture)
    button.click(
        click,
        [strength, saturation],
        [*shown, download, command],
        trigger_mode="multiple",
        preprocess=False,
        show_progress="hidden",
        api_visibility="private",
    )


def _advise(studio: "Studio", state: TabState) -> str:
    """What to do next."""
    return NO_CLIP if state.source is None else advise(abilities_of(studio.model), state.reference is not None)


def _read_clip(studio: "Studio", session: "Session", path: Path) -> Shown:
    check_clip(path, studio.settings.max_pixels)
    return Shown(path, path)
