import io
import logging
import os
import re
import resource
import signal
import struct
import subprocess
import sys
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import PIL
import pytest
import skimage.data
import tifffile
from PIL import ExifTags, Image, ImageCms

from stylecolor.pictures.files import (
    PICTURE_SUFFIXES,
    WRITTEN_SUFFIXES,
    Metadata,
    Picture,
    check_output,
    read_picture,
    read_size,
    write_picture,
)

D65 = (0.3127, 0.3290, 1.0)
ADOBE_RGB = imagecodecs.cms_profile("rgb", whitepoint=D65, primaries=(0.64, 0.33, 1, 0.21, 0.71, 1, 0.15, 0.06, 1), gamma=2.19921875)
SRGB = imagecodecs.cms_profile("srgb")
GREY_18 = imagecodecs.cms_profile("gray", whitepoint=D65, gamma=1.8)
TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
LOSSLESS: dict[str, dict[str, Any]] = {".webp": {"lossless": True, "exact": True}}
DEEP, SHALLOW = (".png", ".tif"), (".jpg", ".webp")


@pytest.fixture(autouse=True)
def _nothing_is_told_unasked(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield
    assert not warnings_in(caplog.get_records("call"))


def warnings_in(records: list[logging.LogRecord]) -> list[str]:
    """Those of this project; the libraries that decode log what they also raise."""
    return [record.getMessage() for record in records if record.name.startswith("stylecolor") and record.levelno >= logging.WARNING]


@contextmanager
def told(caplog: pytest.LogCaptureFixture, pattern: str) -> Iterator[None]:
    """One warning, and this one."""
    caplog.clear()
    yield
    (warning,) = warnings_in(caplog.records)
    assert re.search(pattern, warning), warning
    caplog.clear()


@cache
def photograph() -> np.ndarray:
    """uint8 (48, 56, 3)."""
    return np.ascontiguousarray(skimage.data.astronaut()[100:484:8, 50:498:8])


def deep_photograph() -> np.ndarray:
    """uint16; all 16 bits are in use."""
    noise = np.random.default_rng(0).integers(0, 257, photograph().shape)
    return (photograph().astype(np.uint32) * 256 + noise).clip(0, 65535).astype(np.uint16)


def of_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    """The photograph as grey, grey and alpha, RGB, or RGBA; alpha is 0 somewhere and full elsewhere."""
    alpha = np.linspace(0, np.iinfo(pixels.dtype).max, pixels.shape[1]).astype(pixels.dtype)
    planes = [pixels[..., :1] if channels < 3 else pixels, np.broadcast_to(alpha[None, :, None], (*pixels.shape[:2], 1))]
    return np.ascontiguousarray(np.concatenate(planes[: 2 if channels in (2, 4) else 1], axis=2))


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bare_png(width: int, height: int, bits: int, rows: bytes) -> bytes:
    """A grey PNG of packed rows, each with its filter byte."""
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def joined(picture: Picture) -> np.ndarray:
    assert picture.pixels.flags.c_contiguous
    return picture.pixels if picture.alpha is None else np.dstack((picture.pixels, picture.alpha))


def difference(first: np.ndarray, second: np.ndarray) -> float:
    assert first.shape == second.shape
    return float(np.abs(first.astype(float) - second.astype(float)).max())


# --- forms of files ---


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("pixels", [photograph(), deep_photograph()], ids=["8", "16"])
def test_png_of_any_depth_is_read_exactly(tmp_path: Path, pixels: np.ndarray, channels: int) -> None:
    stored = of_channels(pixels, channels)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(stored))
    found = read_picture(tmp_path / "a.png")
    assert found.pixels.dtype == pixels.dtype
    np.testing.assert_array_equal(joined(found), stored)
    assert (found.alpha is None) == (channels in (1, 3))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "lzw"},
        {"compression": "adobe_deflate", "predictor": True},
        {"compression": "packbits"},
        {"planarconfig": "separate"},
        {"tile": (16, 16)},
        {"byteorder": ">"},
        {"bigtiff": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("pixels", [photograph(), deep_photograph()], ids=["8", "16"])
def test_tiff_of_any_depth_and_layout_is_read_exactly(tmp_path: Path, pixels: np.ndarray, channels: int, options: dict[str, Any]) -> None:
    stored = of_channels(pixels, channels)
    planes = channels > 1 and options.get("planarconfig") == "separate"
    options = {"planarconfig": "contig", **options}
    if channels == 1:
        del options["planarconfig"]
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.moveaxis(stored, 2, 0) if planes else stored[..., 0] if channels == 1 else stored,
        photometric="rgb" if channels > 2 else "minisblack",
        extrasamples=["unassalpha"] if channels in (2, 4) else None,
        **options,
    )
    found = read_picture(tmp_path / "a.tif")
    assert found.pixels.dtype == pixels.dtype
    np.testing.assert_array_equal(joined(found), stored)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp", ".bmp", ".gif"])
