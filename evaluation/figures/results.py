"""What checkpoints, as they are or changed, make of pictures, for the columns of figures."""

import copy

import torch
from jaxtyping import Float
from torch import Tensor

from evaluation.methods import Pictures, make_methods
from evaluation.networks import LoadedCheckpoint
from stylecolor.pipeline import ExemplarNetworks
from stylecolor.regions import LabelMap
from stylecolor.transfer import TransferNet


def colorize(networks: ExemplarNetworks, method: str, pictures: Pictures) -> Float[Tensor, "batch 3 height width"]:
    """The result of one of the methods of an evaluation, with the targets' own L."""
    (made,) = make_methods([LoadedCheckpoint(method, networks)], [method])
    return made(pictures)


@torch.inference_mode()
def stylize(
    networks: ExemplarNetworks, pictures: Pictures, label_maps: tuple[LabelMap, LabelMap] | None = None
) -> Float[Tensor, "batch 3 height width"]:
    """The transfer sub-net's own output, whose L need not be the targets'; matched region by region where label maps are given."""
    assert networks.transfer is not None
    assert pictures.reference_rgb is not None
    content = networks.precolor(pictures.l).picture
    return networks.transfer(content, pictures.reference_rgb, *(label_maps or (None, None)), networks.feather).float()


def with_transfer(networks: ExemplarNetworks, transfer: TransferNet, precolor: str | None = None) -> ExemplarNetworks:
    """The same networks with another transfer sub-net, and perhaps another pre-colorization of the target."""
    settings = networks.settings if precolor is None else {**networks.settings, "precolor": precolor}
    return ExemplarNetworks(transfer, networks.colorizer, **settings, precolorizer=networks.precolorizer)


def matched_at(transfer: TransferNet, sites: tuple[str, ...]) -> TransferNet:
    """A copy of the transfer sub-net, not trained anew, that matches features at other sites."""
    changed = copy.deepcopy(transfer)
    changed.sites = frozenset(sites)
    changed.settings["sites"] = list(sites)
    return changed


def in_color(transfer: TransferNet) -> TransferNet:
    """A copy of the transfer sub-net that sees the targets by the colour encoder."""
    changed = copy.deepcopy(transfer)
    changed.gray_encoder = None
    changed.settings["gray_encoder"] = False
    return changed
