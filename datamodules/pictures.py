"""A list of picture files, and reading one of them: decode, orient, resize, crop. No Lab and no float here."""

from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

READ_ERRORS = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""What Pillow raises for a missing, truncated or damaged picture."""


@dataclass
class Pictures:
    """The pictures of one split, as arrays: workers share their memory, which lists of Python objects would copy page by page.

    `paths` are relative to `root`; `groups` are names: pictures of one group (one scene) never lend each other their colours;
    `categories` is a boolean (pictures, categories) array.
    """

    root: Path
    paths: np.ndarray
    groups: np.ndarray
    categories: np.ndarray

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, chosen: np.ndarray) -> "Pictures":
        return Pictures(self.root, self.paths[chosen], self.groups[chosen], self.categories[chosen])

    def path(self, index: int) -> Path:
        """Where picture `index` lies."""
        return self.root / str(self.paths[index])


def read_rgb(path: Path) -> Image.Image:
    """Decode a picture as 8-bit sRGB, upright as its EXIF orientation says; grey, palette, CMYK and transparent ones are converted."""
    with Image.open(path) as picture:
        upright = ImageOps.exif_transpose(picture)
        if upright.mode.startswith("I"):
            # Pillow would cut 16-bit greys off at 255
            return Image.fromarray((np.asarray(upright) / 257).round().astype(np.uint8)).convert("RGB")
        return upright.convert("RGB")


def to_square(picture: Image.Image, size: int, resize: str, random: Random | None = None) -> Tensor:
    """Resize to a uint8 (3, size, size) tensor.

    Args:
        picture: an RGB picture.
        size: side in px.
        resize: `crop` (shorter side to `size`, then a square of it) or `squash` (both sides to `size`).
        random: places the crop and flips every second picture; without it the crop is central and nothing is flipped.
    """
    width, height = picture.size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    if random is not None:
        left, top = random.uniform(0, width - side), random.uniform(0, height - side)
    box = (left, top, left + side, top + side) if resize == "crop" else None
    # bicubic, antialiased, only over the part that is kept
    picture = picture.resize((size, size), Image.Resampling.BICUBIC, box=box)
    if random is not None and random.random() < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()
