"""sRGB and CIELab (D65, 2 degrees) on the device, the networks' normalisation, and the sRGB gamut."""

from collections.abc import Callable

import kornia.color
import torch
from jaxtyping import Float
from torch import Tensor

L_CENTER = 50.0
"""Subtracted from L, and ..."""
L_SCALE = 100.0
"""... divides it, before a network sees it (SIGGRAPH'17 colorizer)."""
AB_SCALE = 110.0
"""Divides a and b before a network sees them; the colorizer's tanh is multiplied by it."""

_LUMINANCE = (0.212671, 0.71516, 0.072169)
_WHITE_D65 = (0.95047, 1.0, 1.08883)
_LAB_KNEE = 6 / 29
_LINEAR_RGB = [
    [factor * white for factor, white in zip(row, _WHITE_D65, strict=True)]
    for row in kornia.color.xyz_to_rgb(torch.eye(3).unsqueeze(-1)).squeeze(-1).tolist()
]
"""Rows that give linear R, G and B from X, Y and Z relative to white: kornia's matrix, in numbers, since a tensor of constants would be
copied to the device, which the host waits for."""
_GAMUT_BISECTIONS = 8
_GAMUT_TOLERANCE = 1e-4


def _in_full_precision(picture: Tensor, what: str) -> Tensor:
    if not picture.is_floating_point():
        raise ValueError(f"{what}: expected a floating-point tensor, got {picture.dtype}; divide uint8 sRGB by 255 first")
    if picture.ndim != 4 or picture.shape[1] != 3:
        raise ValueError(f"{what}: expected shape (batch, 3, height, width), got {tuple(picture.shape)}")
    return picture if picture.dtype == torch.float64 else picture.float()


