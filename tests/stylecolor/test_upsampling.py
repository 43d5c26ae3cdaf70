import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skimage import data
from torch import Tensor

from stylecolor.color import rgb_to_lab
from stylecolor.upsampling import RADIUS, SMOOTHNESS, guide
from stylecolor.working_size import resize_pixels


def lab_of(pixels: np.ndarray) -> Tensor:
    return rgb_to_lab(torch.from_numpy(pixels).permute(2, 0, 1).unsqueeze(0) / 255)


LAB = lab_of(data.coffee())
SMALL = lab_of(resize_pixels(data.coffee(), (40, 64)))


def restated_slope(values: np.ndarray, l: np.ndarray) -> np.ndarray:
    """He and Sun's algorithm, pixel by pixel."""

    def around(array: np.ndarray, y: int, x: int) -> np.ndarray:
        return array[max(0, y - RADIUS) : y + RADIUS + 1, max(0, x - RADIUS) : x + RADIUS + 1].ravel()

    slope = np.empty_like(values)
    for y, x in np.ndindex(*values.shape):
        window, guide_window = around(values, y, x), around(l, y, x)
        covariance = np.mean(window * guide_window) - window.mean() * guide_window.mean()
        slope[y, x] = covariance / (guide_window.var() + SMOOTHNESS)
    return np.vectorize(lambda y, x: around(slope, y, x).mean())(*np.indices(values.shape))


def test_the_slope_is_that_of_the_fast_guided_filter() -> None:
    guided = guide(SMALL[:, 1:].double(), SMALL[:, :1].double())
    for channel in range(2):
        expected = restated_slope(SMALL[0, 1 + channel].double().numpy(), SMALL[0, 0].double().numpy())
        np.testing.assert_allclose(guided.slope[0, channel].numpy(), expected, atol=1e-9)


def test_a_map_comes_back_as_it_was_at_its_own_size() -> None:
    torch.testing.assert_close(guide(SMALL[:, 1:], SMALL[:, :1]).rows(0, SMALL[:, :1], 40), SMALL[:, 1:], atol=1e-3, rtol=0)


def test_without_detail_in_l_a_map_is_interpolated_bilinearly() -> None:
    flat = torch.full((1, 1, 40, 64), 50.0)
    found = guide(SMALL[:, 1:], flat).rows(0, torch.full((1, 1, 400, 600), 50.0), 400)
    torch.testing.assert_close(found, F.interpolate(SMALL[:, 1:], size=(400, 600), mode="bilinear"), atol=1e-3, rtol=0)


@pytest.mark.parametrize(("start", "rows"), [(0, 1), (13, 57), (399, 1)])
def test_some_rows_are_those_of_the_whole(start: int, rows: int) -> None:
    guided = guide(SMALL[:, 1:], SMALL[:, :1])
    whole = guided.rows(0, LAB[:, :1], 400)
    found = guided.rows(start, LAB[:, :1, start : start + rows], 400)
    torch.testing.assert_close(found, whole[:, :, start : start + rows])


def test_colours_are_nearer_to_the_truth_than_bilinear_ones() -> None:
    guided = guide(SMALL[:, 1:], SMALL[:, :1]).rows(0, LAB[:, :1], 400)
    bilinear = F.interpolate(SMALL[:, 1:], size=(400, 600), mode="bilinear")
    errors = [(found - LAB[:, 1:]).abs().mean() for found in (guided, bilinear)]
    assert errors[0] < 0.95 * errors[1]


def test_an_edge_of_colour_lies_where_the_pictures_edge_is() -> None:
    # the edge is in the middle of a pixel of the map
    l = torch.full((1, 1, 64, 64), 30.0)
    l[..., 36:] = 70.0
    true = torch.where(l > 50, 40.0, -40.0)
    small_l, small = (F.avg_pool2d(full, 8) for full in (l, true))
    found = guide(small, small_l).rows(0, l, 64)
    bilinear = F.interpolate(small, size=(64, 64), mode="bilinear")
    assert (found - true).abs().mean() < 0.35 * (bilinear - true).abs().mean()
