"""A list of picture files, and reading one of them: decode, orient, resize. No Lab and no float here."""

import math
import struct
import zlib
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np
import simplejpeg
from jaxtyping import UInt8
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from scipy.sparse import csr_array

from datamodules.labels import LabelMaps

READ_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    OverflowError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What a missing, truncated, damaged or absurdly large picture raises."""
MAX_ASPECT = 4
"""Of a picture whose longer side is more times its shorter one, the middle is taken."""

_SIDEWAYS = (5, 6, 7, 8)
"""EXIF orientations that swap width and height."""
_OPAQUE_WHITE = (255, 255, 255, 255)


@dataclass
class Pictures:
    """The pictures of one split, as arrays: workers share their memory, which lists of Python objects would copy page by page.

    `paths` are relative to `root`; `groups` are names: pictures of one group (one scene) never lend each other their colours;
    `categories` counts what each picture shows, sparse (pictures, categories), `category_names` says of what;
    `labels` are the pictures' label maps, where the settings ask for them.
    """

    root: Path
    paths: np.ndarray
    groups: np.ndarray
    categories: csr_array
    category_names: tuple[str, ...]
    labels: LabelMaps | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, chosen: np.ndarray) -> "Pictures":
        labels = None if self.labels is None else self.labels[chosen]
        return replace(self, paths=self.paths[chosen], groups=self.groups[chosen], categories=self.categories[chosen], labels=labels)

    def path(self, index: int) -> Path:
        """Where picture `index` lies."""
        return self.root / str(self.paths[index])


def read_rgb(path: Path) -> Image.Image:
    """Decode a picture as 8-bit sRGB, upright as its EXIF orientation says.

    Grey, palette, CMYK and 16-bit pictures are converted, transparent ones laid on white; of an animation the first frame is taken.

    Raises:
        READ_ERRORS: when there is no whole picture.
    """
    return _decode(path, None)[0]


def read_size(path: Path) -> tuple[int, int]:
    """(width, height) of the upright picture, from its header alone.

    Raises:
        READ_ERRORS: when there is no picture.
    """
    with Image.open(path) as picture:
        return _upright_size(picture)


def _upright_size(picture: Image.Image) -> tuple[int, int]:
    width, height = picture.size
    return (height, width) if picture.getexif().get(ExifTags.Base.Orientation) in _SIDEWAYS else (width, height)


def _decode(path: Path, shorter_side: int | None) -> tuple[Image.Image, tuple[int, int]]:
    """The upright picture and its (width, height); a JPEG comes smaller if that suffices for this shorter side."""
    contents = path.read_bytes()
    try:
        picture = Image.open(BytesIO(contents))
    except UnidentifiedImageError as error:
        # Pillow's own message has an address in memory
        raise ValueError("no picture, or of an unknown format") from error
    with picture:
        orientation = picture.getexif().get(ExifTags.Base.Orientation, 1)
        size = _upright_size(picture)
        if picture.format in ("JPEG", "MPO") and picture.mode in ("RGB", "L"):
            scale = min(1.0, (shorter_side or math.inf) / min(picture.size))
            width, height = (math.ceil(scale * side) for side in picture.size)
            # Pillow's libjpeg-turbo too, but with any scale of eighths and fewer copies
            pixels = Image.fromarray(simplejpeg.decode_jpeg(contents, min_height=height, min_width=width))
            pixels.getexif()[ExifTags.Base.Orientation] = orientation
            return pixels if orientation == 1 else ImageOps.exif_transpose(pixels), size
        upright = ImageOps.exif_transpose(picture)
    if upright.mode.startswith("I"):
        # Pillow would cut 16-bit greys off at 255
        return Image.fromarray((np.asarray(upright) / 257).round().clip(0, 255).astype(np.uint8)).convert("RGB"), size
    if upright.has_transparency_data:
        transparent = upright.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", size, _OPAQUE_WHITE), transparent).convert("RGB"), size
    return upright.convert("RGB"), size


def read_picture(
    path: Path, size: int, resize: str, labels: UInt8[np.ndarray, "height width"] | None = None
) -> tuple[UInt8[np.ndarray, "height width 3"], UInt8[np.ndarray, "height width"] | None]:
    """Decode a picture and resize it, uncropped, with its label map.

    Args:
        path: of the file.
        size: px.
        resize: `crop` (shorter side to `size`, keeping the aspect) or `squash` (both sides to `size`).
        labels: the label map, as large as the upright picture.

    Raises:
        READ_ERRORS: when there is no whole picture, or its label map has another size.
    """
    picture, (width, height) = _decode(path, size)
    kept_width, kept_height = width, height
    target = (size, size)
    if resize == "crop":
        longest = MAX_ASPECT * min(width, height)
        kept_width, kept_height = min(width, longest), min(height, longest)
        scale = size / min(width, height)
        target = (max(size, round(scale * kept_width)), max(size, round(scale * kept_height)))
    # shares of the picture, which may have been decoded at a smaller size
    left, top = (1 - kept_width / width) / 2, (1 - kept_height / height) / 2
    shares = (left, top, 1 - left, 1 - top)
    # in eighths; where a side is no multiple of 8, the decoder rounds its last pixel up
    decoded = 8 * max(picture.size) // max(width, height) / 8
    # bicubic, antialiased
    pixels = np.array(picture.resize(target, Image.Resampling.BICUBIC, box=_box(shares, (decoded * width, decoded * height))))
    if labels is None:
        return pixels, None
    if labels.shape != (height, width):
        raise ValueError(f"its label map is {labels.shape[1]} x {labels.shape[0]} px, the picture {width} x {height}")
    kept = Image.fromarray(labels).resize(target, Image.Resampling.NEAREST, box=_box(shares, (width, height)))
    return pixels, np.array(kept)


def _box(shares: tuple[float, float, float, float], size: tuple[float, float]) -> tuple[float, float, float, float]:
    width, height = size
    return shares[0] * width, shares[1] * height, shares[2] * width, shares[3] * height
