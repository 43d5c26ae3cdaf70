"""Pixels to the bytes of a PNG, JPEG, TIFF or WebP file, with their metadata; the same bytes at any time."""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

import imagecodecs
import numpy as np
from jaxtyping import Shaped
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from stylecolor.pictures.bit_depth import change_depth
from stylecolor.pictures.color_profiles import srgb_profile
from stylecolor.pictures.metadata import Metadata

Contents = bytes | memoryview

UNENCODABLE = (
    # all of imagecodecs' own
    RuntimeError,
    struct.error,
    # of tifffile, for more than 4 GB
    ValueError,
    # of Pillow
    OSError,
)
"""What the encoders raise for a picture, or metadata, that a format does not hold."""

# a photograph is hardly larger than with zlib's own 6, and takes half the time
_PNG_LEVEL = 3
_PNG_HEADER_BYTES = 33
# libpng reads and writes no more
_LONGEST_PNG_SIDE = 1_000_000
_LONGEST_WEBP_SIDE, _LONGEST_JPEG_SIDE = 16383, 65500
_LONGEST_SEGMENT = 65533
_INCHES_PER_METER = 1 / 0.0254
# "four-byte unsigned integer" of the PNG specification, section 7.1; 16 bits in JFIF 1.02
_HIGHEST_PNG_RESOLUTION, _HIGHEST_JPEG_RESOLUTION = 2**31 - 1, 2**16 - 1


@dataclass(frozen=True)
class Encoding:
    """A format that pictures are written in: what it holds, and who writes it."""

    name: str
    deep: bool
    transparent: bool
    encode: Callable[[np.ndarray, Metadata, int, bool], Contents]
    longest_side: int | None = None

    def holds(self, size: tuple[int, int]) -> bool:
        """Whether a picture of this height and width is not too long."""
        return self.longest_side is None or max(size) <= self.longest_side

    def arrange(
        self, pixels: Shaped[np.ndarray, "height width colors"], alpha: Shaped[np.ndarray, "height width"] | None
    ) -> Shaped[np.ndarray, "height width channels"]:
        """The array to encode, of the depth that the format holds, with alpha if it holds that; floating point as 16 bits."""
        dtype = np.uint8 if pixels.dtype == np.uint8 or not self.deep else np.uint16
        pixels = change_depth(pixels, dtype)
        if alpha is not None and self.transparent:
            pixels = np.dstack((pixels, change_depth(alpha, dtype)))
        # the axes that numpy does not step along get strides that imagecodecs takes
        return np.ascontiguousarray(pixels).reshape(-1).reshape(pixels.shape)


def _encode_png(array: np.ndarray, metadata: Metadata, quality: int, lossless: bool) -> bytes:
    encoded = imagecodecs.png_encode(array, level=_PNG_LEVEL)
    chunks = PngInfo()
    if metadata.has_profile:
        chunks.add(b"iCCP", b"sRGB\0\0" + zlib.compress(srgb_profile(1 if array.shape[2] < 3 else 3)))
    resolution = metadata.resolution_within(1 / _INCHES_PER_METER, _HIGHEST_PNG_RESOLUTION / _INCHES_PER_METER)
    if resolution is not None:
        chunks.add(b"pHYs", struct.pack(">IIB", *(round(value * _INCHES_PER_METER) for value in resolution), 1))
    if metadata.exif is not None:
        chunks.add(b"eXIf", metadata.exif.removeprefix(b"Exif\0\0"))
    if metadata.xmp is not None:
        chunks.add_itxt("XML:com.adobe.xmp", metadata.xmp)
    for key, value in metadata.texts:
        chunks.add_text(key, value)
    framed = (struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data, _ in chunks.chunks)
    return b"".join((memoryview(encoded)[:_PNG_HEADER_BYTES], *framed, memoryview(encoded)[_PNG_HEADER_BYTES:]))


def _encode_jpeg(array: np.ndarray, metadata: Metadata, quality: int, lossless: bool) -> bytes:
    # colours at full resolution: averaged ones would shift the lightness at their edges
    encoded = memoryview(imagecodecs.jpeg8_encode(array, level=quality, subsampling="444"))
    resolution = metadata.resolution_within(1, _HIGHEST_JPEG_RESOLUTION)
    horizontal, vertical = (round(value) for value in resolution or (1, 1))
    unit = 0 if resolution is None else 1
    segments = [(0xE0, b"JFIF\0" + struct.pack(">BBBHHBB", 1, 1, unit, horizontal, vertical, 0, 0))]
    if metadata.exif is not None:
        segments.append((0xE1, metadata.exif))
    if metadata.xmp is not None:
        segments.append((0xE1, b"http://ns.adobe.com/xap/1.0/\0" + metadata.xmp))
    if metadata.has_profile:
        segments.append((0xE2, b"ICC_PROFILE\0\1\1" + srgb_profile(array.shape[2])))
    if metadata.comment is not None:
        segments.append((0xFE, metadata.comment.encode()))
    framed = (struct.pack(">BBH", 0xFF, kind, len(data) + 2) + data for kind, data in segments)
    # after the encoder's own JFIF segment
    start = 4 + int.from_bytes(encoded[4:6], "big")
    return b"".join((encoded[:2], *framed, encoded[start:]))


def _encode_tiff(array: np.ndarray, metadata: Metadata, quality: int, lossless: bool) -> memoryview:
    # imported late: tifffile takes as long as writing a small picture
    from stylecolor.pictures import tiff

    return tiff.encode(array, metadata)


def _encode_webp(array: np.ndarray, metadata: Metadata, quality: int, lossless: bool) -> memoryview:
    if array.shape[2] < 3:
        array = np.dstack((array[..., :1],) * 3 + (array[..., 1:],))
    file = BytesIO()
    Image.fromarray(array).save(
        file,
        "WEBP",
        quality=quality,
        lossless=lossless,
        exact=lossless,
        exif=metadata.exif or b"",
        xmp=metadata.xmp or b"",
        icc_profile=srgb_profile() if metadata.has_profile else b"",
    )
    return file.getbuffer()


def too_long_for_jpeg(metadata: Metadata) -> list[str]:
    """Which parts of the metadata no segment of a JPEG file holds."""
    texts = None if metadata.comment is None else metadata.comment.encode()
    parts = {"exif": (metadata.exif, 0), "xmp": (metadata.xmp, 29), "texts": (texts, 0)}
    return [name for name, (data, head) in parts.items() if data is not None and len(data) + head > _LONGEST_SEGMENT]


_PNG = Encoding("PNG", deep=True, transparent=True, encode=_encode_png, longest_side=_LONGEST_PNG_SIDE)
_JPEG = Encoding("JPEG", deep=False, transparent=False, encode=_encode_jpeg, longest_side=_LONGEST_JPEG_SIDE)
_TIFF = Encoding("TIFF", deep=True, transparent=True, encode=_encode_tiff)
_WEBP = Encoding("WebP", deep=False, transparent=True, encode=_encode_webp, longest_side=_LONGEST_WEBP_SIDE)

ENCODINGS = {".png": _PNG, ".jpg": _JPEG, ".jpeg": _JPEG, ".tif": _TIFF, ".tiff": _TIFF, ".webp": _WEBP}
"""By the suffix of the file, in lower case."""
