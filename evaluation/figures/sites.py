"""Where features are matched."""

from collections.abc import Sequence

from torch import Tensor

from evaluation.figures.context import Figure, FigureContext
from evaluation.figures.results import colorize, matched_at, with_transfer
from evaluation.figures.sheet import draw_sheet
from evaluation.methods import Pictures
from evaluation.networks import LoadedCheckpoint
from stylecolor.color import gray_rgb
from stylecolor.transfer import TransferNet

_SITES = ((), ("bottleneck",), ("encoder",), ("decoder",), ("encoder", "decoder"), ("encoder", "skips", "decoder"))


def draw_sites(figure: str, context: FigureContext) -> Figure:
    """Transfer with features matched at different sites (Xu et al., CVPR 2020, figure 5; the project report, figure 2.5): by several
    checkpoints, each at its own sites, or by a single one at those that it was not trained for too.

    Raises:
        ValueError: without a transfer sub-net that matches, or without pairs of protocol palette.
    """
    checkpoints = context.of_stages(figure)
    pictures = context.pictures(context.of_protocol(figure))
    assert pictures.reference_rgb is not None
    if len(checkpoints) > 1:
        results = {checkpoint.name: colorize(checkpoint.networks, "transfer", pictures) for checkpoint in checkpoints}
        sites = "; ".join(f"{checkpoint.name}: {_describe(_transfer(checkpoint).settings['sites'])}" for checkpoint in checkpoints)
        caption = f"Each column is a checkpoint of its own, trained with matching at its sites ({sites})."
    else:
        results = _at_every_site(figure, checkpoints[0], pictures)
        trained = _describe(_transfer(checkpoints[0]).settings["sites"])
        caption = f"All columns are the same checkpoint, trained with matching at: {trained}; the other sites are tried without training."
    sheet = draw_sheet({"target": gray_rgb(pictures.l), "reference": pictures.reference_rgb, **results, "truth": pictures.truth_rgb})
    return Figure(sheet, "Where features are matched", f"{caption} The transfer sub-net's ab with the target's own L.")


def _at_every_site(figure: str, checkpoint: LoadedCheckpoint, pictures: Pictures) -> dict[str, Tensor]:
    transfer = _transfer(checkpoint)
    if transfer.matching == "none":
        raise ValueError(
            f"figures={figure}: the checkpoint was trained with stage.matching=none, which matches at no site; take another one"
        )
    found = {}
    for sites in _SITES:
        # only the authors' decoder has the pooled skips
        if "skips" not in sites or transfer.skips == "pre_pool":
            changed = with_transfer(checkpoint.networks, matched_at(transfer, sites))
            found[_describe(sites)] = colorize(changed, "transfer", pictures)
    return found


def _transfer(checkpoint: LoadedCheckpoint) -> TransferNet:
    assert checkpoint.networks.transfer is not None
    return checkpoint.networks.transfer


def _describe(sites: Sequence[str]) -> str:
    return ", ".join(sites) or "none"