def test_what_pillow_writes_is_read_as_pillow_reads_it(tmp_path: Path, mode: str, suffix: str) -> None:
    image = Image.fromarray(deep_photograph()[..., 1]) if mode == "I;16" else Image.fromarray(photograph()).convert(mode)
    if mode in ("LA", "RGBA"):
        image.putalpha(Image.fromarray(of_channels(photograph(), 4)[..., 3]))
    path = tmp_path / f"a{suffix}"
    try:
        image.save(path, **LOSSLESS.get(suffix, {}))
    except (OSError, KeyError, ValueError):
        pytest.skip("Pillow does not write that")
    stored = Image.open(path)
    found = read_picture(path)
    assert read_size(path) == found.size == (48, 56)
    if stored.mode == "I;16":
        np.testing.assert_array_equal(found.pixels[..., 0], np.asarray(stored))
        return
    grey = stored.mode in ("1", "L", "LA")
    assert found.pixels.shape[2] == (1 if grey else 3)
    assert difference(found.pixels, np.asarray(stored.convert("RGB"))[..., : found.pixels.shape[2]]) <= (stored.mode == "CMYK")
    if stored.has_transparency_data:
        assert found.alpha is not None
        np.testing.assert_array_equal(found.alpha, np.asarray(stored.convert("RGBA"))[..., 3])


def test_few_bits_are_stretched_to_the_full_range(tmp_path: Path) -> None:
    for bits in (1, 2, 4):
        levels = np.arange(2**bits, dtype=np.uint8).repeat(8)[None].repeat(3, axis=0)
        row = b"\0" + np.packbits(np.unpackbits(levels[0, :, None], axis=1)[:, 8 - bits :]).tobytes()
        (tmp_path / "a.png").write_bytes(bare_png(levels.shape[1], 3, bits, 3 * row))
        np.testing.assert_array_equal(read_picture(tmp_path / "a.png").pixels[..., 0], levels * (255 // (2**bits - 1)))
    tifffile.imwrite(tmp_path / "a.tif", np.arange(64).reshape(8, 8) % 2 == 1, photometric="minisblack")
    assert np.unique(read_picture(tmp_path / "a.tif").pixels).tolist() == [0, 255]
    twelve = np.array([[0, 1, 2048, 4095]], dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", twelve, bitspersample=12, photometric="minisblack")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.tif").pixels[..., 0], np.rint(twelve / 4095 * 65535))


def test_white_may_be_zero(tmp_path: Path) -> None:
    for pixels in (photograph()[..., 0], deep_photograph()[..., 0]):
        tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="miniswhite")
        np.testing.assert_array_equal(read_picture(tmp_path / "a.tif").pixels[..., 0], np.iinfo(pixels.dtype).max - pixels)


def test_colours_that_were_multiplied_by_alpha_are_divided_by_it(tmp_path: Path) -> None:
    straight = of_channels(deep_photograph(), 4)
    share = straight[..., 3:] / 65535
    stored = straight.copy()
    stored[..., :3] = np.rint(straight[..., :3] * share)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", extrasamples=["assocalpha"])
    found = joined(read_picture(tmp_path / "a.tif"))
    assert difference(found[:, 10:], straight[:, 10:]) <= 6


def test_16_bit_inks_and_planes_are_read(tmp_path: Path) -> None:
    inks = np.random.default_rng(0).integers(0, 65536, (9, 7, 4)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", inks, photometric="separated")
    light = 1 - inks / 65535
    assert difference(read_picture(tmp_path / "a.tif").pixels, light[..., :3] * light[..., 3:] * 65535) <= 0.5


def test_other_channels_and_pages_are_left_out_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    array = np.dstack((photograph(), photograph()[..., :2]))
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="rgb", extrasamples=["unspecified"] * 2)
    with told(caplog, r"a\.tif: has channels beside colour and alpha"):
        found = read_picture(tmp_path / "a.tif")
    np.testing.assert_array_equal(joined(found), photograph())
    tifffile.imwrite(tmp_path / "b.tif", np.stack((photograph(), 255 - photograph())), photometric="rgb")
    with told(caplog, r"b\.tif: has 2 pages; the first is taken"):
        np.testing.assert_array_equal(read_picture(tmp_path / "b.tif").pixels, photograph())


@pytest.mark.parametrize("suffix", [".png", ".gif", ".webp"])
def test_the_first_frame_of_an_animation_is_taken_with_a_warning(tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture) -> None:
    frames = [Image.new("RGB", (20, 16), color) for color in ((250, 10, 20), (10, 240, 20))]
    frames[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:], lossless=True)
    with told(caplog, "is animated; its first frame is taken"):
        assert (read_picture(tmp_path / f"a{suffix}").pixels == (250, 10, 20)).all()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floating_point_becomes_16_bits(tmp_path: Path, dtype: str) -> None:
    values = np.linspace(0, 1, 60).reshape(3, 4, 5)[..., :3].astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb")
    found = read_picture(tmp_path / "a.tif").pixels
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, np.rint(values.astype(np.float64) * 65535))


