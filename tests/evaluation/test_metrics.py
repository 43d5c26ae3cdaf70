import math
from pathlib import Path

import numpy as np
import pytest
import skimage.color
import skimage.data
import skimage.metrics
import torch
import torchmetrics.functional.image.lpips
import torchvision
from torch import Tensor

from evaluation.metrics import (
    PictureMetrics,
    ciede2000,
    colorfulness,
    delta_e_2000,
    histogram_intersection,
    mean_ab_error,
    psnr,
    ssim,
)
from stylecolor.color import rgb_to_lab
from stylecolor.hints import Hints
from stylecolor.reports.metric_names import METRICS

# L, a, b of both colours and their difference: Sharma, Wu and Dalal 2005, table 1
SHARMA = """
50.0000 2.6772 -79.7751 50.0000 0.0000 -82.7485 2.0425
50.0000 3.1571 -77.2803 50.0000 0.0000 -82.7485 2.8615
50.0000 2.8361 -74.0200 50.0000 0.0000 -82.7485 3.4412
50.0000 -1.3802 -84.2814 50.0000 0.0000 -82.7485 1.0000
50.0000 -1.1848 -84.8006 50.0000 0.0000 -82.7485 1.0000
50.0000 -0.9009 -85.5211 50.0000 0.0000 -82.7485 1.0000
50.0000 0.0000 0.0000 50.0000 -1.0000 2.0000 2.3669
50.0000 -1.0000 2.0000 50.0000 0.0000 0.0000 2.3669
50.0000 2.4900 -0.0010 50.0000 -2.4900 0.0009 7.1792
50.0000 2.4900 -0.0010 50.0000 -2.4900 0.0010 7.1792
50.0000 2.4900 -0.0010 50.0000 -2.4900 0.0011 7.2195
50.0000 2.4900 -0.0010 50.0000 -2.4900 0.0012 7.2195
50.0000 -0.0010 2.4900 50.0000 0.0009 -2.4900 4.8045
50.0000 -0.0010 2.4900 50.0000 0.0010 -2.4900 4.8045
50.0000 -0.0010 2.4900 50.0000 0.0011 -2.4900 4.7461
50.0000 2.5000 0.0000 50.0000 0.0000 -2.5000 4.3065
50.0000 2.5000 0.0000 73.0000 25.0000 -18.0000 27.1492
50.0000 2.5000 0.0000 61.0000 -5.0000 29.0000 22.8977
50.0000 2.5000 0.0000 56.0000 -27.0000 -3.0000 31.9030
50.0000 2.5000 0.0000 58.0000 24.0000 15.0000 19.4535
50.0000 2.5000 0.0000 50.0000 3.1736 0.5854 1.0000
50.0000 2.5000 0.0000 50.0000 3.2972 0.0000 1.0000
50.0000 2.5000 0.0000 50.0000 1.8634 0.5757 1.0000
50.0000 2.5000 0.0000 50.0000 3.2592 0.3350 1.0000
60.2574 -34.0099 36.2677 60.4626 -34.1751 39.4387 1.2644
63.0109 -31.0961 -5.8663 62.8187 -29.7946 -4.0864 1.2630
61.2901 3.7196 -5.3901 61.4292 2.2480 -4.9620 1.8731
35.0831 -44.1164 3.7933 35.0232 -40.0716 1.5901 1.8645
22.7233 20.0904 -46.6940 23.0331 14.9730 -42.5619 2.0373
36.4612 47.8580 18.3852 36.2715 50.5065 21.2231 1.4146
90.8027 -2.0831 1.4410 91.1528 -1.6435 0.0447 1.4441
90.9257 -0.5406 -0.9208 88.6381 -0.8985 -0.7239 1.5381
6.7747 -0.2908 -2.4247 5.8714 -0.0985 -2.2286 0.6377
2.0776 0.0795 -1.1350 0.9033 -0.0636 -0.5514 0.9082
"""


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    """Three photographs, 8-bit sRGB, (3, 64, 64, 3)."""
    return np.stack(
        [picture[100:228:2, 120:248:2, :3] for picture in (skimage.data.astronaut(), skimage.data.coffee(), skimage.data.cat())]
    )


@pytest.fixture(scope="module")
def result(truth: np.ndarray) -> np.ndarray:
    """The same, with other colours and some noise."""
    noise = np.random.default_rng(0).normal(0, 8, truth.shape)
    return (0.7 * truth + 0.3 * truth[..., ::-1] + noise).round().clip(0, 255).astype(np.uint8)


def tensor(pictures: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))).float() / 255


