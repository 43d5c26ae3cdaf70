"""Figures of pictures and curves, each by a recipe of its own, `experiment=figure_<name>`. Modules are imported when they are asked for."""

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from evaluation.figures.context import Figure, FigureContext

JOINT = ("joint",)
WITH_TRANSFER = ("joint", "transfer")


@dataclass(frozen=True)
class FigureKind:
    """A figure: where the function is that draws it, and what it needs."""

    function: str
    """`module:function`."""
    stages: tuple[str, ...] = ()
    """Needs a checkpoint of one of these stages."""
    protocol: str | None = None
    """Needs pairs of this protocol."""
    data: str | None = None
    """Shows this data set alone."""
    needs_runs: bool = False
    """Needs the run directory of a checkpoint."""
    needs_points: bool = False
    """Needs PSNR by the number of revealed patches, and so a checkpoint that takes hints."""
    shows_regions: bool = False
    """Shows matching region by region too, where `data.label_maps` are chosen."""


_TRANSFER = "evaluation.figures.transfer:draw_transfer"
FIGURES = {
    "losses": FigureKind("evaluation.figures.losses:draw_losses", needs_runs=True),
    "transfer_coco": FigureKind(_TRANSFER, WITH_TRANSFER, "palette", data="coco", shows_regions=True),
    # the nearest palettes are those of the neighbouring frames, nearly the targets themselves
    "transfer_camvid": FigureKind(_TRANSFER, WITH_TRANSFER, "random", data="camvid", shows_regions=True),
    "total": FigureKind("evaluation.figures.total:draw_total", JOINT, "palette"),
    "precolorization": FigureKind("evaluation.figures.precolorization:draw_precolorization", JOINT, "palette"),
    "pipeline": FigureKind("evaluation.figures.pipeline:draw_pipeline", JOINT, "palette"),
    "sites": FigureKind("evaluation.figures.sites:draw_sites", WITH_TRANSFER, "palette"),
    "references": FigureKind("evaluation.figures.references:draw_references", WITH_TRANSFER),
    "hints": FigureKind("evaluation.figures.hints:draw_hints", needs_points=True),
}
"""By the names that `figures=` takes."""


def figure_function(name: str) -> "Callable[[str, FigureContext], Figure]":
    """The function that draws the figure called `name`, which it is told."""
    module, function = FIGURES[name].function.split(":")
    return getattr(import_module(module), function)
