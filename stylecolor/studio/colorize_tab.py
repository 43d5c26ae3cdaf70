"""The colorize tab: a photograph and references on one side, the result on the other."""

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from stylecolor.choices import MATCHINGS, SITES
from stylecolor.errors import check_choice, one_line
from stylecolor.studio import (
    cancelable,
    examples_panel,
    folder_panel,
    hints_panel,
    references_panel,
    regions_panel,
    result_panel,
    settings_panel,
    target_panel,
)
from stylecolor.studio.abilities import abilities_of
from stylecolor.studio.fields import read_number, read_whole_number
from stylecolor.studio.line import Ticket
from stylecolor.studio.messages import warn
from stylecolor.studio.model import SIZES
from stylecolor.studio.previews import one_at_a_time, write_preview
from stylecolor.studio.requests import SATURATION, ColorizeRequest
from stylecolor.studio.status import advise, advise_anew, say
from stylecolor.studio.visitor import VisitorState, keep_shown, session_of, visitor_of
from stylecolor.studio.work import Report

if TYPE_CHECKING:
    from stylecolor.pictures.files import Picture
    from stylecolor.studio.signals import Signals
    from stylecolor.studio.work import Result, Studio

NO_TARGET = "Drop a photograph to begin."


def build(studio: "Studio", signals: "Signals") -> None:
    """Put the tab's contents here."""
    status = gr.HTML(say(NO_TARGET), elem_id="status", elem_classes="status", render=False)
    # it stands below what depends on it
    size = settings_panel.make_size()
    with gr.Row(elem_classes="workspace"):
        with gr.Column(elem_classes="inputs"):
            with gr.Row(elem_classes="pair"):
                target = target_panel.build(studio, signals, status)
                references = references_panel.build(studio, signals, status)
            weights = references_panel.build_weights(studio, signals)
        with gr.Column(elem_classes="action"):
            button = gr.Button("Colorize", variant="primary", elem_id="colorize")
            status.render()
        with gr.Column(elem_classes="result"), gr.Tabs(elem_id="views", overflow_behavior="wrap"):
            with gr.Tab("Result", id="result-view"):
                examples_panel.build(studio, signals, target, references)
                result_panel.build(studio, signals)
            with gr.Tab("Colour hints", id="hints-view", elem_id="hints-tab") as hints_view:
                hints_panel.build(studio, signals)
            with gr.Tab("Regions", id="regions-view", elem_id="regions-tab") as regions_view:
                regions_panel.build(studio, signals, size)
        with gr.Column(elem_classes="settings"):
            settings = settings_panel.build(studio, signals, size)
            folder_panel.build(studio, signals, references)
    outputs = [button, status, signals.result]
    inputs = [*settings, *weights]

    async def run(request: gr.Request, asked: ColorizeRequest) -> AsyncIterator[dict[Any, Any]]:
        visitor, session = visitor_of(studio, request), session_of(studio, request)
        visitor.asked = asked
        # whatever is chosen meanwhile
        session.keep("job", *asked.files)

        def work(ticket: Ticket, report: Report) -> tuple["Result", Path]:
            preview = session.fresh_directory() / "result.jpg"

            def look(picture: "Picture") -> None:
                with one_at_a_time:
                    write_preview(picture, preview)

            return studio.colorize(asked, session, report, ticket, look), preview

        def show(done: tuple["Result", Path]) -> dict[Any, Any]:
            visitor.request, (visitor.result, visitor.result_preview) = asked, done
            result, preview = done
            # a sheet and the steps are made of what it was made of
            session.keep("result", result.path, *asked.files)
            keep_shown(session, "result-preview", preview)
            session.keep("sheet")
            return {status: say(describe(result)), signals.result: visitor.changed()}

        try:
            async with aclosing(cancelable.run(visitor, button, status, work, show)) as updates:
                async for update in updates:
                    yield update
        finally:
            # of one that was cancelled or refused, too
            if visitor.job is None:
                session.keep("job")

    async def click(request: gr.Request, *values: Any) -> AsyncIterator[dict[Any, Any]]:
        visitor = visitor_of(studio, request)
        if visitor.job is not None:
            yield cancelable.cancel(visitor, button, status)
            return
        try:
            asked = make_request(visitor, values)
        except ValueError as error:
            warn(one_line(error))
            yield cancelable.refuse(visitor, button, status, error)
            return
        async for update in run(request, asked):
            yield update

    async def again(request: gr.Request, *values: Any) -> AsyncIterator[dict[Any, Any]]:
        visitor = visitor_of(studio, request)
        if visitor.target is None or (visitor.result is None and visitor.job is None):
            # Gradio takes a generator that yields nothing for one that yields None for all
            yield {status: gr.skip()}
            return
        try:
            asked = make_request(visitor, values)
        except ValueError as error:
            yield cancelable.refuse(visitor, button, status, error)
            return
        # Gradio may tell of a change more than once, and of one before a click after it; a field that was refused may be as it was before
        if visitor.job is not None and asked == visitor.asked:
            yield {status: gr.skip()}
        elif visitor.job is None and visitor.result is not None and asked == visitor.request:
            yield {status: say(describe(visitor.result))}
        else:
            async for update in run(request, asked):
                yield update

    def show_state(request: gr.Request) -> dict[Any, Any]:
        visitor, abilities = visitor_of(studio, request), abilities_of(studio.model)
        taken, visitor.job_taken = visitor.job_taken, False
        able = studio.model.state != "missing"
        idle = visitor.job is None
        updates: dict[Any, Any] = {
            # else the button is what it was, or belongs to a job that has begun since
            button: gr.Button(button.value, variant="primary", interactive=able) if taken and idle else gr.Button(interactive=able),
            hints_view: gr.Tab(interactive=abilities.take_hints),
            regions_view: gr.Tab(interactive=abilities.follow_references),
        }
        if idle and visitor.result is None:
            # else the line says how far the job is, or what was made, which other references make anew
            updates[status] = advise_anew(visitor, _advise(studio, visitor), visitor.target, *visitor.references)
        return updates

    # what fields hold is refused by `make_request`, which names them
    button.click(click, inputs, outputs, trigger_mode="multiple", preprocess=False, show_progress="hidden", api_visibility="private")
    gr.on(
        [*(field.input for field in inputs), signals.inputs.change],
        again,
        inputs,
        outputs,
        preprocess=False,
        # of many changes the last one counts
        trigger_mode="always_last",
        show_progress="hidden",
        api_visibility="private",
    )
    gr.on(
        [signals.target.change, signals.references.change, signals.model.change],
        show_state,
        None,
        [button, status, hints_view, regions_view],
        # one answer after the other, the last one to the last change
        trigger_mode="always_last",
        show_progress="hidden",
        api_visibility="private",
    )


