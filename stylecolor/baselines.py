"""Training-free comparators: the ab of a grey target from the statistics of a reference.

Each is called with the target's L and the reference's sRGB, of any two sizes, and returns the target's ab. All work on CIELab, are
vectorised over the batch and depend on each sample alone. Their colours may lie outside the sRGB gamut; `stylecolor.color.join_lab` fits
them. A constant target gets one colour that stands for the reference; nothing gives NaN.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from stylecolor.color import rgb_to_lab
from stylecolor.randomness import make_key, uniform
from stylecolor.regions import VOID

FLAT = 1e-3
"""Where the standard deviation of L, in Lab units, is not above this, L is constant: the rest is rounding, and must not be stretched."""
WELSH_SAMPLES = 200
"""Samples of the jittered grid on the whole reference, about (Welsh et al. 2002, section 3.1)."""
WELSH_SWATCH_SAMPLES = 50
"""Samples in each swatch (section 3.2)."""
WELSH_NEIGHBOURHOOD = 5
WELSH_LUMINANCE_WEIGHT = 0.5
"""Of the luminance in the distance; the rest weighs the standard deviation in the neighbourhood."""

_LABELS = 256
_FIXED_POINT = 2**20
_DISTANCES_AT_ONCE = 2**20


def _inputs(baseline: str, target_l: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """The target's L and the reference's Lab, in float32 (float64 where the target is)."""
    for what, picture, channels in (("target L", target_l, 1), ("reference sRGB", reference, 3)):
        if not picture.is_floating_point():
            raise ValueError(f"{baseline}: expected a floating-point {what}, got {picture.dtype}; divide uint8 sRGB by 255 first")
        if picture.ndim != 4 or picture.shape[1] != channels or picture.numel() == 0:
            raise ValueError(f"{baseline}: expected {what} of shape (batch, {channels}, height, width), got {tuple(picture.shape)}")
    if reference.shape[0] not in (1, target_l.shape[0]):
        raise ValueError(f"{baseline}: expected 1 or {target_l.shape[0]} references, one for each target, got {reference.shape[0]}")
    l = target_l if target_l.dtype == torch.float64 else target_l.float()
    return l, rgb_to_lab(reference).to(l.dtype)


def _standardized(l: Tensor) -> Tensor:
    """`(L - mean) / std` over each picture, 0 where L is constant."""
    variance, mean = torch.var_mean(l, dim=(2, 3), correction=0, keepdim=True)
    std = variance.sqrt()
    return torch.where(std > FLAT, (l - mean) / std.clamp(min=FLAT), 0)


class _Colors(NamedTuple):
    """Of the reference's ab, each (references, 2, 1, 1); `slope` is the covariance with standardised L: correlation times std."""

    mean: Tensor
    std: Tensor
    slope: Tensor


def _colors(lab: Tensor) -> _Colors:
    variance, mean = torch.var_mean(lab[:, 1:], dim=(2, 3), correction=0, keepdim=True)
    slope = (_standardized(lab[:, :1]) * (lab[:, 1:] - mean)).mean(dim=(2, 3), keepdim=True)
    return _Colors(mean, variance.sqrt(), slope)


def gray(
    target_l: Float[Tensor, "batch 1 height width"], reference: Float[Tensor, "references 3 reference_height reference_width"]
) -> Float[Tensor, "batch 2 height width"]:
    """No colour at all: zeros.

    Args:
        target_l: L in [0, 100].
        reference: sRGB in [0, 1], one for each target or one for all; not used.

    Raises:
        ValueError: for tensors of other shapes and for integers.
    """
    l, _ = _inputs("gray", target_l, reference)
    return torch.zeros_like(l).repeat(1, 2, 1, 1)


def reference_mean(
    target_l: Float[Tensor, "batch 1 height width"], reference: Float[Tensor, "references 3 reference_height reference_width"]
) -> Float[Tensor, "batch 2 height width"]:
    """The reference's mean ab everywhere: stronger than it looks, since it never puts a colour in the wrong place.

    Args:
        target_l: L in [0, 100].
        reference: sRGB in [0, 1], one for each target or one for all.

    Raises:
        ValueError: for tensors of other shapes and for integers.
    """
    l, lab = _inputs("reference_mean", target_l, reference)
    return lab[:, 1:].mean(dim=(2, 3), keepdim=True) + torch.zeros_like(l)


