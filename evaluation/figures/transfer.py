"""Samples of the transfer sub-net, on one data set or another."""

import torch

from evaluation.figures.context import Figure, FigureContext
from evaluation.figures.results import colorize, stylize
from evaluation.figures.sheet import draw_sheet
from stylecolor.color import gray_rgb, join_lab, rgb_to_lab

_TITLES = {"coco": "COCO", "camvid": "CamVid"}


@torch.inference_mode()
def draw_transfer(figure: str, context: FigureContext) -> Figure:
    """The transfer sub-net's own output and its ab under the target's L (the project report, figures 6.2 and 6.3); with label maps
    also matched region by region.

    Raises:
        ValueError: without a transfer sub-net, or without pairs of the figure's protocol.
    """
    networks = context.of_stages(figure)[0].networks
    pairs = context.of_protocol(figure)
    pictures = context.pictures(pairs)
    assert pictures.reference_rgb is not None
    columns = {
        "target": gray_rgb(pictures.l),
        "reference": pictures.reference_rgb,
        "output": stylize(networks, pictures),
        "its ab, target's L": colorize(networks, "transfer", pictures),
    }
    caption = "The transfer sub-net's output as it is, and its ab with the target's own L."
    label_maps = context.label_maps(pairs)
    if label_maps is not None:
        styled = stylize(networks, pictures, label_maps)
        columns["ab by regions"] = join_lab(pictures.l, rgb_to_lab(styled)[:, 1:])
        caption += " By regions: features are matched between areas of the same label."
    columns["truth"] = pictures.truth_rgb
    seen = "in its pre-colorization" if networks.settings["precolor"] not in ("gray", "gray_encoder") else "in grey"
    lent = "the pictures of the nearest palettes" if pairs[0].protocol == "palette" else "other pictures, drawn at random"
    caption += f" The encoder sees the target {seen}; references are {lent}."
    return Figure(draw_sheet(columns), f"Results of the transfer sub-net on {_TITLES[context.config.data.name]}", caption)