def make_request(visitor: VisitorState, values: Sequence[Any]) -> ColorizeRequest:
    """What a visitor wants.

    Args:
        visitor: has the pictures.
        values: of the components of `Settings`, and then the weights, as the browser sends them.

    Raises:
        ValueError: while there is no target, for a field that holds no number, and for what `ColorizeRequest` refuses.
    """
    if visitor.target is None:
        raise ValueError("there is no photograph yet; drop one, or take one of the examples")
    strength, saturation, matching, sites, size, quality, *weights = values
    references = tuple(visitor.references)
    # the fields of others are not seen
    mixed = weights[: len(references)] if len(references) > 1 else []
    mixture = tuple(read_number(f"weight {number}", weight, 0) for number, weight in enumerate(mixed, start=1))
    if matching is not None:
        check_choice("matching", matching, MATCHINGS)
    for site in sites:
        check_choice("sites", site, SITES)
    labels = (visitor.target_labels, visitor.reference_labels)
    given = None not in labels
    return ColorizeRequest(
        target=visitor.target,
        references=references,
        # equal ones are left out
        weights=mixture if len(set(mixture)) > 1 else None,
        target_labels=visitor.target_labels if given else None,
        reference_labels=visitor.reference_labels if given else None,
        strength=read_number("strength", strength, 0, 1) if references else 1.0,
        saturation=read_number("saturation", saturation, 0, SATURATION),
        # the page offers them once the networks are there
        matching=matching,
        sites=None if matching in (None, "none") else tuple(sorted(sites, key=SITES.index)),
        size=read_whole_number("size", size, *SIZES),
        quality=read_whole_number("quality", quality, 1, 100),
        points=tuple(visitor.points),
    )


def _advise(studio: "Studio", visitor: VisitorState) -> str:
    """What to do next."""
    return NO_TARGET if visitor.target is None else advise(abilities_of(studio.model), bool(visitor.references))


def describe(result: "Result") -> str:
    """A result in a line."""
    height, width = result.size
    return f"Done in {result.seconds:.1f} s: {width} x {height} px."
