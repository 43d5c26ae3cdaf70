"""A picture in any form that Python programs hold one in, and results in the form that came."""

import logging
from pathlib import Path
from typing import overload

import numpy as np
import torch
from PIL import Image

from stylecolor.pictures.bit_depth import change_depth
from stylecolor.pictures.color_profiles import srgb_profile
from stylecolor.pictures.decoded import DecodedPicture, UnusablePictureError, split_alpha
from stylecolor.pictures.decoding import DAMAGED, arrays_of
from stylecolor.pictures.files import Picture, read_picture

log = logging.getLogger(__name__)

AnyPicture = str | Path | Picture | Image.Image | np.ndarray | torch.Tensor
"""What is taken for a picture; `to_picture` says of which shapes and ranges."""


def to_picture(anything: AnyPicture, what: str = "target") -> Picture:
    """A picture from a file, from Pillow, from an array or from a tensor.

    Args:
        anything: the path of a file; a Pillow picture of any mode (its EXIF orientation and colour profile are heeded); an array (height,
            width) or (height, width, 1, 3 or 4), the fourth channel being alpha, of uint8, uint16, or floating point in [0, 1]; a tensor
            (1 or 3, height, width), floating point in [0, 1], on any device; or a `Picture`, which is returned.
        what: how to call it in an error.

    Raises:
        ValueError: for another type, shape, dtype or range, and for a file that `read_picture` refuses.
        OSError: for a file that must not be read.
    """
    if isinstance(anything, Picture):
        return anything
    if isinstance(anything, str | Path):
        return read_picture(anything)
    if isinstance(anything, Image.Image):
        return _from_pillow(anything, what)
    if isinstance(anything, np.ndarray):
        return _from_array(anything, what)
    if isinstance(anything, torch.Tensor):
        return _from_tensor(anything, what)
    raise ValueError(f"{what}: is a {type(anything).__name__}; give a path, a Pillow picture, a numpy array or a torch tensor")


def _from_pillow(image: Image.Image, what: str) -> Picture:
    try:
        decoded = DecodedPicture(*arrays_of(image))
    except UnusablePictureError as error:
        raise ValueError(f"{what}: {error}") from error
    except DAMAGED as error:
        # Pillow decodes late
        raise ValueError(f"{what}: a Pillow picture whose file is damaged or truncated") from error
    decoded.describe(image.info, image.getexif)
    pixels, alpha = decoded.upright_srgb()
    for note in decoded.notes:
        log.warning("%s: %s", what, note)
    return Picture(pixels, alpha, decoded.metadata)


def _from_array(array: np.ndarray, what: str) -> Picture:
    if array.ndim not in (2, 3) or array.shape[2:] not in ((), (1,), (3,), (4,)) or not array.size:
        raise ValueError(f"{what}: an array of shape {array.shape}; give (height, width) or (height, width, 1, 3 or 4)")
    if array.dtype.kind == "f":
        _check_unit_range(float(array.min()), float(array.max()), what)
        array = array.astype(np.float32)
    elif array.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"{what}: an array of {array.dtype}; give uint8, uint16, or floating point in [0, 1]")
    pixels, alpha = split_alpha(array)
    return Picture(np.ascontiguousarray(pixels), alpha)


def _from_tensor(tensor: torch.Tensor, what: str) -> Picture:
    if tensor.ndim != 3 or tensor.shape[0] not in (1, 3) or not tensor.numel():
        raise ValueError(f"{what}: a tensor of shape {tuple(tensor.shape)}; give (1 or 3, height, width)")
    if not tensor.is_floating_point():
        raise ValueError(f"{what}: a tensor of {tensor.dtype}; give floating point in [0, 1], such as tensor / 255")
    pixels = tensor.detach().float()
    low, high = pixels.aminmax()
    _check_unit_range(low.item(), high.item(), what)
    return Picture(np.ascontiguousarray(pixels.cpu().permute(1, 2, 0).numpy()))


def _check_unit_range(low: float, high: float, what: str) -> None:
    # NaN fails too
    if not (low >= 0 and high <= 1):
        raise ValueError(f"{what}: its values go from {low:g} to {high:g}; give floating point in [0, 1], sRGB")


@overload
def like_source(picture: Picture, source: str | Path | Picture) -> Picture: ...
@overload
def like_source(picture: Picture, source: Image.Image) -> Image.Image: ...
@overload
def like_source(picture: Picture, source: np.ndarray) -> np.ndarray: ...
@overload
def like_source(picture: Picture, source: torch.Tensor) -> torch.Tensor: ...


def like_source(picture: Picture, source: AnyPicture) -> Picture | Image.Image | np.ndarray | torch.Tensor:
    """A picture in colour in the form that `source` came in.

    Args:
        picture: the result, with 3 channels.
        source: what `to_picture` took.

    Returns:
        A `Picture` for a path or a `Picture`; RGB or RGBA of 8 bits, to which 16 are rounded, for a Pillow picture, which has no deeper
        colours; an array (height, width, 3), or 4 with alpha, of the source's dtype; a tensor (3, height, width) of the source's dtype
        on its device.
    """
    if isinstance(source, str | Path | Picture):
        return picture
    if isinstance(source, Image.Image):
        return _as_pillow(picture)
    if isinstance(source, torch.Tensor):
        pixels = torch.from_numpy(change_depth(picture.pixels, np.float32))
        return pixels.permute(2, 0, 1).contiguous().to(source.device, source.dtype)
    return change_depth(_with_alpha(picture), source.dtype)


def _as_pillow(picture: Picture) -> Image.Image:
    image = Image.fromarray(change_depth(_with_alpha(picture), np.uint8))
    metadata = picture.metadata
    known = {
        "exif": metadata.exif,
        "xmp": metadata.xmp,
        "dpi": metadata.resolution,
        "icc_profile": srgb_profile() if metadata.has_profile else None,
        **dict(metadata.texts),
    }
    image.info.update({key: value for key, value in known.items() if value is not None})
    return image


def _with_alpha(picture: Picture) -> np.ndarray:
    return picture.pixels if picture.alpha is None else np.dstack((picture.pixels, picture.alpha))
