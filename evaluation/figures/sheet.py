"""Sheets of pictures: a row for each target, a column for each result."""

import math
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from PIL import Image, ImageFont
from torch import Tensor
from torch.nn.functional import interpolate

from training.samples import label_columns

MINIMUM_SIDE = 128
"""px of a cell: smaller pictures are enlarged, by a whole number."""
_FONT_SHARE = 11
"""Text is that much smaller than a cell, and more where it would not fit."""
_LONGEST_TEXT = 0.9
"""Share of a cell's width."""


def draw_sheet(columns: Mapping[str, Float[Tensor, "rows 3 height width"]]) -> Image.Image:
    """sRGB pictures in [0, 1], equal in size, under the names of their columns."""
    cells = torch.stack([column.float() for column in columns.values()], dim=1)
    rows, count, _, height, width = cells.shape
    factor = math.ceil(MINIMUM_SIDE / min(height, width))
    if factor > 1:
        enlarged = interpolate(cells.flatten(0, 1), scale_factor=factor, mode="bicubic")
        cells = enlarged.unflatten(0, (rows, count))
    return label_columns(cells, tuple(columns), font_size=_font_size(list(columns), cells.shape[-1]))


def _font_size(names: Sequence[str], width: int) -> float:
    size = width / _FONT_SHARE
    longest = max(ImageFont.load_default(size=size).getlength(name) for name in names)
    return size * min(1.0, _LONGEST_TEXT * width / longest)
