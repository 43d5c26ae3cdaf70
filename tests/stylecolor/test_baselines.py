from collections.abc import Callable

import numpy as np
import pytest
import scipy.ndimage
import scipy.optimize
import skimage.color
import skimage.exposure
import torch
from torch import Tensor

import stylecolor.baselines
from stylecolor.baselines import (
    BASELINES,
    gray,
    histogram_matching,
    monge_kantorovitch,
    reference_mean,
    reinhard,
    welsh,
)
from stylecolor.color import join_lab
from tests.data import photograph, regions

Baseline = Callable[..., Tensor]
every_baseline = pytest.mark.parametrize("baseline", BASELINES.values(), ids=BASELINES.keys())


def pictures(count: int, width: int, height: int, first: int = 0) -> Tensor:
    """float64 sRGB, each in another palette, and no two pixels of the same L."""
    shown = [np.asarray(photograph(first + number, first + number, max(width, 8), max(height, 8))) for number in range(count)]
    rgb = torch.from_numpy(np.stack(shown)).permute(0, 3, 1, 2)[:, :, :height, :width] / 255
    noise = torch.rand(rgb.shape, generator=torch.Generator().manual_seed(first), dtype=torch.float64)
    return (0.02 + 0.96 * rgb.double() + 0.004 * noise).clamp(0, 1)


def lab_of(rgb: Tensor) -> np.ndarray:
    return skimage.color.rgb2lab(rgb.numpy(), channel_axis=1)


def targets(count: int = 3, width: int = 30, height: int = 22) -> Tensor:
    return torch.from_numpy(lab_of(pictures(count, width, height, first=100))[:, :1])


def assert_equal(ab: Tensor, expected: np.ndarray, tolerance: float = 1e-3) -> None:
    """The tolerance is that between the constants of kornia's and scikit-image's Lab."""
    np.testing.assert_allclose(ab.numpy(), expected, atol=tolerance, rtol=0)


def test_no_colour_is_zero() -> None:
    ab = gray(targets(), pictures(3, 16, 18))
    assert ab.shape == (3, 2, 22, 30)
    assert not ab.any()


def test_the_mean_is_the_references_everywhere() -> None:
    reference = pictures(3, 16, 18)
    expected = lab_of(reference)[:, 1:].mean(axis=(2, 3), keepdims=True)
    assert np.ptp(expected, axis=0).min() > 5
    assert_equal(reference_mean(targets(), reference), np.broadcast_to(expected, (3, 2, 22, 30)))


def test_reinhard_equals_the_formula() -> None:
    l, reference = targets(4), pictures(4, 16, 18)
    lab = lab_of(reference)
    expected = np.empty((4, 2, 22, 30))
    signs = set()
    for sample in range(4):
        z = (l[sample, 0].numpy() - l[sample].numpy().mean()) / l[sample].numpy().std()
        for channel in range(2):
            values = lab[sample, channel + 1]
            sign = np.sign(np.corrcoef(lab[sample, 0].ravel(), values.ravel())[0, 1])
            signs.add(sign)
            expected[sample, channel] = values.mean() + sign * values.std() * z
    assert signs == {-1, 1}
    assert_equal(reinhard(l, reference), expected)


def test_reinhard_leaves_the_references_mean_and_deviation() -> None:
    reference = pictures(3, 40, 18)
    ab, wanted = reinhard(targets(), reference).numpy(), lab_of(reference)[:, 1:]
    np.testing.assert_allclose(ab.mean(axis=(2, 3)), wanted.mean(axis=(2, 3)), atol=1e-3)
    np.testing.assert_allclose(ab.std(axis=(2, 3)), wanted.std(axis=(2, 3)), atol=1e-3)


def square_root(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(values)) @ vectors.T


def monge_kantorovitch_of_colours(source: np.ndarray, source_covariance: np.ndarray, lab: np.ndarray) -> np.ndarray:
    """Pitie and Kokaram's map of (pixels, 3) with the covariance given."""
    covariance = np.cov(lab, rowvar=False, bias=True)
    root = square_root(source_covariance)
    inverse = np.linalg.inv(root)
    linear = inverse @ square_root(root @ covariance @ root) @ inverse
    return lab.mean(axis=0) + (source - source.mean(axis=0)) @ linear.T


