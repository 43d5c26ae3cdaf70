"""TIFF files, of any depth: the first page of one, and one made."""

import os
import struct
from io import BytesIO
from typing import BinaryIO

import numpy as np
from jaxtyping import Integer
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from tifffile import DATATYPE, EXTRASAMPLE, PHOTOMETRIC, RESUNIT, TiffFile, TiffPage, imwrite

from stylecolor.pictures.bit_depth import DEEPEST, quantize, strips
from stylecolor.pictures.color_profiles import srgb_profile
from stylecolor.pictures.decoded import INKS, DecodedPicture, UnusablePictureError, check_size
from stylecolor.pictures.metadata import EXIF_DIRECTORY, GPS_DIRECTORY, RESOLUTION_TAGS, Metadata

_COLORS = {
    PHOTOMETRIC.MINISWHITE: 1,
    PHOTOMETRIC.MINISBLACK: 1,
    PHOTOMETRIC.PALETTE: 1,
    PHOTOMETRIC.RGB: 3,
    PHOTOMETRIC.YCBCR: 3,
    PHOTOMETRIC.SEPARATED: INKS,
}
_MOST_EXTRAS = 4
_INCH_IN_UNITS = {RESUNIT.INCH: 1.0, RESUNIT.CENTIMETER: 2.54}
_ICC_TAG, _XMP_TAG = 34675, 700
_TEXT_TAGS = (
    ExifTags.Base.ImageDescription,
    ExifTags.Base.Make,
    ExifTags.Base.Model,
    ExifTags.Base.Software,
    ExifTags.Base.DateTime,
    ExifTags.Base.Artist,
    ExifTags.Base.HostComputer,
    ExifTags.Base.Copyright,
)
_ROWS_PER_STRIP = 64
_HIGHEST_RATIO = 0xFFFFFFFF


def decode_size(tiff: TiffFile) -> tuple[int, int]:
    """Height and width as stored."""
    page = _first_page(tiff)
    return page.imagelength, page.imagewidth


def decode(tiff: TiffFile, file: BinaryIO, max_pixels: int) -> DecodedPicture:
    """The first page. Floating point becomes 16 bits, fewer bits than 8 or 16 are stretched to these.

    Raises:
        UnusablePictureError: for one that is too large, of a kind that is not read, or has pixels that are no numbers.
    """
    page = _first_page(tiff)
    check_size(page.imagewidth, page.imagelength, max_pixels)
    extras = page.samplesperpixel - _COLORS.get(PHOTOMETRIC(page.photometric), DEEPEST)
    if not 0 <= extras <= _MOST_EXTRAS or page.imagedepth != 1:
        raise UnusablePictureError(f"is a TIFF of a kind that is not read: {page.photometric!s} of {page.samplesperpixel} channels")
    if page.dtype is None or page.dtype.kind not in "buf" or (page.dtype.kind == "u" and page.dtype.itemsize > 2):
        raise UnusablePictureError(f"has pixels of type {page.dtype}; unsigned ones of 1 to 16 bits and floating point in 0..1 are read")
    notes = [] if len(tiff.pages) == 1 else [f"has {len(tiff.pages)} pages; the first is taken"]
    array = _full_range(page, notes)
    pixels, alpha = _separate(page, array, extras, notes)
    decoded = DecodedPicture(pixels, alpha, notes=notes)
    describe(tiff, file, decoded)
    return decoded


def describe(tiff: TiffFile, file: BinaryIO, decoded: DecodedPicture) -> None:
    """Take in orientation, colour profile and metadata; `file` is what `tiff` reads, for Pillow."""
    page = _first_page(tiff)

    def load_exif() -> Image.Exif:
        exif = Image.Exif()
        exif.bigtiff, exif.endian = tiff.is_bigtiff, tiff.byteorder
        exif.load_from_fp(file, page.offset)
        # every TIFF file has one, if only of 1 px in no unit
        for tag in RESOLUTION_TAGS:
            exif.pop(tag, None)
        return exif

    info = {"icc_profile": page.tags.valueof(_ICC_TAG), "xmp": page.tags.valueof(_XMP_TAG), "dpi": _resolution(page)}
    decoded.describe(info, load_exif)


def _first_page(tiff: TiffFile) -> TiffPage:
    page = tiff.pages.first
    assert isinstance(page, TiffPage)
    return page


def _resolution(page: TiffPage) -> tuple[float, ...] | None:
    inch = _INCH_IN_UNITS.get(page.tags.valueof("ResolutionUnit", RESUNIT.INCH))
    ratios = [page.tags.valueof(name) for name in ("XResolution", "YResolution")]
    if inch is None or not all(ratio and ratio[1] for ratio in ratios):
        return None
    return tuple(inch * numerator / denominator for numerator, denominator in ratios)


