import math

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from datamodules import augmentation
from datamodules.augmentation import PackedPictures, crop, warp
from datamodules.batch import _pack
from datamodules.labels import VOID
from stylecolor.randomness import make_key
from tests.data import color_of, photograph, regions
from tests.datamodules.modules import near_edges


def ramps(shapes: list[tuple[int, int]]) -> PackedPictures:
    """Red is the row, green the column, blue the picture; the label is the row plus the column."""
    pictures = []
    for number, (height, width) in enumerate(shapes):
        rows, columns = np.mgrid[0:height, 0:width]
        pixels = np.stack((rows, columns, np.full_like(rows, number)), axis=-1).astype(np.uint8)
        pictures.append((pixels, (rows + columns).astype(np.uint8)))
    return _pack(pictures)


def keys(count: int, seed: int = 0) -> torch.Tensor:
    return torch.tensor([make_key("test", seed, index) for index in range(count)])


def labelled(count: int, size: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    """Squares whose colours are their labels."""
    maps = np.stack([regions(number, size, size, range(6)) for number in range(count)])
    return torch.from_numpy(color_of(maps)).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(maps)


# --- crops ---


def test_a_central_crop_keeps_the_middle_as_it_is() -> None:
    pictures, labels = crop(ramps([(40, 24), (16, 16), (16, 31)]), 16, None)
    assert pictures.dtype == torch.uint8
    assert pictures.shape == (3, 3, 16, 16)
    for number, (top, left) in enumerate([(12, 4), (0, 0), (0, 7)]):
        rows, columns = torch.meshgrid(torch.arange(top, top + 16), torch.arange(left, left + 16), indexing="ij")
        expected = torch.stack((rows, columns, torch.full_like(rows, number))).to(torch.uint8)
        assert torch.equal(pictures[number], expected)
        assert labels is not None
        assert torch.equal(labels[number], (rows + columns).to(torch.uint8))


def test_random_crops_lie_anywhere_inside_and_half_of_them_are_mirrored() -> None:
    shapes = [(20, 26)] * 600
    pictures, labels = crop(ramps(shapes), 16, keys(600))
    rows, columns = pictures[:, 0].long(), pictures[:, 1].long()
    assert labels is not None
    assert torch.equal(rows + columns, labels.long()), "labels left their pictures"
    assert (rows.diff(dim=1) == 1).all()
    assert (rows.diff(dim=2) == 0).all()
    steps = columns.diff(dim=2)
    mirrored = steps[:, 0, 0] == -1
    assert (steps == torch.where(mirrored, -1, 1)[:, None, None]).all()
    tops, lefts = rows[:, 0, 0], columns.amin(dim=(1, 2))
    assert set(tops.tolist()) == set(range(5))
    assert set(lefts.tolist()) == set(range(11))
    assert 240 < mirrored.sum() < 360
    # rows, columns and mirroring are drawn apart
    table = torch.stack((tops.float(), lefts.float(), mirrored.float()))
    assert (torch.corrcoef(table) - torch.eye(3)).abs().max() < 0.15
    # no place is preferred
    assert torch.bincount(lefts).min() > 30


def test_crops_depend_on_key_and_purpose_alone() -> None:
    packed = ramps([(40, 30)] * 8)
    first = crop(packed, 16, keys(8), "one")[0]
    assert torch.equal(first, crop(packed, 16, keys(8), "one")[0])
    for other in (crop(packed, 16, keys(8), "two")[0], crop(packed, 16, keys(8, seed=1), "one")[0]):
        assert sum(torch.equal(a, b) for a, b in zip(first, other, strict=True)) <= 1
    alone = crop(ramps([(40, 30)]), 16, keys(8)[5:6], "one")[0]
    assert torch.equal(alone[0, :2], first[5, :2])


def test_nothing_is_read_back_from_the_device() -> None:
    # the meta device has no values to read
    packed = ramps([(20, 30)] * 3).map(lambda tensor: tensor.to("meta"))
    squares = crop(packed, 16, keys(3).to("meta"))
    pictures, labels = warp(squares, torch.ones(3, dtype=torch.bool, device="meta"), keys(3).to("meta"))
    assert labels is not None
    assert (pictures.shape, labels.shape) == ((3, 3, 16, 16), (3, 16, 16))


# --- warps ---


def test_pictures_that_are_not_chosen_stay_as_they_are() -> None:
    pictures, labels = labelled(4)
    chosen = torch.tensor([True, False, True, False])
    found, found_labels = warp((pictures, labels), chosen, keys(4))
    assert found.dtype == torch.uint8
    assert found_labels is not None
    for index in range(4):
        assert torch.equal(found[index], pictures[index]) != bool(chosen[index])
        assert torch.equal(found_labels[index], labels[index]) != bool(chosen[index])


def test_labels_go_where_the_colours_go() -> None:
    pictures, labels = labelled(16)
    found, found_labels = warp((pictures, labels), torch.ones(16, dtype=torch.bool), keys(16))
    assert found_labels is not None
    inside = (found_labels != VOID).numpy()
    assert 0.5 < inside.mean() < 1, "nothing comes from outside the pictures"
    expected = color_of(found_labels.numpy())
    off = np.abs(found.permute(0, 2, 3, 1).numpy().astype(int) - expected).max(axis=-1) > 43
    # bilinear and nearest differ at the edges of regions alone, which at the border may lie outside
    edge = np.stack([near_edges(one) for one in found_labels.numpy()])
    assert not (off & inside & ~edge)[:, 1:-1, 1:-1].any()
    assert (off & inside).mean() < 0.06


def test_warps_sample_as_scipy_does_at_the_same_places() -> None:
    pictures = torch.stack([torch.from_numpy(np.array(photograph(seed, seed, 48, 48))).permute(2, 0, 1) for seed in range(3)])
    found, _ = warp((pictures, None), torch.ones(3, dtype=torch.bool), keys(3))
    places = (augmentation._warped_places(keys(3), 48).double().numpy() + 1) / 2 * 47
    for index in range(3):
        for channel in range(3):
            x, y = places[index, ..., 0], places[index, ..., 1]
            expected = map_coordinates(pictures[index, channel].double().numpy(), [y, x], order=1, mode="mirror")
            assert np.abs(found[index, channel].numpy() - expected).max() <= 1


def test_warps_are_strong_but_keep_most_of_the_picture() -> None:
    places = augmentation._warped_places(keys(200), 32)
    ticks = torch.linspace(-1, 1, 32)
    grid = torch.stack(torch.meshgrid(ticks, ticks, indexing="xy"), dim=-1)
    mirrored = places[:, 16, -1, 0] < places[:, 16, 0, 0]
    assert 70 < mirrored.sum() < 130
    upright = places * torch.where(mirrored[:, None, None, None], torch.tensor([-1.0, 1.0]), torch.tensor([1.0, 1.0]))
    moved = (upright - grid).norm(dim=-1).mean(dim=(1, 2)) * 16
    assert moved.min() > 0.5, "px"
    assert moved.median() > 2
    assert (places.abs() <= 1).all(dim=-1).double().mean() > 0.7
    assert (places.abs() > 1).any()


@pytest.mark.parametrize("turned", [False, True])
def test_a_warp_without_any_draw_in_it_changes_nothing(turned: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    # draws of one half: no turn, no shift, no bend, no mirroring, and no zoom where there is none to draw
    monkeypatch.setattr(augmentation, "uniform", lambda keys, purpose, shape: torch.full((len(keys), *shape), 0.5))
    monkeypatch.setattr(augmentation, "MAX_ZOOM", 1.0)
    pictures, labels = labelled(2, size=33)
    if turned:
        # by half a turn of the largest angle: a quarter turn
        monkeypatch.setattr(augmentation, "MAX_ROTATION", 90.0)
        monkeypatch.setattr(augmentation, "MAX_SHIFT", 0.0)
        monkeypatch.setattr(augmentation, "MAX_BEND", 0.0)
        monkeypatch.setattr(augmentation, "uniform", lambda keys, purpose, shape: torch.full((len(keys), *shape), 1.0))
    found, found_labels = warp((pictures, labels), torch.ones(2, dtype=torch.bool), keys(2))
    assert found_labels is not None
    known = found_labels != VOID
    assert known.double().mean() > (0.9 if turned else 0.999)
    expected = torch.rot90(pictures, 1, (2, 3)), torch.rot90(labels, 1, (1, 2))
    other = torch.rot90(pictures, -1, (2, 3)), torch.rot90(labels, -1, (1, 2))
    if not turned:
        assert torch.equal(found, pictures)
        assert torch.equal(found_labels, labels)
    else:
        # which way does not matter, picture and labels must agree
        pairs = [(a, b) for a, b in (expected, other) if (found.int() - a.int()).abs().double().mean() < 8]
        assert len(pairs) == 1
        assert (found_labels == pairs[0][1])[known].double().mean() > 0.95


def test_warps_depend_on_the_key_alone() -> None:
    pictures, labels = labelled(6)
    everyone = torch.ones(6, dtype=torch.bool)
    first, _ = warp((pictures, labels), everyone, keys(6))
    assert torch.equal(first, warp((pictures, labels), everyone, keys(6))[0])
    other, _ = warp((pictures, labels), everyone, keys(6, seed=1))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    torch.testing.assert_close(warp((pictures[4:5], None), everyone[:1], keys(6)[4:5])[0][0], first[4], atol=1, rtol=0)
    # one picture in six is warped in its own way
    same, _ = warp((pictures[:1].expand(6, -1, -1, -1), None), everyone, keys(6))
    assert len({tuple(picture.flatten().tolist()) for picture in same}) == 6


def test_the_angle_is_that_of_the_constant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augmentation, "MAX_BEND", 0.0)
    assert math.isclose(augmentation.MAX_ROTATION, 15)
    places = augmentation._warped_places(keys(300), 32)
    across = places[:, 16, 24] - places[:, 16, 8]
    angles = torch.atan2(across[:, 1], across[:, 0].abs()).rad2deg().abs()
    assert 14 < angles.max() < 15.01
    assert angles.median() > 5