def test_floating_point_out_of_range_is_clipped_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.array([[-0.5, 0.5, 1.5]], np.float32))
    with told(caplog, r"a\.tif: has values outside 0\.\.1, which are clipped"):
        assert read_picture(tmp_path / "a.tif").pixels.ravel().tolist() == [0, 32768, 65535]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_no_numbers_are_refused(tmp_path: Path, value: float) -> None:
    values = np.full((40, 30), 0.5, np.float32)
    values[33, 21] = value
    tifffile.imwrite(tmp_path / "a.tif", values)
    with pytest.raises(ValueError, match=r"^picture .*a\.tif: has pixels that are NaN or infinite$"):
        read_picture(tmp_path / "a.tif")


@pytest.mark.parametrize("dtype", ["int16", "uint32", "int32", "complex64"])
def test_other_numbers_are_refused(tmp_path: Path, dtype: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 4), dtype))
    with pytest.raises(ValueError, match=rf"a\.tif: has pixels of type {dtype}; unsigned ones of 1 to 16 bits"):
        read_picture(tmp_path / "a.tif")


def test_the_contents_say_of_which_format_a_file_is(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(imagecodecs.png_encode(photograph()))
    (tmp_path / "a").write_bytes(imagecodecs.png_encode(photograph()))
    for name in ("a.jpg", "a"):
        np.testing.assert_array_equal(read_picture(tmp_path / name).pixels, photograph())


# --- orientation ---


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_pictures_come_upright_and_say_so(tmp_path: Path, suffix: str, orientation: int) -> None:
    path = tmp_path / f"a{suffix}"
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.Make] = "Camera"
    exif[ExifTags.IFD.Exif] = {ExifTags.Base.ExifImageWidth: 56, ExifTags.Base.ExifImageHeight: 48}
    Image.fromarray(photograph()).save(path, exif=exif.tobytes(), dpi=(100, 200), **LOSSLESS.get(suffix, {}))
    # TIFF comes upright from Pillow
    expected = Image.open(path) if suffix == ".jpg" else Image.fromarray(photograph())
    if orientation > 1:
        expected = expected.transpose(TRANSPOSITIONS[orientation])
    found = read_picture(path)
    np.testing.assert_array_equal(found.pixels, np.asarray(expected))
    assert read_size(path) == found.size == expected.size[::-1]
    assert found.metadata.exif is not None
    kept = Image.Exif()
    kept.load(found.metadata.exif)
    assert kept[ExifTags.Base.Orientation] == 1
    assert kept[ExifTags.Base.Make] == "Camera"
    camera = kept.get_ifd(ExifTags.IFD.Exif)
    assert (camera[ExifTags.Base.ExifImageHeight], camera[ExifTags.Base.ExifImageWidth]) == found.size
    if suffix != ".webp":
        assert found.metadata.resolution == pytest.approx((200, 100) if orientation > 4 else (100, 200), abs=0.1)


