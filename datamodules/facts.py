"""What is known of a prepared picture besides its pixels: palette, colourfulness, and a thumbnail by which it is recognised."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float16, Float32, UInt8

from stylecolor.color import rgb_to_lab
from stylecolor.palette import palette_descriptor

THUMBNAIL_SIZE = 8
NEAR_DUPLICATE_DISTANCE = 2.5
"""Mean difference of thumbnails, in 8-bit steps, below which two files are taken for the same picture: saving a photograph again at another
quality or size changes 0.1 to 1.5, and different photographs of COCO are farther apart than 5."""


class Facts(NamedTuple):
    """Of one picture."""

    color_range: float
    """Range of a plus range of b, Lab units: of a grey picture 0."""
    descriptor: Float16[np.ndarray, " bins"]
    """See `stylecolor.palette.palette_descriptor`."""
    thumbnail: UInt8[np.ndarray, " values"]
    """The picture at 8 x 8 px."""


def measure(pixels: UInt8[np.ndarray, "height width 3"]) -> Facts:
    """The facts of a resized picture."""
    rgb = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    ab = rgb_to_lab(rgb)[:, 1:]
    low, high = torch.aminmax(ab.flatten(2), dim=2)
    thumbnail = torch.nn.functional.adaptive_avg_pool2d(rgb, THUMBNAIL_SIZE)
    return Facts(
        color_range=float((high - low).sum()),
        # every second pixel of every second row: the same palette at a quarter of the cost
        descriptor=palette_descriptor(ab[:, :, ::2, ::2])[0].numpy().astype(np.float16),
        thumbnail=(thumbnail * 255).round().to(torch.uint8).flatten().numpy(),
    )


def near_duplicates(first: UInt8[np.ndarray, "*shape values"], second: UInt8[np.ndarray, "*shape values"]) -> Bool[np.ndarray, "*shape"]:
    """Whether thumbnails show the same picture."""
    difference: Float32[np.ndarray, "*shape"] = np.abs(first.astype(np.int16) - second).mean(axis=-1, dtype=np.float32)
    return difference < NEAR_DUPLICATE_DISTANCE