def test_psnr_is_that_of_scikit_image_for_each_picture(result: np.ndarray, truth: np.ndarray) -> None:
    expected = [skimage.metrics.peak_signal_noise_ratio(*row) for row in zip(truth, result, strict=True)]
    assert np.ptp(expected) > 0.5, "pooled and single pictures could not be told apart"
    np.testing.assert_allclose(psnr(tensor(result), tensor(truth)), expected, atol=1e-4)
    assert psnr(tensor(truth), tensor(truth)).tolist() == [math.inf] * 3
    assert psnr(torch.zeros(1, 3, 32, 32), torch.full((1, 3, 32, 32), 0.1)).item() == pytest.approx(20)


def test_ssim_is_that_of_scikit_image_for_each_picture(result: np.ndarray, truth: np.ndarray) -> None:
    # torchmetrics mirrors the picture beyond its border, scikit-image leaves as much of the border out of the mean
    expected = [
        skimage.metrics.structural_similarity(
            *(np.pad(picture, ((5, 5), (5, 5), (0, 0)), mode="reflect") for picture in row),
            channel_axis=2,
            data_range=255,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        for row in zip(truth, result, strict=True)
    ]
    np.testing.assert_allclose(ssim(tensor(result), tensor(truth)), expected, atol=1e-4)
    assert ssim(tensor(truth), tensor(truth)).tolist() == pytest.approx([1] * 3)


def test_ciede2000_has_the_published_values() -> None:
    rows = torch.tensor([[float(value) for value in line.split()] for line in SHARMA.split("\n") if line], dtype=torch.float64)
    assert len(rows) == 34
    first, second = rows[:, :3, None, None], rows[:, 3:6, None, None]
    for one, other in ((first, second), (second, first)):
        torch.testing.assert_close(delta_e_2000(one, other).flatten(), rows[:, 6], atol=5e-5, rtol=0)
    # in float32, both sides of a half turn are one colour
    assert (delta_e_2000(first.float(), second.float()).flatten() - rows[:, 6]).abs().max() < 0.1


def test_ciede2000_is_that_of_scikit_image(result: np.ndarray, truth: np.ndarray) -> None:
    labs = [skimage.color.rgb2lab(pictures) for pictures in (truth, result)]
    expected = skimage.color.deltaE_ciede2000(*labs).mean(axis=(1, 2))
    np.testing.assert_allclose(ciede2000(tensor(result), tensor(truth)), expected, atol=2e-3)
    assert ciede2000(tensor(truth), tensor(truth)).tolist() == [0] * 3
    greys = torch.linspace(0, 1, 32 * 32).view(1, 1, 32, 32).expand(-1, 3, -1, -1)
    assert ciede2000(greys, greys.flip(2)).isfinite().all()


def colorfulness_in_numpy(picture: np.ndarray) -> float:
    red, green, blue = np.moveaxis(picture.astype(float), -1, 0)
    rg, yb = red - green, (red + green) / 2 - blue
    return np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean())


def test_colorfulness_is_the_original_without_absolute_values(truth: np.ndarray) -> None:
    np.testing.assert_allclose(colorfulness(tensor(truth)), [colorfulness_in_numpy(picture) for picture in truth], rtol=1e-5)
    # half pure red, half pure green: rg is 255 and -255, yb is 127.5
    halves = torch.zeros(1, 3, 32, 32)
    halves[:, 0, :16] = halves[:, 1, 16:] = 1
    assert colorfulness(halves).item() == pytest.approx(255 + 0.3 * 127.5)
    assert colorfulness(torch.full((1, 3, 32, 32), 0.4)).item() == 0


def histogram_in_numpy(ab: np.ndarray) -> np.ndarray:
    histogram = np.zeros((24, 24))
    for a, b in ab.reshape(2, -1).T.astype(float):
        (row, across), (column, along) = (divmod((value + 110) / 10, 1) for value in (a, b))
        corners = np.outer((1 - across, across), (1 - along, along))
        histogram[int(row) : int(row) + 2, int(column) : int(column) + 2] += corners * (np.hypot(a, b) + 2)
    return histogram / histogram.sum()


def test_the_histogram_intersection_is_the_shared_part_of_both_histograms(result: np.ndarray, truth: np.ndarray) -> None:
    first, second = rgb_to_lab(tensor(result))[:, 1:], rgb_to_lab(tensor(truth))[:, 1:, :48, :40]
    expected = [
        np.minimum(histogram_in_numpy(one), histogram_in_numpy(other)).sum()
        for one, other in zip(first.numpy(), second.numpy(), strict=True)
    ]
    np.testing.assert_allclose(histogram_intersection(first, second), expected, atol=1e-4)
    assert histogram_intersection(first, first).tolist() == pytest.approx([1] * 3)
    red, blue = torch.tensor([[[[60.0]], [[40.0]]]]), torch.tensor([[[[20.0]], [[-70.0]]]])
    assert histogram_intersection(red.expand(1, 2, 8, 8), blue.expand(1, 2, 8, 8)).item() == 0


