"""Colour hints on the page: clicked into the target, or written into a table."""

import math
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np
from PIL import Image

from stylecolor.errors import one_line
from stylecolor.studio.command_line import POINTS_FILE
from stylecolor.studio.hint_points import (
    COLUMNS,
    MIDDLE,
    REACH,
    SAME,
    SEEN,
    TOUCH,
    ab_of,
    check_count,
    css_color,
    default_radius,
    draw_points,
    find_nearest,
    is_empty,
    lightness_at,
    picker_color,
    read_rows,
    rows_of,
)
from stylecolor.studio.line import Cancelled
from stylecolor.studio.messages import shown, warn
from stylecolor.studio.picture_drop import dropped_file
from stylecolor.studio.previews import write_pixels
from stylecolor.studio.requests import ColorizeRequest
from stylecolor.studio.running import Job
from stylecolor.studio.status import say, say_refused
from stylecolor.studio.visitor import session_of, visitor_of

if TYPE_CHECKING:
    from stylecolor.studio.signals import Signals
    from stylecolor.studio.visitor import VisitorState
    from stylecolor.studio.work import Studio
    from stylecolor.user_hints import HintPoint

ADD, MOVE, DELETE = "adds a point", "moves a point", "deletes a point"
FIRST_COLOR = "#c07850"
SUGGESTED = "As the networks see it; a and b of CIELab."
KEPT = 8
"""So many pictures with points are kept for a page that is slow to fetch them."""
INTRODUCTION = """Click where you know the colour, then choose it. It is the colour of the selected point, and of those that you add next.
By keyboard, use the table, to which + adds a point in the middle: x and y are shares of the width and height, a and b the colour in CIELab,
and the radius is in pixels of the photograph."""

CSS = """
#hints-picture button { cursor: crosshair; }
#hints-swatches { display: none; }
#hints-suggestions label::before { content: ""; width: 1.4em; height: 1.4em; border-radius: 50%; border: 1px solid var(--body-text-color);
  background: var(--swatch); flex: none; margin-right: 0.4em; }
"""
"""Of the suggestions, whose own colours `_swatches` gives."""


@dataclass(frozen=True)
class _Selection:
    """What the page remembers between clicks."""

    index: int | None = None
    """Of the selected point."""
    held: bool = False
    """Whether the next click is its new place."""
    beneath: bool = True
    """Whether the points stand on the result, where there is one."""
    pictures: tuple[Path, ...] = ()
    """That the page shows, and has shown last; the page may be fetching that of a click just before. The points' file lies beside each."""


def build(studio: "Studio", signals: "Signals") -> None:
    """Put the panel here."""
    _Panel(studio, signals)


