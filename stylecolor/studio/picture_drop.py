"""Where pictures are dropped. Gradio's own components show them; what is dropped is opened by nobody but `stylecolor.pictures`.

So the handlers' events are listened to with `preprocess=False`: Gradio would open the files before a handler is called.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr


def drop_picture(**options: Any) -> gr.Image:
    """Where one picture is dropped."""
    return gr.Image(type="filepath", sources=["upload"], height=150, buttons=[], elem_classes="drop", **options)


class Dropped(NamedTuple):
    """A file that a component has."""

    path: Path
    """Where Gradio has put it, whose name lacks what is not harmless everywhere."""
    name: str | None
    """What it is called on the visitor's machine; None where the page does not say."""


def dropped_file(value: Mapping[str, Any] | None) -> Dropped | None:
    """That in a `gr.Image`, `gr.File` or `gr.UploadButton`, as handlers are given it without preprocessing."""
    return None if value is None or not value["path"] else Dropped(Path(value["path"]), value.get("orig_name"))


def dropped_files(value: Sequence[Mapping[str, Any]] | None) -> list[Dropped]:
    """Those in a `gr.Gallery`, likewise."""
    files = [dropped_file(item.get("image")) for item in value or ()]
    return [file for file in files if file is not None]
