import asyncio
from typing import Any

import gradio as gr

from stylecolor.studio import cancelable
from stylecolor.studio.line import Ticket
from stylecolor.studio.visitor import TabState
from stylecolor.studio.work import Report


def test_each_message_of_a_job_tells_all() -> None:
    button, status = gr.Button("Colorize"), gr.HTML()

    def work(ticket: Ticket, report: Report) -> str:
        report(0.5, "painting")
        return "painted"

    async def follow() -> list[dict[Any, Any]]:
        updates = cancelable.run(TabState(), button, status, work, lambda result: {status: result})
        return [update async for update in updates]

    *running, done = asyncio.run(follow())
    # Gradio's script writes a message into the one before, where that waits to be shown
    assert [update[button].value for update in running] == ["Cancel", "Cancel"]
    assert ["Starting" in running[0][status], "Painting" in running[1][status]] == [True, True]
    assert (done[button].value, done[status]) == ("Colorize", "painted")
