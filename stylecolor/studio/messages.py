"""What a visitor is told when something cannot be done: one line, and never where in the program it happened."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any

import gradio as gr

from stylecolor.errors import one_line


@contextmanager
def shown(markup: bool = True) -> Iterator[None]:
    """Show what the block refuses (ValueError, OSError), after which its event has ended and changes nothing on the page.

    Args:
        markup: see `refusal`.

    Raises:
        gr.Error: which Gradio shows.
    """
    try:
        yield
    except gr.Error:
        # a ValueError, too
        raise
    except (ValueError, OSError) as error:
        raise refusal(one_line(error), markup) from error


def refusal(message: str, markup: bool = True) -> gr.Error:
    """What a handler raises to end its event with a message.

    Args:
        message: in which names of files are, so nothing in it is markup.
        markup: whether who gets it takes it for markup, as pages do, and programs do not.
    """
    return gr.Error(escape(message) if markup else message, title="Not done", print_exception=False)


def warn(message: str) -> None:
    """Show a message and go on."""
    gr.Warning(escape(message))


def describe_invalid(reasons: Sequence[Mapping[str, Any]]) -> str:
    """What of settings is wrong, in one line, by what pydantic says of each."""
    return "; ".join(f"{'.'.join(str(part) for part in reason['loc'])}: {reason['msg']}" for reason in reasons)
