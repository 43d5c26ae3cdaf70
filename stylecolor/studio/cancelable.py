"""A button that starts work and, while that waits or runs, cancels it, for the tabs that have one job at a time."""

from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import gradio as gr

from stylecolor.errors import one_line
from stylecolor.studio.line import Cancelled, Ticket
from stylecolor.studio.messages import warn
from stylecolor.studio.running import Job
from stylecolor.studio.status import say, say_refused, say_running
from stylecolor.studio.work import Report

if TYPE_CHECKING:
    from stylecolor.studio.visitor import TabState, VisitorState

T = TypeVar("T")


async def run(
    state: "TabState | VisitorState",
    button: gr.Button,
    status: gr.HTML,
    work: Callable[[Ticket, Report], T],
    show: Callable[[T], dict[Any, Any]],
) -> AsyncGenerator[dict[Any, Any], None]:
    """Do the work, and say how far it is; what was done before on this tab is cancelled.

    Args:
        state: has the job of the tab.
        button: is to cancel meanwhile.
        status: says what goes on.
        work: see `Job`.
        show: what the page shows of its result.

    Yields:
        What a handler yields.
    """
    if state.job is not None:
        state.job.cancel()
    job = state.job = Job(work)
    updates: dict[Any, Any] = {status: say("Cancelled.")}
    try:
        yield _offer_to_cancel(button, status, "Starting", 0)
        async for fraction, step in job.steps():
            if state.job is job:
                yield _offer_to_cancel(button, status, f"{step[:1].upper()}{step[1:]}", fraction)
        result = await job.result()
        if state.job is job:
            updates = show(result)
    except Cancelled:
        pass
    except (ValueError, OSError, RuntimeError, MemoryError) as error:
        # RuntimeError is what an accelerator's failures are
        updates = {status: say_refused(one_line(error))}
        if state.job is job:
            warn(one_line(error))
    finally:
        # of a page that is closed, too
        job.cancel()
        current = state.job is job
        if current:
            state.job = None
    # what is yielded last Gradio sends once more
    yield {button: gr.Button(button.value, variant="primary"), **updates} if current else {status: gr.skip()}


def refuse(state: "TabState | VisitorState", button: gr.Button, status: gr.HTML, error: ValueError) -> dict[Any, Any]:
    """What the page shows of fields that cannot be heeded, which may be half written: no job goes on, and the status line says why."""
    return {**cancel(state, button, status), status: say_refused(one_line(error))}


def cancel(state: "TabState | VisitorState", button: gr.Button, status: gr.HTML) -> dict[Any, Any]:
    """Cancel the job of a tab, whose step may take a while yet, which nobody has to wait for; returns what the page shows then."""
    if state.job is not None:
        state.job.cancel()
    state.job = None
    return {button: gr.Button(button.value, variant="primary"), status: say("Cancelled.")}


def _offer_to_cancel(button: gr.Button, status: gr.HTML, step: str, fraction: float) -> dict[Any, Any]:
    """Of a step that goes on, the button each time: where two messages come at once, Gradio's script writes the second into the first."""
    return {button: gr.Button("Cancel", variant="stop"), status: say_running(step, fraction)}