def test_monge_kantorovitch_is_the_limit_of_the_closed_form_for_colours() -> None:
    l, reference = targets(4), pictures(4, 16, 18)
    ab = monge_kantorovitch(l, reference).numpy()
    for sample in range(4):
        lab = lab_of(reference)[sample].reshape(3, -1).T
        grey = np.stack([l[sample].numpy().ravel()] + [np.zeros(22 * 30)] * 2, axis=1)
        errors = []
        for spread in (10.0, 1.0, 1e-1, 1e-2):
            covariance = np.diag([grey[:, 0].var(), spread**2, spread**2])
            mapped = monge_kantorovitch_of_colours(grey, covariance, lab)[:, 1:].T.reshape(2, 22, 30)
            errors.append(np.abs(mapped - ab[sample]).max())
        assert errors[0] > 0.1
        assert errors[0] > 5 * errors[1] > 25 * errors[2]
        assert errors[3] < 0.01


def test_monge_kantorovitch_is_the_linear_part_of_the_optimal_assignment() -> None:
    # the target's L has the distribution of the reference's but for mean and scale, as two Gaussians have
    reference = pictures(1, 24, 20)
    lab = lab_of(reference)[0].reshape(3, -1).T
    order = np.random.default_rng(0).permutation(len(lab))
    l = 20 + 0.5 * lab[order, 0]
    grey = np.stack([l, np.zeros_like(l), np.zeros_like(l)], axis=1)
    _, assigned = scipy.optimize.linear_sum_assignment(((grey[:, None] - lab[None]) ** 2).sum(-1))
    slope, intercept = np.linalg.lstsq(np.stack([l, np.ones_like(l)], axis=1), lab[assigned, 1:], rcond=None)[0]
    expected = (l[:, None] * slope + intercept).T.reshape(1, 2, 20, 24)
    assert np.abs(slope).min() > 0.05
    assert_equal(monge_kantorovitch(torch.from_numpy(l).view(1, 1, 20, 24), reference), expected, 1e-2)


def test_monge_kantorovitch_is_the_regression_on_l() -> None:
    l, reference = targets(1), pictures(1, 16, 18)
    lab = lab_of(reference)[0].reshape(3, -1)
    matched = lab[0].mean() + lab[0].std() * (l[0, 0].numpy() - l.numpy().mean()) / l.numpy().std()
    for channel in (1, 2):
        slope, intercept = np.polyfit(lab[0], lab[channel], 1)
        assert_equal(monge_kantorovitch(l, reference)[0, channel - 1], slope * matched + intercept)


def histograms_of_scikit_image(l: Tensor, reference: Tensor) -> np.ndarray:
    lab = lab_of(reference)
    expected = np.empty((l.shape[0], 2, *l.shape[-2:]))
    for sample in range(l.shape[0]):
        for channel in range(2):
            values = lab[sample, channel + 1]
            sign = np.sign(np.corrcoef(lab[sample, 0].ravel(), values.ravel())[0, 1])
            expected[sample, channel] = skimage.exposure.match_histograms(sign * l[sample, 0].numpy(), values)
    return expected


def test_histograms_equal_those_of_scikit_image() -> None:
    l, reference = targets(4), pictures(4, 22, 30)
    assert_equal(histogram_matching(l, reference), histograms_of_scikit_image(l, reference))


def test_histograms_become_the_references() -> None:
    l, reference = targets(4), pictures(4, 22, 30)
    ab = histogram_matching(l, reference).flatten(2).sort(dim=2).values
    assert_equal(ab, np.sort(lab_of(reference)[:, 1:].reshape(4, 2, -1), axis=2))


@pytest.mark.parametrize("size", [(11, 15), (60, 44), (7, 5), (1, 1), (2, 1)])
def test_a_reference_of_another_size_gives_the_quantiles_of_middle_ranks(size: tuple[int, int]) -> None:
    l, reference = targets(2), pictures(2, *size)
    lab = lab_of(reference)
    expected = np.empty((2, 2, 22 * 30))
    for sample in range(2):
        middle = (np.argsort(np.argsort(l[sample].numpy().ravel())) + 0.5) / (22 * 30)
        for channel in range(2):
            values = lab[sample, channel + 1].ravel()
            falls = values.size > 1 and np.corrcoef(lab[sample, 0].ravel(), values)[0, 1] < 0
            expected[sample, channel] = np.quantile(values, 1 - middle if falls else middle, method="hazen")
    assert_equal(histogram_matching(l, reference), expected.reshape(2, 2, 22, 30))


