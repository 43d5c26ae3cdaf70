"""The line that says what goes on. It is read out to who cannot see it."""

from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from stylecolor.studio.abilities import Abilities

if TYPE_CHECKING:
    from stylecolor.studio.visitor import TabState, VisitorState

READY = "Press Colorize."
NO_REFERENCE = "Add a reference, or press Colorize for the colours that the networks expect."
FOLLOWS_NONE = "Press Colorize for the colours that the networks expect."
NEEDS_REFERENCE = "Add a reference, whose colours it is to take on."


def advise(abilities: Abilities, has_reference: bool) -> str:
    """What to do next where there is something to colorize."""
    if has_reference:
        return READY
    if not abilities.follow_references:
        return FOLLOWS_NONE
    return NO_REFERENCE if abilities.color_alone else NEEDS_REFERENCE


def advise_anew(state: "TabState | VisitorState", text: str, *chosen: object) -> Any:
    """Advice for the status line of a tab, unless it was given before for what is chosen: what has been refused since stays there.

    Args:
        state: of the tab.
        text: the advice.
        chosen: the pictures; without any, it is what the page begins with.
    """
    before, state.advised = state.advised, (text, *chosen) if any(chosen) else None
    return gr.skip() if state.advised == before else say(text)


def say(text: str) -> str:
    """Something that is so."""
    return f'<p role="status">{escape(text)}</p>'


def say_refused(text: str) -> str:
    """Something that could not be done."""
    return f'<p role="alert" class="refused">{escape(text)}</p>'


def say_running(text: str, fraction: float) -> str:
    """Something that goes on, of which `fraction` in 0..1 is done."""
    return f'<p role="status">{escape(text)}</p><progress max="1" value="{fraction:.3f}" aria-label="Progress"></progress>'
