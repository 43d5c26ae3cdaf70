"""A picture as its file stores it, before it is turned upright and its colours are converted."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Integer
from PIL import Image

from stylecolor.pictures.bit_depth import strips
from stylecolor.pictures.color_profiles import convert_to_srgb
from stylecolor.pictures.metadata import EXIF_ERRORS, Metadata, read_metadata, read_orientation, swaps_sides

INKS = 4
"""Channels of CMYK, of which 0 is no ink."""


class UnusablePictureError(ValueError):
    """A picture that is whole but cannot be used; the message says why, without the file's name."""


@dataclass
class DecodedPicture:
    """Pixels and alpha of one integer dtype, and what is known of them; `notes` is what the user is to be told.

    The pixels have 1 channel (grey), 3 (RGB) or 4 (CMYK), in the colours of `profile`, and are turned as `orientation` says.
    """

    pixels: Integer[np.ndarray, "height width channels"]
    alpha: Integer[np.ndarray, "height width"] | None
    profile: bytes | None = None
    orientation: int = 1
    metadata: Metadata = field(default_factory=Metadata)
    notes: list[str] = field(default_factory=list)

    def describe(self, info: Mapping, load_exif: Callable[[], Image.Exif]) -> None:
        """Take in what Pillow found in the file; EXIF that is damaged is noted and left out."""
        self.profile = info.get("icc_profile") or None
        try:
            exif = load_exif()
            self.orientation = read_orientation(exif)
            self.metadata = read_metadata(info, exif, self.orientation)
        except EXIF_ERRORS:
            self.notes.append("its EXIF is damaged and left out")
            self.metadata = read_metadata(info, Image.Exif(), self.orientation)

    def upright_srgb(self) -> tuple[Integer[np.ndarray, "height width colors"], Integer[np.ndarray, "height width"] | None]:
        """Pixels, grey or sRGB, and alpha, upright; a colour profile that cannot be used is noted. Spoils `pixels`."""
        pixels = self.pixels
        if self.profile is not None:
            try:
                pixels = convert_to_srgb(pixels, self.profile)
            except ValueError as error:
                self.notes.append(f"{error} and is not used")
        if pixels.shape[2] == INKS:
            pixels = _inks_to_rgb(pixels)
        return _turn_upright(pixels, self.orientation), None if self.alpha is None else _turn_upright(self.alpha, self.orientation)


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Refuse a picture before it fills the memory.

    Raises:
        UnusablePictureError: for one with more pixels than that, and one without any.
    """
    if min(width, height) < 1:
        raise UnusablePictureError(f"its header says that it has {width} x {height} px; it is damaged")
    if width * height > max_pixels:
        raise UnusablePictureError(
            f"its {width} x {height} px are more than max_pixels={max_pixels}; raise that (--max-megapixels) to read it"
        )


def split_alpha(array: Integer[np.ndarray, "height width *channels"]) -> tuple[np.ndarray, np.ndarray | None]:
    """Colours and alpha of grey, grey and alpha, RGB, or RGBA."""
    # a new axis made by indexing has a stride of 0, which imagecodecs refuses
    array = array if array.ndim == 3 else array.reshape(*array.shape, 1)
    if array.shape[2] in (1, 3):
        return array, None
    return np.ascontiguousarray(array[..., :-1]), np.ascontiguousarray(array[..., -1])


def _inks_to_rgb(inks: Integer[np.ndarray, "height width 4"]) -> Integer[np.ndarray, "height width 3"]:
    highest = np.uint32(np.iinfo(inks.dtype).max)
    colors = np.empty((*inks.shape[:2], 3), inks.dtype)
    for rows in strips(inks):
        light = highest - inks[rows].astype(np.uint32)
        colors[rows] = (light[..., :3] * light[..., 3:] + highest // 2) // highest
    return colors


def _turn_upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    if swaps_sides(orientation):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
