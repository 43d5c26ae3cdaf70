import numpy as np
import pytest
import torch
from torch import Tensor

from stylecolor import hints
from stylecolor.choices import HINT_SAMPLERS
from stylecolor.hints import Hints, Sampler, drop_hints, make_sampler, patch_hints
from stylecolor.randomness import make_key


def keys(count: int, epoch: int = 0) -> Tensor:
    return torch.tensor([make_key(0, epoch, index) for index in range(count)])


def ab_map(batch: int = 4, size: int = 64) -> Tensor:
    # no pixel is 0, so that a shown colour can be told from a hidden one
    return 20 + 60 * torch.rand(batch, 2, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("probability", [0.0, 0.5, 0.9, 0.99, 1.0])
def test_bernoulli_hides_each_pixel_with_its_probability(probability: float) -> None:
    mask = make_sampler("bernoulli", probability)(ab_map(8, 128), keys(8)).mask
    hidden = (mask == 0).double().mean().item()
    assert hidden == pytest.approx(probability, abs=5 * (probability * (1 - probability) / mask.numel()) ** 0.5)


@pytest.mark.parametrize("name", ["bernoulli", "points", "all", "none"])
def test_shown_pixels_have_their_own_colour_and_hidden_ones_none(name: str) -> None:
    ab = ab_map()
    shown = make_sampler(name, 0.8)(ab, keys(4))
    assert torch.equal(shown.ab, ab * shown.mask)
    assert set(shown.mask.unique().tolist()) == {"bernoulli": {0, 1}, "points": {0, 1}, "all": {1}, "none": {0}}[name]


@pytest.mark.parametrize("name", HINT_SAMPLERS)
def test_hints_depend_on_the_key_alone(name: str) -> None:
    sampler = make_sampler(name, 0.9)
    ab = ab_map(6)
    together = sampler(ab, keys(6))
    for index in range(6):
        alone = sampler(ab[index : index + 1], keys(6)[index : index + 1])
        assert torch.equal(alone.mask[0], together.mask[index])
        torch.testing.assert_close(alone.ab[0], together.ab[index])
    assert torch.equal(sampler(ab, keys(6)).mask, together.mask)


@pytest.mark.parametrize("name", ["bernoulli", "patches", "points"])
def test_other_keys_give_other_hints(name: str) -> None:
    sampler = make_sampler(name, 0.9)
    first, second = sampler(ab_map(8), keys(8)).mask, sampler(ab_map(8), keys(8, epoch=1)).mask
    assert (first != second).flatten(1).any(1).float().mean() > 0.7
    assert (first[:1] != first[1:]).flatten(1).any(1).any()


@pytest.mark.parametrize("points", [0, 1, 10, 1000, 64 * 64])
def test_points_shows_exactly_so_many_pixels(points: int) -> None:
    mask = make_sampler("points", hint_points=points)(ab_map(8), keys(8)).mask
    assert mask.sum((1, 2, 3)).tolist() == [points] * 8


def test_more_points_than_pixels_show_all_of_them() -> None:
    assert make_sampler("points", hint_points=1000)(ab_map(2, 8), keys(2)).mask.all()


def test_points_are_drawn_evenly_from_the_whole_picture() -> None:
    shown = make_sampler("points", hint_points=4)(torch.ones(4000, 2, 8, 8), keys(4000)).mask.sum((0, 1))
    # 250 times each, with a standard deviation of 15
    assert (shown - 250).abs().max() < 5 * 15.3


def test_fewer_points_are_among_more() -> None:
    few, many = (make_sampler("points", hint_points=points)(ab_map(), keys(4)).mask for points in (10, 100))
    assert ((few == 0) | (many == 1)).all()


def test_points_tell_equal_draws_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hints, "uniform", lambda keys, purpose, shape: torch.full((len(keys), *shape), 0.5))
    mask = make_sampler("points", hint_points=3)(ab_map(1, 8), keys(1)).mask
    assert mask.flatten().nonzero().flatten().tolist() == [0, 1, 2]


