"""From an ab map to hints: which pixels' colours the colorizer is shown."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from stylecolor.color import gray_rgb
from stylecolor.errors import check_choice, check_range
from stylecolor.randomness import normal, picture_keys, uniform

PATCH_STOP_PROBABILITY = 1 / 8
"""Points a picture ~ Geometric(1/8), counted from 0: 7 on average (SIGGRAPH'17, section 3.4)."""
PATCH_LIMIT = 128
"""More points than this are as rare as 3 in 10^8 pictures, and are cut."""
PATCH_MAX_SIDE = 9


class Hints(NamedTuple):
    """Colours shown to the colorizer: ab in Lab units, 0 where hidden, and the mask, 1 where shown."""

    ab: Float[Tensor, "batch 2 height width"]
    mask: Float[Tensor, "batch 1 height width"]


Sampler = Callable[[Tensor, Tensor], Hints]
"""Called with an ab map and one key for each sample."""


def target_keys(l: Float[Tensor, "batch 1 height width"]) -> Int64[Tensor, " batch"]:
    """One key for each target, from its grey picture in 8 bits: a target's own colours, which are not used, cannot change the hints."""
    return picture_keys((gray_rgb(l)[:, :1] * 255).round().to(torch.uint8))


def empty_hints(ab: Float[Tensor, "batch 2 height width"], keys: Int64[Tensor, " batch"] | None = None) -> Hints:
    """No hint at all: the colorizer has to guess, as it does for the pre-colorization."""
    return Hints(torch.zeros_like(ab), torch.zeros_like(ab[:, :1]))


def all_hints(ab: Float[Tensor, "batch 2 height width"], keys: Int64[Tensor, " batch"] | None = None) -> Hints:
    """The whole map."""
    return Hints(ab, torch.ones_like(ab[:, :1]))


def bernoulli_hints(ab: Float[Tensor, "batch 2 height width"], keys: Int64[Tensor, " batch"], mask_probability: float = 0.99) -> Hints:
    """Hide every pixel with probability `mask_probability`, independently (the project report, section 6.3.3)."""
    mask = (uniform(keys, "bernoulli", (1, *ab.shape[-2:])) >= mask_probability).to(ab.dtype)
    return Hints(ab * mask, mask)


def patch_hints(ab: Float[Tensor, "batch 2 height width"], keys: Int64[Tensor, " batch"]) -> Hints:
    """Square patches of 1 to 9 px around the picture's middle, each shown in its mean colour (SIGGRAPH'17, section 3.4).

    Number of points ~ Geometric(1/8) counted from 0, centres ~ N(middle, (extent / 4)^2), sides uniform; where patches overlap, their
    colours are averaged.
    """
    height, width = ab.shape[-2:]
    points = (uniform(keys, "patches/points", (1,)).log() / math.log1p(-PATCH_STOP_PROBABILITY)).floor().clamp(max=PATCH_LIMIT)
    exists = torch.arange(PATCH_LIMIT, device=ab.device) < points
    side = (uniform(keys, "patches/side", (PATCH_LIMIT,)) * PATCH_MAX_SIDE).floor() + 1
    centres = normal(keys, "patches/centre", (2, PATCH_LIMIT))
    rows = _patch_extent(centres[:, 0], side, height) * exists.unsqueeze(-1)
    columns = _patch_extent(centres[:, 1], side, width)

    # a patch is the outer product of its rows and its columns, so sums over all patches are matrix products
    with torch.autocast(ab.device.type, enabled=False):
        area = rows.sum(-1) * columns.sum(-1)
        sums = torch.einsum("bph,bchw,bpw->bcp", rows, ab.float(), columns)
        colors = sums / area.clamp(min=1).unsqueeze(1)
        covered = torch.einsum("bph,bpw->bhw", rows, columns).unsqueeze(1)
        painted = torch.einsum("bph,bcp,bpw->bchw", rows, colors, columns) / covered.clamp(min=1)
    return Hints(painted.to(ab.dtype), (covered > 0).to(ab.dtype))


def _patch_extent(centre: Tensor, side: Tensor, extent: int) -> Tensor:
    """(batch, points, extent): 1 on the pixels of one axis that each patch covers."""
    start = ((centre * extent / 4 + extent / 2) - side / 2).round().unsqueeze(-1)
    position = torch.arange(extent, device=centre.device)
    return ((position >= start) & (position < start + side.unsqueeze(-1))).float()


def point_hints(ab: Float[Tensor, "batch 2 height width"], keys: Int64[Tensor, " batch"], points: int = 10) -> Hints:
    """Show exactly `points` pixels of every picture, drawn without replacement; all of them where a picture has no more.

    The pixels of fewer points are among those of more, as when a user adds points one by one.
    """
    pixels = ab.shape[-2] * ab.shape[-1]
    # the position breaks ties, of which 24 bits have a few, in the same way on every device
    draws = (uniform(keys, "points", (pixels,)) * 2**24).to(torch.int64) * pixels + torch.arange(pixels, device=ab.device)
    chosen = draws.topk(min(points, pixels), dim=1, largest=False, sorted=False).indices
    mask = torch.zeros_like(ab[:, :1]).flatten(1).scatter(1, chosen, 1.0).view_as(ab[:, :1])
    return Hints(ab * mask, mask)


def combine_hints(hints: Hints, above: Hints) -> Hints:
    """Both, and where both show a pixel, the colour of `above`."""
    return Hints(torch.where(above.mask > 0, above.ab, hints.ab), torch.maximum(hints.mask, above.mask))


@dataclass(frozen=True)
class HintOptions:
    """The settings of the samplers; each takes those that concern it."""

    mask_probability: float = 0.99
    """Probability that `bernoulli` hides a pixel."""
    hint_points: int = 10
    """Pixels that `points` shows."""


SAMPLERS: dict[str, Callable[[HintOptions], Sampler]] = {
    "bernoulli": lambda options: partial(bernoulli_hints, mask_probability=options.mask_probability),
    "patches": lambda options: patch_hints,
    "points": lambda options: partial(point_hints, points=options.hint_points),
    "all": lambda options: all_hints,
    "none": lambda options: empty_hints,
}
"""Makers of the samplers, by the names that `stage.hints` takes."""


def make_sampler(name: str, mask_probability: float = 0.99, hint_points: int = 10) -> Sampler:
    """The sampler called `name`; the options are those of `HintOptions`.

    Raises:
        ValueError: for an unknown name, a probability outside [0, 1] or a negative number of points.
    """
    check_choice("stage.hints", name, SAMPLERS)
    check_range("stage.mask_probability", mask_probability, low=0, high=1)
    check_range("stage.hint_points", hint_points, low=0)
    return SAMPLERS[name](HintOptions(mask_probability, hint_points))


def drop_hints(hints: Hints, keys: Int64[Tensor, " batch"], probability: float) -> Hints:
    """Take all hints from a whole sample with this probability, so that the network also learns to colorize on its own."""
    kept = (uniform(keys, "empty", (1, 1, 1)) >= probability).to(hints.ab.dtype)
    return Hints(hints.ab * kept, hints.mask * kept)