@pytest.mark.parametrize("orientation", [3, 6])
def test_alpha_turns_with_the_colours(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    image = Image.fromarray(of_channels(photograph(), 4))
    image.save(tmp_path / "a.png", exif=exif)
    expected = np.asarray(image.transpose(TRANSPOSITIONS[orientation]))
    np.testing.assert_array_equal(joined(read_picture(tmp_path / "a.png")), expected)


def test_metadata_behind_the_pixels_of_a_png_are_read(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    contents = imagecodecs.png_encode(photograph())
    late = png_chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")) + png_chunk(b"tEXt", b"Title\0late")
    (tmp_path / "a.png").write_bytes(contents[:-12] + late + contents[-12:])
    found = read_picture(tmp_path / "a.png")
    assert found.size == read_size(tmp_path / "a.png") == (56, 48)
    assert found.metadata.texts == (("Title", "late"),)


# --- colour profiles ---


def pillow_conversion(pixels: np.ndarray, profile: bytes, mode: str | None = None) -> np.ndarray:
    image = Image.fromarray(pixels, mode)
    result = ImageCms.profileToProfile(image, io.BytesIO(profile), ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert result is not None
    return np.asarray(result)


def save_with_profile(path: Path, pixels: np.ndarray, profile: bytes) -> None:
    if path.suffix == ".tif":
        tifffile.imwrite(path, pixels, photometric="rgb" if pixels.ndim == 3 else "minisblack", iccprofile=profile)
    else:
        options = {".jpg": {"quality": 100, "subsampling": 0}, ".webp": {"lossless": True}}.get(path.suffix, {})
        Image.fromarray(pixels).save(path, icc_profile=profile, **options)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_colours_of_another_profile_become_srgb(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    save_with_profile(path, photograph(), ADOBE_RGB)
    stored = tifffile.imread(path) if suffix == ".tif" else np.asarray(Image.open(path))
    found = read_picture(path)
    assert difference(found.pixels, pillow_conversion(stored, ADOBE_RGB)) <= 1
    assert difference(found.pixels, stored) > 20
    assert found.metadata.has_profile


def test_16_bit_colours_of_another_profile_stay_16_bits(tmp_path: Path) -> None:
    save_with_profile(tmp_path / "a.tif", deep_photograph(), ADOBE_RGB)
    found = read_picture(tmp_path / "a.tif").pixels
    # the definition of Adobe RGB (1998), then that of sRGB
    linear = (deep_photograph() / 65535) ** 2.19921875
    to_xyz = [[0.57667, 0.18556, 0.18823], [0.29734, 0.62736, 0.07529], [0.02703, 0.07069, 0.99134]]
    to_srgb = [[3.24045, -1.53714, -0.49853], [-0.96927, 1.87601, 0.04156], [0.05564, -0.20403, 1.05723]]
    linear = (linear @ np.transpose(to_xyz) @ np.transpose(to_srgb)).clip(0, 1)
    expected = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert difference(found / 65535, expected) < 3e-3
    assert len(np.unique(found)) > 2000


@pytest.mark.parametrize("pixels", [photograph(), deep_photograph()], ids=["8", "16"])
def test_pixels_that_are_srgb_are_untouched(tmp_path: Path, pixels: np.ndarray) -> None:
    save_with_profile(tmp_path / "a.tif", pixels, SRGB)
    found = read_picture(tmp_path / "a.tif")
    np.testing.assert_array_equal(found.pixels, pixels)
    assert found.metadata.has_profile


@pytest.mark.parametrize("pixels", [photograph()[..., 0], deep_photograph()[..., 0]], ids=["8", "16"])
def test_greys_of_another_profile_stay_grey(tmp_path: Path, pixels: np.ndarray) -> None:
    save_with_profile(tmp_path / "a.tif", np.ascontiguousarray(pixels), GREY_18)
    found = read_picture(tmp_path / "a.tif").pixels
    highest = np.iinfo(pixels.dtype).max
    linear = (pixels / highest) ** 1.8
    expected = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert found.shape == (48, 56, 1)
    assert difference(found[..., 0] / highest, expected) < 4e-3
    assert np.abs(found[..., 0].astype(int) - pixels).max() > highest / 30


def test_greys_with_a_profile_of_colours_heed_its_tones(tmp_path: Path) -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    gamma = imagecodecs.cms_profile("rgb", whitepoint=D65, primaries=(0.64, 0.33, 1, 0.3, 0.6, 1, 0.15, 0.06, 1), gamma=1.0)
    Image.fromarray(grey).save(tmp_path / "a.jpg", icc_profile=gamma, quality=100)
    stored = np.asarray(Image.open(tmp_path / "a.jpg"))
    expected = pillow_conversion(np.repeat(stored[..., None], 3, axis=2), gamma)[..., 1]
    found = read_picture(tmp_path / "a.jpg").pixels
    assert found.shape == (16, 16, 1)
    assert difference(found[..., 0], expected) <= 1


@pytest.mark.parametrize(
    ("profile", "words"),
    [(ADOBE_RGB[:200], "is damaged"), (GREY_18, "is for GRAY pixels"), (b"nonsense" * 40, "is for nons pixels of another kind")],
)
def test_a_profile_that_cannot_be_used_warns(tmp_path: Path, profile: bytes, words: str, caplog: pytest.LogCaptureFixture) -> None:
    tifffile.imwrite(tmp_path / "a.tif", photograph(), photometric="rgb", iccprofile=profile)
    with told(caplog, rf"a\.tif: its colour profile {words}.* is not used"):
        np.testing.assert_array_equal(read_picture(tmp_path / "a.tif").pixels, photograph())


# --- writing ---


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("pixels", [photograph(), deep_photograph()], ids=["8", "16"])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".TIFF"])
def test_png_and_tiff_come_back_exactly_and_others_read_them(tmp_path: Path, suffix: str, pixels: np.ndarray, channels: int) -> None:
    array = of_channels(pixels, channels)
    picture = Picture(array[..., :-1] if channels in (2, 4) else array, array[..., -1] if channels in (2, 4) else None)
    path = tmp_path / f"a{suffix}"
    picture.save(path)
    read = imagecodecs.png_decode(path.read_bytes()) if suffix == ".png" else tifffile.imread(path)
    np.testing.assert_array_equal(read.reshape(array.shape), array)
    np.testing.assert_array_equal(joined(read_picture(path)), array)
    # which Pillow cannot read from TIFF
    if not (channels == 2 and pixels.dtype == np.uint16):
        with Image.open(path) as image:
            image.load()
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("suffix", SHALLOW)
def test_16_bits_and_floating_point_are_rounded_to_8(tmp_path: Path, suffix: str) -> None:
    shallow, deep, real = (tmp_path / f"{name}{suffix}" for name in ("shallow", "deep", "real"))
    write_picture(shallow, Picture(np.rint(deep_photograph() / 257).astype(np.uint8)))
    write_picture(deep, Picture(deep_photograph()))
    write_picture(real, Picture((deep_photograph() / np.float32(65535)).astype(np.float32)))
    assert shallow.read_bytes() == deep.read_bytes() == real.read_bytes()


@pytest.mark.parametrize("suffix", DEEP)
def test_floating_point_is_written_as_16_bits(tmp_path: Path, suffix: str) -> None:
    write_picture(tmp_path / f"a{suffix}", Picture((deep_photograph() / 65535).astype(np.float32)))
    np.testing.assert_array_equal(read_picture(tmp_path / f"a{suffix}").pixels, deep_photograph())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("suffix", SHALLOW)
def test_lossy_formats_come_back_closely(tmp_path: Path, suffix: str, channels: int) -> None:
    smooth = np.linspace(20, 220, 64 * 48).reshape(48, 64, 1).repeat(channels, axis=2).astype(np.uint8)
    sizes = []
    for quality in (50, 95):
        write_picture(tmp_path / f"a{suffix}", Picture(smooth), quality=quality)
        sizes.append((tmp_path / f"a{suffix}").stat().st_size)
        found = read_picture(tmp_path / f"a{suffix}").pixels
        assert found.shape[2] == (channels if suffix == ".jpg" else 3)
        assert np.abs(found - smooth.astype(float)).mean() < 3
    assert sizes[0] < sizes[1]


def test_webp_may_be_lossless(tmp_path: Path) -> None:
    array = of_channels(photograph(), 4)
    write_picture(tmp_path / "a.webp", Picture(photograph(), array[..., 3]), lossless=True)
    np.testing.assert_array_equal(joined(read_picture(tmp_path / "a.webp")), array)


def test_what_a_format_cannot_hold_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    picture = Picture(photograph(), of_channels(photograph(), 4)[..., 3])
    with told(caplog, r"a\.jpg: JPEG has no transparency"):
        write_picture(tmp_path / "a.jpg", picture)
    with told(caplog, "lossless=True is for WebP, and is ignored"):
        write_picture(tmp_path / "a.jpg", Picture(photograph()), lossless=True)
    long = Metadata(xmp=b"<x>" + b" " * 70000, texts=(("Comment", "kept"),))
    with told(caplog, "xmp is too long for JPEG"):
        write_picture(tmp_path / "a.jpg", Picture(photograph(), metadata=long))
    assert read_picture(tmp_path / "a.jpg").metadata == Metadata(texts=(("Comment", "kept"),))


def test_a_picture_too_long_for_a_format_is_refused_by_name(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for suffix, side, others in ((".webp", 16384, "PNG or JPEG or TIFF"), (".jpg", 65501, "PNG or TIFF"), (".png", 1_000_001, "TIFF")):
        path = tmp_path / f"b{suffix}"
        with pytest.raises(ValueError, match=rf"^{path}: \w+ holds at most {side - 1} px a side, the picture is {side} x 1; use {others}$"):
            write_picture(path, Picture(np.zeros((1, side, 3), np.uint8)))
    write_picture(tmp_path / "b.tif", Picture(np.zeros((1, 1_000_001, 1), np.uint8)))
    assert capfd.readouterr().err == "", "libpng prints"


@pytest.mark.parametrize(
    ("name", "picture"),
    [
        ("a.png", Picture(np.zeros((0, 4, 3), np.uint8))),
        ("a.jpg", Picture(np.zeros((4, 0, 3), np.uint8))),
        ("a.tif", Picture(np.zeros((4, 4, 3), np.uint8), metadata=Metadata(exif=b"Exif\0\0II*\0"))),
    ],
    ids=["RuntimeError-png", "RuntimeError-jpg", "struct.error"],
)
def test_what_an_encoder_refuses_is_told_in_one_line(tmp_path: Path, name: str, picture: Picture) -> None:
    with pytest.raises(ValueError, match=rf"^{tmp_path / name}: the picture cannot be written as \w+ \(.+\); use another format$"):
        write_picture(tmp_path / name, picture)
    assert os.listdir(tmp_path) == []


def test_a_resolution_that_a_format_does_not_hold_is_left_out(tmp_path: Path) -> None:
    highest = 2**32 - 1
    for unit, factor in (("inch", 1.0), ("centimeter", 2.54)):
        resolution = ((highest, 1), (highest, 1))
        # with EXIF, a JPEG of no resolution has 72
        options = {"software": False, "metadata": None}
        tifffile.imwrite(tmp_path / "a.tif", photograph(), photometric="rgb", resolution=resolution, resolutionunit=unit, **options)
        found = read_picture(tmp_path / "a.tif")
        assert found.metadata.resolution == (factor * highest,) * 2
        for suffix in WRITTEN_SUFFIXES:
            write_picture(tmp_path / f"b{suffix}", found)
            kept = suffix in (".tif", ".tiff") and unit == "inch"
            assert read_picture(tmp_path / f"b{suffix}").metadata.resolution == ((highest, highest) if kept else None)


@pytest.mark.parametrize("pixels", [photograph()[..., 0], deep_photograph()[..., 0]], ids=["8", "16"])
@pytest.mark.parametrize("written", [".png", ".jpg", ".tif", ".webp"])
@pytest.mark.parametrize("source", [".png", ".jpg", ".tif", ".webp", ".bmp", ".gif"])
def test_grey_that_was_read_is_written(tmp_path: Path, source: str, written: str, pixels: np.ndarray) -> None:
    if source in (".png", ".tif"):
        Image.fromarray(np.ascontiguousarray(pixels)).save(tmp_path / f"a{source}")
    else:
        Image.fromarray(np.rint(pixels / np.iinfo(pixels.dtype).max * 255).astype(np.uint8)).save(tmp_path / f"a{source}")
    found = read_picture(tmp_path / f"a{source}")
    found.save(tmp_path / f"b{written}")
    again = read_picture(tmp_path / f"b{written}")
    assert again.size == found.size
    if written in (".png", ".tif"):
        np.testing.assert_array_equal(again.pixels, found.pixels)
    else:
        scale = np.iinfo(found.pixels.dtype).max / 255
        assert np.abs(again.pixels - found.pixels / scale).mean() < 3


@pytest.mark.parametrize("written", WRITTEN_SUFFIXES)
def test_pictures_are_written_whatever_the_strides_of_their_axes(tmp_path: Path, written: str) -> None:
    rows = photograph()[:, 0]
    for pixels in (
        photograph()[..., 0][..., None],
        rows[:, None],
        rows[None],
        rows[0][None, None],
        np.full((), 7, np.uint8)[None, None, None],
    ):
        write_picture(tmp_path / f"a{written}", Picture(pixels))
        assert read_picture(tmp_path / f"a{written}").size == pixels.shape[:2]


def test_without_any_handler_warnings_come_out_on_stderr(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.array([[0.5, 1.5]], np.float32))
    code = "import sys; from stylecolor.pictures.files import read_picture; read_picture(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", code, "a.tif"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stderr == "picture a.tif: has values outside 0..1, which are clipped\n"


def metadata() -> Metadata:
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Camera"
    exif[ExifTags.Base.Artist] = "Jürgen".encode()
    exif[ExifTags.Base.DateTime] = "2020:01:02 03:04:05"
    exif[ExifTags.IFD.Exif] = {ExifTags.Base.DateTimeOriginal: "2019:01:02 03:04:05", ExifTags.Base.FNumber: 2.8}
    exif[ExifTags.IFD.GPSInfo] = {ExifTags.GPS.GPSLatitudeRef: "N", ExifTags.GPS.GPSLatitude: (48.0, 30.0, 15.5)}
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'></x:xmpmeta>"
    return Metadata(exif.tobytes(), xmp, resolution=(300, 150), has_profile=True, texts=(("Comment", "a comment"), ("Title", "Grüße")))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_metadata_are_written_where_others_find_them(tmp_path: Path, suffix: str, channels: int) -> None:
    path = tmp_path / f"a{suffix}"
    write_picture(path, Picture(of_channels(photograph(), channels), metadata=metadata()))
    with Image.open(path) as image:
        image.load()
        exif = image.getexif()
        assert exif[ExifTags.Base.Make] == "Camera"
        assert exif[ExifTags.Base.DateTime] == "2020:01:02 03:04:05"
        assert exif[ExifTags.Base.Artist].encode("latin-1").decode() == "Jürgen"
        assert exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] == "2019:01:02 03:04:05"
        assert float(exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FNumber]) == pytest.approx(2.8)
        assert [float(value) for value in exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude]] == [48, 30, 15.5]
        assert (image.info.get("xmp") or b"").rstrip(b"\0") == metadata().xmp
        assert ImageCms.getOpenProfile(io.BytesIO(image.info["icc_profile"])) is not None
        assert image.info["icc_profile"][16:20] == (b"GRAY" if channels == 1 and suffix != ".webp" else b"RGB ")
        if suffix != ".webp":
            assert image.info["dpi"] == pytest.approx((300, 150), abs=0.02)
        if suffix == ".png":
            assert (image.info["Comment"], image.info["Title"]) == ("a comment", "Grüße")
        if suffix == ".jpg":
            assert image.info["comment"] == b"a comment"
    found = read_picture(path).metadata
    assert found.has_profile
    assert found.xmp == metadata().xmp
    again = tmp_path / f"again{suffix}"
    write_picture(again, Picture(of_channels(photograph(), channels), metadata=found))
    assert read_picture(again).metadata == found