def rgb_to_lab(rgb: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
    """Convert sRGB in [0, 1] to CIELab: L in [0, 100], a and b in about [-128, 127].

    Computed in float32 (float64 stays float64) whatever the input's precision and outside autocast: bf16 autocast
    would cost up to 2.8 Lab units. Values outside [0, 1] have finite values and gradients, as decoder outputs need.

    Raises:
        ValueError: for integer tensors and for shapes other than (batch, 3, height, width).
    """
    rgb = _in_full_precision(rgb, "rgb_to_lab")
    with torch.autocast(rgb.device.type, enabled=False):
        return kornia.color.rgb_to_lab(rgb)


def rgb_to_l(rgb: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch 1 height width"]:
    """L in [0, 100] of sRGB in [0, 1], of three channels or of one, which stands for three equal ones; float32, as `rgb_to_lab` has it.

    Raises:
        ValueError: for integer tensors and other shapes.
    """
    gray = rgb.ndim == 4 and rgb.shape[1] == 1
    rgb = _in_full_precision(rgb.expand(-1, 3, -1, -1) if gray else rgb, "rgb_to_l")
    if gray:
        y = _to_linear(rgb[:, :1])
    else:
        y = _to_linear(rgb[:, :1]).mul_(_LUMINANCE[0])
        for channel, weight in enumerate(_LUMINANCE[1:], start=1):
            y.add_(_to_linear(rgb[:, channel : channel + 1]), alpha=weight)
    root = torch.where(y > _LAB_KNEE**3, y.pow(1 / 3), y / (3 * _LAB_KNEE**2) + 4 / 29)
    return 116 * root - 16


def _to_linear(srgb: Tensor) -> Tensor:
    """Linear light; kornia's takes three channels only, of which L of a grey picture would be three times the work."""
    return torch.where(srgb > 0.04045, ((srgb + 0.055) / 1.055).pow(2.4), srgb / 12.92)


def lab_to_rgb(lab: Float[Tensor, "batch 3 height width"], clip: bool = True) -> Float[Tensor, "batch 3 height width"]:
    """Convert CIELab to sRGB, in float32 or float64 and outside autocast; `clip` cuts the result to [0, 1].

    Clipping a colour outside the sRGB gamut changes its L as well; see `fit_to_gamut`.

    Raises:
        ValueError: for integer tensors and for shapes other than (batch, 3, height, width).
    """
    lab = _in_full_precision(lab, "lab_to_rgb")
    with torch.autocast(lab.device.type, enabled=False):
        return kornia.color.lab_to_rgb(lab, clip=clip)


def normalize_lab(lab: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
    """Scale Lab for the networks: `(L - 50) / 100` and `ab / 110`."""
    return torch.cat(((lab[:, :1] - L_CENTER) / L_SCALE, lab[:, 1:] / AB_SCALE), dim=1)


def denormalize_lab(normalized: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
    """Undo `normalize_lab`."""
    return torch.cat((normalized[:, :1] * L_SCALE + L_CENTER, normalized[:, 1:] * AB_SCALE), dim=1)


@torch.no_grad()
def fit_to_gamut(lab: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
    """Move ab towards grey, at constant L and hue, just until each pixel fits the sRGB gamut.

    Found by bisection to 1/256 of the chroma. L is returned as it came, so that a colorized picture keeps the L of its target,
    which clipping sRGB would not: Lab(50, 100, 0) clips to an sRGB colour of L 54.8. Not differentiable.
    """
    lab = _in_full_precision(lab, "fit_to_gamut")
    l, ab = lab[:, :1], lab[:, 1:]
    fits = _make_gamut_test(l, ab)
    inside, step = torch.zeros_like(l), 1.0
    unchanged = fits(torch.ones_like(l))
    for _ in range(_GAMUT_BISECTIONS):
        step /= 2
        inside = torch.where(fits(inside + step), inside + step, inside)
    return torch.cat((l, torch.where(unchanged, ab, inside * ab)), dim=1)


def _make_gamut_test(l: Tensor, ab: Tensor) -> Callable[[Tensor], Tensor]:
    """Tells where this L fits with so many times this ab.

    Judged in linear light: its bounds are the same, and it spares `lab_to_rgb`'s powers. What does not depend on the chroma, Y above all,
    is computed once.
    """
    fy, to_fx, to_fz = (l + 16) / 116, ab[:, :1] / 500, ab[:, 1:] / -200
    y = _relative(fy)
    bounds = [(row[1] * y).neg_() for row in _LINEAR_RGB]

    def fits(times: Tensor) -> Tensor:
        x, z = _relative(torch.addcmul(fy, times, to_fx)), _relative(torch.addcmul(fy, times, to_fz))
        good = torch.ones_like(l, dtype=torch.bool)
        for row, bound in zip(_LINEAR_RGB, bounds, strict=True):
            rest = (x * row[0]).add_(z, alpha=row[2]).sub_(bound)
            good &= (rest >= -_GAMUT_TOLERANCE) & (rest <= 1 + _GAMUT_TOLERANCE)
        return good

    return fits


def _relative(f: Tensor) -> Tensor:
    """X, Y or Z relative to white: the cube of f, and below the knee its tangent."""
    cubic = f.clamp(min=_LAB_KNEE)
    return (f - cubic).mul_(3 * _LAB_KNEE**2).addcmul_(cubic * cubic, cubic)


def join_lab(l: Float[Tensor, "batch 1 height width"], ab: Float[Tensor, "batch 2 height width"]) -> Float[Tensor, "batch 3 height width"]:
    """sRGB in [0, 1] of a picture with this L and, as far as the gamut allows, this ab."""
    return lab_to_rgb(fit_to_gamut(torch.cat((l.float(), ab.float()), dim=1)))


def gray_rgb(l: Float[Tensor, "batch 1 height width"]) -> Float[Tensor, "batch 3 height width"]:
    """sRGB in [0, 1] of the colourless picture with this L."""
    return lab_to_rgb(torch.cat((l, torch.zeros_like(l), torch.zeros_like(l)), dim=1))