def with_patches(monkeypatch: pytest.MonkeyPatch, points: int, side: int, centre: tuple[float, float]) -> None:
    """Let the sampler draw `points` patches of this side, all at `centre` (in quarters of the extent from the middle)."""

    def uniform(keys: Tensor, purpose: str, shape: tuple[int, ...]) -> Tensor:
        value = {"patches/points": (7 / 8) ** (points + 0.5), "patches/side": (side - 0.5) / 9}[purpose]
        return torch.full((len(keys), *shape), value)

    def normal(keys: Tensor, purpose: str, shape: tuple[int, ...]) -> Tensor:
        assert purpose == "patches/centre"
        return torch.tensor(centre).view(1, 2, 1).expand(len(keys), *shape).clone()

    monkeypatch.setattr(hints, "uniform", uniform)
    monkeypatch.setattr(hints, "normal", normal)


@pytest.mark.parametrize("side", [1, 2, 5, 9])
def test_a_patch_shows_its_mean_colour(monkeypatch: pytest.MonkeyPatch, side: int) -> None:
    with_patches(monkeypatch, 1, side, (0.5, -1.0))
    ab = ab_map(2, 32)
    shown = patch_hints(ab, keys(2))
    rows, columns = np.nonzero(shown.mask[0, 0].numpy())
    top, left = rows.min(), columns.min()
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1, len(rows)) == (side, side, side * side)
    # the middle of the patch is at 32/2 + 0.5 * 32/4 rows and 32/2 - 32/4 columns
    assert abs(top + side / 2 - 20) <= 0.5
    assert abs(left + side / 2 - 8) <= 0.5
    for sample in range(2):
        expected = np.zeros((2, 32, 32), dtype=np.float32)
        patch = ab[sample, :, top : top + side, left : left + side].numpy()
        expected[:, top : top + side, left : left + side] = patch.mean(axis=(1, 2))[:, None, None]
        np.testing.assert_allclose(shown.ab[sample].numpy(), expected, atol=1e-4)


def test_a_patch_over_the_edge_shows_the_mean_of_what_is_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    with_patches(monkeypatch, 1, 9, (-2.0, -2.0))
    ab = ab_map(1, 32)
    shown = patch_hints(ab, keys(1))
    count = int(shown.mask[0, 0, 0].sum())
    assert 4 <= count <= 5
    assert shown.mask.sum() == count**2
    torch.testing.assert_close(shown.ab[0, :, 0, 0], ab[0, :, :count, :count].mean(dim=(1, 2)))


def test_a_patch_outside_the_picture_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with_patches(monkeypatch, 3, 9, (4.0, 0.0))
    shown = patch_hints(ab_map(1, 32), keys(1))
    assert not shown.mask.any()
    assert not shown.ab.any()


def test_no_points_are_no_hints(monkeypatch: pytest.MonkeyPatch) -> None:
    with_patches(monkeypatch, 0, 5, (0.0, 0.0))
    assert not patch_hints(ab_map(1, 32), keys(1)).mask.any()


def test_patches_have_7_points_on_average_around_the_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    # the sampler's own draws, read where they become patches
    extents: list[Tensor] = []
    patch_extent = hints._patch_extent

    def record(centre: Tensor, side: Tensor, extent: int) -> Tensor:
        extents.append(side)
        extents.append(centre)
        return patch_extent(centre, side, extent)

    monkeypatch.setattr(hints, "_patch_extent", record)
    picture_keys = keys(4000)
    points = [int((draw.log() / np.log(7 / 8)).floor()) for draw in hints.uniform(picture_keys, "patches/points", (1,)).flatten()]
    assert np.mean(points) == pytest.approx(7, abs=6 * (56 / 4000) ** 0.5)
    assert np.mean(np.array(points) == 0) == pytest.approx(1 / 8, abs=0.03)
    patch_hints(torch.ones(4000, 2, 8, 8), picture_keys)
    sides, centres = extents[0], torch.cat((extents[1], extents[3]))
    assert set(sides.unique().tolist()) == set(range(1, 10))
    assert sides.mean().item() == pytest.approx(5, abs=0.05)
    assert centres.mean().item() == pytest.approx(0, abs=0.02)
    assert centres.std().item() == pytest.approx(1, abs=0.02)


