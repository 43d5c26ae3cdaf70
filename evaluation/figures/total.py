"""Samples of the total network."""

from evaluation.figures.context import Figure, FigureContext
from evaluation.figures.results import colorize
from evaluation.figures.sheet import draw_sheet
from stylecolor.color import gray_rgb


def draw_total(figure: str, context: FigureContext) -> Figure:
    """What both sub-nets make of targets with the nearest palettes as references (the project report, figure 6.4).

    Raises:
        ValueError: without a joint checkpoint, or without pairs of protocol palette.
    """
    networks = context.of_stages(figure)[0].networks
    pictures = context.pictures(context.of_protocol(figure))
    assert pictures.reference_rgb is not None
    sheet = draw_sheet(
        {
            "target": gray_rgb(pictures.l),
            "reference": pictures.reference_rgb,
            "result": colorize(networks, "both", pictures),
            "truth": pictures.truth_rgb,
        }
    )
    caption = "Both sub-nets, each target with the picture of the nearest palette as its reference; truth is only for comparison."
    return Figure(sheet, "Results of the total network", caption)
