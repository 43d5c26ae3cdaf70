import io
import re
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import skimage.data
import torch
from PIL import ExifTags, Image, ImageCms

from stylecolor.pictures.files import Metadata, Picture, read_picture
from stylecolor.pictures.kinds import AnyPicture, like_source, to_picture


def photograph() -> np.ndarray:
    """uint8 (48, 56, 3)."""
    return np.ascontiguousarray(skimage.data.astronaut()[100:484:8, 50:498:8])


def recolored(picture: Picture) -> Picture:
    """What a colorizer returns: as large, of the same dtype, with 3 channels."""
    return picture.recolored(np.repeat(picture.pixels[..., :1], 3, axis=2))


def test_a_path_comes_back_as_a_picture(tmp_path: Path) -> None:
    Image.fromarray(photograph()).save(tmp_path / "a.png")
    for source in (tmp_path / "a.png", str(tmp_path / "a.png")):
        picture = to_picture(source)
        np.testing.assert_array_equal(picture.pixels, photograph())
        assert like_source(picture, source) is picture
    picture = Picture(photograph())
    assert to_picture(picture) is picture
    assert like_source(picture, to_picture(tmp_path / "a.png")) is picture


# --- Pillow ---


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "I", "F", "I;16", "La", "RGBa"])
def test_pillow_pictures_of_any_mode_come_back_as_rgb(mode: str) -> None:
    transparent = mode in ("LA", "PA", "RGBA", "La", "RGBa")
    source = Image.fromarray(photograph()).convert("L" if mode in ("I", "F", "I;16", "LA", "La") else "RGB")
    if transparent:
        source.putalpha(Image.fromarray(np.full((48, 56), 200, np.uint8)))
    if mode == "F":
        source = Image.fromarray(np.asarray(source, np.float32) / 255)
    elif mode == "PA":
        source = source.convert("RGB").quantize().convert("PA")
        source.putalpha(200)
    else:
        source = source.convert(mode)
    picture = to_picture(source)
    assert picture.pixels.dtype == (np.uint16 if mode in ("I", "F", "I;16") else np.uint8)
    expected = np.asarray(source.convert("RGB"), float) if mode not in ("F", "I;16", "La", "RGBa") else None
    if expected is not None:
        depth = 1 if mode == "I" else np.iinfo(picture.pixels.dtype).max / 255
        assert np.abs(picture.pixels / depth - expected[..., : picture.pixels.shape[2]]).max() <= 1
    assert (picture.alpha is not None) == transparent
    result = like_source(recolored(picture), source)
    assert (result.mode, result.size) == ("RGBA" if transparent else "RGB", (56, 48))
    if transparent:
        assert (np.asarray(result)[..., 3] == 200).all()


def test_orientation_profile_and_metadata_of_pillow_pictures_are_heeded(tmp_path: Path) -> None:
    gamma = imagecodecs.cms_profile(
        "rgb", whitepoint=(0.3127, 0.329, 1), primaries=(0.64, 0.33, 1, 0.21, 0.71, 1, 0.15, 0.06, 1), gamma=1.8
    )
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Make] = "Camera"
    Image.fromarray(photograph()).save(tmp_path / "a.png", exif=exif, icc_profile=gamma, dpi=(100, 200))
    with Image.open(tmp_path / "a.png") as source:
        picture, from_file = to_picture(source), read_picture(tmp_path / "a.png")
        np.testing.assert_array_equal(picture.pixels, from_file.pixels)
        assert picture.metadata == from_file.metadata
        result = like_source(picture, source)
    assert result.size == (48, 56)
    result.save(tmp_path / "b.png", exif=result.info["exif"])
    again = read_picture(tmp_path / "b.png")
    np.testing.assert_array_equal(again.pixels, from_file.pixels)
    assert again.metadata.exif == from_file.metadata.exif
    assert ImageCms.getOpenProfile(io.BytesIO(result.info["icc_profile"])) is not None


