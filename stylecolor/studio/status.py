"""The line that says what goes on. It is read out to who cannot see it."""

from html import escape

from stylecolor.studio.abilities import Abilities

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


def say(text: str) -> str:
    """Something that is so."""
    return f'<p role="status">{escape(text)}</p>'


def say_refused(text: str) -> str:
    """Something that could not be done."""
    return f'<p role="alert" class="refused">{escape(text)}</p>'


def say_running(text: str, fraction: float) -> str:
    """Something that goes on, of which `fraction` in 0..1 is done."""
    return f'<p role="status">{escape(text)}</p><progress max="1" value="{fraction:.3f}" aria-label="Progress"></progress>'
