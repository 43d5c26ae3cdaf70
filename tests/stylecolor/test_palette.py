import math

import numpy as np
import pytest
import torch
from torch import Tensor

from stylecolor.palette import DESCRIPTOR_SIZE, nearest, palette_descriptor


def plain(a: float, b: float) -> Tensor:
    return torch.tensor([a, b]).view(1, 2, 1, 1).expand(1, 2, 4, 4)


def descriptor_of_numpy(ab: np.ndarray) -> np.ndarray:
    histogram = np.zeros((23, 23))
    for a, b in ab.reshape(2, -1).T:
        weight = math.hypot(a, b) + 2
        row, column = np.clip((a + 110) / 10, 0, 22), np.clip((b + 110) / 10, 0, 22)
        for i in range(23):
            for j in range(23):
                histogram[i, j] += weight * max(0, 1 - abs(row - i)) * max(0, 1 - abs(column - j))
    return np.sqrt(histogram / histogram.sum()).ravel()


def test_equals_a_loop_over_pixels_and_bins() -> None:
    ab = 260 * torch.rand(3, 2, 5, 6, generator=torch.Generator().manual_seed(0)) - 130
    ab[2] *= 0.05
    expected = np.stack([descriptor_of_numpy(sample) for sample in ab.double().numpy()])
    np.testing.assert_allclose(palette_descriptor(ab).numpy(), expected, atol=2e-5)


@pytest.mark.parametrize("ab", [torch.zeros(2, 2, 8, 8), torch.linspace(-100, 100, 256).view(2, 2, 8, 8), torch.full((1, 2, 4, 4), 128.0)])
def test_length_is_1(ab: Tensor) -> None:
    descriptor = palette_descriptor(ab)
    assert descriptor.shape == (len(ab), DESCRIPTOR_SIZE)
    torch.testing.assert_close(descriptor.norm(dim=1), torch.ones(len(ab)))


def test_equal_palettes_are_at_distance_0_wherever_the_pixels_are() -> None:
    ab = 100 * torch.rand(1, 2, 8, 8, generator=torch.Generator().manual_seed(0)) - 50
    elsewhere = ab.flatten(2).flip(2).view_as(ab).repeat(1, 1, 2, 1)
    torch.testing.assert_close(palette_descriptor(ab), palette_descriptor(elsewhere), atol=1e-5, rtol=0)


def test_disjoint_palettes_are_at_distance_root_2() -> None:
    distance = (palette_descriptor(plain(60, 40)) - palette_descriptor(plain(-50, 20))).norm().item()
    assert distance == pytest.approx(math.sqrt(2), abs=1e-5)


def test_a_similar_palette_is_nearer_than_another() -> None:
    query, near, far = (palette_descriptor(plain(*color)) for color in ((40.0, 40.0), (45.0, 42.0), (20.0, 40.0)))
    assert (query - near).norm() < (query - far).norm()


def test_grey_areas_do_not_hide_the_colours() -> None:
    mostly_grey = torch.zeros(1, 2, 10, 10)
    mostly_grey[:, 0, :, :2] = 80
    assert palette_descriptor(mostly_grey).square()[0, 19 * 23 + 11] == pytest.approx(20 * 82 / (20 * 82 + 80 * 2), abs=1e-4)


def test_nearest_is_the_closest_of_the_allowed() -> None:
    database = torch.eye(4)
    query = torch.tensor([[0.9, 0.4, 0.1, 0.0], [0.9, 0.4, 0.1, 0.0], [0.0, 0.0, 0.0, 1.0]])
    allowed = torch.tensor([[True, True, True, True], [False, True, True, True], [True, False, False, True]])
    assert nearest(query, database, allowed).tolist() == [0, 1, 3]


def test_the_first_of_equals_is_nearest() -> None:
    database = torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
    assert nearest(torch.tensor([[1.0, 0.0]]), database, torch.ones(1, 3, dtype=torch.bool)).tolist() == [1]
