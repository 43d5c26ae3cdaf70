"""The steps of the pipeline, side by side."""

from evaluation.figures.context import Figure, FigureContext
from evaluation.figures.results import colorize
from evaluation.figures.sheet import draw_sheet
from stylecolor.color import gray_rgb


def draw_pipeline(figure: str, context: FigureContext) -> Figure:
    """Pre-colorization, transfer and the whole, with the nearest palettes as references (Xu et al., CVPR 2020, section 4.2; the project
    report, figure 2.4).

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
            "pre-color": colorize(networks, "colorizer", pictures),
            "transfer": colorize(networks, "transfer", pictures),
            "both": colorize(networks, "both", pictures),
            "truth": pictures.truth_rgb,
        }
    )
    caption = "The colorization sub-net alone (pre-color), the transfer sub-net on top of it, and both sub-nets; L is always the target's."
    return Figure(sheet, "The pipeline, step by step", caption)
