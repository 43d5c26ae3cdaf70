"""How the parts of the page tell each other of changes."""

from dataclasses import dataclass, field

import gradio as gr


def _signal() -> gr.State:
    return gr.State(0)


@dataclass(frozen=True)
class Signals:
    """Made inside the layout, once. Each is raised by returning `visitor.changed()` for it; see `stylecolor.studio.visitor`."""

    model: gr.State = field(default_factory=_signal)
    """The page has been loaded, or the networks are ready or missing now."""
    target: gr.State = field(default_factory=_signal)
    """There is another target, or none: points, label map and result of the former are gone."""
    references: gr.State = field(default_factory=_signal)
    """There are other references, or none; the label map of the former is gone."""
    inputs: gr.State = field(default_factory=_signal)
    """References and their weights, points or label maps have changed: a result, if there is one, is computed anew."""
    result: gr.State = field(default_factory=_signal)
    """There is another result, or none."""
