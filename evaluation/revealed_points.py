"""User hints at random places, for the curve of PSNR against their number."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from stylecolor.hints import Hints
from stylecolor.randomness import uniform

PATCH_SIDE = 6
"""px, as in the authors' program for this curve (richzhang/colorization-pytorch, test_sweep.py)."""


def random_patches(ab: Float[Tensor, "batch 2 height width"], keys: Int64[Tensor, " batch"], points: int, side: int = PATCH_SIDE) -> Hints:
    """Reveal `points` square patches anywhere in the picture, each in its mean colour.

    The patches of fewer points are the first ones of more; where they overlap, the earlier one stays, so that more points only add pixels.
    Every place is as likely as any other; the authors' program, unless told otherwise, draws more of them around the middle.

    Args:
        ab: true ab map, in Lab units, no smaller than a patch.
        keys: one a picture, such as `make_key(seed, picture id)`.
        points: how many; 0 reveals nothing.
        side: of a patch, px.
    """
    batch, _, height, width = ab.shape
    assert min(height, width) >= side
    if not points:
        return Hints(torch.zeros_like(ab), torch.zeros_like(ab[:, :1]))
    places = uniform(keys, "random patches", (points, 2))
    top = (places[..., 0] * (height - side + 1)).long()
    left = (places[..., 1] * (width - side + 1)).long()
    steps = torch.arange(side, device=ab.device)
    rows, columns = top[..., None, None] + steps[:, None], left[..., None, None] + steps
    pixels = (rows * width + columns).flatten(1)
    flat = ab.flatten(2)
    colors = flat.gather(2, pixels.unsqueeze(1).expand(-1, 2, -1)).view(batch, 2, points, side**2).mean(dim=3)
    numbers = torch.arange(points, device=ab.device).repeat_interleave(side**2).expand(batch, -1)
    owners = torch.full((batch, height * width), points, device=ab.device).scatter_reduce(1, pixels, numbers, "amin")
    # a last colour, 0, is that of pixels without an owner
    painted = torch.nn.functional.pad(colors, (0, 1)).gather(2, owners.unsqueeze(1).expand(-1, 2, -1))
    return Hints(painted.view_as(ab), (owners < points).to(ab.dtype).view(batch, 1, height, width))
