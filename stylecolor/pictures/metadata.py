"""What a picture file says beside its pixels, made true again for a picture that was turned upright and whose colours are sRGB."""

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from PIL import ExifTags, Image

EXIF_ERRORS = (struct.error, SyntaxError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError, OSError)
"""What Pillow raises, early or late, for EXIF that is damaged."""
EXIF_DIRECTORY, GPS_DIRECTORY = ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo

RESOLUTION_TAGS = (ExifTags.Base.XResolution, ExifTags.Base.YResolution, ExifTags.Base.ResolutionUnit)

# left out: layout of a TIFF file, and the thumbnail, which shows the picture before it was colorized
_KEPT_TAGS = (
    ExifTags.Base.ImageDescription,
    ExifTags.Base.Make,
    ExifTags.Base.Model,
    ExifTags.Base.Orientation,
    *RESOLUTION_TAGS,
    ExifTags.Base.Software,
    ExifTags.Base.DateTime,
    ExifTags.Base.Artist,
    ExifTags.Base.HostComputer,
    ExifTags.Base.Rating,
    ExifTags.Base.Copyright,
    ExifTags.Base.XPTitle,
    ExifTags.Base.XPComment,
    ExifTags.Base.XPAuthor,
    ExifTags.Base.XPKeywords,
    ExifTags.Base.XPSubject,
)
_SRGB = 1
_SIDEWAYS = (5, 6, 7, 8)
_XMP_ORIENTATION = re.compile(rb'(tiff:Orientation(?:="|>))[0-9]')
_XMP_TEXT = "XML:com.adobe.xmp"
_COMMENT = "Comment"


@dataclass(frozen=True)
class Metadata:
    """What is kept of a file beside its pixels, as far as the written format has a place for it.

    Attributes:
        exif: as in a JPEG file, `Exif\\0\\0` first; orientation 1, sRGB, without thumbnail.
        xmp: the packet; orientation 1.
        resolution: px per inch, horizontally and vertically.
        has_profile: the file had a colour profile, so that what is written gets one too, that of sRGB.
        texts: keywords and texts of a PNG file; the comment of a JPEG file under `Comment`.
    """

    exif: bytes | None = None
    xmp: bytes | None = None
    resolution: tuple[float, float] | None = None
    has_profile: bool = False
    texts: tuple[tuple[str, str], ...] = ()

    def resolution_within(self, lowest: float, highest: float) -> tuple[float, float] | None:
        """The resolution, None where a format that holds only these px per inch has no place for it."""
        if self.resolution is None or not all(lowest <= value <= highest for value in self.resolution):
            return None
        return self.resolution

    @property
    def comment(self) -> str | None:
        """The text that a JPEG file has a place for."""
        return dict(self.texts).get(_COMMENT)


def read_orientation(exif: Image.Exif) -> int:
    """How the stored picture is turned, 1 (upright) to 8 (EXIF 2.32, section 4.6.4); 1 where nothing sensible is said."""
    orientation = exif.get(ExifTags.Base.Orientation, 1)
    return orientation if orientation in range(1, 9) else 1


def swaps_sides(orientation: int) -> bool:
    """Whether height and width of the upright picture are width and height of the stored one."""
    return orientation in _SIDEWAYS


def clean_exif(exif: Image.Exif, orientation: int) -> bytes | None:
    """EXIF for the upright sRGB picture, None for an empty one.

    Raises:
        EXIF_ERRORS: when it is damaged.
    """
    cleaned = Image.Exif()
    for tag in _KEPT_TAGS:
        if tag in exif:
            value = exif[tag]
            # Pillow reads texts byte for byte, as Latin-1, but writes only ASCII
            cleaned[tag] = value.encode("latin-1") if isinstance(value, str) else value
    for tag in (EXIF_DIRECTORY, GPS_DIRECTORY):
        if directory := dict(exif.get_ifd(tag)):
            cleaned[tag] = directory
    _describe_upright_srgb(cleaned, orientation)
    return cleaned.tobytes() if len(cleaned) else None


def _describe_upright_srgb(exif: Image.Exif, orientation: int) -> None:
    if ExifTags.Base.Orientation in exif:
        exif[ExifTags.Base.Orientation] = 1
    camera = exif.get(EXIF_DIRECTORY, {})
    if ExifTags.Base.ColorSpace in camera:
        camera[ExifTags.Base.ColorSpace] = _SRGB
    # says Adobe RGB, if anything of interest
    camera.pop(ExifTags.IFD.Interop, None)
    if swaps_sides(orientation):
        _swap(exif, *RESOLUTION_TAGS[:2])
        _swap(camera, ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight)


def _swap(tags: Image.Exif | dict[int, object], first: int, second: int) -> None:
    if first in tags and second in tags:
        tags[first], tags[second] = tags[second], tags[first]


def clean_xmp(packet: bytes | str | None) -> bytes | None:
    """The XMP packet of the upright picture."""
    if not packet:
        return None
    packet = packet.encode() if isinstance(packet, str) else packet
    return _XMP_ORIENTATION.sub(rb"\g<1>1", packet)


def read_metadata(info: Mapping[str | tuple[int, int], object], exif: Image.Exif, orientation: int) -> Metadata:
    """From what Pillow found in a file whose picture is turned like that.

    Raises:
        EXIF_ERRORS: when the EXIF is damaged.
    """
    packet = info.get("xmp") or info.get(_XMP_TEXT)
    texts = [
        (key, str(value))
        for key, value in info.items()
        if isinstance(key, str) and isinstance(value, str) and key != _XMP_TEXT and not key.startswith("Raw profile type")
    ]
    comment = info.get("comment")
    if isinstance(comment, bytes):
        texts.append((_COMMENT, comment.decode("utf-8", errors="replace")))
    resolution = _as_resolution(info.get("dpi"), orientation)
    return Metadata(
        exif=clean_exif(exif, orientation),
        xmp=clean_xmp(packet if isinstance(packet, bytes | str) else None),
        resolution=resolution,
        has_profile=bool(info.get("icc_profile")),
        texts=tuple(texts),
    )


def _as_resolution(dpi: object, orientation: int) -> tuple[float, float] | None:
    if not (isinstance(dpi, tuple) and len(dpi) == 2 and all(0 < float(value) < float("inf") for value in dpi)):
        return None
    horizontal, vertical = (float(value) for value in dpi)
    return (vertical, horizontal) if swaps_sides(orientation) else (horizontal, vertical)