def reinhard(
    target_l: Float[Tensor, "batch 1 height width"], reference: Float[Tensor, "references 3 reference_height reference_width"]
) -> Float[Tensor, "batch 2 height width"]:
    """Give a and b the reference's mean and standard deviation, in CIELab.

    Source: Reinhard et al., "Color transfer between images" (CG&A 2001), which shifts and scales each channel of a colour target. A grey
    target has no ab to scale, so its standardised L, z, stands in: `ab = mean + sign(corr(L, ab)) * std * z`, the correlation being the
    reference's, so that what is bright takes the colours of what is bright there. A channel without any correlation, and a target of
    constant L, get the mean.

    Args:
        target_l: L in [0, 100].
        reference: sRGB in [0, 1], one for each target or one for all.

    Raises:
        ValueError: for tensors of other shapes and for integers.
    """
    l, lab = _inputs("reinhard", target_l, reference)
    colors = _colors(lab)
    return colors.mean + colors.slope.sign() * colors.std * _standardized(l)


def monge_kantorovitch(
    target_l: Float[Tensor, "batch 1 height width"], reference: Float[Tensor, "references 3 reference_height reference_width"]
) -> Float[Tensor, "batch 2 height width"]:
    """Linear optimal transport between the Gaussians of target and reference: here the regression of the reference's ab on its L.

    Source: Pitie and Kokaram, "The linear Monge-Kantorovitch linear colour mapping for example-based colour transfer" (CVMP 2007):
    `T(x) = mu_r + A (x - mu_t)` with `A = S^-1/2 (S^1/2 R S^1/2)^1/2 S^-1/2`, S and R being the covariances of target and reference.

    A grey target has S = diag(s^2, 0, 0), which has no inverse, but T has a limit on grey colours. With S = diag(s^2, d^2, d^2),
    the block form of R (R_LL, r = R_ab,L) and d -> 0, the root of `S^1/2 R S^1/2 = [[s^2 R_LL, s d r'], [s d r, d^2 R_ab]]` has the column
    `(s sqrt(R_LL), d r / sqrt(R_LL))` to first order in d. So A maps (1, 0, 0) to `(sqrt(R_LL), r / sqrt(R_LL)) / s`, and with the
    standardised L, z, of the target

        ab = mu_ab + r / sqrt(R_LL) * z = mu_ab + R_ab,L / R_LL * (L' - mu_L),    L' = mu_L + sqrt(R_LL) * z.

    This is also what optimal transport says without a limit: only the L of the target varies, so the optimal plan couples it monotonically
    to the reference's L, which is L', and leaves ab to its conditional law; its barycentric projection is E[ab | L'], the regression.
    It is Reinhard's transfer with the correlation itself in place of its sign. A constant L on either side gives the mean.

    Args:
        target_l: L in [0, 100].
        reference: sRGB in [0, 1], one for each target or one for all.

    Raises:
        ValueError: for tensors of other shapes and for integers.
    """
    l, lab = _inputs("monge_kantorovitch", target_l, reference)
    colors = _colors(lab)
    return colors.mean + colors.slope * _standardized(l)


def histogram_matching(
    target_l: Float[Tensor, "batch 1 height width"], reference: Float[Tensor, "references 3 reference_height reference_width"]
) -> Float[Tensor, "batch 2 height width"]:
    """Give a and b the reference's histograms: the rank of a pixel's L chooses the quantile of a and that of b.

    Source: histogram specification (Gonzalez and Woods, "Digital Image Processing", section 3.3). A grey target has no ab to rank, so
    L is ranked, ascending where the reference's channel grows with its L, else descending. Quantiles between two values of the reference
    are interpolated. Pixels of equal L take the quantile of their middle rank, hence one colour; where all L differ and the pixels are as
    many as the reference's, the histograms are equal. A constant target gets the medians.

    Args:
        target_l: L in [0, 100].
        reference: sRGB in [0, 1], one for each target or one for all.

    Raises:
        ValueError: for tensors of other shapes and for integers.
    """
    l, lab = _inputs("histogram_matching", target_l, reference)
    # standardised, since the rounding of a constant L has no rank
    values = _standardized(l).flatten(1)
    quantiles = lab[:, 1:].flatten(2).sort(dim=2).values.expand(l.shape[0], -1, -1)
    pixels, steps = values.shape[1], quantiles.shape[2]

    ordered = values.sort(dim=1).values
    twice_rank = (torch.searchsorted(ordered, values) + torch.searchsorted(ordered, values, right=True)).unsqueeze(1)
    twice_rank = torch.where(_colors(lab).slope.flatten(2) < 0, 2 * pixels - twice_rank, twice_rank)

    # whole numbers of 1 / (2 pixels), since float32 cannot tell the ranks of large pictures apart
    unit = 2 * pixels
    position = (twice_rank * steps - pixels).clamp(0, unit * (steps - 1))
    low = position // unit
    share = (position - low * unit).to(l.dtype) / unit
    ab = torch.lerp(quantiles.gather(2, low), quantiles.gather(2, (low + 1).clamp(max=steps - 1)), share)
    return ab.unflatten(2, l.shape[-2:])


