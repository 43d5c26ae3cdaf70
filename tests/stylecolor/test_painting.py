from collections.abc import Callable

import numpy as np
import pytest
import torch
from skimage import data
from skimage.color import rgb2lab
from torch import Tensor

from stylecolor import painting
from stylecolor.color import join_lab, rgb_to_lab
from stylecolor.painting import from_unit_range, paint, shift_colors, strips, to_unit_range, working_l

PHOTOGRAPH = data.coffee()[::2, ::2].copy()
GRAY = PHOTOGRAPH[:, :, 1:2].copy()
CPU = torch.device("cpu")


def smooth_map(strength: float, channels: int = 2, size: tuple[int, int] = (16, 24)) -> Tensor:
    random = torch.rand(1, channels, 3, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return torch.nn.functional.interpolate(random * strength, size=size, mode="bilinear")


@pytest.mark.parametrize("pixels", [PHOTOGRAPH, GRAY], ids=["colour", "grey"])
@pytest.mark.parametrize("strength", [20, 150])
def test_l_stays_within_the_rounding_of_8_bits_whatever_the_colours(pixels: np.ndarray, strength: float) -> None:
    found = paint(pixels, working_l(pixels, (16, 24), CPU), smooth_map(strength))
    before, after = (rgb2lab(picture if picture.shape[2] == 3 else picture.repeat(3, axis=2))[:, :, 0] for picture in (pixels, found))
    assert found.dtype == np.uint8
    # one step of 8 bits in all three channels is up to 1.1 L where it is dark
    assert np.abs(after - before).max() < 0.7
    assert np.abs(after - before).mean() < 0.1
    assert rgb2lab(found)[:, :, 1:].std() > 4


def assert_l_is_kept(before: np.ndarray, after: np.ndarray) -> None:
    difference = np.abs(rgb2lab(after)[:, :, 0] - rgb2lab(before)[:, :, 0])
    # the gamut's tolerance, 1e-4 in linear light, is 0.09 where it is darkest
    assert difference.max() < 0.09
    assert difference.mean() < 0.005


def test_16_bits_keep_l_closer() -> None:
    pixels = PHOTOGRAPH.astype(np.uint16) * 257
    found = paint(pixels, working_l(pixels, (16, 24), CPU), smooth_map(30))
    assert found.dtype == np.uint16
    assert_l_is_kept(pixels / 65535, found / 65535)


def test_floating_point_is_not_rounded() -> None:
    pixels = (PHOTOGRAPH / 255).astype(np.float32)
    found = paint(pixels, working_l(pixels, (16, 24), CPU), smooth_map(30))
    assert found.dtype == np.float32
    assert_l_is_kept(pixels, found)


def test_colours_are_those_of_the_map() -> None:
    pixels = np.full((64, 96, 1), 128, np.uint8)
    ab = smooth_map(20)
    found = rgb_to_lab(to_unit_range(paint(pixels, working_l(pixels, (16, 24), CPU), ab)))[:, 1:]
    expected = torch.nn.functional.interpolate(ab, size=(64, 96), mode="bilinear")
    torch.testing.assert_close(found, expected, atol=1.0, rtol=0)


def test_a_map_of_the_pictures_own_size_is_joined_as_it_is() -> None:
    rgb = torch.from_numpy(PHOTOGRAPH[:64, :96]).permute(2, 0, 1).unsqueeze(0) / 255
    l, ab = rgb_to_lab(rgb)[:, :1], smooth_map(60, size=(64, 96))
    found = paint(rgb[0].permute(1, 2, 0).contiguous().numpy(), l, ab)
    # half a step of 8 bits may be cut off, where `join_lab` takes chroma away
    torch.testing.assert_close(to_unit_range(found), join_lab(l, ab), atol=0.02, rtol=0)


@pytest.mark.parametrize("function", [paint, shift_colors])
def test_strips_leave_no_seam(monkeypatch: pytest.MonkeyPatch, function: Callable[..., np.ndarray]) -> None:
    l, values = working_l(PHOTOGRAPH, (16, 24), CPU), smooth_map(30, 2 if function is paint else 3)
    whole = function(PHOTOGRAPH, l, values)
    monkeypatch.setattr(painting, "STRIP_PIXELS", 7 * PHOTOGRAPH.shape[1])
    assert len(list(strips(*PHOTOGRAPH.shape[:2]))) > 20
    assert np.abs(function(PHOTOGRAPH, l, values).astype(int) - whole).max() <= 1


def test_strips_cover_every_row_once_however_wide_the_picture() -> None:
    for height, width in ((1, 1), (1000, 3), (3, 1_000_000), (5000, 700)):
        rows = [row for strip in strips(height, width) for row in range(strip.start, strip.stop)]
        assert rows == list(range(height))


def test_no_change_leaves_a_picture_as_it_is() -> None:
    found = shift_colors(PHOTOGRAPH, working_l(PHOTOGRAPH, (16, 24), CPU), torch.zeros(1, 3, 16, 24))
    assert np.abs(found.astype(int) - PHOTOGRAPH).max() <= 1


def test_a_change_is_added_in_lab() -> None:
    change = torch.tensor([5.0, -6.0, 8.0]).view(1, 3, 1, 1).expand(1, 3, 16, 24)
    pixels = (PHOTOGRAPH // 4 + 90).astype(np.uint8)
    found = shift_colors(pixels, working_l(pixels, (16, 24), CPU), change)
    np.testing.assert_allclose((rgb2lab(found) - rgb2lab(pixels)).mean(axis=(0, 1)), [5, -6, 8], atol=0.2)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_pixels_survive_the_unit_range(dtype: type) -> None:
    levels = {np.uint8: 255, np.uint16: 65535, np.float32: 1}[dtype]
    pixels = (np.random.default_rng(0).random((9, 7, 3)) * levels).astype(dtype)
    picture = to_unit_range(pixels)
    assert picture.dtype == torch.float32
    assert picture.shape == (1, 3, 9, 7)
    assert float(picture.max()) <= 1
    assert (from_unit_range(picture, np.dtype(dtype)) == pixels).all()
