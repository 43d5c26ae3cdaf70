import numpy as np
import pytest
import torch

from evaluation.revealed_points import random_patches
from stylecolor.randomness import make_key

KEYS = torch.tensor([make_key(0, name) for name in "abc"])


@pytest.fixture(scope="module")
def ab() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).uniform(-90, 90, (3, 2, 40, 32))).float()


def test_one_point_is_a_square_in_its_mean_colour(ab: torch.Tensor) -> None:
    hints = random_patches(ab, KEYS, 1)
    for picture, mask, shown in zip(ab, hints.mask, hints.ab, strict=True):
        rows, columns = np.nonzero(mask[0].numpy())
        assert len(rows) == 36
        assert np.ptp(rows) == np.ptp(columns) == 5
        patch = picture[:, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        torch.testing.assert_close(shown[:, rows, columns], patch.mean(dim=(1, 2))[:, None].expand(2, 36))
        assert (shown * (1 - mask) == 0).all()


def test_more_points_only_add_pixels(ab: torch.Tensor) -> None:
    before = random_patches(ab, KEYS, 0)
    assert not before.mask.any()
    assert not before.ab.any()
    for points in (1, 2, 5, 20, 100):
        hints = random_patches(ab, KEYS, points)
        kept = before.mask.bool()
        assert (hints.mask[kept] == 1).all()
        assert torch.equal(hints.ab[kept.expand_as(ab)], before.ab[kept.expand_as(ab)])
        assert hints.mask.sum() > before.mask.sum()
        before = hints


def test_a_pictures_points_depend_on_its_key_alone(ab: torch.Tensor) -> None:
    together = random_patches(ab, KEYS, 7)
    for number in range(3):
        alone = random_patches(ab[number : number + 1], KEYS[number : number + 1], 7)
        assert torch.equal(alone.mask[0], together.mask[number])
        assert torch.equal(alone.ab[0], together.ab[number])
    assert not torch.equal(together.mask[0], together.mask[1])


def test_points_reach_every_place_of_the_picture() -> None:
    ab = torch.full((1, 2, 16, 16), 30.0)
    hints = random_patches(ab, KEYS[:1], 500)
    assert hints.mask.all()
    torch.testing.assert_close(hints.ab, ab)
