"""Curves as pictures."""

import io
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Plot

DOTS_PER_INCH = 150


def to_picture(plot: "Plot") -> Image.Image:
    """A plot of matplotlib as a picture."""
    encoded = io.BytesIO()
    plot.savefig(encoded, format="png", dpi=DOTS_PER_INCH)
    return Image.open(encoded).convert("RGB")