def welsh(
    target_l: Float[Tensor, "batch 1 height width"],
    reference: Float[Tensor, "references 3 reference_height reference_width"],
    target_labels: UInt8[Tensor, "batch height width"] | None = None,
    reference_labels: UInt8[Tensor, "references reference_height reference_width"] | None = None,
    seed: int = 0,
) -> Float[Tensor, "batch 2 height width"]:
    """Give each pixel the ab of the reference's sample that is most like it in luminance and texture.

    Source: Welsh et al., "Transferring color to greyscale images" (SIGGRAPH 2002). The target's L is shifted and scaled to the mean and
    standard deviation of the reference's; about 200 samples of the reference come from a jittered grid; the distance is half the difference
    of L plus half the difference of its standard deviation in the 5x5 neighbourhood, which ends at the picture's border.

    With label maps the labels are the paper's swatches: L is remapped from label to label, and the samples, 50 of each label, are of the
    same label. Pixels that are void, or whose label the reference does not have, are treated as without label maps. (The paper
    goes on from its few rectangular swatches by texture synthesis; label maps cover the picture.)

    Memory beyond the pictures' own is bounded: pixels are compared in groups.

    Args:
        target_l: L in [0, 100].
        reference: sRGB in [0, 1], one for each target or one for all.
        target_labels: the label of each pixel, 255 is void; with `reference_labels` or not at all.
        reference_labels: the same for the references.
        seed: of the jitter, which is the same for every sample of the batch.

    Raises:
        ValueError: for tensors of other shapes, integer pictures, label maps of another type or size than their pictures, or only one.
    """
    l, lab = _inputs("welsh", target_l, reference)
    batch = l.shape[0]
    target, source = _welsh_features(l), _welsh_features(lab[:, :1]).expand(batch, -1, -1)
    key = torch.tensor([make_key("welsh", seed)], device=l.device)

    grid = _jittered_grid(key, lab.shape[-2], lab.shape[-1]).expand(batch, 1, -1)
    target_whole, source_whole = (torch.zeros_like(features[:, 0], dtype=torch.int64) for features in (target, source))
    chosen = _nearest_samples(target, source, target_whole, source_whole, grid)

    if target_labels is not None and reference_labels is not None:
        _check_labels("target_labels", target_labels, target_l)
        _check_labels("reference_labels", reference_labels, reference)
        target_swatch = target_labels.flatten(1).long()
        source_swatch = reference_labels.flatten(1).long().expand(batch, -1)
        samples, exists = _swatch_samples(key, source_swatch)
        in_swatch = _nearest_samples(target, source, target_swatch, source_swatch, samples)
        chosen = torch.where(exists.gather(1, target_swatch), in_swatch, chosen)
    elif target_labels is not None or reference_labels is not None:
        given = "target_labels" if reference_labels is None else "reference_labels"
        raise ValueError(f"welsh: got {given} alone; give the label maps of both pictures, or none")

    ab = lab[:, 1:].flatten(2).expand(batch, -1, -1).gather(2, chosen.unsqueeze(1).expand(-1, 2, -1))
    return ab.unflatten(2, l.shape[-2:])


def _check_labels(name: str, labels: Tensor, picture: Tensor) -> None:
    expected = (picture.shape[0], *picture.shape[-2:])
    if labels.dtype != torch.uint8 or labels.shape != expected:
        raise ValueError(f"welsh: expected {name} as uint8 of shape {expected}, got {labels.dtype} of shape {tuple(labels.shape)}")


