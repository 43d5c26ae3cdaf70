import numpy as np
import pytest
import torch
from skimage.color import rgb2hsv
from torch import Tensor

from stylecolor.color import rgb_to_lab
from stylecolor.global_hints import hide_global_hints, measure_global_hints, reveal_global_hints
from stylecolor.randomness import make_key

BINS = torch.tensor([(a, b) for a in range(-80, 90, 20) for b in range(-80, 90, 20)], dtype=torch.float32)


def pictures(batch: int = 3, size: int = 32) -> Tensor:
    coarse = torch.rand(batch, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(coarse, size=size, mode="bilinear")


def test_the_histogram_is_that_of_the_shrunk_pictures_softly_assigned_pixels() -> None:
    rgb = pictures()
    ab = rgb_to_lab(rgb)[:, 1:]
    found = measure_global_hints(rgb, ab, BINS).histogram.double().numpy()
    bins = BINS.double().numpy()
    for sample in range(3):
        blocks = ab[sample].double().numpy().reshape(2, 8, 4, 8, 4).mean(axis=(2, 4)).reshape(2, -1).T
        expected = np.zeros(len(bins))
        for pixel in blocks:
            distances = np.linalg.norm(bins - pixel, axis=1)
            nearest = distances.argsort()[:5]
            shares = np.exp(-(distances[nearest] ** 2) / (2 * 5.0**2))
            expected[nearest] += shares / shares.sum()
        np.testing.assert_allclose(found[sample], expected / len(blocks), atol=1e-5)
        assert found[sample].sum() == pytest.approx(1, abs=1e-5)


def test_saturation_is_the_mean_of_hsv() -> None:
    rgb = pictures()
    rgb[0, :, :8] = 0
    rgb[1] = rgb[1, :1]
    found = measure_global_hints(rgb, rgb_to_lab(rgb)[:, 1:], BINS)
    expected = [rgb2hsv(picture.permute(1, 2, 0).double().numpy())[..., 1].mean() for picture in rgb]
    assert found.saturation.flatten().tolist() == pytest.approx(expected, abs=1e-5)
    assert found.saturation[1] == 0
    assert found.saturation_flag.tolist() == found.histogram_flag.tolist() == [[1], [1], [1]]


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_each_is_revealed_with_its_own_draw(probability: float) -> None:
    keys = torch.tensor([make_key(0, index) for index in range(4000)])
    rgb = pictures(1).expand(4000, -1, -1, -1)[:, :, :4, :4]
    truth = measure_global_hints(rgb, rgb_to_lab(rgb)[:, 1:], BINS)
    shown = reveal_global_hints(truth, keys, probability)
    assert torch.equal(shown.histogram, truth.histogram * shown.histogram_flag)
    assert torch.equal(shown.saturation, truth.saturation * shown.saturation_flag)
    histogram, saturation = shown.histogram_flag.flatten(), shown.saturation_flag.flatten()
    for rate, expected in ((histogram, probability), (saturation, probability), (histogram * saturation, probability**2)):
        assert rate.mean().item() == pytest.approx(expected, abs=5 * (expected * (1 - expected) / 4000) ** 0.5)
    # by the key alone
    alone = reveal_global_hints(measure_global_hints(rgb[:1], rgb_to_lab(rgb[:1])[:, 1:], BINS), keys[7:8], probability)
    assert alone.histogram_flag[0] == shown.histogram_flag[7]


def test_nothing_is_told_where_all_is_hidden() -> None:
    hidden = hide_global_hints(torch.zeros(2, 1, 8, 8), 5)
    assert [tuple(part.shape) for part in hidden] == [(2, 5), (2, 1), (2, 1), (2, 1)]
    assert not torch.cat(hidden, dim=1).any()


def test_black_pictures_have_finite_hints() -> None:
    black = torch.zeros(1, 3, 16, 16)
    found = measure_global_hints(black, rgb_to_lab(black)[:, 1:], BINS)
    assert torch.cat(found, dim=1).isfinite().all()
    assert found.saturation == 0
