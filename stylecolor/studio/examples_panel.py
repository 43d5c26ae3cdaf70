"""Pairs of pictures to begin with, which come with the studio."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import gradio as gr
from PIL import Image, ImageOps

from stylecolor.studio.abilities import abilities_of
from stylecolor.studio.messages import shown
from stylecolor.studio.references_panel import set_references, thumbnails_of, write_thumbnail
from stylecolor.studio.target_panel import set_target
from stylecolor.studio.visitor import session_of, visitor_of

if TYPE_CHECKING:
    from stylecolor.studio.sessions import Session
    from stylecolor.studio.signals import Signals
    from stylecolor.studio.work import Studio

FOLDER = Path(__file__).parent / "examples"
"""Its README.md says where they come from."""
SIDE = 200
"""px, of each picture of a pair."""


class Example(NamedTuple):
    """A photograph and a reference, by the names of their files, and what they are called."""

    target: str
    reference: str
    title: str
    colors: str


EXAMPLES = (
    Example("cat.jpg", "coffee.jpg", "A cat", "in the colours of coffee"),
    Example("cameraman.jpg", "lakeside.jpg", "A cameraman", "in the colours of a lakeside"),
    Example("temple.jpg", "dusk.jpg", "A temple", "in the colours of dusk"),
)
INVITATION = "Drop a photograph, and a picture in colour that it should take after. Or try one of these:"
INVITATION_ALONE = "Drop a photograph, or try one of these:"


def build(studio: "Studio", signals: "Signals", target: gr.Image, references: gr.Gallery) -> None:
    """The pairs, as long as there is no target; one that is chosen is shown where `target` and `references` are dropped."""
    with gr.Column(elem_id="examples-panel") as panel:
        invitation = gr.Markdown(INVITATION, elem_classes="note", elem_id="examples-note")
        gallery = gr.Gallery(
            _thumbnails(paired=True),
            show_label=False,
            columns=3,
            height="auto",
            allow_preview=False,
            buttons=[],
            interactive=False,
            elem_id="examples",
        )

    def take(event: gr.SelectData, request: gr.Request) -> list[Any]:
        visitor, session = visitor_of(studio, request), session_of(studio, request)
        example = EXAMPLES[event.index]
        chosen = [gr.skip(), gr.skip()]
        with shown():
            set_target(studio, visitor, session, copy(session, example.target))
            if abilities_of(studio.model).follow_references:
                reference = copy(session, example.reference)
                changed = set_references(visitor, session, [(write_thumbnail(studio, session, reference), reference)])
                chosen = [thumbnails_of(visitor), changed]
        return [visitor.preview, visitor.changed(), *chosen]

    def copy(session: "Session", name: str) -> Path:
        return Path(shutil.copyfile(FOLDER / name, session.fresh_directory() / name))

    def show(request: gr.Request) -> Any:
        return gr.Column(visible=visitor_of(studio, request).target is None)

    def fit() -> list[Any]:
        if abilities_of(studio.model).follow_references:
            return [gr.skip(), gr.skip()]
        return [INVITATION_ALONE, _thumbnails(paired=False)]

    signals.model.change(fit, None, [invitation, gallery], show_progress="hidden", api_visibility="private")
    outputs = [target, signals.target, references, signals.references]
    gallery.select(take, None, outputs, show_progress="minimal", api_visibility="private")
    signals.target.change(show, None, panel, show_progress="hidden", api_visibility="private")


def _thumbnails(paired: bool) -> list[tuple[Image.Image, str]]:
    """Of the photographs, alone or with the reference of the same size beside them, and what they are called."""
    if paired:
        return [(_draw(example.target, example.reference), f"{example.title}, {example.colors}") for example in EXAMPLES]
    return [(_draw(example.target), example.title) for example in EXAMPLES]


def _draw(*names: str) -> Image.Image:
    """Pictures side by side, on twice as much width as height."""
    width = 2 * SIDE // len(names)
    drawn = Image.new("RGB", (2 * SIDE, SIDE))
    for number, name in enumerate(names):
        with Image.open(FOLDER / name) as picture:
            drawn.paste(ImageOps.fit(picture.convert("RGB"), (width, SIDE)), (number * width, 0))
    return drawn
