"""Crops, flips and warps on the device, drawn for each picture by its key; label maps go the same way as their pictures."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import kornia.geometry.transform as geometry
import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from datamodules.labels import VOID
from stylecolor.randomness import uniform

MAX_ROTATION = 15.0
"""Of a warped reference, degrees."""
MIN_ZOOM, MAX_ZOOM = 1.0, 1.35
MAX_SHIFT = 0.1
"""Of its width and height."""
MAX_BEND = 0.12
"""Displacement of a control point of the bend, as a share of half the side."""


@dataclass
class PackedPictures:
    """Pictures of different sizes, without padding: the rows of one after those of the other.

    `pixels` holds red, green and blue of every pixel, `starts` is the number of each picture's first pixel.
    """

    pixels: UInt8[Tensor, "pixels 3"]
    labels: UInt8[Tensor, " pixels"] | None
    starts: Int64[Tensor, " batch"]
    heights: Int64[Tensor, " batch"]
    widths: Int64[Tensor, " batch"]

    def __getstate__(self) -> dict[str, Any]:
        # each tensor that a worker sends costs a handshake with it; small ones travel faster as plain bytes
        places = torch.stack((self.starts, self.heights, self.widths)).numpy()
        return {"pixels": self.pixels, "labels": self.labels, "places": places}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.pixels, self.labels = state["pixels"], state["labels"]
        self.starts, self.heights, self.widths = torch.from_numpy(state["places"])

    def map(self, function: Callable[[Tensor], Tensor]) -> "PackedPictures":
        """Apply a function to every tensor."""
        labels = None if self.labels is None else function(self.labels)
        return PackedPictures(function(self.pixels), labels, function(self.starts), function(self.heights), function(self.widths))

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, chosen: slice) -> "PackedPictures":
        return PackedPictures(self.pixels, self.labels, self.starts[chosen], self.heights[chosen], self.widths[chosen])


Squares = tuple[UInt8[Tensor, "batch 3 size size"], UInt8[Tensor, "batch size size"] | None]
"""Pictures and, where there are any, their label maps."""


def crop(packed: PackedPictures, size: int, keys: Int64[Tensor, " batch"] | None, purpose: str = "crop") -> Squares:
    """Cut a square out of each picture: anywhere, and mirrored half the time, or the middle one where no keys are given.

    Pixels are copied and not interpolated, which is why this is not kornia's crop; picture and label map share the place. Nothing is
    read back from the device.

    Args:
        packed: pictures, none smaller than `size`.
        size: px.
        keys: of the random numbers, one a picture.
        purpose: tells the crops of target and reference apart.
    """
    spare_rows, spare_columns = packed.heights - size, packed.widths - size
    steps = torch.arange(size, device=packed.starts.device)
    columns = steps.expand(len(packed), size)
    if keys is None:
        top, left = spare_rows // 2, spare_columns // 2
    else:
        draws = uniform(keys, purpose, (3,))
        top = (draws[:, 0] * (spare_rows + 1)).long()
        left = (draws[:, 1] * (spare_columns + 1)).long()
        columns = torch.where(draws[:, 2:] < 0.5, columns.flip(1), columns)
    row_starts = packed.starts[:, None] + (top[:, None] + steps) * packed.widths[:, None]
    index = (row_starts + left[:, None])[:, :, None] + columns[:, None, :]
    # the order of memory stays that of the file: red, green and blue side by side, which convolutions in channels-last want
    pictures = packed.pixels[index].permute(0, 3, 1, 2)
    return pictures, None if packed.labels is None else packed.labels[index]


def warp(squares: Squares, chosen: Bool[Tensor, " batch"], keys: Int64[Tensor, " batch"]) -> Squares:
    """Mirror, turn, enlarge, shift and bend the chosen pictures, as exemplar papers do with a target that is its own reference.

    What comes from outside the picture is mirrored in; its label is `VOID`. Label maps take the nearest pixel.

    Args:
        squares: 8-bit pictures and label maps.
        chosen: which ones; the others stay as they are.
        keys: of the random numbers.
    """
    pictures, labels = squares
    places = _warped_places(keys, pictures.shape[-1])

    def sample(values: Tensor, mode: str) -> Tensor:
        x, y = places.unbind(dim=-1)
        options = {"padding_mode": "reflection", "align_corners": True, "normalized_coordinates": True}
        return geometry.remap(values.float(), x, y, mode=mode, **options).round().clamp(0, 255).to(torch.uint8)

    pictures = torch.where(chosen[:, None, None, None], sample(pictures, "bilinear"), pictures)
    if labels is not None:
        nearest = sample(labels[:, None], "nearest")[:, 0].masked_fill((places.abs() > 1).any(dim=-1), VOID)
        labels = torch.where(chosen[:, None, None], nearest, labels)
    return pictures, labels


def _warped_places(keys: Int64[Tensor, " batch"], size: int) -> Float[Tensor, "batch size size 2"]:
    """Where each pixel of the warped picture comes from: x and y, -1 to 1 across the picture."""
    draws = uniform(keys, "warp", (5,))
    angle = (2 * draws[:, 0] - 1) * math.radians(MAX_ROTATION)
    zoom = MIN_ZOOM + draws[:, 1] * (MAX_ZOOM - MIN_ZOOM)
    mirror = torch.where(draws[:, 2] < 0.5, -1.0, 1.0)
    cosine, sine = angle.cos() / zoom, angle.sin() / zoom
    rows = [torch.stack((cosine * mirror, -sine), dim=1), torch.stack((sine * mirror, cosine), dim=1)]
    ticks = torch.linspace(-1, 1, size, device=keys.device)
    grid = torch.stack(torch.meshgrid(ticks, ticks, indexing="xy"), dim=-1)
    shift = (2 * draws[:, 3:] - 1) * 2 * MAX_SHIFT
    # a displacement of 4 x 4 control points, smooth in between
    bend = MAX_BEND * (2 * uniform(keys, "warp/bend", (2, 4, 4)) - 1)
    bend = torch.nn.functional.interpolate(bend, (size, size), mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
    return torch.einsum("hwi,bji->bhwj", grid, torch.stack(rows, dim=1)) + shift[:, None, None] + bend