class _Panel:
    def __init__(self, studio: "Studio", signals: "Signals") -> None:
        self._studio = studio
        self._selection = gr.State(_Selection())
        self._place = gr.State(0)
        gr.Markdown(INTRODUCTION, elem_id="hints-introduction", elem_classes=["note"])
        with gr.Row():
            with gr.Column(scale=3, min_width=300):
                self._picture = gr.Image(
                    label="Points",
                    alt_text="The photograph to colorize, none chosen yet",
                    interactive=False,
                    buttons=["fullscreen"],
                    elem_id="hints-picture",
                )
                self._message = gr.HTML(elem_id="hints-message", elem_classes=["status"])
            with gr.Column(scale=2, min_width=240):
                self._mode = gr.Radio([ADD, MOVE, DELETE], value=ADD, label="A click", elem_id="hints-mode")
                self._color = gr.ColorPicker(FIRST_COLOR, label="Colour", elem_id="hints-color")
                self._suggestions = gr.Radio(
                    [],
                    label="Likely colours at the selected point",
                    info=SUGGESTED,
                    interactive=True,
                    visible=False,
                    elem_id="hints-suggestions",
                )
                self._swatches = gr.HTML(elem_id="hints-swatches")
                # without a minimum: Gradio's refusal names no field
                # what a click sends that comes before the radius that fits a photograph; of nothing Gradio's script makes 0
                self._radius = gr.Number(default_radius(SEEN), label="Radius, px of the photograph", elem_id="hints-radius")
                beneath = gr.Checkbox(True, label="Show the points on the result", elem_id="hints-beneath")
        self._table = gr.Dataframe(
            headers=list(COLUMNS),
            datatype="number",
            type="array",
            value=[],
            interactive=True,
            buttons=[],
            label="Table of the points",
            elem_id="hints-table",
        )
        # there is no other way to it: nobody adds columns, or deletes them
        self._table.col_count = (len(COLUMNS), "fixed")
        with gr.Row():
            add = gr.Button("Add a point in the middle", size="sm", elem_id="hints-add")
            self._save = gr.DownloadButton("Save the points", size="sm", interactive=False, elem_id="hints-save")
            load = gr.UploadButton("Load points", size="sm", file_types=[".json"], elem_id="hints-load")
            clear = gr.Button("Remove all points", size="sm", elem_id="hints-clear")
        self._inputs = signals.inputs

        view = [
            self._picture,
            self._message,
            self._color,
            self._radius,
            self._table,
            self._save,
            self._selection,
            self._place,
            self._inputs,
        ]
        brush = [self._color, self._radius, self._selection]
        # one after the other, as they change the same points; those of all visitors, none of which takes long
        quiet: dict[str, Any] = {
            "show_progress": "hidden",
            "api_visibility": "private",
            "concurrency_id": "hints",
            "concurrency_limit": 1,
            # no click is lost
            "trigger_mode": "multiple",
        }
        self._picture.select(self._click, [self._mode, *brush], view, **quiet)
        self._color.release(self._recolor, [self._color, self._selection], view, **quiet)
        self._color.blur(self._recolor, [self._color, self._selection], view, **quiet)
        self._suggestions.input(self._choose, [self._suggestions, self._selection], view, **quiet)
        self._radius.submit(self._resize, [self._radius, self._selection], view, **quiet)
        self._radius.blur(self._resize, [self._radius, self._selection], view, **quiet)
        self._table.input(self._edit, [self._table, *brush], view, **quiet)
        add.click(self._add_in_the_middle, brush, view, **quiet)
        load.upload(self._load, [load, self._selection], view, preprocess=False, **quiet)
        clear.click(self._clear, self._selection, view, **quiet)
        signals.target.change(self._begin, self._selection, view, **quiet)
        beneath.input(self._turn, [beneath, self._selection], view, **quiet)
        signals.result.change(self._draw_result, self._selection, view, **quiet)
        # of many changes the last one counts
        self._place.change(
            self._suggest,
            self._selection,
            [self._suggestions, self._swatches],
            trigger_mode="always_last",
            show_progress="hidden",
            api_visibility="private",
        )

    def _begin(self, selection: _Selection, request: gr.Request) -> dict[Any, Any]:
        """Another target."""
        visitor = visitor_of(self._studio, request)
        radius = None if visitor.target_size is None else default_radius(visitor.target_size)
        return {**self._show(request, replace(selection, index=None, held=False)), self._radius: radius}

    def _turn(self, beneath: bool, selection: _Selection, request: gr.Request) -> dict[Any, Any]:
        """To the result, or back to the photograph."""
        return self._show(request, replace(selection, beneath=beneath))

    def _draw_result(self, selection: _Selection, request: gr.Request) -> dict[Any, Any]:
        """Another result, or none."""
        if not selection.beneath:
            return {self._selection: selection}
        updates = self._show(request, selection)
        return {self._picture: updates[self._picture], self._save: updates[self._save], self._selection: updates[self._selection]}

    def _click(
        self, mode: str, color: str, radius: float | None, selection: _Selection, request: gr.Request, event: gr.SelectData
    ) -> dict[Any, Any]:
        visitor = visitor_of(self._studio, request)
        with shown():
            preview, size = _target_of(visitor)
            x, y = _place(event.index, preview.size)
            if selection.held and selection.index is not None and mode == MOVE:
                return self._replace(request, selection, x=x, y=y)
            found = find_nearest(visitor.points, x, y, size, TOUCH if mode == ADD else REACH)
            if found is None and mode == ADD:
                return self._add(x, y, color, radius, selection, request)
            if found is None:
                raise ValueError("there is no point near that place; click one of the marks")
            if mode == DELETE:
                points = [point for index, point in enumerate(visitor.points) if index != found]
                return self._change(request, points, replace(selection, index=None, held=False), f"Point {found + 1} is deleted.")
            picked_up = mode == MOVE
            says = f"Point {found + 1}: click its new place." if picked_up else f"Point {found + 1} is selected."
            point = visitor.points[found]
            brush = {self._color: picker_color(lightness_at(preview, point.x, point.y), point.a, point.b), self._radius: point.radius}
            return {**self._show(request, replace(selection, index=found, held=picked_up), says), **brush}

    def _add_in_the_middle(self, color: str, radius: float | None, selection: _Selection, request: gr.Request) -> dict[Any, Any]:
        with shown():
            return self._add(*MIDDLE, color, radius, selection, request)

    def _add(self, x: float, y: float, color: str, radius: float | None, selection: _Selection, request: gr.Request) -> dict[Any, Any]:
        from stylecolor.user_hints import HintPoint

        visitor = visitor_of(self._studio, request)
        _, size = _target_of(visitor)
        if self._studio.model.state == "ready" and not self._studio.model.takes_hints:
            raise ValueError("these networks take no colour hints; take a checkpoint of stage=joint or stage=colorizer")
        points = [*visitor.points, HintPoint(x, y, *ab_of(color), default_radius(size) if radius is None else radius)]
        check_count(len(points))
        return self._change(request, points, replace(selection, index=len(points) - 1, held=False), f"Point {len(points)} is added.")

    def _recolor(self, color: str, selection: _Selection, request: gr.Request) -> dict[Any, Any]:
        points = visitor_of(self._studio, request).points
        with shown():
            a, b = ab_of(color)
            if selection.index is not None and selection.index < len(points):
                point = points[selection.index]
                # the picker rounds, and tells of a change when it is only closed
                if math.hypot(point.a - a, point.b - b) < SAME:
                    return {self._selection: selection}
            return self._replace(request, selection, a=a, b=b)

    def _choose(self, suggestion: str, selection: _Selection, request: gr.Request) -> dict[Any, Any]:
        a, b = map(float, suggestion.split(","))
        with shown():
            return {**self._replace(request, selection, a=a, b=b), self._color: picker_color(50, a, b)}

    def _resize(self, radius: float | None, selection: _Selection, request: gr.Request) -> dict[Any, Any]:
        if radius is None:
            return {self._selection: selection}
        with shown():
            return self._replace(request, selection, radius=float(radius))

    def _edit(self, rows: list[list[Any]], color: str, radius: float | None, selection: _Selection, request: gr.Request) -> dict[Any, Any]:
        visitor = visitor_of(self._studio, request)
        added: list[int] = []
        try:
            _, size = _target_of(visitor)
            if len(rows) > len(visitor.points):
                added = [index for index, row in enumerate(rows) if is_empty(row)]
                new = [*MIDDLE, *ab_of(color), default_radius(size) if radius is None else radius]
                rows = [new if index in added else row for index, row in enumerate(rows)]
            points = read_rows(rows)
        except ValueError as error:
            # what was typed stays, to be mended, unless there is no way to mend it
            readable = all(len(row) == len(COLUMNS) for row in rows) and visitor.preview is not None
            restored = {} if readable else {self._table: rows_of(visitor.points)}
            return {self._message: say_refused(f"{one_line(error)}. The points stay as they were."), **restored}
        if added:
            says = f"Point {added[-1] + 1} is added."
            return self._change(request, points, replace(selection, index=added[-1], held=False), says)
        kept = replace(selection, index=None, held=False) if len(points) != len(visitor.points) else selection
        shown_rows = {} if rows_of(points) != rows else {self._table: gr.skip()}
        return {**self._change(request, points, kept), **shown_rows}

    def _load(self, upload: Mapping[str, Any], selection: _Selection, request: gr.Request) -> dict[Any, Any]:
        session = session_of(self._studio, request)
        dropped = dropped_file(upload)
        assert dropped is not None
        try:
            with self._studio.named_plainly():
                _target_of(visitor_of(self._studio, request))
                points = self._studio.read_points(session.adopt(*dropped))
                check_count(len(points))
        except ValueError as error:
            warn(one_line(error))
            return {self._message: say_refused(f"{one_line(error)}. The points stay as they were.")}
        return self._change(request, points, replace(selection, index=None, held=False), f"{len(points)} points are loaded.")

    def _clear(self, selection: _Selection, request: gr.Request) -> dict[Any, Any]:
        return self._change(request, [], replace(selection, index=None, held=False), "All points are removed.")

    def _replace(self, request: gr.Request, selection: _Selection, **values: float) -> dict[Any, Any]:
        """The selected point with other values; nothing where none is selected, or where it has them."""
        points = visitor_of(self._studio, request).points
        if selection.index is None or selection.index >= len(points):
            return {self._selection: selection}
        point = replace(points[selection.index], **values)
        if point == points[selection.index]:
            return {self._selection: selection}
        changed = [*points[: selection.index], point, *points[selection.index + 1 :]]
        says = f"Point {selection.index + 1} is changed."
        return self._change(request, changed, replace(selection, held=False), says)

    def _change(self, request: gr.Request, points: Sequence["HintPoint"], selection: _Selection, says: str = "") -> dict[Any, Any]:
        visitor = visitor_of(self._studio, request)
        if list(points) == visitor.points:
            return self._show(request, selection, says)
        visitor.points = list(points)
        return {**self._show(request, selection, says), self._inputs: visitor.changed()}

    def _show(self, request: gr.Request, selection: _Selection, says: str = "") -> dict[Any, Any]:
        """The points as they are now."""
        session = session_of(self._studio, request)
        visitor = visitor_of(self._studio, request)
        if visitor.preview is None:
            session.keep("hints")
            return {
                self._picture: gr.Image(value=None, alt_text="The photograph to colorize, none chosen yet"),
                self._message: say(says),
                self._table: [],
                self._save: gr.DownloadButton(value=None, interactive=False),
                self._place: visitor.changed(),
                self._selection: replace(selection, pictures=()),
            }
        points = visitor.points
        with shown(), self._studio.named_plainly():
            preview, size = _target_of(visitor)
            result = visitor.result_preview if selection.beneath else None
            if result is not None:
                with Image.open(result) as picture:
                    preview = picture.convert("RGB")
            directory = session.fresh_directory()
            drawn = write_pixels(np.asarray(draw_points(preview, points, size, selection.index)), directory / "points.jpg")
            if points:
                # imported late, as all that imports torch
                from stylecolor.user_hints import write_hints

                write_hints(directory / POINTS_FILE, points)
        pictures = (*selection.pictures, drawn)[-KEPT:]
        session.keep("hints", *pictures)
        number = len(points) or "no"
        count = f"{number} colour hint{'s' * (len(points) != 1)}"
        return {
            self._picture: gr.Image(value=str(drawn), alt_text=f"The photograph to colorize, with {count}"),
            self._message: say(f"{says} There {'is' if len(points) == 1 else 'are'} {count}.".strip()),
            self._table: rows_of(points),
            self._save: gr.DownloadButton(value=str(directory / POINTS_FILE) if points else None, interactive=bool(points)),
            self._place: visitor.changed(),
            self._selection: replace(selection, pictures=pictures),
        }

    async def _suggest(self, selection: _Selection, request: gr.Request) -> AsyncIterator[tuple[Any, Any]]:
        """The likely colours at the selected point, when the networks have looked."""
        visitor, session = visitor_of(self._studio, request), session_of(self._studio, request)
        if selection.index is None or selection.index >= len(visitor.points) or visitor.target is None:
            yield gr.Radio(visible=False), ""
            return
        point = visitor.points[selection.index]
        asked = visitor.request
        if asked is None or asked.target != visitor.target:
            asked = ColorizeRequest(visitor.target, tuple(visitor.references))
        job = Job(lambda ticket, _: self._studio.suggest_colors(asked, session, point.x, point.y, ticket))
        try:
            colors = await job.result()
            preview, _ = _target_of(visitor)
        except Cancelled:
            yield gr.Radio(visible=False), ""
            return
        except ValueError as error:
            yield gr.Radio(choices=[], value=None, info=f"None are known: {one_line(error)}", visible=True), ""
            return
        finally:
            # of a page that is closed, too
            job.cancel()
        l = lightness_at(preview, point.x, point.y)
        choices = [(f"a {round(a)}, b {round(b)}", f"{a:.1f},{b:.1f}") for a, b in colors]
        rules = [
            f"#hints-suggestions label:nth-of-type({number}) {{ --swatch: {css_color(l, a, b)} }}"
            for number, (a, b) in enumerate(colors, start=1)
        ]
        chosen = next((value for _, value in choices if value == f"{point.a:.1f},{point.b:.1f}"), None)
        yield gr.Radio(choices=choices, value=chosen, info=SUGGESTED, visible=True), f"<style>{' '.join(rules)}</style>"


def _target_of(visitor: "VisitorState") -> tuple[Image.Image, tuple[int, int]]:
    """The preview, and the target's height and width.

    Raises:
        ValueError: where there is none.
    """
    if visitor.preview is None or visitor.target_size is None:
        raise ValueError("there is no photograph yet; choose one to colorize first")
    with Image.open(visitor.preview) as preview:
        return preview.convert("RGB"), visitor.target_size


def _place(index: Any, size: tuple[int, int]) -> tuple[float, float]:
    """Where a click is, in shares of width and height, to a ten-thousandth.

    Args:
        index: column and row of the preview, as the browser says.
        size: width and height of the preview.

    Raises:
        ValueError: for what is outside the preview.
    """
    column, row = index
    if not (0 <= column < size[0] and 0 <= row < size[1]):
        raise ValueError("that place is not in the photograph")
    return round(column / size[0], 4), round(row / size[1], 4)
