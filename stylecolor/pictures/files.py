"""Pictures from files and to files: of 8 and 16 bits, with alpha and metadata, upright and in sRGB."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Shaped
from PIL import Image

from stylecolor.errors import check_choice, check_range, one_line
from stylecolor.pictures.decoded import UnusablePictureError
from stylecolor.pictures.decoding import DAMAGED, decode, decode_size
from stylecolor.pictures.encoding import ENCODINGS, UNENCODABLE, too_long_for_jpeg
from stylecolor.pictures.metadata import Metadata
from stylecolor.whole_file import written_whole

__all__ = [
    "MAX_PIXELS",
    "PICTURE_SUFFIXES",
    "WRITTEN_SUFFIXES",
    "Metadata",
    "Picture",
    "check_output",
    "explained",
    "read_picture",
    "read_size",
    "write_picture",
]

log = logging.getLogger(__name__)

WRITTEN_SUFFIXES = tuple(ENCODINGS)
"""What files are written, by suffix in lower case."""
PICTURE_SUFFIXES = (*WRITTEN_SUFFIXES, ".bmp", ".gif")
"""What files in a folder are taken for pictures."""
MAX_PIXELS = 500_000_000
"""A file that claims to have more is refused before it is decoded; half a gigabyte for a grey picture of 8 bits."""


@dataclass(frozen=True)
class Picture:
    """A picture in sRGB, upright.

    Attributes:
        pixels: grey or RGB, uint8, uint16, or float32 in [0, 1]; contiguous.
        alpha: of the same dtype, not multiplied into the colours.
        metadata: what the file says beside its pixels.
    """

    pixels: Shaped[np.ndarray, "height width colors"]
    alpha: Shaped[np.ndarray, "height width"] | None = None
    metadata: Metadata = field(default_factory=Metadata)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def recolored(self, pixels: Shaped[np.ndarray, "height width colors"]) -> "Picture":
        """The same picture with other colours, of the same size and dtype."""
        assert (pixels.shape[:2], pixels.dtype) == (self.size, self.pixels.dtype)
        return replace(self, pixels=pixels)

    def save(self, path: str | Path, *, quality: int = 95, lossless: bool = False) -> None:
        """Write it; see `write_picture`."""
        write_picture(path, self, quality=quality, lossless=lossless)


def read_picture(path: str | Path, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read PNG, JPEG, TIFF, WebP, BMP or GIF, whatever the name says.

    Colours are converted from the file's ICC profile into sRGB, CMYK and palettes become RGB, and the picture is turned as its EXIF
    orientation says. Grey stays grey, and 16 bits stay 16. Floating point (TIFF) is taken for sRGB in 0..1, clipped to that, and becomes
    16 bits. Of several pages or frames the first is read. What is lost in this is logged as a warning.

    Raises:
        ValueError: for a file that is missing, no picture, truncated or damaged, of a kind that is not read, has more pixels than
            `max_pixels`, or pixels that are NaN or infinite.
        OSError: for one that must not be read.
    """
    path = Path(path)
    with explained(path):
        decoded = decode(path, max_pixels)
    pixels, alpha = decoded.upright_srgb()
    for note in decoded.notes:
        log.warning("picture %s: %s", path, note)
    return Picture(pixels, alpha, decoded.metadata)


def read_size(path: str | Path) -> tuple[int, int]:
    """Height and width of the upright picture, from its header.

    Raises:
        ValueError: for a file that is missing or no picture.
        OSError: for one that must not be read.
    """
    path = Path(path)
    with explained(path):
        return decode_size(path)


@contextmanager
def explained(path: Path, what: str = "picture") -> Iterator[None]:
    """One line, with the file's name and what it is to be, for whatever is wrong with it.

    Raises:
        ValueError: for a file that is missing, cannot be used, is truncated or damaged.
        OSError: for one that must not be read.
    """
    if path.is_dir():
        raise ValueError(f"{what} {path}: is a directory")
    if path.exists() and not path.is_file():
        raise ValueError(f"{what} {path}: is no regular file")
    try:
        yield
    except FileNotFoundError as error:
        raise ValueError(f"{what} {path}: no such file") from error
    except PermissionError as error:
        raise OSError(f"{what} {path}: must not be read; its permissions forbid it") from error
    except UnusablePictureError as error:
        raise ValueError(f"{what} {path}: {error}") from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"{what} {path}: has more pixels than Pillow takes from a file of this format; convert it to PNG") from error
    except DAMAGED as error:
        raise ValueError(f"{what} {path}: is damaged or truncated") from error


def check_output(path: str | Path) -> None:
    """Refuse a place where no picture can be written, before the work.

    Raises:
        ValueError: for a suffix of no format that is written.
        OSError: for a directory, and for a place in something that is none or that must not be written to.
    """
    path = Path(path)
    check_choice(f"suffix of {path}", path.suffix.lower(), WRITTEN_SUFFIXES)
    if path.is_dir():
        raise IsADirectoryError(f"{path}: is a directory; name a file")
    directory = next(parent for parent in path.absolute().parents if parent.exists())
    if not directory.is_dir():
        raise NotADirectoryError(f"{path}: cannot be written, as {directory} is no directory")
    if not os.access(directory, os.W_OK | os.X_OK):
        raise PermissionError(f"{path}: cannot be written, as the permissions of {directory} forbid it")


def write_picture(path: str | Path, picture: Picture, *, quality: int = 95, lossless: bool = False) -> None:
    """Write a PNG, JPEG, TIFF or WebP, as the suffix says, whole or not at all; its directory is made where there is none.

    PNG and TIFF hold 8 bits as they are, and 16 bits and floating point as 16; JPEG and WebP get 8, rounded. The sRGB profile goes in where
    the picture came with a profile. The same picture gives the same bytes.

    Args:
        path: of the file; one that is there is replaced.
        picture: what to write. JPEG has no transparency; that it is lost is logged as a warning.
        quality: of JPEG and WebP, 1 to 100.
        lossless: of WebP; `quality` is then the effort.

    Raises:
        ValueError: for a suffix of no format that is written, and for a picture that is too large for the format, or that it does not hold.
        OSError: when it cannot be written, such as to a full disk.
    """
    path = Path(path)
    check_output(path)
    check_range("quality", quality, low=1, high=100)
    encoding = ENCODINGS[path.suffix.lower()]
    if not encoding.holds(picture.size):
        height, width = picture.size
        others = " or ".join(dict.fromkeys(other.name for other in ENCODINGS.values() if other.holds(picture.size)))
        raise ValueError(
            f"{path}: {encoding.name} holds at most {encoding.longest_side} px a side, the picture is {width} x {height}; use {others}"
        )
    metadata = picture.metadata
    if not encoding.transparent:
        if picture.alpha is not None:
            log.warning("%s: JPEG has no transparency, so that of the picture is lost", path)
        for part in too_long_for_jpeg(metadata):
            log.warning("%s: the picture's %s is too long for JPEG, and is left out", path, part)
            metadata = replace(metadata, **{part: () if part == "texts" else None})
    if lossless and encoding.name == "JPEG":
        log.warning("%s: lossless=True is for WebP, and is ignored", path)
    array = encoding.arrange(picture.pixels, picture.alpha)
    try:
        contents = encoding.encode(array, metadata, quality, lossless)
    except UNENCODABLE as error:
        raise ValueError(f"{path}: the picture cannot be written as {encoding.name} ({one_line(error)}); use another format") from error
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as aside:
            aside.write_bytes(contents)
    except OSError as error:
        raise OSError(f"{path}: cannot be written ({error.strerror})") from error
