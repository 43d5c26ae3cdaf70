"""The page, put together from its parts."""

import asyncio
import re
from collections.abc import AsyncIterator
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from stylecolor.studio import clip_tab, colorize_tab, hints_panel, regions_panel, style, stylize_tab, tab_pictures
from stylecolor.studio.abilities import abilities_of
from stylecolor.studio.sessions import ENDED, SESSIONS
from stylecolor.studio.signals import Signals
from stylecolor.studio.style import THEME

if TYPE_CHECKING:
    from stylecolor.studio.model import StudioModel
    from stylecolor.studio.work import Studio

__all__ = ["CSS", "THEME", "build_page"]

CSS = "".join(part.CSS for part in (style, hints_panel, regions_panel, tab_pictures, clip_tab))
CODE = re.compile("`([^`]+)`")
"""What errors name commands by."""
HEADING = "<h1>stylecolor studio</h1><p>Give a grey photograph the colours of another one.</p>"
HEADING_ALONE = "<h1>stylecolor studio</h1><p>Give a grey photograph colours.</p>"
"""Where no reference is followed."""
NONE_YET = """<p><strong>The studio has no networks yet.</strong> They are what knows which colours things have. Get some by one of these,
and start the studio again:</p>
<ul><li><code>make demo</code> in the project's folder trains small ones in a few minutes; start the studio in that folder then.</li>
<li><code>stylecolor weights fetch siggraph17</code> fetches published ones, which choose the colours themselves and follow no
reference.</li>
<li><code>stylecolor studio --checkpoint FILE</code> takes those of a file that you have.</li></ul>"""
UNUSABLE = """<p><strong>The studio's networks cannot be used:</strong> {message}.</p>
<p>Start it with others: <code>stylecolor studio --checkpoint FILE</code>; or run <code>make demo</code> in the project's folder, which
trains small ones in a few minutes, and then <code>stylecolor studio</code> there.</p>"""
LIMITED = """<p>The studio's networks cannot do everything. {limits} Those of the joint stage can: <code>make demo</code> in the project's
folder trains such ones in a few minutes.</p>"""
EVENTS = SESSIONS + 128
"""So many events of all visitors go on at once: one of each page, and more than can wait in the line, so that whoever comes on top is told
so."""


def build_page(studio: "Studio") -> gr.Blocks:
    """The page of a studio, to be mounted with `THEME` and `CSS`. It is usable while the networks are being loaded."""
    with gr.Blocks(title="stylecolor studio", analytics_enabled=False) as page:
        heading = gr.HTML(HEADING, elem_id="heading")
        networks = gr.HTML(visible=False, elem_id="networks", elem_classes="banner")
        signals = Signals()
        with gr.Tabs(elem_id="tabs", overflow_behavior="wrap"):
            with gr.Tab("Colorize", id="colorize-tab"):
                colorize_tab.build(studio, signals)
            with gr.Tab("Stylize", id="stylize-tab", elem_id="stylize-tab") as stylize:
                stylize_tab.build(studio, signals)
            with gr.Tab("Clip", id="clip-tab"):
                clip_tab.build(studio, signals)

        async def follow(request: gr.Request) -> AsyncIterator[list[Any]]:
            assert request.session_hash is not None
            session = studio.sessions.begin(request.session_hash)
            visitor = session.visitor
            done = studio.model.wait(0)
            yield [*describe(studio.model), visitor.changed()]
            if not done:
                while not studio.model.wait(0):
                    await asyncio.sleep(0.1)
                yield [*describe(studio.model), visitor.changed()]
            # Gradio closes its stream when no event goes on; the answer of one that begins in that moment would be lost
            while not session.ended:
                await asyncio.sleep(1)
            yield [HEADING, gr.HTML(f"<p>{ENDED[:1].upper()}{ENDED[1:]}.</p>", visible=True), gr.skip()]

        def switch() -> gr.Tab:
            return gr.Tab(interactive=abilities_of(studio.model).follow_references)

        signals.model.change(switch, None, stylize, show_progress="hidden", api_visibility="private")
        page.load(follow, None, [heading, networks, signals.model], show_progress="hidden", api_visibility="private")
    page.max_threads = EVENTS
    return page


def describe(model: "StudioModel") -> tuple[str, gr.HTML]:
    """The heading and the banner: of networks that are ready nothing is said but what they cannot do."""
    heading = HEADING if abilities_of(model).follow_references else HEADING_ALONE
    heading += f'<p role="status">{escape(model.message)}</p>' * (model.state == "loading")
    banner = _describe_missing(model) if model.state == "missing" else _describe_limits(model)
    return heading, gr.HTML(f'<div role="status">{banner}</div>', visible=bool(banner))


def _describe_missing(model: "StudioModel") -> str:
    # who named no checkpoint learns nothing from where it was looked for
    looked_in_vain = model.settings.checkpoint is None and not model.source
    return NONE_YET if looked_in_vain else UNUSABLE.format(message=CODE.sub(r"<code>\1</code>", escape(model.message)))


def _describe_limits(model: "StudioModel") -> str:
    limits = abilities_of(model).limits
    return LIMITED.format(limits=" ".join(limits)) if limits else ""