def test_a_pillow_picture_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    for array, words in (
        (np.full((4, 4), 70000, np.int32), "mode I outside 0..65535"),
        (np.full((4, 4), 1.5, np.float32), "mode F outside 0..1"),
    ):
        with pytest.raises(ValueError, match=f"^reference: has values of {words}; scale them$"):
            to_picture(Image.fromarray(array), "reference")
    Image.fromarray(photograph()).save(tmp_path / "a.png")
    contents = (tmp_path / "a.png").read_bytes()
    truncated = Image.open(io.BytesIO(contents[: len(contents) // 2]))
    with pytest.raises(ValueError, match=r"^target: a Pillow picture whose file is damaged or truncated$"):
        to_picture(truncated)


def test_a_profile_of_a_pillow_picture_that_cannot_be_used_warns(caplog: pytest.LogCaptureFixture) -> None:
    source = Image.fromarray(photograph())
    source.info["icc_profile"] = b"nonsense" * 40
    np.testing.assert_array_equal(to_picture(source).pixels, photograph())
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert re.fullmatch("target: its colour profile .* is not used", caplog.messages[0])


# --- arrays ---


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("channels", [0, 1, 3, 4])
def test_arrays_come_back_in_colour_and_of_their_dtype(channels: int, dtype: type) -> None:
    values = np.random.default_rng(0).integers(0, 256, (6, 7, max(1, channels)))
    array = values.astype(dtype) * (1 if dtype == np.uint8 else 257) if np.dtype(dtype).kind == "u" else (values / 255).astype(dtype)
    array = array.astype(dtype) if channels else array[..., 0].astype(dtype)
    before = array.copy()
    picture = to_picture(array)
    assert picture.pixels.shape == (6, 7, 1 if channels < 3 else 3)
    assert picture.pixels.dtype == (np.float32 if np.dtype(dtype).kind == "f" else dtype)
    assert picture.pixels.flags.c_contiguous
    result = like_source(recolored(picture), array)
    assert result.shape == (6, 7, 4 if channels == 4 else 3)
    assert result.dtype == dtype
    planes = array.reshape(6, 7, -1)
    np.testing.assert_allclose(result[..., 0], planes[..., 0], rtol=1e-7)
    if channels == 4:
        np.testing.assert_allclose(result[..., 3], planes[..., 3], rtol=1e-7)
    np.testing.assert_array_equal(array, before)


def test_views_of_arrays_are_taken() -> None:
    view = photograph()[::-1, ::2]
    picture = to_picture(view)
    assert picture.pixels.flags.c_contiguous
    np.testing.assert_array_equal(picture.pixels, view)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
def test_grey_arrays_and_pillow_pictures_can_be_saved(tmp_path: Path, suffix: str) -> None:
    grey = photograph()[..., 0]
    sources = (grey, grey.astype(np.uint16) * 257, (grey / 255).astype(np.float32), Image.fromarray(grey).convert("I"))
    for source in sources:
        picture = to_picture(source)
        picture.save(tmp_path / f"a{suffix}")
        assert read_picture(tmp_path / f"a{suffix}").size == (48, 56)
        assert picture.pixels.strides[2] == picture.pixels.itemsize


# --- tensors ---


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("channels", [1, 3])
def test_tensors_come_back_in_colour_and_of_their_dtype(channels: int, dtype: torch.dtype) -> None:
    tensor = torch.rand(channels, 6, 7, generator=torch.Generator().manual_seed(0)).to(dtype).requires_grad_()
    picture = to_picture(tensor)
    assert picture.pixels.shape == (6, 7, channels)
    assert picture.pixels.dtype == np.float32
    result = like_source(recolored(picture), tensor)
    assert result.dtype == dtype
    assert result.is_contiguous()
    torch.testing.assert_close(result, tensor.detach()[:1].expand(3, -1, -1))


# --- bad input ---


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (np.zeros((2, 4, 4, 3), np.uint8), "an array of shape (2, 4, 4, 3); give (height, width)"),
        (np.zeros((4, 4, 2), np.uint8), "an array of shape (4, 4, 2)"),
        (np.zeros((0, 4, 3), np.uint8), "an array of shape (0, 4, 3)"),
        (np.zeros((4, 4, 3), np.int64), "an array of int64; give uint8, uint16, or floating point"),
        (np.full((4, 4), 255.0), "its values go from 255 to 255; give floating point in [0, 1]"),
        (np.full((4, 4), np.nan), "its values go from nan to nan"),
        (torch.zeros(1, 3, 4, 4), "a tensor of shape (1, 3, 4, 4); give (1 or 3, height, width)"),
        (torch.zeros(4, 4, 3), "a tensor of shape (4, 4, 3)"),
        (torch.zeros(3, 4, 4, dtype=torch.uint8), "a tensor of torch.uint8; give floating point in [0, 1], such as tensor / 255"),
        (torch.full((3, 4, 4), -0.5), "its values go from -0.5 to -0.5"),
        (torch.full((3, 4, 4), torch.inf), "its values go from inf to inf"),
        (None, "is a NoneType; give a path, a Pillow picture, a numpy array or a torch tensor"),
    ],
    ids=str,
)
def test_what_is_no_picture_is_refused(source: AnyPicture, words: str) -> None:
    with pytest.raises(ValueError, match=f"^reference: {re.escape(words)}"):
        to_picture(source, "reference")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^picture .*missing\.png: no such file$"):
        to_picture(tmp_path / "missing.png")


def test_a_pillow_result_carries_what_is_known() -> None:
    metadata = Metadata(xmp=b"<x/>", resolution=(100, 200), texts=(("Title", "t"),))
    result = like_source(Picture(photograph(), metadata=metadata), Image.new("L", (56, 48)))
    assert result.info == {"xmp": b"<x/>", "dpi": (100, 200), "Title": "t"}
