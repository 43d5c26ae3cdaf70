"""Picture files to pixels: each format by its own library, rare ones and all that stands beside the pixels by Pillow."""

import logging
import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import imagecodecs
import numpy as np
from jaxtyping import Integer
from PIL import BmpImagePlugin, GifImagePlugin, Image, ImageFile, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from stylecolor.pictures.bit_depth import DEEPEST, quantize
from stylecolor.pictures.decoded import DecodedPicture, UnusablePictureError, check_size, split_alpha
from stylecolor.pictures.metadata import swaps_sides

DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    EOFError,
    LookupError,
    ArithmeticError,
    struct.error,
    zlib.error,
    # all of imagecodecs' own
    RuntimeError,
)
"""What a truncated or damaged picture raises."""
PNG_HEAD = b"\x89PNG\r\n\x1a\n"
"""What a PNG file begins with."""

_START_OF_SCAN, _END_OF_JPEG = 0xDA, b"\xff\xd9"

# what they log they also raise, and Python shows what nobody handles
for _library in ("tifffile", "imagecodecs"):
    logging.getLogger(_library).addHandler(logging.NullHandler())


def decode(path: Path, max_pixels: int) -> DecodedPicture:
    """Read a picture; its contents say of which format, not its name.

    Raises:
        UnusablePictureError: for a picture that is too large or of a kind that is not read.
        DAMAGED: for one that is not whole.
    """
    with path.open("rb") as file:
        if _is_tiff(file):
            # imported late: it takes as long as reading a picture
            from stylecolor.pictures import tiff as tiff_pictures

            with tiff_pictures.TiffFile(file) as tiff:
                return tiff_pictures.decode(tiff, file, max_pixels)
        contents = file.read()
    header = _open(contents)
    check_size(header.width, header.height, max_pixels)
    decoded = DecodedPicture(*_decode_pixels(contents, header))
    if getattr(header, "n_frames", 1) > 1:
        decoded.notes.append("is animated; its first frame is taken")
    _describe(decoded, header)
    return decoded


def decode_size(path: Path) -> tuple[int, int]:
    """Height and width of the upright picture, from its header.

    Raises:
        UnusablePictureError: for a file that is no picture.
        DAMAGED: for a header that is not whole.
    """
    unread = DecodedPicture(np.empty((0, 0, 1), np.uint8), None)
    with path.open("rb") as file:
        if _is_tiff(file):
            # imported late: it takes as long as reading a picture
            from stylecolor.pictures import tiff as tiff_pictures

            with tiff_pictures.TiffFile(file) as tiff:
                height, width = tiff_pictures.decode_size(tiff)
                tiff_pictures.describe(tiff, file, unread)
        else:
            header = _open(file.read())
            width, height = header.size
            _describe(unread, header)
    return (width, height) if swaps_sides(unread.orientation) else (height, width)


def _describe(decoded: DecodedPicture, header: ImageFile.ImageFile) -> None:
    # the method of PngImageFile would decode the pixels
    decoded.describe(header.info, lambda: Image.Image.getexif(header))


def _open(contents: bytes) -> ImageFile.ImageFile:
    """Pillow's view of a file, without pixels. Image.open has a limit of its own, and no other for one call than for all."""
    if contents.startswith(b"\xff\xd8\xff"):
        return JpegImagePlugin.JpegImageFile(BytesIO(contents))
    if contents.startswith(PNG_HEAD):
        return PngImagePlugin.PngImageFile(BytesIO(_without_pixels(contents)))
    if contents.startswith(b"RIFF") and contents[8:12] == b"WEBP":
        return WebPImagePlugin.WebPImageFile(BytesIO(contents))
    if contents.startswith(b"BM"):
        return BmpImagePlugin.BmpImageFile(BytesIO(contents))
    if contents.startswith((b"GIF87a", b"GIF89a")):
        return GifImagePlugin.GifImageFile(BytesIO(contents))
    raise UnusablePictureError("is " + ("no picture of a format that is read: PNG, JPEG, TIFF, WebP, BMP, GIF" if contents else "empty"))


def _is_tiff(file: BinaryIO) -> bool:
    head = file.read(4)
    file.seek(0)
    return head in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def _without_pixels(png: bytes) -> bytes:
    """A PNG file without its pixels. Pillow would decode these to reach the metadata behind them."""
    kept, position = [PNG_HEAD], len(PNG_HEAD)
    while position < len(png):
        end = position + 12 + int.from_bytes(png[position : position + 4], "big")
        if png[position + 4 : position + 8] not in (b"IDAT", b"IEND", b"fcTL", b"fdAT"):
            kept.append(png[position:end])
        position = end
    kept += [bytes(4) + kind + zlib.crc32(kind).to_bytes(4, "big") for kind in (b"IDAT", b"IEND")]
    return b"".join(kept)


def _decode_pixels(contents: bytes, header: ImageFile.ImageFile) -> tuple[np.ndarray, np.ndarray | None]:
    match header.format, header.mode:
        case "PNG", _:
            # also 16 bits a channel, which Pillow cuts off
            return split_alpha(imagecodecs.png_decode(contents))
        case "WEBP", _:
            return split_alpha(imagecodecs.webp_decode(contents))
        case "JPEG", "L" | "RGB":
            # the decoder takes what is missing for grey
            if contents.rfind(_END_OF_JPEG) < _start_of_scan(contents):
                raise ValueError("truncated")
            # half the memory that Pillow takes
            return split_alpha(imagecodecs.jpeg8_decode(contents))
        case _:
            return arrays_of(header)


def _start_of_scan(jpeg: bytes) -> int:
    """Where the pixels begin; before it there may be a whole thumbnail."""
    position = 2
    while jpeg[position + 1] != _START_OF_SCAN:
        fill = jpeg[position : position + 2] == b"\xff\xff"
        position += 1 if fill else 2 + int.from_bytes(jpeg[position + 2 : position + 4], "big")
    return position


def arrays_of(image: Image.Image) -> tuple[Integer[np.ndarray, "height width channels"], Integer[np.ndarray, "height width"] | None]:
    """Pixels, grey or RGB, and alpha of a Pillow picture of any mode, of 16 bits for the modes I and F, else 8.

    Raises:
        UnusablePictureError: for numbers out of range.
    """
    if image.mode.startswith(("I", "F")):
        highest = 1 if image.mode == "F" else DEEPEST
        values = np.asarray(image)
        # NaN fails too
        if not (values.min() >= 0 and values.max() <= highest):
            raise UnusablePictureError(f"has values of mode {image.mode} outside 0..{highest}; scale them")
        return split_alpha(quantize(values) if image.mode == "F" else values.astype(np.uint16))
    if image.mode == "CMYK":
        return np.array(image), None
    if image.mode == "La":
        # Pillow knows no other way from there
        image = image.convert("LA")
    grey = image.mode in ("1", "L", "LA")
    if image.has_transparency_data:
        return split_alpha(np.array(image.convert("LA" if grey else "RGBA")))
    return split_alpha(np.array(image.convert("L" if grey else "RGB")))
