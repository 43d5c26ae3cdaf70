"""The size at which the networks see a picture, and pictures brought to it."""

import cv2
import numpy as np
from jaxtyping import UInt8

LONGEST_SIDE = 4
"""No picture is longer at work than this many times `size`: a strip of 1 x 5000 px must not become one of 256 x 1 280 000."""
SHORTEST_SIDE = 16
"""px. Below it the encoder's last feature map is a single pixel, which has no statistics."""
STRIDE = 8
"""Sides at work are multiples of it: the networks halve them three times."""


def working_size(height: int, width: int, size: int) -> tuple[int, int]:
    """Height and width at work of a picture of this size: the shorter side is `size` px, and the aspect ratio is kept to 8 px."""
    scale = min(size / min(height, width), LONGEST_SIDE * size / max(height, width))
    return _side(height * scale), _side(width * scale)


def _side(length: float) -> int:
    return max(SHORTEST_SIDE, round(length / STRIDE) * STRIDE)


def resize_pixels(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pixels of shape (height, width, channels) at another size, by area where it shrinks and linearly where it grows."""
    height, width = pixels.shape[:2]
    if (height, width) == size:
        return pixels
    # each axis on its own, as cv2's area method is nearest neighbour along an axis that grows
    if size[0] < height or size[1] < width:
        pixels = cv2.resize(pixels, (min(size[1], width), min(size[0], height)), interpolation=cv2.INTER_AREA)
    if pixels.shape[:2] != size:
        pixels = cv2.resize(pixels, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    return pixels.reshape(*size, -1)


def resize_labels(labels: UInt8[np.ndarray, "height width"], size: tuple[int, int]) -> UInt8[np.ndarray, "working_height working_width"]:
    """A label map at another size, by the nearest pixel."""
    return cv2.resize(labels, (size[1], size[0]), interpolation=cv2.INTER_NEAREST_EXACT)