@pytest.mark.parametrize("suffix", WRITTEN_SUFFIXES)
def test_without_metadata_none_are_written(tmp_path: Path, suffix: str) -> None:
    write_picture(tmp_path / f"a{suffix}", Picture(photograph()))
    assert read_picture(tmp_path / f"a{suffix}").metadata == Metadata()


def test_the_thumbnail_and_the_old_colour_space_are_left_out(tmp_path: Path) -> None:
    thumbnail = io.BytesIO()
    Image.fromarray(photograph()[::4, ::4].copy()).save(thumbnail, "JPEG")
    head = struct.pack("<2sHIHHHI4sI", b"II", 42, 8, 1, 0x8769, 4, 1, struct.pack("<I", 26), 44)
    camera = struct.pack("<HHHIIi", 1, 0xA001, 3, 1, 65535, 0)
    after = struct.pack("<HHHIIHHIIi", 2, 0x0201, 4, 1, 74, 0x0202, 4, 1, len(thumbnail.getvalue()), 0)
    exif = head + camera + after + thumbnail.getvalue()
    Image.fromarray(photograph()).save(tmp_path / "a.jpg", exif=b"Exif\0\0" + exif)
    assert 0x0201 in Image.open(tmp_path / "a.jpg").getexif().get_ifd(ExifTags.IFD.IFD1)
    kept = Image.Exif()
    found = read_picture(tmp_path / "a.jpg").metadata.exif
    assert found is not None
    kept.load(found)
    assert kept.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ColorSpace] == 1
    assert not kept.get_ifd(ExifTags.IFD.IFD1)
    assert thumbnail.getvalue() not in found


