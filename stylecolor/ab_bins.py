"""The quantised ab plane of the classification network: bins, soft encoding, prior and class rebalancing (Zhang et al., ECCV 2016)."""

from functools import cache

import torch
from jaxtyping import Float, Float32, Float64, Int64
from torch import Tensor

from stylecolor.color import rgb_to_lab
from stylecolor.errors import check_range

GRID_STEP = 10
"""Distance of neighbouring bins, Lab units (section 2.1)."""
_LATTICE_STEP = 3
_EQUALLY_NEAR = 1e-3


def gamut_bins() -> Float32[Tensor, "bins 2"]:
    """The centres of the grid cells that an 8-bit sRGB colour falls in: 261 bins, in Lab units, ordered by a, then b.

    Cells are squares with sides of 10 around the multiples of 10. A line of equal ab leaves the sRGB cube through its surface, so that the
    surface alone is looked at, at every third value: this finds the same cells as all 2^24 colours. The list of the authors (section 2.1)
    has 313 by a rule that they do not state; it comes with their weights.
    """
    return torch.tensor(_gamut_cells(), dtype=torch.float32) * GRID_STEP


@cache
def _gamut_cells() -> list[list[int]]:
    # on the CPU and in float64, whatever device and type are the default, so that the bins are the same everywhere
    values = torch.arange(0, 256, _LATTICE_STEP, dtype=torch.float64, device="cpu") / 255
    face = torch.cartesian_prod(values, values)
    faces = [
        torch.stack((*first, torch.full_like(face[:, 0], end), *last))
        for end in (0.0, 1.0)
        for first, last in (((), face.T), (face.T[:1], face.T[1:]), (face.T, ()))
    ]
    with torch.no_grad():
        ab = rgb_to_lab(torch.cat(faces, dim=1).view(1, 3, 1, -1))[0, 1:, 0]
    return (ab.T / GRID_STEP).round().long().unique(dim=0).tolist()


@torch.no_grad()
def nearest_bins(
    ab: Float[Tensor, "batch 2 height width"], bins: Float[Tensor, "bins 2"], neighbours: int = 5, sigma: float = 5.0
) -> tuple[Int64[Tensor, "batch neighbours height width"], Float32[Tensor, "batch neighbours height width"]]:
    """The bins nearest to each pixel's ab, nearest first, and the share of each: what `encode_ab` writes, without its zeros.

    Shares are those of a Gaussian of the distance, sum 1 (section 2.2). Computed in float32, also under autocast; all in Lab units.
    """
    pixels = ab.float().permute(0, 2, 3, 1)
    # not by matrix products, whose rounding would be a third of a Lab unit in TF32
    distances = torch.cdist(pixels.flatten(0, 2), bins.float(), compute_mode="donot_use_mm_for_euclid_dist")
    nearest, indices = distances.topk(neighbours, dim=1, largest=False)
    # a softmax, since every term of the Gaussian vanishes for a colour far from all bins
    shares = (-0.5 * ((nearest.square() - nearest[:, :1].square()) / sigma) / sigma).softmax(dim=1)
    height, width = ab.shape[-2:]
    shape = (-1, height, width, neighbours)
    return indices.view(shape).permute(0, 3, 1, 2), shares.view(shape).permute(0, 3, 1, 2)


def encode_ab(
    ab: Float[Tensor, "batch 2 height width"], bins: Float[Tensor, "bins 2"], neighbours: int = 5, sigma: float = 5.0
) -> Float32[Tensor, "batch bins height width"]:
    """Soft encoding of ab (section 2.2): each pixel's distribution over its nearest bins, weighted by a Gaussian of the distance, sum 1.

    Args:
        ab: Lab units.
        bins: Lab units.
        neighbours: how many bins of a pixel are not zero.
        sigma: of the Gaussian, Lab units.
    """
    indices, shares = nearest_bins(ab, bins, neighbours, sigma)
    encoded = shares.new_zeros(ab.shape[0], bins.shape[0], *ab.shape[2:])
    return encoded.scatter_(1, indices, shares)


@torch.no_grad()
def bin_prior(histogram: Int64[Tensor, "256 256"], bins: Float[Tensor, "bins 2"], sigma: float = 5.0) -> Float64[Tensor, " bins"]:
    """How often each bin occurs (section 2.2): counts go to the nearest bin, then are smoothed over the bins with a Gaussian; sum 1.

    Computed on the CPU in float64, in which only bins farther than 190 Lab units from every colour that occurs have a prior of zero
    (with the default sigma). A cell of the histogram that is equally near to several bins counts for each in equal shares.

    Args:
        histogram: cell [a + 128, b + 128] counts the pixels of that rounded ab.
        bins: Lab units.
        sigma: of the smoothing, Lab units.

    Raises:
        ValueError: for a histogram that counts nothing.
    """
    cells = histogram.cpu().nonzero()
    if not len(cells):
        raise ValueError("bin_prior: the ab histogram counts no pixel; take it from at least one picture")
    bins = bins.double().cpu()
    distances = torch.cdist(cells.double() - 128, bins, compute_mode="donot_use_mm_for_euclid_dist")
    nearest = (distances <= distances.amin(dim=1, keepdim=True) + _EQUALLY_NEAR).double()
    counts = histogram.cpu()[cells[:, 0], cells[:, 1]].double()
    frequencies = (counts / nearest.sum(dim=1)) @ nearest
    between = torch.cdist(bins, bins, compute_mode="donot_use_mm_for_euclid_dist")
    smoothed = (-0.5 * (between / sigma).square()).exp() @ frequencies
    return smoothed / smoothed.sum()


@torch.no_grad()
def rebalancing_weights(prior: Float[Tensor, " bins"], uniform_share: float = 0.5) -> Float32[Tensor, " bins"]:
    """Class weights `((1 - l) p + l / Q)^-1`, l = `uniform_share`, Q the bins of non-zero prior p, scaled to `sum(p w) = 1` (section 2.2).

    Raises:
        ValueError: for a uniform share that is not in (0, 1]; without one, a bin that never occurs would weigh infinitely much.
    """
    check_range("uniform_share", uniform_share, above=0)
    check_range("uniform_share", uniform_share, low=0, high=1)
    prior = prior.double()
    weights = 1 / ((1 - uniform_share) * prior + uniform_share / (prior > 0).sum())
    return (weights / (prior * weights).sum()).float()
