import numpy as np
import pytest
import torch
from torch import Tensor

from stylecolor.matching import MATCHINGS, match_features
from stylecolor.regions import VOID, LabelMap, RegionPyramid, corresponding

both = pytest.mark.parametrize("matching", list(MATCHINGS))


def random_labels(*shape: int, count: int = 4, seed: int = 0) -> Tensor:
    """Labels 3, 4, ... in blobs, with void between them."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, 3 + count + 1, shape, generator=generator, dtype=torch.uint8)
    labels[labels == 3 + count] = VOID
    return labels


def halves(height: int, width: int, border: int) -> Tensor:
    """Label 1 left of the border, label 2 right of it."""
    labels = torch.full((1, height, width), 2, dtype=torch.uint8)
    labels[:, :, :border] = 1
    return labels


def counted(**pixels: int) -> Tensor:
    """A map of 64 x 64 with so many pixels of each label, the rest void: `counted(_3=11)`."""
    labels = torch.full((64 * 64,), VOID, dtype=torch.uint8)
    start = 0
    for name, count in pixels.items():
        labels[start : start + count] = int(name[1:])
        start += count
    return labels.view(1, 64, 64)


def test_a_map_knows_the_labels_that_occur() -> None:
    assert LabelMap.read(torch.tensor([[[9, 0], [VOID, 9]]], dtype=torch.uint8)).values == (0, 9)
    assert LabelMap.read(torch.full((2, 3, 3), VOID, dtype=torch.uint8)).values == ()


@pytest.mark.parametrize(
    "labels",
    [torch.zeros(1, 4, 4, dtype=torch.int64), torch.zeros(1, 4, 4), torch.zeros(4, 4, dtype=torch.uint8), torch.zeros(1, 1, 4, 4).byte()],
)
def test_maps_of_other_types_and_shapes_are_refused(labels: Tensor) -> None:
    with pytest.raises(ValueError, match=r"label maps: expected uint8 of shape \(batch, height, width\), got torch\.\w+ of \("):
        LabelMap.read(labels)
    with pytest.raises(ValueError, match="label maps: expected uint8"):
        LabelMap(labels, (0,))


@pytest.mark.parametrize("shape", [(1, 8, 9), (2, 9, 8), (2, 16, 18)])
def test_maps_of_another_size_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"label maps of the target: have shape \(\d, \d+, \d+\), its pictures need \(2, 8, 9\)"):
        LabelMap.read(torch.zeros(shape, dtype=torch.uint8)).check_size(torch.zeros(2, 3, 8, 9), "target")


def test_shares_are_the_parts_of_the_picture() -> None:
    label_map = LabelMap.read(torch.cat((counted(_3=1024, _8=11, _9=10), counted(_8=512))))
    expected = torch.tensor([[11 / 4096, 0.0, 0.25, 0.0], [512 / 4096, 0.0, 0.0, 0.0]])
    assert torch.equal(label_map.shares((8, 9, 3, 77)), expected)
    assert label_map.shares(()).shape == (2, 0)


@pytest.mark.parametrize(
    ("target", "reference", "valid"),
    [
        (11, 11, True),
        (10, 11, False),
        (11, 10, False),
        (0, 500, False),
        (500, 0, False),
        (11, 1099, True),
        (11, 1100, False),
        (1099, 11, True),
        (1100, 11, False),
    ],
)
def test_regions_correspond_by_the_rules(target: int, reference: int, valid: bool) -> None:
    own, other = LabelMap.read(counted(_5=target, _6=100)), LabelMap.read(counted(_5=reference, _6=100))
    values, found = corresponding(own, other.values, other.shares(other.values))
    assert values == ([5, 6] if target and reference else [6])
    assert found.tolist() == [[valid, True] if target and reference else [True]]


def test_regions_of_pictures_of_different_sizes_are_compared_by_their_shares() -> None:
    # 44 px of 32 x 32 and 20 of 256 x 256: in pixels they differ by a factor of 2, in shares by 141
    small, large = torch.full((1, 32, 32), VOID, dtype=torch.uint8), torch.full((1, 256, 256), VOID, dtype=torch.uint8)
    small[0, 0, :32], small[0, 1, :12], large[0, 0, :20] = 1, 1, 1
    values, found = corresponding(LabelMap.read(small), (1,), LabelMap.read(large).shares((1,)))
    assert (values, found.tolist()) == ([1], [[False]])
    large[0, 0, :64] = 1
    assert corresponding(LabelMap.read(small), (1,), LabelMap.read(large).shares((1,)))[1].tolist() == [[True]]


def test_one_references_regions_correspond_to_those_of_many_targets() -> None:
    targets = LabelMap.read(torch.cat((counted(_5=200), counted(_5=5), counted(_6=300))))
    values, found = corresponding(targets, (5, 6), torch.tensor([[0.1, 0.1]]))
    assert values == [5, 6]
    assert found.tolist() == [[True, False], [False, False], [False, True]]


def test_maps_without_any_label_have_no_region() -> None:
    empty = LabelMap.read(counted())
    values, found = corresponding(empty, (5,), torch.tensor([[0.1]]))
    assert values == []
    assert found.shape == (1, 0)


def test_regions_at_feature_sizes_are_means_of_their_pixels() -> None:
    labels = random_labels(2, 24, 40)
    values = (4, 3, 6)
    found = RegionPyramid(LabelMap.read(labels), values).at(torch.Size((3, 5)))
    for region, value in enumerate(values):
        for row in range(3):
            for column in range(5):
                block = labels[:, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8] == value
                torch.testing.assert_close(found[:, region, row, column], block.float().mean(dim=(1, 2)))


def test_sizes_that_pooling_rounds_down_have_weights_too() -> None:
    pyramid = RegionPyramid(LabelMap.read(random_labels(1, 37, 50)), (3, 4, 5, 6), feather=2)
    for size in ((37, 50), (18, 25), (9, 12), (4, 6)):
        weights = pyramid.at(torch.Size(size))
        assert weights.shape == (1, 4, *size)
        assert weights.min() >= 0
        assert weights.sum(1).max() <= 1 + 1e-5
        assert pyramid.at(torch.Size(size)) is weights


def test_regions_that_are_not_valid_lend_their_pixels_to_none() -> None:
    labels = random_labels(2, 16, 16)
    valid = torch.tensor([[True, False], [False, True]])
    weights = RegionPyramid(LabelMap.read(labels), (3, 4), valid=valid).at(torch.Size((16, 16)))
    assert torch.equal(weights[0, 0], (labels[0] == 3).float())
    assert torch.equal(weights[1, 1], (labels[1] == 4).float())
    assert not weights[0, 1].any()
    assert not weights[1, 0].any()


@pytest.mark.parametrize("feather", [1, 3, 6])
def test_a_feathered_border_is_a_linear_ramp(feather: int) -> None:
    labels = halves(20, 40, border=20)
    regions = RegionPyramid(LabelMap.read(labels), (1, 2), feather).at(torch.Size((20, 40)))
    inside = 20 - np.arange(40) + feather
    expected = np.clip(inside / (2 * feather + 1), 0, 1)
    for row in (0, 9, 19):
        np.testing.assert_allclose(regions[0, 0, row], expected, atol=1e-6)
    torch.testing.assert_close(regions.sum(1), torch.ones(1, 20, 40))


def test_feathered_weights_are_means_over_a_window() -> None:
    labels = random_labels(2, 13, 17)
    feather = 2
    blend = RegionPyramid(LabelMap.read(labels), (3, 5), feather).at(torch.Size((13, 17)))
    for region, value in enumerate((3, 5)):
        for row in range(13):
            for column in range(17):
                rows, columns = slice(max(0, row - feather), row + feather + 1), slice(max(0, column - feather), column + feather + 1)
                window = (labels[:, rows, columns] == value).float()
                torch.testing.assert_close(blend[:, region, row, column], window.mean(dim=(1, 2)), atol=1e-6, rtol=0)


@pytest.mark.parametrize("feather", [-1, float("nan")])
def test_a_negative_feather_is_refused(feather: int) -> None:
    with pytest.raises(ValueError, match="feather="):
        RegionPyramid(LabelMap.read(halves(8, 8, 4)), (1, 2), feather)


def border_step(matching: str, feather: int, width: int = 64) -> tuple[float, float]:
    """The largest step between columns beside a border of two regions that are matched very differently, and far from it."""
    generator = torch.Generator().manual_seed(0)
    ramp = torch.linspace(0, 1, width).view(1, 1, 1, -1).expand(1, 4, 16, width)
    content = ramp + 0.01 * torch.randn(1, 4, 16, width, generator=generator)
    style = torch.randn(1, 4, 16, width, generator=generator) * 0.1
    style[..., width // 2 :] += 5
    labels = LabelMap.read(halves(16, width, width // 2))
    style_regions = RegionPyramid(labels, (1, 2)).at(torch.Size((16, width)))
    regions = RegionPyramid(labels, (1, 2), feather).at(torch.Size((16, width)))
    method = MATCHINGS[matching]
    steps = method.match(content, method.measure(style, style_regions), 1.0, regions).mean(dim=(0, 1, 2)).diff().abs()
    middle = slice(width // 2 - 8, width // 2 + 7)
    return steps[middle].max().item(), torch.cat((steps[:10], steps[-10:])).max().item()


@both
def test_feathered_borders_show_no_seam(matching: str) -> None:
    assert border_step(matching, feather=0)[0] > 4
    feathered, elsewhere = border_step(matching, feather=7)
    # the difference of 5 is spread over 15 columns
    assert feathered < 1.6 * 5 / 15
    assert elsewhere < 0.3


@both
@pytest.mark.parametrize("feather", [0, 3])
def test_a_picture_that_is_its_own_reference_stays_region_by_region(matching: str, feather: int) -> None:
    content = torch.randn(2, 8, 24, 24, generator=torch.Generator().manual_seed(0))
    label_map = LabelMap.read(random_labels(2, 24, 24))
    values, valid = corresponding(label_map, label_map.values, label_map.shares(label_map.values))
    regions = RegionPyramid(label_map, values, feather, valid).at(torch.Size((24, 24)))
    method = MATCHINGS[matching]
    of_style = RegionPyramid(label_map, label_map.values, feather).at(torch.Size((24, 24)))
    found = method.match(content, method.measure(content, of_style), 1.0, regions)
    torch.testing.assert_close(found, content, atol=1e-3, rtol=1e-3)


@both
def test_only_corresponding_regions_have_statistics_of_their_own(matching: str) -> None:
    generator = torch.Generator().manual_seed(0)
    content, style = (torch.randn(1, 5, 64, 64, generator=generator) * k + k for k in (1, 3))
    # 3: in both; 4: too small here; 5: too small there; 6, 7: on one side; 8: too different; the rest void
    target, reference = counted(_3=900, _4=10, _5=500, _6=400, _8=12), counted(_3=700, _4=300, _5=9, _7=200, _8=1300)
    target_map, reference_map = LabelMap.read(target), LabelMap.read(reference)
    values, valid = corresponding(target_map, reference_map.values, reference_map.shares(reference_map.values))
    regions = RegionPyramid(target_map, values, valid=valid).at(torch.Size((64, 64)))
    of_style = RegionPyramid(reference_map, values).at(torch.Size((64, 64)))
    method = MATCHINGS[matching]
    found = method.match(content, method.measure(style, of_style), 1.0, regions)
    expected = match_features(content, style, matching)
    mask, style_mask = target[0] == 3, reference[0] == 3
    expected[:, :, mask] = match_features(content[:, :, mask][..., None], style[:, :, style_mask][..., None], matching)[..., 0]
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)


@both
@pytest.mark.parametrize("feather", [0, 2, 6])
def test_regions_of_fewer_pixels_than_channels_stay_in_the_styles_range(matching: str, feather: int) -> None:
    generator = torch.Generator().manual_seed(0)
    content, style = (torch.randn(1, 96, 16, 16, generator=generator) for _ in range(2))
    labels = torch.full((1, 16, 16), 1, dtype=torch.uint8)
    labels[:, :4, :5], labels[:, 8:, 11:] = 2, 3
    label_map = LabelMap.read(labels)
    regions = RegionPyramid(label_map, label_map.values, feather).at(torch.Size((16, 16)))
    method = MATCHINGS[matching]
    assert method.match(content, method.measure(style, regions), 1.0, regions).abs().max() < 2 * style.abs().max()