def test_xmp_says_upright_too(tmp_path: Path) -> None:
    for said in (b'<a tiff:Orientation="6"/>', b"<tiff:Orientation>6</tiff:Orientation>"):
        Image.fromarray(photograph()).save(tmp_path / "a.jpg", xmp=said)
        found = read_picture(tmp_path / "a.jpg")
        assert found.size == (56, 48)
        assert found.metadata.xmp == said.replace(b"6", b"1")


def test_damaged_exif_is_left_out_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Image.fromarray(photograph()).save(tmp_path / "a.png", exif=b"Exif\0\0nonsense and more of it")
    with told(caplog, r"a\.png: its EXIF is damaged and left out"):
        assert read_picture(tmp_path / "a.png").metadata.exif is None


@pytest.mark.parametrize("suffix", WRITTEN_SUFFIXES)
def test_the_same_picture_gives_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    for name in ("a", "b"):
        write_picture(tmp_path / f"{name}{suffix}", Picture(photograph(), metadata=metadata()))
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
    with Image.open(tmp_path / f"a{suffix}") as image:
        # year of the profile, which LittleCMS takes from the clock
        assert struct.unpack_from(">H", image.info["icc_profile"], 24) == (1999,)


def test_directories_are_made(tmp_path: Path) -> None:
    check_output(tmp_path / "new" / "deeper" / "a.png")
    write_picture(tmp_path / "new" / "deeper" / "a.png", Picture(photograph()))
    assert read_size(tmp_path / "new" / "deeper" / "a.png") == (48, 56)


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"^.*a\.png: cannot be written \(File too large\)$"):
            write_picture(tmp_path / "a.png", Picture(photograph()))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert os.listdir(tmp_path) == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == b"old"