def test_the_area_of_patches_is_that_of_7_points() -> None:
    # 7 points of mean area E[side^2] = 95/3, less a tenth that meets another patch or leaves the picture
    picture_keys = keys(300)
    areas = [patch_hints(torch.ones(50, 2, 256, 256), some).mask.sum().item() for some in picture_keys.split(50)]
    assert sum(areas) / 300 == pytest.approx(0.9 * 7 * 95 / 3, rel=0.2)


def test_patches_leave_a_mask_of_0_and_1_and_an_ab_of_shown_pixels() -> None:
    shown = patch_hints(ab_map(16), keys(16))
    assert set(shown.mask.unique().tolist()) == {0, 1}
    assert ((shown.ab != 0).any(1, keepdim=True) == shown.mask.bool()).all()
    # a mean of colours in 20..80 stays there, where patches overlap too
    inside = shown.ab[shown.mask.expand(-1, 2, -1, -1) == 1]
    assert inside.min() >= 20
    assert inside.max() <= 80


@pytest.mark.parametrize("probability", [0.0, 0.1, 1.0])
def test_dropping_takes_all_hints_of_a_sample_at_its_rate(probability: float) -> None:
    full = Hints(torch.ones(3000, 2, 2, 2), torch.ones(3000, 1, 2, 2))
    left = drop_hints(full, keys(3000), probability)
    shown = left.mask.flatten(1)
    assert (shown == shown[:, :1]).all()
    assert torch.equal(left.ab, left.mask.expand(-1, 2, -1, -1))
    assert (shown[:, 0] == 0).double().mean().item() == pytest.approx(probability, abs=5 * (probability * (1 - probability) / 3000) ** 0.5)


def test_dropping_is_independent_of_the_pixels_drawn() -> None:
    ab = torch.ones(3000, 2, 4, 4)
    full = make_sampler("bernoulli", 0.5)(ab, keys(3000))
    dropped = drop_hints(full, keys(3000), 0.5).mask.sum((1, 2, 3)) == 0
    shown = full.mask.mean((1, 2, 3))
    assert shown[dropped].mean().item() == pytest.approx(shown[~dropped].mean().item(), abs=0.03)


def test_hints_of_half_precision_maps_keep_their_type_and_gradient() -> None:
    sampler: Sampler
    for sampler in (make_sampler("bernoulli", 0.5), make_sampler("patches"), make_sampler("points"), make_sampler("all")):
        ab = ab_map().bfloat16().requires_grad_()
        shown = sampler(ab, keys(4))
        assert shown.ab.dtype == shown.mask.dtype == torch.bfloat16
        shown.ab.float().sum().backward()
        assert ab.grad is not None
        assert ab.grad.isfinite().all()
        assert (ab.grad != 0).any()


def test_the_registry_has_the_names_that_settings_may_take() -> None:
    assert tuple(hints.SAMPLERS) == HINT_SAMPLERS


def test_unknown_names_and_probabilities_are_refused() -> None:
    with pytest.raises(ValueError, match=r"stage\.hints=patch is not one of .*; did you mean patches"):
        make_sampler("patch")
    with pytest.raises(ValueError, match=r"stage\.mask_probability=1\.5"):
        make_sampler("bernoulli", 1.5)
    with pytest.raises(ValueError, match=r"stage\.hint_points=-1"):
        make_sampler("points", hint_points=-1)