def test_the_ab_error_is_the_mean_distance_where_colours_are_revealed() -> None:
    ab, shown = torch.zeros(2, 2, 4, 4), torch.zeros(2, 2, 4, 4)
    mask = torch.zeros(2, 1, 4, 4)
    mask[0, 0, 1, 1] = mask[0, 0, 2, 3] = 1
    shown[0, :, 1, 1] = torch.tensor([3.0, 4.0])
    shown[0, :, 2, 3] = torch.tensor([0.0, 9.0])
    error = mean_ab_error(ab, Hints(shown, mask))
    assert error[0].item() == 7
    assert error[1].isnan(), "nothing is revealed"


def lpips_in_plain_torch(first: Tensor, second: Tensor, file: Path) -> Tensor:
    features = torchvision.models.alexnet(weights=None).features.eval()
    features.load_state_dict({name.removeprefix("features."): value for name, value in torch.load(file, weights_only=True).items()})
    heads_file = Path(torchmetrics.functional.image.lpips.__file__).parent / "lpips_models" / "alex.pth"
    heads = torch.load(heads_file, weights_only=True, map_location="cpu")
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]).view(3, 1, 1), torch.tensor([0.458, 0.448, 0.450]).view(3, 1, 1)
    x = [(2 * y - 1 - shift) / scale for y in (first, second)]
    total, number = torch.zeros(len(first)), 0
    for layer in features:
        x = [layer(y) for y in x]
        if isinstance(layer, torch.nn.ReLU):
            one, other = (y / (y.square().sum(dim=1, keepdim=True) + 1e-8).sqrt() for y in x)
            total += ((one - other).square() * heads[f"lin{number}.model.1.weight"]).sum(dim=1).mean(dim=(1, 2))
            number += 1
    assert number == 5
    return total


def test_lpips_compares_the_five_layers_of_alexnet(result: np.ndarray, truth: np.ndarray, alexnet_file: Path) -> None:
    measured = PictureMetrics("cpu", str(alexnet_file)).measure(tensor(result), tensor(truth), None)["lpips"]
    with torch.no_grad():
        expected = lpips_in_plain_torch(tensor(result), tensor(truth), alexnet_file)
    assert measured.min() > 1e-3
    torch.testing.assert_close(measured, expected, rtol=1e-4, atol=1e-6)


def test_all_measures_of_a_picture_are_those_it_has_in_any_batch(result: np.ndarray, truth: np.ndarray, alexnet_file: Path) -> None:
    metrics = PictureMetrics("cpu", str(alexnet_file))
    pictures = tensor(result), tensor(truth), tensor(truth[::-1])
    together = metrics.measure(*pictures)
    assert tuple(together) == metrics.names
    assert metrics.unavailable == {}
    for number in range(3):
        alone = metrics.measure(*(part[number : number + 1] for part in pictures))
        for name, values in alone.items():
            assert values.shape == (1,)
            assert values.dtype == torch.float32
            assert values[0] == together[name][number], name


def test_measures_are_those_of_the_functions(result: np.ndarray, truth: np.ndarray) -> None:
    metrics = PictureMetrics("cpu", "none")
    assert metrics.unavailable == {"lpips": "lpips_weights=none leaves it out"}
    assert "lpips" not in metrics.names
    result_rgb, truth_rgb, reference_rgb = tensor(result), tensor(truth), tensor(truth[::-1, :40])
    measured = metrics.measure(result_rgb, truth_rgb, reference_rgb)
    expected = {
        "psnr": psnr(result_rgb, truth_rgb),
        "ssim": ssim(result_rgb, truth_rgb),
        "ciede2000": ciede2000(result_rgb, truth_rgb),
        "colorfulness": colorfulness(result_rgb),
        "colorfulness_difference": colorfulness(result_rgb) - colorfulness(truth_rgb),
        "histogram_intersection": histogram_intersection(rgb_to_lab(result_rgb)[:, 1:], rgb_to_lab(reference_rgb)[:, 1:]),
    }
    assert tuple(measured) == tuple(expected)
    for name in expected:
        torch.testing.assert_close(measured[name], expected[name], msg=name)
    without = metrics.measure(result_rgb, truth_rgb, None)
    assert without["histogram_intersection"].isnan().all()
    assert torch.equal(without["psnr"], measured["psnr"])


def test_every_measure_has_a_name_for_people(alexnet_file: Path) -> None:
    assert set(PictureMetrics("cpu", str(alexnet_file)).names) | {"fid", "mean_ab_error"} <= METRICS.keys()
    assert all(metric.name == name and metric.title and metric.description.endswith(".") for name, metric in METRICS.items())
