"""Colour profiles (ICC): pixels into sRGB through LittleCMS, and the sRGB profile that written files carry."""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache, lru_cache

import imagecodecs
import numpy as np
from jaxtyping import Integer

from stylecolor.pictures.bit_depth import DEEPEST, change_depth, strips

# one step of 8 bits: published variants of the sRGB profile differ by less, and rounding through them would only lose
_TOLERANCE = 257
_CHANNELS = {b"GRAY": (1,), b"RGB ": (1, 3), b"CMYK": (4,)}
_DATE_IN_PROFILE = slice(24, 36)
_DATE = bytes.fromhex("07cf 0001 0001 0000 0000 0000")
_SRGB_CURVE = np.linspace(0, 1, 1024)
_SRGB_CURVE = np.where(_SRGB_CURVE <= 0.04045, _SRGB_CURVE / 12.92, ((_SRGB_CURVE + 0.055) / 1.055) ** 2.4)


@cache
def srgb_profile(channels: int = 3) -> bytes:
    """The ICC profile of sRGB, or of greys with its tone curve for 1 channel; the same bytes at any time."""
    if channels == 3:
        profile = bytearray(imagecodecs.cms_profile("srgb"))
    else:
        profile = bytearray(
            imagecodecs.cms_profile("gray", whitepoint=(0.3127, 0.3290, 1.0), transferfunction=_SRGB_CURVE.astype(np.float32))
        )
    # LittleCMS writes the time of day
    profile[_DATE_IN_PROFILE] = _DATE
    return bytes(profile)


def convert_to_srgb(pixels: Integer[np.ndarray, "height width channels"], profile: bytes) -> Integer[np.ndarray, "height width colors"]:
    """Pixels of 8 or 16 bits from a profile's colours into sRGB, perceptually; in place where the number of channels stays.

    Args:
        pixels: grey (also with an RGB profile), RGB, or CMYK of which 0 is no ink. Greys stay grey, CMYK becomes RGB.
        profile: the ICC profile. One that is sRGB but for rounding changes nothing.

    Raises:
        ValueError: for a profile that is damaged or belongs to another kind of pixels.
    """
    height, width, channels = pixels.shape
    kind = profile[16:20]
    if channels not in _CHANNELS.get(kind, ()):
        raise ValueError(f"its colour profile is for {kind.decode('latin-1').strip() or 'nothing'} pixels of another kind")
    try:
        if channels == 1:
            return _convert_greys(pixels, profile)
        if channels == 3:
            if not _is_srgb(profile):
                _transform_into(pixels, pixels, profile, "rgb")
            return pixels
        colors = np.empty((height, width, 3), pixels.dtype)
        _transform_into(colors, pixels, profile, "cmyk")
        return colors
    except imagecodecs.CmsError as error:
        raise ValueError("its colour profile is damaged") from error


def _convert_greys(pixels: Integer[np.ndarray, "height width 1"], profile: bytes) -> Integer[np.ndarray, "height width 1"]:
    # of 16 bits in any case, which is exact
    levels = change_depth(np.arange(np.iinfo(pixels.dtype).max + 1, dtype=pixels.dtype)[None], np.uint16)
    if profile[16:20] == b"GRAY":
        converted = _transform(levels, profile, "gray")
    else:
        converted = _transform(np.repeat(levels[..., None], 3, axis=2), profile, "rgb")
    converted = converted[..., 1]
    if np.abs(converted.astype(np.int64) - levels).max() > _TOLERANCE:
        table = change_depth(converted, pixels.dtype)[0]
        for rows in strips(pixels):
            pixels[rows] = table[pixels[rows]]
    return pixels


# the pictures of a folder share few profiles
@lru_cache(maxsize=16)
def _is_srgb(profile: bytes) -> bool:
    steps = np.linspace(0, DEEPEST, 17).round().astype(np.uint16)
    colors = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(17, -1, 3)
    return bool(np.abs(_transform(colors, profile, "rgb").astype(np.int64) - colors).max() <= _TOLERANCE)


def _transform_into(colors: np.ndarray, pixels: np.ndarray, profile: bytes, kind: str) -> None:
    def transform(rows: slice) -> None:
        colors[rows] = _transform(pixels[rows], profile, kind)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        # list raises what a thread raised
        list(pool.map(transform, strips(pixels)))


def _transform(pixels: np.ndarray, profile: bytes, kind: str) -> np.ndarray:
    return imagecodecs.cms_transform(
        np.ascontiguousarray(pixels),
        profile,
        srgb_profile(),
        colorspace=kind,
        outcolorspace="rgb",
        intent=imagecodecs.CMS.INTENT.PERCEPTUAL,
        # else LittleCMS interpolates 16 bits in a coarse grid, and is off by up to 20 steps of 8 bits
        flags=imagecodecs.CMS.FLAGS.NOOPTIMIZE if pixels.dtype == np.uint16 else None,
    )
