"""The result beside the target, and what can be had of it: the steps between, the file, a sheet, the command."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from stylecolor.studio import command_panel
from stylecolor.studio.line import Cancelled
from stylecolor.studio.messages import shown
from stylecolor.studio.previews import write_pixels
from stylecolor.studio.visitor import keep_shown, session_of, visitor_of

if TYPE_CHECKING:
    from stylecolor.studio.signals import Signals
    from stylecolor.studio.work import Studio

POSITIONS = {"Compare": 50, "Before": 100, "After": 0}
"""Of the slider, in percent from the left, by what it then shows."""
STEPS = {
    "precolored": ("Pre-colorization", "The pre-colorized photograph, which the transfer network sees"),
    "coarse": ("Coarse ab map", "The photograph with the colours of the transfer network, before refinement"),
    "mask": ("Mask", "The points at which the colorization network is shown colours"),
}
"""What the steps between are called and show, by the methods of `Draft` that draw them."""


def build(studio: "Studio", signals: "Signals") -> None:
    """The picture large, and below it what can be had of the result."""
    target = gr.Image(
        label="Photograph",
        show_label=False,
        visible=False,
        interactive=False,
        buttons=[],
        alt_text="The photograph to colorize",
        elem_id="target-large",
    )
    slider = gr.ImageSlider(
        label="Result",
        show_label=False,
        visible=False,
        interactive=False,
        buttons=["fullscreen"],
        max_height=640,
        elem_id="result",
    )
    with gr.Column(visible=False, elem_id="result-actions") as actions:
        with gr.Row(elem_classes="buttons"):
            view = gr.Radio(
                list(POSITIONS),
                value="Compare",
                label="What the slider shows",
                show_label=False,
                container=False,
                min_width=230,
                elem_id="view",
            )
            download = gr.DownloadButton("Download", variant="primary", size="sm", min_width=120, elem_id="download")
            sheet = gr.Button("Make a sheet", size="sm", min_width=120, elem_id="make-sheet")
            sheet_download = gr.DownloadButton("Download the sheet", size="sm", min_width=120, visible=False, elem_id="download-sheet")
        with gr.Accordion("Steps between", open=False, elem_id="steps-panel") as steps_panel, gr.Row():
            steps = [
                gr.Image(label=name, alt_text=text, interactive=False, buttons=["fullscreen"], min_width=150, elem_id=f"step-{step}")
                for step, (name, text) in STEPS.items()
            ]
        command = command_panel.build()
    steps_open = gr.State(False)

    def show(request: gr.Request) -> dict[Any, Any]:
        visitor = visitor_of(studio, request)
        result = visitor.result
        if result is None:
            return {
                target: gr.Image(None if visitor.preview is None else str(visitor.preview), visible=visitor.preview is not None),
                slider: gr.ImageSlider(None, slider_position=POSITIONS["Compare"], visible=False),
                view: "Compare",
                actions: gr.Column(visible=False),
            }
        return {
            target: gr.Image(visible=False),
            slider: gr.ImageSlider((str(visitor.preview), str(visitor.result_preview)), visible=True),
            actions: gr.Column(visible=True),
            download: gr.DownloadButton(f"Download {result.path.name}", value=result.path),
            sheet: gr.Button(visible=True),
            sheet_download: gr.DownloadButton(visible=False),
            command: result.command,
        }

    def show_steps(is_open: bool, request: gr.Request) -> list[Any]:
        visitor, session = visitor_of(studio, request), session_of(studio, request)
        asked = visitor.request
        if not is_open or asked is None:
            keep_shown(session, "steps")
            return [None] * len(STEPS)
        try:
            with shown(), studio.named_plainly():
                drawn = studio.draw_steps(asked, session)
                directory = session.fresh_directory()
                written = [write_pixels(drawn[step], directory / f"{step}.jpg") for step in STEPS]
        except Cancelled:
            # of a page that is closed
            return [gr.skip()] * len(STEPS)
        keep_shown(session, "steps", *written)
        return written

    def make_sheet(request: gr.Request) -> list[Any]:
        visitor, session = visitor_of(studio, request), session_of(studio, request)
        asked, result = visitor.request, visitor.result
        try:
            with shown():
                if asked is None or result is None:
                    raise ValueError("there is no result yet; press Colorize")
                path: Path = studio.sheet(asked, result, session)
        except Cancelled:
            return [gr.skip()] * 2
        session.keep("sheet", path)
        return [gr.Button(visible=False), gr.DownloadButton(f"Download {path.name}", value=path, visible=True)]

    gr.on(
        [signals.target.change, signals.result.change],
        show,
        None,
        [target, slider, view, actions, download, sheet, sheet_download, command],
        # one answer after the other, the last one to the last change
        trigger_mode="always_last",
        show_progress="hidden",
        api_visibility="private",
    ).then(None, js=alternative_texts("result", "The photograph before", "The photograph colorized"))
    view.input(lambda view: gr.ImageSlider(slider_position=POSITIONS[view]), view, slider, show_progress="hidden", api_visibility="private")
    steps_panel.expand(lambda: True, None, steps_open, show_progress="hidden", api_visibility="private")
    steps_panel.collapse(lambda: False, None, steps_open, show_progress="hidden", api_visibility="private")
    gr.on([signals.result.change, steps_open.change], show_steps, steps_open, steps, show_progress="minimal", api_visibility="private")
    sheet.click(make_sheet, None, [sheet, sheet_download], show_progress="minimal", api_visibility="private")


def alternative_texts(elem_id: str, before: str, after: str) -> str:
    """A script that gives the pictures of a slider the texts which Gradio's has not, now and whenever it is drawn anew."""
    return f"""() => {{
      const texts = {[before, after]};
      const name = () => document.querySelectorAll("#{elem_id} img").forEach((image, index) => {{ image.alt = texts[index]; }});
      name();
      // the slider comes and goes, and this script runs for each result
      window.namedSliders ??= new Set();
      if (window.namedSliders.has("{elem_id}")) return;
      window.namedSliders.add("{elem_id}");
      new MutationObserver(name).observe(document.body, {{subtree: true, childList: true}});
    }}"""