def _welsh_features(l: Tensor) -> Float[Tensor, "batch 2 pixels"]:
    """L, and its standard deviation in the neighbourhood of each pixel."""
    # centred, since the difference of mean squares would lose the small deviations of a bright picture
    centred = l - l.mean(dim=(2, 3), keepdim=True)
    mean, square = (
        F.avg_pool2d(values, WELSH_NEIGHBOURHOOD, stride=1, padding=WELSH_NEIGHBOURHOOD // 2, count_include_pad=False)
        for values in (centred, centred.square())
    )
    return torch.cat((l, (square - mean.square()).clamp(min=0).sqrt()), dim=1).flatten(2)


def _jittered_grid(key: Int64[Tensor, " 1"], height: int, width: int) -> Int64[Tensor, "1 1 samples"]:
    """One pixel at random from each cell of a grid of about `WELSH_SAMPLES` nearly square cells."""
    rows = min(max(round((WELSH_SAMPLES * height / width) ** 0.5), 1), WELSH_SAMPLES)
    columns = max(round(WELSH_SAMPLES / rows), 1)
    jitter = uniform(key, "welsh/grid", (2, rows, columns))[0]
    row = (torch.arange(rows, device=key.device).unsqueeze(1) + jitter[0]) * (height / rows)
    column = (torch.arange(columns, device=key.device) + jitter[1]) * (width / columns)
    # rounding may carry the last cell's samples over the border
    return (row.long().clamp(max=height - 1) * width + column.long().clamp(max=width - 1)).view(1, 1, -1)


def _swatch_samples(key: Int64[Tensor, " 1"], swatch: Int64[Tensor, "batch pixels"]) -> tuple[Tensor, Tensor]:
    """Pixels (batch, labels, samples) of each label, jittered along the scan order, and which labels exist (batch, labels)."""
    batch, pixels = swatch.shape
    ordered, order = swatch.sort(dim=1, stable=True)
    bounds = torch.searchsorted(ordered, torch.arange(_LABELS + 1, device=swatch.device).expand(batch, -1).contiguous())
    count = bounds.diff(dim=1).unsqueeze(2)
    jitter = uniform(key, "welsh/swatches", (_LABELS, WELSH_SWATCH_SAMPLES))
    rank = (torch.arange(WELSH_SWATCH_SAMPLES, device=swatch.device) + jitter) * (count / WELSH_SWATCH_SAMPLES)
    rank = torch.minimum(rank.long(), count - 1).clamp(min=0)
    samples = order.gather(1, (bounds[:, :-1].unsqueeze(2) + rank).clamp(max=pixels - 1).flatten(1)).view(rank.shape)
    exists = count.squeeze(2) > 0
    exists[:, VOID] = False
    return samples, exists


def _nearest_samples(
    target: Float[Tensor, "batch 2 pixels"],
    source: Float[Tensor, "batch 2 source_pixels"],
    target_swatch: Int64[Tensor, "batch pixels"],
    source_swatch: Int64[Tensor, "batch source_pixels"],
    samples: Int64[Tensor, "batch swatches samples"],
) -> Int64[Tensor, "batch pixels"]:
    """For each pixel of the target, remapped from its swatch to the source's, the most similar sample of that swatch: a source pixel."""
    batch, swatches, count = samples.shape
    target_mean, target_std = _swatch_moments(target[:, 0], target_swatch, swatches)
    source_mean, source_std = _swatch_moments(source[:, 0], source_swatch, swatches)
    gain = torch.where(target_std > FLAT, source_std / target_std.clamp(min=FLAT), 0)
    # a swatch's deviations are scaled like its luminance
    gain, target_mean, source_mean = (moment.gather(1, target_swatch) for moment in (gain, target_mean, source_mean))
    luminance, deviation = (target[:, 0] - target_mean) * gain + source_mean, target[:, 1] * gain

    sampled_luminance, sampled_deviation = (source[:, i].gather(1, samples.flatten(1)).view_as(samples) for i in (0, 1))
    chosen = []
    group = max(_DISTANCES_AT_ONCE // (batch * count), 1)
    for start in range(0, luminance.shape[1], group):
        pixels = slice(start, start + group)
        swatch = target_swatch[:, pixels].unsqueeze(2).expand(-1, -1, count)
        luminance_distance = (sampled_luminance.gather(1, swatch) - luminance[:, pixels].unsqueeze(2)).abs()
        deviation_distance = (sampled_deviation.gather(1, swatch) - deviation[:, pixels].unsqueeze(2)).abs()
        nearest = torch.lerp(deviation_distance, luminance_distance, WELSH_LUMINANCE_WEIGHT).argmin(dim=2)
        chosen.append(samples.flatten(1).gather(1, target_swatch[:, pixels] * count + nearest))
    return torch.cat(chosen, dim=1)


def _swatch_moments(l: Tensor, swatch: Tensor, swatches: int) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of L in each swatch, (batch, swatches); 0 where it has no pixel."""
    pixels = l.new_zeros(l.shape[0], swatches, dtype=torch.int64).scatter_add_(1, swatch, torch.ones_like(swatch))

    def mean(values: Tensor) -> Tensor:
        # whole numbers, whose sum is the same in whatever order a GPU adds them
        total = torch.zeros_like(pixels).scatter_add_(1, swatch, (values * _FIXED_POINT).round().long())
        return total.to(l.dtype) / (pixels.clamp(min=1) * _FIXED_POINT)

    average = mean(l)
    return average, mean((l - average.gather(1, swatch)).square()).sqrt()


BASELINES: dict[str, Callable[..., Tensor]] = {
    "gray": gray,
    "reference_mean": reference_mean,
    "reinhard": reinhard,
    "welsh": welsh,
    "histogram": histogram_matching,
    "monge_kantorovitch": monge_kantorovitch,
}
"""Comparators by name, each called with the target's L and the reference's sRGB."""
