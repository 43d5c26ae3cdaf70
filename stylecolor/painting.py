"""A picture's own L at its own size, joined with an ab map of the networks' size, in strips: memory does not grow with the picture."""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from stylecolor.color import fit_to_gamut, lab_to_rgb, rgb_to_l, rgb_to_lab
from stylecolor.upsampling import guide
from stylecolor.working_size import resize_pixels

STRIP_PIXELS = 2**18
"""A strip and what is computed on the way fit into a processor's cache."""

AB_LIMIT = 200.0
"""Lab units, beyond all that sRGB shows."""
_CLIPPED = 0.5 / 255
"""As far outside the gamut a colour may be cut off: 8 bits do not show it."""
_LEVELS = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535, np.dtype(np.float32): 1}


def to_unit_range(pixels: np.ndarray) -> Float[Tensor, "1 channels height width"]:
    """sRGB in [0, 1] of pixels of shape (height, width, channels), uint8, uint16 or float32."""
    picture = torch.from_numpy(pixels.astype(np.float32, copy=False)).permute(2, 0, 1).unsqueeze(0)
    levels = _LEVELS[pixels.dtype]
    return picture if levels == 1 else picture / levels


def from_unit_range(picture: Float[Tensor, "1 channels height width"], dtype: np.dtype) -> np.ndarray:
    """Pixels of shape (height, width, channels) of sRGB in [0, 1], rounded to the nearest where the dtype is an integer one."""
    pixels = picture[0].permute(1, 2, 0)
    levels = _LEVELS[dtype]
    if levels == 1:
        return pixels.cpu().numpy()
    # through int32, as torch has little arithmetic in uint16
    return (pixels * levels).round_().to(torch.uint8 if levels == 255 else torch.int32).cpu().numpy().astype(dtype, copy=False)


def working_l(pixels: np.ndarray, size: tuple[int, int], device: torch.device) -> Float[Tensor, "1 1 height width"]:
    """L in [0, 100] of a picture at another size."""
    return rgb_to_l(to_unit_range(resize_pixels(pixels, size)).to(device))


def strips(height: int, width: int) -> Iterator[slice]:
    """Rows of a picture, in groups of about `STRIP_PIXELS` pixels."""
    rows = max(1, STRIP_PIXELS // width)
    for start in range(0, height, rows):
        yield slice(start, min(start + rows, height))


@torch.inference_mode()
def paint(
    pixels: np.ndarray,
    l: Float[Tensor, "1 1 working_height working_width"],
    ab: Float[Tensor, "1 2 working_height working_width"],
) -> np.ndarray:
    """Colour a picture: its own L, untouched, with an ab map that its L guides to its size.

    Where a colour does not fit the sRGB gamut at its L, its chroma gives way, so that L never does.

    Args:
        pixels: (height, width, 1 or 3), uint8, uint16 or float32 in [0, 1], whose own colours are ignored.
        l: of the picture at the networks' size.
        ab: in Lab units, of the same size.

    Returns:
        (height, width, 3) of the same dtype.
    """
    # no colour has more, and larger ones would overflow
    guided = guide(ab.clamp(-AB_LIMIT, AB_LIMIT), l)
    height, width = pixels.shape[:2]
    painted = np.empty((height, width, 3), pixels.dtype)
    for rows in strips(height, width):
        own_l = rgb_to_l(to_unit_range(pixels[rows]).to(l.device))
        painted[rows] = from_unit_range(_join(own_l, guided.rows(rows.start, own_l, height)), pixels.dtype)
    return painted


@torch.inference_mode()
def shift_colors(
    pixels: np.ndarray,
    l: Float[Tensor, "1 1 working_height working_width"],
    change: Float[Tensor, "1 3 working_height working_width"],
) -> np.ndarray:
    """Add a change of L, a and b to a picture.

    Args:
        pixels: (height, width, 1 or 3), uint8, uint16 or float32 in [0, 1].
        l: of the picture at the networks' size.
        change: in Lab units, of the same size.

    Returns:
        (height, width, 3) of the same dtype.
    """
    guided = guide(change, l)
    height, width = pixels.shape[:2]
    shifted = np.empty((height, width, 3), pixels.dtype)
    for rows in strips(height, width):
        lab = rgb_to_lab(to_unit_range(pixels[rows]).to(l.device).expand(-1, 3, -1, -1))
        lab = lab + guided.rows(rows.start, lab[:, :1], height)
        shifted[rows] = from_unit_range(_join(lab[:, :1].clamp(0, 100), lab[:, 1:]), pixels.dtype)
    return shifted


def _join(l: Tensor, ab: Tensor) -> Tensor:
    lab = torch.cat((l, ab), dim=1)
    rgb = lab_to_rgb(lab, clip=False)
    outside = (rgb.amin(dim=1)[0] < -_CLIPPED) | (rgb.amax(dim=1)[0] > 1 + _CLIPPED)
    if outside.any():
        # few pixels, and bisection costs more than all the rest
        fitted = fit_to_gamut(lab[:, :, outside].unsqueeze(-1))
        rgb[:, :, outside] = lab_to_rgb(fitted).squeeze(-1)
    return rgb.clamp_(0, 1)