def _full_range(page: TiffPage, notes: list[str]) -> np.ndarray:
    """The stored numbers as all of 8 or 16 bits, 0 black; indices of a palette stay indices. (height, width, channels)."""
    array = page.asarray().reshape(page.shaped)
    # channels are one of two axes: planes one after the other, or together
    array = np.moveaxis(array[:, 0], 0, -2).reshape(page.imagelength, page.imagewidth, page.samplesperpixel)
    if array.dtype.kind == "f":
        if any(array[rows].max() > 1 or array[rows].min() < 0 for rows in strips(array)):
            notes.append("has values outside 0..1, which are clipped")
        try:
            array = quantize(array)
        except ValueError as error:
            raise UnusablePictureError(str(error)) from error
    elif page.photometric != PHOTOMETRIC.PALETTE:
        array = _stretch(array.astype(np.uint8) if array.dtype.kind == "b" else array, page.bitspersample)
    if page.photometric == PHOTOMETRIC.MINISWHITE:
        np.subtract(np.iinfo(array.dtype).max, array, out=array)
    return array


def _stretch(array: np.ndarray, bits: int) -> np.ndarray:
    highest, full = 2**bits - 1, int(np.iinfo(array.dtype).max)
    if highest < full:
        for rows in strips(array):
            array[rows] = (array[rows].astype(np.uint32) * full + highest // 2) // highest
    return array


def _separate(page: TiffPage, array: np.ndarray, extras: int, notes: list[str]) -> tuple[np.ndarray, np.ndarray | None]:
    """Colours and alpha."""
    colors = page.samplesperpixel - extras
    pixels = array if not extras else np.ascontiguousarray(array[..., :colors])
    kinds = page.extrasamples
    alpha = None
    if extras and kinds and kinds[0] in (EXTRASAMPLE.ASSOCALPHA, EXTRASAMPLE.UNASSALPHA):
        alpha = np.ascontiguousarray(array[..., colors])
    if extras > (alpha is not None):
        notes.append("has channels beside colour and alpha, which are left out")
    if page.photometric == PHOTOMETRIC.PALETTE:
        if page.colormap is None:
            raise UnusablePictureError("is damaged: it has a palette without colours")
        return np.ascontiguousarray((page.colormap >> 8).astype(np.uint8).T)[array[..., 0]], None
    if alpha is not None and kinds[0] == EXTRASAMPLE.ASSOCALPHA:
        _divide_by_alpha(pixels, alpha)
    return pixels, alpha


def _divide_by_alpha(pixels: np.ndarray, alpha: np.ndarray) -> None:
    highest = np.uint64(np.iinfo(pixels.dtype).max)
    for rows in strips(pixels):
        share = np.maximum(alpha[rows], 1).astype(np.uint64)[..., None]
        pixels[rows] = np.minimum((pixels[rows] * highest + share // 2) // share, highest)


def encode(array: Integer[np.ndarray, "height width channels"], metadata: Metadata) -> memoryview:
    """A TIFF file of grey or RGB, with or without alpha, of 8 or 16 bits; deflated."""
    exif = Image.Exif()
    if metadata.exif is not None:
        exif.load(metadata.exif)
    channels = array.shape[2]
    # Pillow reads texts byte for byte, as Latin-1
    tags = [(int(tag), DATATYPE.ASCII, 0, str(exif[tag]).encode("latin-1", "replace"), True) for tag in _TEXT_TAGS if tag in exif]
    if metadata.xmp is not None:
        tags.append((_XMP_TAG, DATATYPE.BYTE, len(metadata.xmp), metadata.xmp, True))
    resolution = metadata.resolution_within(1 / _HIGHEST_RATIO, _HIGHEST_RATIO)
    file = BytesIO()
    imwrite(
        file,
        # of one channel, tifffile would write a page for each row
        array if channels > 1 else array[..., 0],
        byteorder="<",
        bigtiff=False,
        photometric="minisblack" if channels < 3 else "rgb",
        planarconfig="contig" if channels > 1 else None,
        extrasamples=["unassalpha"] if channels in (2, 4) else None,
        compression="adobe_deflate",
        predictor=True,
        rowsperstrip=_ROWS_PER_STRIP,
        resolution=resolution,
        resolutionunit="inch" if resolution else None,
        iccprofile=srgb_profile(1 if channels < 3 else 3) if metadata.has_profile else None,
        software=False,
        extratags=tags,
        metadata=None,
    )
    _append_directories(file, exif)
    return file.getbuffer()


def _append_directories(file: BytesIO, exif: Image.Exif) -> None:
    """EXIF and GPS have directories of their own, which tifffile does not write; a new first one names them (TIFF 6.0, section 2)."""
    file.seek(0)
    head = file.read(8)
    (start,) = struct.unpack_from("<I", head, 4)
    file.seek(start)
    (count,) = struct.unpack("<H", file.read(2))
    entries = [file.read(12) for _ in range(count)]
    for tag in (EXIF_DIRECTORY, GPS_DIRECTORY):
        if tags := exif.get_ifd(tag):
            directory = ImageFileDirectory_v2(head, group=tag)
            for key, value in tags.items():
                directory[key] = value
            offset = _even_end(file)
            file.write(directory.tobytes(offset))
            entries.append(struct.pack("<HHII", tag, DATATYPE.LONG, 1, offset))
    start = _even_end(file)
    entries.sort(key=lambda entry: struct.unpack_from("<H", entry))
    file.write(struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4))
    file.seek(4)
    file.write(struct.pack("<I", start))


def _even_end(file: BytesIO) -> int:
    end = file.seek(0, os.SEEK_END)
    return end + file.write(bytes(end % 2))
