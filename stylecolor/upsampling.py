"""From the networks' ab maps to maps of any size, guided by the full-resolution L.

The fast guided filter (He and Sun, "Fast Guided Filter", arXiv:1505.00996, 2015) explains a map by the L of the same size, linearly in each
neighbourhood: `ab = slope * L + offset`. Slope and offset may be interpolated, and with the picture's own L they give colours whose edges
are the picture's. What a neighbourhood's line leaves over stays in the offset here, so that a map is never blurred: at its own size it
comes back as it was. On true colours that beats bilinear and joint bilateral upsampling (docs/performance.md).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

RADIUS = 1
"""px of the map: neighbourhoods are squares of 2 * RADIUS + 1."""
SMOOTHNESS = 36.0
"""Squared Lab units: where L varies less than its root, colours hardly follow it (the guided filter's epsilon)."""


@dataclass(frozen=True)
class GuidedMap:
    """A map at the networks' size as a linear function of L around each of its pixels."""

    slope: Float[Tensor, "1 channels height width"]
    offset: Float[Tensor, "1 channels height width"]

    def rows(self, start: int, l: Float[Tensor, "1 1 rows width"], height: int) -> Float[Tensor, "1 channels rows width"]:
        """The map on some rows of a picture.

        Args:
            start: the first row.
            l: L of these rows.
            height: of the whole picture.
        """
        slope, offset = (_interpolate_rows(part, start, l.shape[-2], height, l.shape[-1]) for part in (self.slope, self.offset))
        return torch.addcmul(offset, slope, l)


def guide(
    values: Float[Tensor, "1 channels height width"],
    l: Float[Tensor, "1 1 height width"],
    radius: int = RADIUS,
    smoothness: float = SMOOTHNESS,
) -> GuidedMap:
    """Explain a map by L of the same size.

    Args:
        values: the map, of any units.
        l: in [0, 100].
        radius: px, of the neighbourhoods.
        smoothness: in squared Lab units, see `SMOOTHNESS`.
    """
    mean_l, mean = _box(l, radius), _box(values, radius)
    variance = _box(l * l, radius) - mean_l * mean_l
    covariance = _box(l * values, radius) - mean_l * mean
    slope = _box(covariance / (variance.clamp(min=0) + smoothness), radius)
    return GuidedMap(slope, values - slope * l)


def _box(values: Tensor, radius: int) -> Tensor:
    """Means over squares, which are cut off at the border."""
    return F.avg_pool2d(values, 2 * radius + 1, stride=1, padding=radius, count_include_pad=False)


def _interpolate_rows(values: Tensor, start: int, rows: int, height: int, width: int) -> Tensor:
    """Rows `start` to `start + rows` of the bilinear interpolation (half-pixel centres) of `values` to (height, width)."""
    at = ((torch.arange(start, start + rows, device=values.device) + 0.5) * (values.shape[-2] / height) - 0.5).clamp(min=0)
    above = at.floor().clamp(max=values.shape[-2] - 1)
    below = (above + 1).clamp(max=values.shape[-2] - 1)
    share = (at - above).to(values.dtype).view(1, 1, -1, 1)
    between = torch.lerp(values[:, :, above.long()], values[:, :, below.long()], share)
    return F.interpolate(between, size=(rows, width), mode="bilinear", align_corners=False)