def test_pixels_of_equal_l_get_equal_colours_from_the_middle_of_their_ranks() -> None:
    l = torch.tensor([10.0, 80.0, 10.0, 10.0, 30.0, 10.0], dtype=torch.float64).view(1, 1, 2, 3)
    reference = pictures(1, 3, 2)
    lab = lab_of(reference)[0].reshape(3, -1)
    ab = histogram_matching(l, reference).flatten(2)[0]
    for channel in range(2):
        rises = np.corrcoef(lab[0], lab[channel + 1])[0, 1] > 0
        values = np.sort(lab[channel + 1])[:: 1 if rises else -1]
        middle = (values[1] + values[2]) / 2
        assert_equal(ab[channel], np.array([middle, values[5], middle, middle, values[4], middle]))


def welsh_of_numpy(l: np.ndarray, lab: np.ndarray) -> np.ndarray:
    """One picture, every pixel of the reference being a sample."""
    deviation, reference_deviation = (
        scipy.ndimage.generic_filter(values, np.nanstd, size=5, mode="constant", cval=np.nan) for values in (l, lab[0])
    )
    gain = lab[0].std() / l.std()
    remapped = (l - l.mean()) * gain + lab[0].mean()
    distance = 0.5 * np.abs(remapped[..., None] - lab[0].ravel()) + 0.5 * np.abs(gain * deviation[..., None] - reference_deviation.ravel())
    return lab[1:].reshape(2, -1)[:, distance.argmin(axis=-1)]


def test_welsh_takes_the_nearest_sample() -> None:
    # 10 x 20 cells of the grid hold one pixel each
    l, reference = targets(3), pictures(3, 20, 10)
    expected = np.stack([welsh_of_numpy(l[sample, 0].numpy(), lab_of(reference)[sample]) for sample in range(3)])
    difference = np.abs(welsh(l, reference).numpy() - expected).max(axis=1)
    # two samples may be equally near but for the rounding of Lab
    assert (difference < 1e-3).mean() > 0.995


def test_welsh_looks_at_texture_where_luminance_is_equal() -> None:
    stripes = torch.zeros(1, 3, 10, 20)
    stripes[:, :, :, :10] = torch.tensor([0.9, 0.5, 0.1]).view(3, 1, 1)
    stripes[:, :, ::2, 10:] = torch.tensor([0.1, 0.4, 0.9]).view(3, 1, 1)
    stripes[:, :, 1::2, 10:] = torch.tensor([0.7, 0.85, 1.0]).view(3, 1, 1)
    l = torch.from_numpy(lab_of(stripes)[:, :1])
    assert_equal(welsh(l, stripes)[..., 3:7], lab_of(stripes)[:, 1:, :, 3:7])
    assert_equal(welsh(l, stripes)[..., 13:], lab_of(stripes)[:, 1:, :, 13:])


def test_welsh_chooses_colours_of_the_jittered_grid() -> None:
    l, reference = targets(1, 120, 90), pictures(1, 80, 60)
    palette = {tuple(color) for color in lab_of(reference)[0, 1:].reshape(2, -1).T.round(2)}
    first, second = (welsh(l, reference, seed=seed).flatten(2)[0].T.numpy().round(2) for seed in (0, 1))
    chosen = {tuple(color) for color in first}
    assert 30 < len(chosen) <= 200
    assert len(chosen & palette) > 0.9 * len(chosen)
    assert (first != second).any(axis=1).mean() > 0.5
    assert np.abs(first - second).mean() < 5


