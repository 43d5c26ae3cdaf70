"""How the colours of the references are followed."""

from typing import TYPE_CHECKING, Any, NamedTuple

import gradio as gr

from stylecolor.studio.requests import QUALITY, SATURATION, SIZE
from stylecolor.studio.visitor import visitor_of

if TYPE_CHECKING:
    from stylecolor.studio.model import StudioModel
    from stylecolor.studio.signals import Signals
    from stylecolor.studio.work import Studio

SIZES = (128, 192, 256, 384, 512)
"""px, that the page offers."""
MOST_SATURATION = 2.0
"""That the slider offers; `SATURATION` is the most that is taken."""
MATCHINGS = {"adain": "AdaIN (mean and spread)", "wct": "WCT (all correlations)", "none": "none"}
"""What the page calls them."""
NO_REFERENCE = "How far the colours follow the reference. There is none yet."
FOLLOWS = "How far the colours follow the reference: 0 not at all."


class Settings(NamedTuple):
    """The components, in the order in which a handler is given their values."""

    strength: gr.Slider
    saturation: gr.Slider
    matching: gr.Dropdown
    sites: gr.CheckboxGroup
    size: gr.Dropdown
    quality: gr.Slider


def make_size() -> gr.Dropdown:
    """What the networks see of the pictures, to be rendered by `build`."""
    return gr.Dropdown(
        [(f"{size} px", size) for size in SIZES],
        value=SIZE,
        label="Size",
        info="The shorter side that the networks see; the result is as large as the photograph.",
        interactive=True,
        elem_id="size",
        render=False,
    )


def build(studio: "Studio", signals: "Signals", size: gr.Dropdown) -> Settings:
    """The settings; what the networks do not take is not offered.

    Args:
        studio: has the networks.
        signals: see there.
        size: see `make_size`.
    """
    assert MOST_SATURATION <= SATURATION
    strength = gr.Slider(0, 1, 1, step=0.05, label="Strength", info=NO_REFERENCE, interactive=False, elem_id="strength")
    saturation = gr.Slider(
        0, MOST_SATURATION, 1, step=0.05, label="Saturation", info="Of the new colours: 0 is grey.", elem_id="saturation"
    )
    with gr.Accordion("Matching, size and quality", open=False, elem_id="more-settings") as more:
        matching = gr.Dropdown([], label="Matching", info="How the reference's features are matched.", interactive=True, elem_id="matching")
        sites = gr.CheckboxGroup([], label="Sites", info="Where in the network.", elem_id="sites")
        size.render()
        quality = gr.Slider(1, 100, QUALITY, step=1, label="Quality", info="Of JPEG and lossy WebP files.", elem_id="quality")
    settings = Settings(strength, saturation, matching, sites, size, quality)

    def offer() -> list[Any]:
        return [gr.skip()] * 4 if studio.model.state != "ready" else _offered(studio.model)

    def enable(request: gr.Request) -> Any:
        some = bool(visitor_of(studio, request).references)
        return gr.Slider(interactive=some, info=FOLLOWS if some else NO_REFERENCE)

    signals.model.change(offer, None, [strength, more, matching, sites], show_progress="hidden", api_visibility="private")
    signals.references.change(enable, None, strength, show_progress="hidden", api_visibility="private")
    return settings


def _offered(model: "StudioModel") -> list[Any]:
    """What the networks that are loaded take."""
    if not model.has_transfer:
        return [
            gr.Slider(visible=False),
            gr.Accordion(label="Size and quality"),
            gr.Dropdown([], visible=False),
            gr.CheckboxGroup([], visible=False),
        ]
    choices = [(f"{name}, as trained" if matching == model.matching else name, matching) for matching, name in MATCHINGS.items()]
    return [
        gr.skip(),
        gr.skip(),
        gr.Dropdown(choices, value=model.matching),
        gr.CheckboxGroup(list(model.sites), value=list(model.trained_sites)),
    ]
