from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from datamodules.pictures import Pictures
from datamodules.references import RandomReferences, palette_references

SCENES = ("a", "a", "a", "b", "b", "c", "d", "d", "d")
CATEGORIES = np.array([[1, 0], [1, 0], [0, 1], [1, 0], [1, 1], [0, 1], [0, 1], [1, 0], [1, 1]], dtype=bool)


def make_pictures(scenes: tuple[str, ...] = SCENES, categories: np.ndarray = CATEGORIES) -> Pictures:
    return Pictures(Path(), np.array([f"{index}.jpg" for index in range(len(scenes))]), np.array(scenes), categories)


def palettes(count: int = len(SCENES)) -> torch.Tensor:
    """Pictures of one scene have nearly the same palette, as crops of one photograph do."""
    generator = torch.Generator().manual_seed(0)
    scene = torch.tensor([ord(name) - ord("a") for name in SCENES[:count]])
    return torch.eye(4)[scene] + 0.1 * torch.rand(count, 4, generator=generator)


def draws(same_category: bool, seed: int = 0, epochs: int = 20) -> np.ndarray:
    references = RandomReferences(make_pictures(), seed, same_category)
    return np.array([[references.draw(epoch, index) for index in range(len(SCENES))] for epoch in range(epochs)])


def test_palette_references_equal_the_nearest_by_brute_force() -> None:
    descriptors = palettes()
    expected = []
    for target in range(len(SCENES)):
        others = [other for other in range(len(SCENES)) if SCENES[other] != SCENES[target]]
        expected.append(min(others, key=lambda other: float((descriptors[target] - descriptors[other]).square().sum())))
    assert palette_references(make_pictures(), descriptors).tolist() == expected


def test_palette_references_of_many_pictures_are_found_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = palette_references(make_pictures(), palettes())
    monkeypatch.setattr("datamodules.references._CHUNK", 4)
    assert np.array_equal(palette_references(make_pictures(), palettes()), whole)


def test_a_split_of_one_scene_has_no_palette_references() -> None:
    assert palette_references(make_pictures(("a",) * 3), palettes(3)).tolist() == [-1, -1, -1]


@pytest.mark.parametrize("same_category", [False, True])
def test_a_drawn_reference_is_of_another_scene(same_category: bool) -> None:
    for references in draws(same_category):
        for target, reference in enumerate(references):
            assert SCENES[target] != SCENES[reference]
            assert not same_category or (CATEGORIES[target] & CATEGORIES[reference]).any()


@pytest.mark.parametrize("same_category", [False, True])
def test_every_allowed_reference_is_drawn_at_some_time(same_category: bool) -> None:
    drawn = draws(same_category, epochs=200)
    for target, other in product(range(len(SCENES)), repeat=2):
        shares = not same_category or (CATEGORIES[target] & CATEGORIES[other]).any()
        assert (other in drawn[:, target]) == bool(SCENES[target] != SCENES[other] and shares)


@pytest.mark.parametrize("same_category", [False, True])
def test_draws_depend_on_seed_epoch_and_target_alone(same_category: bool) -> None:
    first = draws(same_category)
    assert np.array_equal(first, draws(same_category))
    assert not np.array_equal(first, draws(same_category, seed=1))
    assert not np.array_equal(first[0], first[1])
    alone = RandomReferences(make_pictures(), 0, same_category).draw(7, 4)
    assert alone == first[7, 4]


def test_pictures_that_share_a_category_with_no_other_scene_have_no_reference() -> None:
    categories = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 0], [0, 0, 1]], dtype=bool)
    pictures = make_pictures(("a", "b", "c", "b", "d", "e"), categories)
    # category 1 is in scene b alone, picture 4 has no category, picture 5 is the only one of its own
    assert RandomReferences(pictures, 0, same_category=True).has_reference().tolist() == [True, False, True, False, False, False]
    assert RandomReferences(pictures, 0, same_category=False).has_reference().all()


def test_a_category_of_one_scene_is_never_waited_in() -> None:
    # picture 0 shows a category that no other scene shows and one that another does
    categories = np.array([[1, 1], [1, 0], [0, 1]], dtype=bool)
    references = RandomReferences(make_pictures(("a", "a", "b"), categories), 0, same_category=True)
    assert references.has_reference().tolist() == [True, False, True]
    assert {references.draw(epoch, 0) for epoch in range(50)} == {2}
