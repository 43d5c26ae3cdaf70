"""What the transfer sub-net sees of the target: grey, or pre-colorized."""

import torch

from evaluation.figures.context import Figure, FigureContext
from evaluation.figures.results import colorize, in_color, with_transfer
from evaluation.figures.sheet import draw_sheet
from evaluation.methods import round_to_8_bits
from stylecolor.color import gray_rgb


@torch.inference_mode()
def draw_precolorization(figure: str, context: FigureContext) -> Figure:
    """The same transfer sub-net on grey and on pre-colorized targets (Xu et al., CVPR 2020, section 3.1; the project report, figure 2.3),
    and by its one-channel encoder where it has one.

    Raises:
        ValueError: without a joint checkpoint, or without pairs of protocol palette.
    """
    networks = context.of_stages(figure)[0].networks
    assert networks.transfer is not None
    pictures = context.pictures(context.of_protocol(figure))
    assert pictures.reference_rgb is not None
    in_gray = with_transfer(networks, in_color(networks.transfer), "gray")
    precolored = with_transfer(networks, in_color(networks.transfer), _network_of(str(networks.settings["precolor"])))
    has_gray_encoder = networks.transfer.gray_encoder is not None
    sheet = draw_sheet(
        {
            "target": gray_rgb(pictures.l),
            "reference": pictures.reference_rgb,
            **({"by gray encoder": colorize(networks, "transfer", pictures)} if has_gray_encoder else {}),
            "transfer from gray": colorize(in_gray, "transfer", pictures),
            "pre-color": round_to_8_bits(precolored.precolor(pictures.l).picture),
            "transfer from pre-color": colorize(precolored, "transfer", pictures),
            "truth": pictures.truth_rgb,
        }
    )
    caption = (
        "The same transfer sub-net, not trained anew, on the grey target in three channels and on its pre-colorization; "
        f"L is always the target's. The checkpoint was trained with stage.precolor={networks.settings['precolor']}."
    )
    return Figure(sheet, "Grey targets against pre-colorized ones", caption)


def _network_of(precolor: str) -> str:
    """The checkpoint's own pre-colorizer; its colorization sub-net where it has none."""
    return "network" if precolor in ("gray", "gray_encoder") else precolor
