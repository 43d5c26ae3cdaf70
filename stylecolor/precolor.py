"""Pre-colorization: what the transfer sub-net sees of a grey target."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from stylecolor.choices import PRECOLORS
from stylecolor.color import gray_rgb, join_lab
from stylecolor.colorizers import load_colorizer
from stylecolor.errors import check_choice
from stylecolor.hints import empty_hints


class Precolored(NamedTuple):
    """A picture for the encoder, sRGB in [0, 1] with three channels or one, and its ab in Lab units."""

    picture: Float[Tensor, "batch channels height width"]
    ab: Float[Tensor, "batch 2 height width"]


Precolor = Callable[[Tensor], Precolored]
"""Called with L in [0, 100], shape (batch, 1, height, width)."""


def precolor_gray(l: Float[Tensor, "batch 1 height width"]) -> Precolored:
    """No colours at all: L in three channels, for the colour encoder."""
    return Precolored(gray_rgb(l), l.new_zeros(l.shape[0], 2, *l.shape[2:]))


def precolor_for_gray_encoder(l: Float[Tensor, "batch 1 height width"]) -> Precolored:
    """L in one channel, for a one-channel encoder."""
    picture, ab = precolor_gray(l)
    return Precolored(picture[:, :1], ab)


def precolor_by(network: nn.Module) -> Precolor:
    """The colours that a colorizer gives without hints, in eval mode and without gradient (Xu et al., CVPR 2020, section 3.1)."""

    def precolor(l: Tensor) -> Precolored:
        training = network.training
        network.eval()
        with torch.no_grad():
            ab = network(l, *empty_hints(l.expand(-1, 2, -1, -1)))
            picture = join_lab(l, ab)
        network.train(training)
        return Precolored(picture, ab)

    return precolor


def load_precolorizer(name: str, weights: str | None, mirror: str | None = None) -> nn.Module:
    """The network of the pre-colorization `eccv16` or `siggraph17`, frozen.

    Args:
        name: of the network.
        weights: a file or a checkpoint; None takes the published ones.
        mirror: see `stylecolor.weights.read_weights`.

    Raises:
        ValueError: for weights that cannot be had and those of another network.
    """
    network = load_colorizer(weights or name, "stage.precolor_weights", mirror=mirror, networks=(name,))
    return network.requires_grad_(False).eval()


def make_precolor(name: str, network: nn.Module | None) -> Precolor:
    """The pre-colorization called `name`.

    Args:
        name: `gray` (L in three channels), `gray_encoder` (L in one), or the network that does it: `network` (the colorization sub-net
            itself), `eccv16`, `siggraph17`.
        network: the colorizer for the latter three.

    Raises:
        ValueError: for an unknown name, and one that needs a network without it.
    """
    check_choice("stage.precolor", name, PRECOLORS)
    if name == "gray":
        return precolor_gray
    if name == "gray_encoder":
        return precolor_for_gray_encoder
    if network is None:
        raise ValueError(f"stage.precolor={name}: needs the network that pre-colorizes")
    return precolor_by(network)
