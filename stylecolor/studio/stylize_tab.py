"""The stylize tab: a colour photograph takes on the look of another one."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from stylecolor.studio import cancelable, command_panel, tab_pictures
from stylecolor.studio.abilities import abilities_of
from stylecolor.studio.fields import read_number
from stylecolor.studio.line import Ticket
from stylecolor.studio.picture_drop import drop_picture
from stylecolor.studio.previews import one_at_a_time, write_preview
from stylecolor.studio.requests import StylizeRequest
from stylecolor.studio.result_panel import alternative_texts
from stylecolor.studio.status import advise_anew, say
from stylecolor.studio.visitor import TabState, keep_shown, session_of, visitor_of
from stylecolor.studio.work import Report

if TYPE_CHECKING:
    from stylecolor.pictures.files import Picture
    from stylecolor.studio.signals import Signals
    from stylecolor.studio.work import Result, Studio

NOTE = "Here the photograph's own colours count, and its lightness may change."
NO_PHOTO = "Drop a colour photograph to begin."
NO_REFERENCE = "Drop the photograph whose look it is to take on."
READY = "Press Stylize."
INVITATION = "The photograph with the look of the reference will be here, and a line to move between before and after."


def build(studio: "Studio", signals: "Signals") -> None:
    """Put the tab's contents here."""
    with gr.Row(elem_classes="workspace"):
        with gr.Column(elem_classes="inputs"), gr.Row(elem_classes="pair"):
            photo = drop_picture(
                label="Photograph",
                placeholder="Drop a photograph\nor choose one",
                alt_text="The photograph to stylize",
                elem_id="stylize-photo",
            )
            reference = drop_picture(
                label="Reference",
                placeholder="Drop a reference\nor choose one",
                alt_text="The photograph whose look is taken on",
                elem_id="stylize-reference",
            )
        with gr.Column(elem_classes="action"):
            button = gr.Button("Stylize", variant="primary", elem_id="stylize")
            status = gr.HTML(say(NO_PHOTO), elem_id="stylize-status", elem_classes="status")
        with gr.Column(elem_classes="result"):
            invitation = tab_pictures.invite(INVITATION)
            slider = gr.ImageSlider(
                label="Photograph and result",
                show_label=False,
                visible=False,
                interactive=False,
                buttons=["fullscreen"],
                height="min(62vh, 640px)",
                max_height=640,
                elem_id="stylize-result",
            )
            with gr.Column(visible=False) as actions:
                with gr.Row(elem_classes="buttons"):
                    download = gr.DownloadButton("Download", variant="primary", size="sm", min_width=120, elem_id="stylize-download")
                command = command_panel.build("stylize-")
        with gr.Column(elem_classes="settings"):
            gr.Markdown(NOTE, elem_classes="note")
            strength = gr.Slider(
                0, 1, 1, step=0.05, label="Strength", info="How far it takes on the look: 0 not at all.", elem_id="stylize-strength"
            )
    changed = gr.State(0)

    def work_for(state: TabState, strength: object, request: gr.Request) -> AsyncIterator[dict[Any, Any]]:
        session = session_of(studio, request)

        def work(ticket: Ticket, report: Report) -> tuple["Result", Path]:
            if state.source is None or state.reference is None:
                raise ValueError("a photograph and a reference are needed; drop both")
            asked = StylizeRequest(state.source.path, (state.reference.path,), strength=read_number("strength", strength, 0, 1))
            preview = session.fresh_directory() / "result.jpg"

            def look(picture: "Picture") -> None:
                with one_at_a_time:
                    write_preview(picture, preview)

            return studio.stylize(asked, session, report, ticket, look), preview

        def show(done: tuple["Result", Path]) -> dict[Any, Any]:
            result, preview = done
            assert state.source is not None
            state.result = result
            session.keep("stylize-result", result.path)
            keep_shown(session, "stylize-result-preview", preview)
            height, width = result.size
            return {
                status: say(f"Done in {result.seconds:.1f} s: {result.path.name}, {width} x {height} px."),
                invitation: gr.HTML(visible=False),
                slider: gr.ImageSlider((str(state.source.preview), str(preview)), visible=True),
                actions: gr.Column(visible=True),
                download: gr.DownloadButton(f"Download {result.path.name}", value=result.path),
                command: result.command,
            }

        return cancelable.run(state, button, status, work, show)

    def show_state(request: gr.Request) -> dict[Any, Any]:
        state = visitor_of(studio, request).stylize
        able = studio.model.state != "missing" and abilities_of(studio.model).follow_references
        updates: dict[Any, Any] = {button: gr.Button(interactive=able)}
        if state.result is None:
            updates |= {invitation: gr.HTML(visible=True), slider: gr.ImageSlider(None, visible=False), actions: gr.Column(visible=False)}
            if state.job is None:
                advice = NO_PHOTO if state.source is None else NO_REFERENCE if state.reference is None else READY
                updates |= {
                    button: gr.Button("Stylize", variant="primary", interactive=able),
                    status: advise_anew(state, advice, state.source, state.reference),
                }
        return updates

    async def click(strength: object, request: gr.Request) -> AsyncIterator[dict[Any, Any]]:
        state = visitor_of(studio, request).stylize
        if state.job is not None:
            yield cancelable.cancel(state, button, status)
            return
        async for updates in work_for(state, strength, request):
            yield updates

    async def again(strength: object, request: gr.Request) -> AsyncIterator[dict[Any, Any]]:
        state = visitor_of(studio, request).stylize
        if state.result is None and state.job is None:
            # Gradio takes a generator that yields nothing for one that yields None for all
            yield {status: gr.skip()}
            return
        try:
            read_number("strength", strength, 0, 1)
        except ValueError as error:
            yield cancelable.refuse(state, button, status, error)
            return
        async for updates in work_for(state, strength, request):
            yield updates

    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    shown = [button, status, invitation, slider, actions]
    # one answer after the other, the last one to the last change
    gr.on([changed.change, signals.model.change], show_state, None, shown, trigger_mode="always_last", **quiet)
    tab_pictures.take(studio, photo, status, changed, "source", "stylize", tab_pictures.read_shown_picture)
    tab_pictures.take(studio, reference, status, changed, "reference", "stylize", tab_pictures.read_shown_picture)
    named = alternative_texts("stylize-result", "The photograph before", "The photograph stylized")
    made: dict[str, Any] = {"inputs": strength, "outputs": [*shown, download, command], "preprocess": False, **quiet}
    button.click(click, trigger_mode="multiple", **made).then(None, js=named)
    strength.input(again, trigger_mode="always_last", **made).then(None, js=named)
