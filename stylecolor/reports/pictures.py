"""Pictures as part of a page."""

import io
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from stylecolor.errors import one_line

QUALITY = 82


@dataclass(frozen=True)
class Picture:
    """A picture as an address that holds all of it, and its size in px."""

    address: str
    width: int
    height: int


def find_inside(directory: Path, name: str, whose: Path) -> Path:
    """The file of a directory that another file names.

    Raises:
        ValueError: when it is not there, or would lie elsewhere.
    """
    path = directory / name
    if not name or not path.resolve().is_relative_to(directory.resolve()):
        raise ValueError(f"{whose}: {name or 'an empty name'} is no file inside {directory}")
    if not path.is_file():
        raise ValueError(f"{whose}: {name} is not in {directory}")
    return path


def embed_picture(path: Path, width: int) -> Picture:
    """A picture file as WebP, at most so many px wide.

    Raises:
        ValueError: when it is no picture.
        OSError: when it cannot be read.
    """
    try:
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(f"{path}: is no picture that can be read: {one_line(error)}") from error
    if picture.width > width:
        picture = picture.resize((width, max(1, round(picture.height * width / picture.width))), Image.Resampling.LANCZOS)
    encoded = io.BytesIO()
    picture.save(encoded, "WEBP", quality=QUALITY, method=4)
    return Picture(f"data:image/webp;base64,{b64encode(encoded.getvalue()).decode()}", picture.width, picture.height)
