"""Pixels of 8 and 16 bits and of floating point into each other, a strip at a time."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Shaped, UInt16
from numpy.typing import DTypeLike

DEEPEST = 65535
"""The highest value of 16 bits."""

_STRIP_PIXELS = 1 << 20


def strips(pixels: Shaped[np.ndarray, "height width *channels"]) -> Iterator[slice]:
    """The rows of a picture, about a megapixel at a time, so that what is computed on the way stays small."""
    rows = max(1, _STRIP_PIXELS // max(1, pixels.shape[1]))
    for start in range(0, len(pixels), rows):
        yield slice(start, start + rows)


def change_depth(pixels: Shaped[np.ndarray, "height width *channels"], dtype: DTypeLike) -> Shaped[np.ndarray, "height width *channels"]:
    """Pixels as uint8 (0 to 255), uint16 (0 to 65535) or floating point (0 to 1), rounded; the same array if it is of that type.

    Going to a deeper type and back changes nothing.
    """
    dtype = np.dtype(dtype)
    if pixels.dtype == dtype:
        return pixels
    changed = np.empty(pixels.shape, dtype)
    for rows in strips(pixels):
        changed[rows] = _change(pixels[rows], dtype)
    return changed


def _change(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if values.dtype.kind == "f":
        return np.rint(np.clip(values, 0, 1) * _highest(dtype)) if dtype.kind == "u" else values
    if dtype.kind == "f":
        return values / dtype.type(_highest(values.dtype))
    if dtype == np.uint16:
        return values * np.uint16(257)
    return (values.astype(np.uint32) + 128) // 257


def _highest(dtype: np.dtype) -> int:
    return int(np.iinfo(dtype).max)


def quantize(pixels: Shaped[np.ndarray, "height width *channels"]) -> UInt16[np.ndarray, "height width *channels"]:
    """Floating point to 16 bits; what is outside 0 to 1 is clipped.

    Raises:
        ValueError: for NaN and infinity.
    """
    if not all(np.isfinite(pixels[rows]).all() for rows in strips(pixels)):
        raise ValueError("has pixels that are NaN or infinite")
    # half precision cannot hold 65535
    return change_depth(pixels, np.uint16) if pixels.dtype.itemsize > 2 else change_depth(pixels.astype(np.float32), np.uint16)