def test_the_grid_has_one_sample_in_each_cell() -> None:
    key = torch.tensor([5])
    for height, width in ((60, 80), (128, 128), (300, 20), (1, 700)):
        samples = stylecolor.baselines._jittered_grid(key, height, width).flatten()
        rows = round(min((200 * height / width) ** 0.5, 200)) or 1
        columns = len(samples) // rows
        assert 150 <= len(samples) <= 250
        cells = {
            (int(row * rows / height), int(column * columns / width)) for row, column in zip(samples // width, samples % width, strict=True)
        }
        assert len(cells) > 0.7 * len(samples)


def labels(count: int, width: int, height: int, classes: range, first: int = 0) -> Tensor:
    return torch.from_numpy(np.stack([regions(first + number, width, height, classes) for number in range(count)]))


def test_swatches_take_the_nearest_sample_of_their_label() -> None:
    # each label has 50 pixels in the reference, which are all samples
    l, reference = targets(3), pictures(3, 20, 10)
    target_labels = labels(3, 30, 22, range(4))
    reference_labels = (torch.arange(200) % 4).to(torch.uint8).view(1, 10, 20).repeat(3, 1, 1)
    ab = welsh(l, reference, target_labels, reference_labels).numpy()
    right = []
    for sample in range(3):
        lab, l_sample = lab_of(reference)[sample].reshape(3, -1), l[sample, 0].numpy()
        deviation, reference_deviation = (
            scipy.ndimage.generic_filter(values, np.nanstd, size=5, mode="constant", cval=np.nan)
            for values in (l_sample, lab[0].reshape(10, 20))
        )
        for label in range(4):
            here, there = target_labels[sample].numpy() == label, reference_labels[sample].numpy().ravel() == label
            gain = lab[0, there].std() / l_sample[here].std()
            remapped = (l_sample[here] - l_sample[here].mean()) * gain + lab[0, there].mean()
            distance = np.abs(remapped[:, None] - lab[0, there])
            distance += np.abs(gain * deviation[here][:, None] - reference_deviation.ravel()[there])
            expected = lab[1:, there][:, distance.argmin(axis=1)]
            right.append(np.abs(ab[sample][:, here] - expected).max(axis=0) < 1e-3)
    assert np.concatenate(right).mean() > 0.995


def test_each_swatch_takes_the_colours_of_its_label() -> None:
    l = targets(1, 64, 48)
    target_labels = labels(1, 64, 48, range(3))
    reference_labels = labels(1, 50, 40, range(3), first=9)
    colors = torch.tensor([[0.8, 0.2, 0.2], [0.2, 0.7, 0.2], [0.2, 0.2, 0.9]], dtype=torch.float64)
    reference = (colors[reference_labels.long()] * 0.9 + 0.1 * torch.rand(1, 40, 50, 1).double()).permute(0, 3, 1, 2)
    ab = welsh(l, reference, target_labels, reference_labels).permute(0, 2, 3, 1)
    own = torch.from_numpy(lab_of(colors.T.reshape(1, 3, 1, 3))[0, 1:, 0].T.copy())
    distance = (ab.unsqueeze(3) - own).square().sum(-1)
    assert torch.equal(distance.argmin(-1), target_labels.long())


def test_void_and_labels_of_one_side_alone_are_colored_as_without_labels() -> None:
    l, reference = targets(2), pictures(2, 40, 32)
    target_labels, reference_labels = labels(2, 30, 22, range(6)), labels(2, 40, 32, range(3, 9))
    target_labels[target_labels == 5] = 255
    reference_labels[reference_labels == 8] = 255
    plain, swatches = welsh(l, reference), welsh(l, reference, target_labels, reference_labels)
    unknown = ((target_labels < 3) | (target_labels == 255)).unsqueeze(1).expand_as(plain)
    assert torch.equal(swatches[unknown], plain[unknown])
    assert (swatches[~unknown] != plain[~unknown]).double().mean() > 0.5
    void = torch.full_like(target_labels, 255)
    assert torch.equal(welsh(l, reference, void, torch.full_like(reference_labels, 255)), plain)


def test_comparing_in_groups_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    maps = (labels(3, 30, 22, range(4)), labels(3, 40, 32, range(4), first=4))
    whole = welsh(targets(), pictures(3, 40, 32), *maps)
    monkeypatch.setattr(stylecolor.baselines, "_DISTANCES_AT_ONCE", 3 * 200 * 17)
    assert torch.equal(welsh(targets(), pictures(3, 40, 32), *maps), whole)


def test_a_label_map_alone_is_refused() -> None:
    l, reference, maps = targets(1), pictures(1, 30, 22), labels(1, 30, 22, range(2))
    with pytest.raises(ValueError, match="welsh: got target_labels alone"):
        welsh(l, reference, target_labels=maps)
    with pytest.raises(ValueError, match="welsh: got reference_labels alone"):
        welsh(l, reference, reference_labels=maps)


@pytest.mark.parametrize("wrong", [lambda maps: maps.long(), lambda maps: maps[:, :-1], lambda maps: maps[:1], lambda maps: maps[0]])
def test_label_maps_of_other_types_and_sizes_are_refused(wrong: Callable[[Tensor], Tensor]) -> None:
    l, reference, maps = targets(2), pictures(2, 30, 22), labels(2, 30, 22, range(2))
    with pytest.raises(ValueError, match=r"welsh: expected target_labels as uint8 of shape \(2, 22, 30\)"):
        welsh(l, reference, wrong(maps), maps)
    with pytest.raises(ValueError, match=r"welsh: expected reference_labels as uint8 of shape \(2, 22, 30\)"):
        welsh(l, reference, maps, wrong(maps))


@every_baseline
def test_float32_is_close_to_float64_and_kept(baseline: Baseline) -> None:
    l, reference = targets(), pictures(3, 20, 10)
    expected = baseline(l, reference)
    assert expected.dtype == torch.float64
    with torch.autocast("cpu", torch.bfloat16):
        ab = baseline(l.float(), reference.float())
    assert ab.dtype == torch.float32
    assert ((ab - expected).abs() < 1e-2).double().mean() > 0.995
    assert baseline(l.half(), reference.half()).dtype == torch.float32


@every_baseline
def test_a_sample_is_coloured_alone_as_in_a_batch(baseline: Baseline) -> None:
    l, reference = targets(), pictures(3, 40, 32)
    batch = baseline(l, reference)
    assert torch.equal(batch, baseline(l, reference))
    for sample in range(3):
        alone = baseline(l[sample : sample + 1], reference[sample : sample + 1])
        torch.testing.assert_close(batch[sample : sample + 1], alone, atol=1e-8, rtol=0)


@every_baseline
def test_a_reference_serves_many_targets(baseline: Baseline) -> None:
    l, reference = targets(), pictures(1, 40, 32)
    torch.testing.assert_close(baseline(l, reference), baseline(l, reference.repeat(3, 1, 1, 1)), atol=1e-8, rtol=0)


@every_baseline
def test_arguments_stay_as_they_are_and_results_can_be_written_to(baseline: Baseline) -> None:
    l, reference = targets(), pictures(1, 40, 32)
    copies = l.clone(), reference.clone()
    baseline(l, reference).add_(torch.rand(3, 2, 22, 30))
    assert torch.equal(l, copies[0])
    assert torch.equal(reference, copies[1])


FLAT_L = (0.0, 37.3, 53.38897, 100.0)


@every_baseline
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_constant_target_gets_one_colour_of_the_references_range(baseline: Baseline, dtype: torch.dtype) -> None:
    l = torch.tensor(FLAT_L, dtype=dtype).view(-1, 1, 1, 1).expand(-1, 1, 37, 53)
    reference = pictures(1, 40, 32).to(dtype)
    ab = baseline(l, reference)
    assert ab.isfinite().all()
    assert (ab.amax(dim=(2, 3)) - ab.amin(dim=(2, 3))).max() < 1e-4
    if baseline is not gray:
        limits = lab_of(reference.double())[:, 1:].reshape(2, -1)
        assert ((ab.amin(dim=(0, 2, 3)).numpy() >= limits.min(axis=1)) & (ab.amax(dim=(0, 2, 3)).numpy() <= limits.max(axis=1))).all()


def test_a_constant_target_gets_the_mean_or_the_median() -> None:
    l, reference = torch.full((1, 1, 37, 53), 53.38897), pictures(1, 40, 32).float()
    wanted = lab_of(reference.double())[:, 1:]
    for baseline, middle in ((reinhard, np.mean), (monge_kantorovitch, np.mean), (histogram_matching, np.median)):
        assert_equal(baseline(l, reference), np.broadcast_to(middle(wanted, axis=(2, 3), keepdims=True), (1, 2, 37, 53)))


@every_baseline
def test_the_rounding_of_a_constant_target_is_not_stretched(baseline: Baseline) -> None:
    reference = pictures(1, 40, 32).float()
    constant = torch.full((1, 1, 37, 53), 53.38897)
    rounded = constant + 4e-6 * (torch.rand(1, 1, 37, 53, generator=torch.Generator().manual_seed(0)) > 0.5)
    assert rounded.unique().numel() == 2
    torch.testing.assert_close(baseline(rounded, reference), baseline(constant, reference), atol=1e-3, rtol=0)


def test_welsh_gives_a_constant_target_the_smooth_sample_nearest_to_the_mean() -> None:
    reference = pictures(1, 20, 10)
    lab = lab_of(reference)[0]
    deviation = scipy.ndimage.generic_filter(lab[0], np.nanstd, size=5, mode="constant", cval=np.nan)
    nearest = (np.abs(lab[0] - lab[0].mean()) + deviation).argmin()
    expected = lab[1:].reshape(1, 2, -1)[:, :, nearest, None, None]
    assert_equal(welsh(torch.full((1, 1, 9, 9), 80.0), reference), np.broadcast_to(expected, (1, 2, 9, 9)))


@every_baseline
@pytest.mark.parametrize("color", [(0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (0.8, 0.3, 0.1), (0.0, 0.0, 1.0)])
def test_a_reference_of_one_colour_gives_that_colour(baseline: Baseline, color: tuple[float, float, float]) -> None:
    reference = torch.tensor(color).view(1, 3, 1, 1).expand(3, 3, 33, 47)
    ab = baseline(targets().float(), reference)
    expected = np.zeros((1, 2, 1, 1)) if baseline is gray else lab_of(reference[:1, :, :1, :1].double())[:, 1:]
    assert_equal(ab, np.broadcast_to(expected, (3, 2, 22, 30)))


@every_baseline
def test_a_reference_of_constant_l_gives_colours_of_its_own(baseline: Baseline) -> None:
    hue = torch.linspace(0, 6, 600, dtype=torch.float64).view(1, 1, 20, 30)
    reference = join_lab(torch.full_like(hue, 60), torch.cat((20 * hue.cos(), 20 * hue.sin()), dim=1)).double()
    ab = baseline(targets(), reference)
    assert ab.isfinite().all()
    assert ab.abs().max() < 41


@every_baseline
@pytest.mark.parametrize("target_size", [(1, 1), (1, 9), (2, 2), (37, 1)])
@pytest.mark.parametrize("reference_size", [(1, 1), (1, 9), (2, 2), (37, 1)])
def test_tiny_pictures_are_coloured(baseline: Baseline, target_size: tuple[int, int], reference_size: tuple[int, int]) -> None:
    l, reference = targets(2, *target_size), pictures(2, *reference_size)
    ab = baseline(l, reference)
    assert ab.shape == (2, 2, *l.shape[-2:])
    assert ab.isfinite().all()
    if baseline is welsh:
        maps = labels(2, *target_size, range(3)), labels(2, *reference_size, range(3), first=3)
        assert welsh(l, reference, *maps).isfinite().all()


@pytest.mark.parametrize("baseline", [b for name, b in BASELINES.items() if name not in ("gray", "reference_mean")])
def test_target_and_reference_both_matter(baseline: Baseline) -> None:
    l, reference = targets(1), pictures(1, 40, 32)
    ab = baseline(l, reference)
    assert (baseline(l, pictures(1, 40, 32, first=1)) - ab).abs().mean() > 2
    assert (baseline(l.flip(3), reference) - ab).abs().mean() > 0.5


@pytest.mark.parametrize("name", BASELINES)
def test_wrong_shapes_and_types_are_refused(name: str) -> None:
    baseline = BASELINES[name]
    own_name = baseline.__name__  # pyright: ignore[reportFunctionMemberAccess]
    l, reference = targets(2), pictures(2, 8, 8)
    for wrong in (l[0], l.repeat(1, 3, 1, 1), l[:, :, :0]):
        with pytest.raises(ValueError, match=rf"{own_name}: expected target L of shape \(batch, 1, height, width\), got"):
            baseline(wrong, reference)
    for wrong in (reference[0], reference[:, :1], reference[..., :0]):
        with pytest.raises(ValueError, match=rf"{own_name}: expected reference sRGB of shape \(batch, 3, height, width\), got"):
            baseline(l, wrong)
    with pytest.raises(ValueError, match=f"{own_name}: expected 1 or 2 references, one for each target, got 3"):
        baseline(l, pictures(3, 8, 8))
    with pytest.raises(ValueError, match=f"{own_name}: expected a floating-point target L, got torch.uint8"):
        baseline(l.to(torch.uint8), reference)
    with pytest.raises(
        ValueError, match=f"{own_name}: expected a floating-point reference sRGB, got torch.uint8; divide uint8 sRGB by 255"
    ):
        baseline(l, (reference * 255).to(torch.uint8))
