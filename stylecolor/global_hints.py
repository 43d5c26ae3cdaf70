"""Global hints: what a user may say of a whole picture's colours (Zhang et al., SIGGRAPH 2017, section 3.3)."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from stylecolor.ab_bins import encode_ab
from stylecolor.randomness import uniform

HISTOGRAM_STRIDE = 4
"""The histogram is taken at a quarter of the resolution."""


class GlobalHints(NamedTuple):
    """Shares of the ab bins, which sum to 1, and mean HSV saturation in [0, 1]; each with a flag, and 0 where its flag is 0."""

    histogram: Float[Tensor, "batch bins"]
    histogram_flag: Float[Tensor, "batch 1"]
    saturation: Float[Tensor, "batch 1"]
    saturation_flag: Float[Tensor, "batch 1"]


def measure_global_hints(
    rgb: Float[Tensor, "batch 3 height width"], ab: Float[Tensor, "batch 2 height width"], bins: Float[Tensor, "bins 2"]
) -> GlobalHints:
    """The hints that describe pictures exactly: sRGB in [0, 1] and the same pictures' ab in Lab units.

    The histogram counts the pixels of the picture shrunk to a quarter by averaging, each shared among its nearest bins as `encode_ab` does.
    Saturation is (max - min) / max of R, G and B, 0 for black.
    """
    shrunk = F.avg_pool2d(ab.float(), HISTOGRAM_STRIDE)
    histogram = encode_ab(shrunk, bins).mean(dim=(2, 3))
    largest, smallest = rgb.float().amax(dim=1), rgb.float().amin(dim=1)
    # the bound lies below the first step of 8 bits, and keeps black from 0 / 0
    saturation = ((largest - smallest) / largest.clamp(min=1e-4)).mean(dim=(1, 2)).unsqueeze(1)
    shown = torch.ones_like(saturation)
    return GlobalHints(histogram, shown, saturation, shown)


def hide_global_hints(like: Tensor, bins: int) -> GlobalHints:
    """No hints, for as many pictures as `like` has, on its device."""
    nothing = like.new_zeros(like.shape[0], 1)
    return GlobalHints(like.new_zeros(like.shape[0], bins), nothing, nothing, nothing)


def reveal_global_hints(hints: GlobalHints, keys: Int64[Tensor, " batch"], probability: float) -> GlobalHints:
    """Keep the histogram and the saturation of each picture with this probability, each by a draw of its own."""
    histogram = (uniform(keys, "global/histogram", (1,)) < probability).to(hints.histogram.dtype)
    saturation = (uniform(keys, "global/saturation", (1,)) < probability).to(hints.saturation.dtype)
    return GlobalHints(
        hints.histogram * histogram, hints.histogram_flag * histogram, hints.saturation * saturation, hints.saturation_flag * saturation
    )