def test_places_where_nothing_can_be_written_are_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "directory.png").mkdir()
    for call in (check_output, lambda path: write_picture(path, Picture(photograph()))):
        for name in ("a.xyz", "a", "a.gif"):
            with pytest.raises(ValueError, match=rf"suffix of .*{name}=.* is not one of \.png, \.jpg"):
                call(tmp_path / name)
        with pytest.raises(OSError, match=r"file/a\.png: cannot be written, as .*file is no directory"):
            call(tmp_path / "file" / "a.png")
        with pytest.raises(OSError, match=r"directory\.png: is a directory; name a file"):
            call(tmp_path / "directory.png")
    assert sorted(os.listdir(tmp_path)) == ["directory.png", "file"]


@pytest.mark.skipif(os.access("/proc/self", os.W_OK), reason="no place that cannot be written to")
def test_a_place_without_permission_is_refused() -> None:
    with pytest.raises(PermissionError, match="cannot be written, as the permissions of /proc/self forbid it"):
        check_output("/proc/self/a.png")


# --- bad input ---


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp", ".bmp", ".gif"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.98])
def test_a_truncated_picture_is_refused_in_one_line(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix == ".tif":
        tifffile.imwrite(path, deep_photograph(), photometric="rgb", compression="adobe_deflate")
    else:
        Image.fromarray(photograph()).save(path)
    contents = path.read_bytes()
    path.write_bytes(contents[: int(len(contents) * share)])
    with pytest.raises(ValueError, match=rf"^picture {path}: is damaged or truncated$"):
        read_picture(path)


def test_a_thumbnail_does_not_hide_that_a_jpeg_is_truncated(tmp_path: Path) -> None:
    thumbnail = io.BytesIO()
    Image.fromarray(photograph()[::4, ::4].copy()).save(thumbnail, "JPEG")
    exif = b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0" + thumbnail.getvalue()
    for progressive in (False, True):
        Image.fromarray(photograph()).save(tmp_path / "a.jpg", exif=exif, progressive=progressive)
        assert read_picture(tmp_path / "a.jpg").size == (48, 56)
        contents = (tmp_path / "a.jpg").read_bytes()
        (tmp_path / "a.jpg").write_bytes(contents[:-2])
        with pytest.raises(ValueError, match="is damaged or truncated"):
            read_picture(tmp_path / "a.jpg")


@pytest.mark.parametrize("reader", [read_picture, read_size])
def test_what_is_no_picture_is_refused_in_one_line(tmp_path: Path, reader: Callable[[Path], object]) -> None:
    (tmp_path / "garbage.png").write_bytes(b"\x89PNX not a picture" * 100)
    (tmp_path / "half.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"garbage" * 100)
    (tmp_path / "half.jpg").write_bytes(b"\xff\xd8\xff" + b"garbage" * 100)
    (tmp_path / "half.tif").write_bytes(b"II*\0" + b"garbage" * 100)
    (tmp_path / "half.webp").write_bytes(b"RIFF\0\1\0\0WEBPVP8 " + b"garbage" * 100)
    (tmp_path / "empty.jpg").write_bytes(b"")
    for name, words in (
        ("garbage.png", "is no picture of a format that is read: PNG, JPEG, TIFF, WebP, BMP, GIF"),
        *((f"half.{suffix}", "is damaged or truncated") for suffix in ("png", "jpg", "tif", "webp")),
        ("empty.jpg", "is empty"),
        ("missing.jpg", "no such file"),
        (".", "is a directory"),
    ):
        with pytest.raises(ValueError, match=rf"^picture {tmp_path / name}: {words}$"):
            reader(tmp_path / name)


def test_bytes_changed_at_random_never_end_in_more_than_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    random = np.random.default_rng(0)
    for suffix in (".jpg", ".png", ".tif", ".webp", ".bmp", ".gif"):
        path = tmp_path / f"a{suffix}"
        Image.fromarray(photograph()).save(path)
        contents = np.frombuffer(path.read_bytes(), np.uint8)
        messages = []
        for _ in range(60):
            damaged = contents.copy()
            damaged[random.integers(4, len(contents), 3)] = random.integers(0, 256, 3)
            damaged[random.integers(4, 60)] = random.integers(0, 256)
            path.write_bytes(damaged.tobytes())
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    read_picture(path, max_pixels=1_000_000)
                except ValueError as error:
                    messages.append(str(error))
        assert messages
        messages += warnings_in(caplog.records)
        assert all(re.fullmatch(f"picture {re.escape(str(path))}: .+", message) for message in messages)
        caplog.clear()


def test_a_decompression_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    for side in (30_000, 200_000):
        (tmp_path / "a.png").write_bytes(bare_png(side, side, 1, bytes(10_000)))
        assert read_size(tmp_path / "a.png") == (side, side)
        with pytest.raises(
            ValueError,
            match=rf"a\.png: its {side} x {side} px are more than max_pixels=500000000; raise that \(--max-megapixels\) to read it",
        ):
            read_picture(tmp_path / "a.png")
    for suffix in (".jpg", ".tif", ".webp", ".bmp", ".gif"):
        Image.fromarray(photograph()).save(tmp_path / f"a{suffix}")
        with pytest.raises(ValueError, match=r"its 56 x 48 px are more than max_pixels=2687"):
            read_picture(tmp_path / f"a{suffix}", max_pixels=56 * 48 - 1)
        assert read_picture(tmp_path / f"a{suffix}", max_pixels=56 * 48).size == (48, 56)


def test_pillows_own_limit_is_for_webp_alone_and_only_since_pillow_13(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limited = int(PIL.__version__.partition(".")[0]) >= 13
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    for suffix in PICTURE_SUFFIXES:
        path = tmp_path / f"a{suffix}"
        Image.fromarray(photograph()).save(path)
        if suffix == ".webp" and limited:
            with pytest.raises(ValueError, match=r"a\.webp: has more pixels than Pillow takes from a file of this format; convert"):
                read_picture(path)
        else:
            assert read_picture(path).size == (48, 56)


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1)])
@pytest.mark.parametrize("suffix", WRITTEN_SUFFIXES)
def test_thin_pictures_come_back(tmp_path: Path, suffix: str, size: tuple[int, int]) -> None:
    write_picture(tmp_path / f"a{suffix}", Picture(np.full((*size, 3), 100, np.uint8)))
    found = read_picture(tmp_path / f"a{suffix}")
    assert found.size == size
    assert difference(found.pixels, np.full((*size, 3), 100)) <= 2


def test_a_recoloured_picture_keeps_alpha_and_metadata() -> None:
    picture = Picture(photograph()[..., :1], photograph()[..., 1], metadata())
    recolored = picture.recolored(photograph())
    assert recolored.pixels is not picture.pixels
    assert (recolored.alpha is picture.alpha, recolored.metadata) == (True, metadata())
