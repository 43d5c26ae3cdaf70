"""Label maps as the page shows them: painted in colours, and laid over previews."""

import colorsys
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from stylecolor.whole_file import written_whole
from stylecolor.working_size import resize_labels

VOID = 255
"""That of `stylecolor.regions`, whose import takes seconds."""
BRUSHES = {
    "orange": "#e69f00",
    "sky blue": "#56b4e9",
    "green": "#009e73",
    "yellow": "#f0e442",
    "blue": "#0072b2",
    "red": "#d53e00",
    "pink": "#cc79a7",
    "violet": "#7a3fc4",
}
"""Names and colours of the labels 1 to 8, which most people can tell apart whatever colours they see (after Okabe and Ito)."""
SHOWN = 0.6
"""How much of a label's colour lies over a preview."""
NUMBERED = 0.003
"""Regions with a smaller share of the picture are not numbered."""
INSIDE = 0.8
"""How far from its border a region's number is at least, a share of the farthest place."""
_COLORS = [tuple(bytes.fromhex(color[1:])) for color in BRUSHES.values()]


def read_painting(path: Path, size: tuple[int, int]) -> UInt8[np.ndarray, "height width"]:
    """The labels that were painted over a preview: of each pixel that of the brush whose colour is the nearest, void where it is clear.

    Args:
        path: of a PNG with transparency.
        size: height and width of the preview.

    Raises:
        ValueError: for another picture.
    """
    try:
        # none of the many other formats that Pillow would open
        with Image.open(path, formats=["PNG"]) as painting:
            if (painting.height, painting.width) != size:
                raise ValueError(
                    f"the painting has {painting.width} x {painting.height} px, the photograph {size[1]} x {size[0]}; paint it again"
                )
            pixels = np.asarray(painting.convert("RGBA"))
    except (OSError, SyntaxError) as error:
        raise ValueError("the painting cannot be read; paint it again") from error
    labels = np.full(size, VOID, dtype=np.uint8)
    painted = pixels[..., 3] >= 128
    colors = pixels[painted][:, :3].astype(np.int32)
    # strokes have few colours, however many pixels
    _, first, indices = np.unique(colors @ (1 << 16, 1 << 8, 1), return_index=True, return_inverse=True)
    distances = ((colors[first, None] - np.array(_COLORS)) ** 2).sum(axis=2)
    labels[painted] = (1 + distances.argmin(axis=1)).astype(np.uint8)[indices]
    return labels


def write_labels(path: Path, labels: UInt8[np.ndarray, "height width"]) -> Path:
    """Write what `read_label_map` reads.

    Raises:
        OSError: when it cannot be written.
    """
    with written_whole(path) as aside:
        Image.fromarray(labels).save(aside, format="PNG")
    return path


def overlay(preview: Image.Image, labels: UInt8[np.ndarray, "height width"]) -> UInt8[np.ndarray, "height width 3"]:
    """A preview under the colours and the numbers of its labels.

    Args:
        preview: of the picture.
        labels: the picture's label map, of any size.
    """
    labels = resize_labels(labels, (preview.height, preview.width))
    pixels = np.asarray(preview.convert("RGB")).astype(np.float32)
    colors = np.array([label_color(label) for label in range(VOID + 1)], dtype=np.float32)
    shares = np.where(labels == VOID, 0, SHOWN).astype(np.float32)[..., None]
    shown = Image.fromarray((pixels * (1 - shares) + colors[labels] * shares).round().astype(np.uint8))
    draw = ImageDraw.Draw(shown)
    font = ImageFont.load_default(size=max(12, max(shown.size) / 40))
    for label in np.unique(labels[labels != VOID]).tolist():
        region = labels == label
        if region.mean() >= NUMBERED:
            draw.text(_middle(region), str(label), fill="white", font=font, anchor="mm", stroke_width=2, stroke_fill="black")
    return np.asarray(shown)


def _middle(region: np.ndarray) -> tuple[float, float]:
    """Column and row of a place well inside the region, as near to its centre as there is one."""
    # the picture's border counts, too
    inside = cv2.distanceTransform(np.pad(region, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
    rows, columns = np.nonzero(inside >= INSIDE * inside.max())
    centre = [places.mean() for places in np.nonzero(region)]
    nearest = np.hypot(rows - centre[0], columns - centre[1]).argmin()
    return float(columns[nearest]), float(rows[nearest])


def label_color(label: int) -> tuple[int, ...]:
    """sRGB of a label: its brush's, or one that is made from its number."""
    if 1 <= label <= len(_COLORS):
        return _COLORS[label - 1]
    # the golden angle keeps neighbours apart
    red, green, blue = colorsys.hsv_to_rgb(label * 0.618034 % 1, 0.75, 0.9)
    return round(255 * red), round(255 * green), round(255 * blue)


def label_name(label: int) -> str:
    """What the page calls a label: its number, and its brush's colour."""
    names = list(BRUSHES)
    return f"{label} ({names[label - 1]})" if 1 <= label <= len(names) else str(label)
