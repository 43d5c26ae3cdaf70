"""What the page shows of a picture. Browsers show neither TIFF nor 16 bits, and need no hundred megapixels."""

import io
import threading
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from stylecolor.pictures.sheets import thumbnail
from stylecolor.whole_file import written_whole

if TYPE_CHECKING:
    from stylecolor.pictures.files import Picture
    from stylecolor.studio.sessions import Session
    from stylecolor.studio.work import Studio

LONGEST_SIDE = 1600
"""px, of previews."""
THUMBNAIL_SIDE = 256
"""px, the longest side of thumbnails."""
QUALITY = 92
"""Of the JPEG files, whose colours are not subsampled."""

one_at_a_time = threading.Lock()
"""Held while a picture is read for its preview, which may take as much memory as the studio can spare for one picture."""


class Preview(NamedTuple):
    """The file of a preview, and height and width of the picture itself."""

    path: Path
    size: tuple[int, int]


def make_preview(studio: "Studio", session: "Session", path: Path, longest_side: int = LONGEST_SIDE) -> Preview:
    """The preview of a picture, in a session's directory.

    Raises:
        ValueError: for a file that is no picture, is damaged, or has more pixels than the studio takes.
        OSError: for one that cannot be read.
    """
    from stylecolor.pictures.files import read_picture

    studio.check_size(path)
    with one_at_a_time:
        picture = read_picture(path, studio.settings.max_pixels)
        return Preview(write_preview(picture, session.fresh_directory() / f"{path.stem}.jpg", longest_side), picture.size)


def write_preview(picture: "Picture", path: Path, longest_side: int = LONGEST_SIDE) -> Path:
    """Write a picture, on white where it is transparent, as large as it is or smaller, as JPEG.

    Raises:
        OSError: when it cannot be written.
    """
    return write_pixels(thumbnail(picture, longest_side), path)


def write_pixels(pixels: UInt8[np.ndarray, "height width 3"], path: Path) -> Path:
    """Write sRGB as JPEG.

    Raises:
        OSError: when it cannot be written.
    """
    with written_whole(path) as aside:
        aside.write_bytes(encode_pixels(pixels))
    return path


def encode_pixels(pixels: UInt8[np.ndarray, "height width 3"]) -> bytes:
    """A JPEG file of sRGB."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="JPEG", quality=QUALITY, subsampling=0)
    return file.getvalue()
