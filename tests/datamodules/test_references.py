import logging
import shutil
from collections.abc import Mapping
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.sparse import csr_array

from datamodules import references
from datamodules.cache import Form, Prepared, prepare
from datamodules.config import REFERENCES, DataConfig
from datamodules.facts import near_duplicates
from datamodules.pictures import Pictures
from datamodules.references import References, find_near_duplicates
from tests.data import photograph

SCENES = ("a", "a", "a", "b", "b", "c", "d", "d", "d", "e", "e", "f")
CATEGORIES = np.array([[1, 0], [1, 0], [0, 1], [1, 0], [1, 1], [0, 1], [0, 1], [1, 0], [1, 1], [1, 0], [0, 1], [1, 1]])
COUNT = len(SCENES)
OTHERS = tuple(kind for kind in REFERENCES if kind != "self")
FORM = Form(32, "squash", "none", keep_pixels=False)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of one scene are in one palette and unlike each other, as crops of one photograph are."""
    root = tmp_path_factory.mktemp("pictures")
    for index, scene in enumerate(SCENES):
        photograph(index, ord(scene), 40, 32).save(root / f"{index:02d}.png")
    return root


def prepared_of(root: Path, scenes: tuple[str, ...] | None = SCENES, categories: np.ndarray = CATEGORIES) -> Prepared:
    paths = np.array(sorted(path.name for path in root.iterdir() if path.is_file()))
    names = np.array(scenes) if scenes else paths
    table = categories if len(categories) == len(paths) else np.ones((len(paths), 1))
    pictures = Pictures(root, paths, names, csr_array(table.astype(np.int32)), tuple("xyzuvw"[: table.shape[1]]))
    return prepare(pictures, FORM, DataConfig(cache_dir=str(root / "cache")), "train")


def make_references(prepared: Prepared, weights: Mapping[str, float] | str, top_k: int = 3, seed: int = 0) -> References:
    weights = {weights: 1.0} if isinstance(weights, str) else weights
    return References(prepared, weights, top_k, seed, prepared.pictures.root / "cache")


def draws(found: References, epochs: int = 20) -> np.ndarray:
    """(epochs, pictures); -1 where there is no reference."""
    known = found.has_reference()
    return np.array([[found.draw(epoch, index)[0] if known[index] else -1 for index in range(len(known))] for epoch in range(epochs)])


def distances_of(prepared: Prepared) -> np.ndarray:
    """Independent of the code under test: every pair, in float64."""
    rows = prepared.descriptors().astype(float)
    return np.sqrt(((rows[:, None] - rows[None]) ** 2).sum(axis=-1))


def nearest_by_brute_force(prepared: Prepared, scenes: tuple[str, ...], count: int) -> list[list[int]]:
    distance = distances_of(prepared)
    return [
        sorted((other for other in range(len(scenes)) if scenes[other] != scenes[target]), key=lambda other: distance[target, other])[
            :count
        ]
        for target in range(len(scenes))
    ]


# --- every kind ---


@pytest.mark.parametrize("kind", OTHERS)
def test_a_reference_is_never_of_the_targets_own_scene(root: Path, kind: str) -> None:
    found = draws(make_references(prepared_of(root), kind))
    for target, reference in product(range(COUNT), range(COUNT)):
        if reference in found[:, target]:
            assert SCENES[target] != SCENES[reference]
            assert kind != "same_category" or (CATEGORIES[target] * CATEGORIES[reference]).any()


def test_self_is_the_target_itself(root: Path) -> None:
    found = make_references(prepared_of(root), "self")
    assert (draws(found, 3) == np.arange(COUNT)).all()
    assert found.draw(0, 4)[1] == "self"
    assert found.nearest is None


@pytest.mark.parametrize("kind", REFERENCES)
def test_draws_depend_on_seed_epoch_and_target_alone(root: Path, kind: str) -> None:
    prepared = prepared_of(root)
    first = draws(make_references(prepared, kind))
    assert np.array_equal(first, draws(make_references(prepared, kind)))
    assert make_references(prepared, kind).draw(7, 4)[0] == first[7, 4]
    fixed = kind in ("palette", "self")
    assert np.array_equal(first, draws(make_references(prepared, kind, seed=1))) == fixed
    assert np.array_equal(first[0], first[1]) == fixed


@pytest.mark.parametrize("kind", REFERENCES)
def test_the_kind_comes_with_the_reference(root: Path, kind: str) -> None:
    found = make_references(prepared_of(root), kind)
    assert {found.draw(epoch, index)[1] for epoch in range(3) for index in range(COUNT)} == {kind}


# --- palettes ---


def test_palette_references_equal_the_nearest_by_brute_force(root: Path) -> None:
    prepared = prepared_of(root)
    found = make_references(prepared, "palette")
    expected = nearest_by_brute_force(prepared, SCENES, 1)
    assert draws(found, 2).tolist() == [[one[0] for one in expected]] * 2
    assert found.distances is not None
    for target in range(COUNT):
        assert found.distances[target, 0] == pytest.approx(distances_of(prepared)[target, expected[target][0]], abs=1e-3)
        assert found.distance(target, expected[target][0]) == pytest.approx(found.distances[target, 0], abs=1e-5)


@pytest.mark.parametrize("top_k", [1, 2, 4])
def test_over_epochs_palette_top_k_draws_all_of_the_k_nearest(root: Path, top_k: int) -> None:
    prepared = prepared_of(root)
    found = make_references(prepared, "palette_top_k", top_k)
    expected = nearest_by_brute_force(prepared, SCENES, top_k)
    assert found.nearest is not None
    assert found.nearest.tolist() == expected
    drawn = draws(found, 120)
    for target in range(COUNT):
        assert set(drawn[:, target].tolist()) == set(expected[target])
        assert min(np.bincount(drawn[:, target])[expected[target]]) > 120 / top_k / 3


def test_fewer_than_k_are_drawn_among_what_there_is(tmp_path: Path) -> None:
    for index in range(3):
        photograph(index, index).save(tmp_path / f"{index}.png")
    prepared = prepared_of(tmp_path, None)
    found = make_references(prepared, "palette_top_k", top_k=10)
    assert found.nearest is not None
    assert found.distances is not None
    assert (found.nearest[:, 2:] == -1).all()
    assert np.isinf(found.distances[:, 2:]).all()
    drawn = draws(found, 40)
    assert [set(drawn[:, index].tolist()) for index in range(3)] == [{1, 2}, {0, 2}, {0, 1}]


def test_a_picture_whose_neighbours_are_all_of_its_own_scene_still_gets_the_nearest_of_the_others(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # without spare neighbours, those of one's own scene take all places
    monkeypatch.setattr(references, "_SPARE_NEIGHBOURS", 0)
    own = Path(shutil.copytree(root, tmp_path / "own", ignore=shutil.ignore_patterns("cache")))
    scenes = ("a",) * 8 + ("b", "b", "c", "c")
    prepared = prepared_of(own, scenes)
    found = make_references(prepared, "palette_top_k", top_k=3)
    assert found.nearest is not None
    assert found.distances is not None
    expected = nearest_by_brute_force(prepared, scenes, 3)
    assert found.nearest.tolist() == expected
    exact = np.take_along_axis(distances_of(prepared), np.array(expected), 1)
    assert np.abs(found.distances - exact).max() < 2e-3


def test_unrelated_is_farther_than_palette(root: Path) -> None:
    prepared = prepared_of(root)
    distance = distances_of(prepared)
    means = {}
    for kind in ("palette", "random", "unrelated"):
        drawn = draws(make_references(prepared, kind), 30)
        means[kind] = np.mean([[distance[target, row[target]] for target in range(COUNT)] for row in drawn], axis=0)
    assert (means["palette"] < means["unrelated"]).all()
    assert means["palette"].mean() < means["random"].mean() < means["unrelated"].mean()
    # of so many draws among so few, the farthest is nearly always among them
    farthest = [max(distance[target, other] for other in range(COUNT) if SCENES[other] != SCENES[target]) for target in range(COUNT)]
    assert np.abs(means["unrelated"] - farthest).mean() < 0.1


# --- random ones ---


@pytest.mark.parametrize("kind", ["random", "same_category"])
def test_every_allowed_reference_is_drawn_at_some_time(root: Path, kind: str) -> None:
    drawn = draws(make_references(prepared_of(root), kind), epochs=250)
    for target, other in product(range(COUNT), repeat=2):
        shares = kind == "random" or (CATEGORIES[target] * CATEGORIES[other]).any()
        assert (other in drawn[:, target]) == bool(SCENES[target] != SCENES[other] and shares)


def test_pictures_that_share_a_category_with_no_other_scene_have_no_reference(root: Path) -> None:
    categories = np.zeros((COUNT, 3))
    categories[[0, 5], 0] = 1
    # scene b alone has category 1, picture 9 alone category 2, all others none
    categories[[3, 4], 1] = 1
    categories[9, 2] = 1
    prepared = prepared_of(root, categories=categories)
    assert np.flatnonzero(make_references(prepared, "same_category").has_reference()).tolist() == [0, 5]
    assert make_references(prepared, "random").has_reference().all()


def test_a_category_of_one_scene_is_never_waited_in(root: Path) -> None:
    # picture 0 shows a category that no other scene shows and one that another does
    categories = np.zeros((COUNT, 2))
    categories[[0, 1], 0] = 1
    categories[[0, 5], 1] = 1
    found = make_references(prepared_of(root, categories=categories), "same_category")
    assert np.flatnonzero(found.has_reference()).tolist() == [0, 5]
    assert {found.draw(epoch, 0)[0] for epoch in range(50)} == {5}


@pytest.mark.parametrize("kind", OTHERS)
def test_one_scene_has_no_references(root: Path, kind: str) -> None:
    assert not make_references(prepared_of(root, ("a",) * COUNT), kind).has_reference().any()


# --- mixes of kinds ---


def test_kinds_are_drawn_as_often_as_their_weights_say(root: Path) -> None:
    found = make_references(prepared_of(root), {"palette": 3, "self": 2, "random": 1})
    kinds = [found.draw(epoch, index)[1] for epoch in range(100) for index in range(COUNT)]
    for kind, share in {"palette": 1 / 2, "self": 1 / 3, "random": 1 / 6}.items():
        # 1200 draws: four standard deviations are below 0.06
        assert kinds.count(kind) / len(kinds) == pytest.approx(share, abs=0.06)
    for epoch, index in product(range(20), range(COUNT)):
        reference, kind = found.draw(epoch, index)
        assert (reference == index) == (kind == "self")


def test_a_kind_that_finds_nothing_leaves_its_share_to_the_others(root: Path) -> None:
    categories = np.zeros((COUNT, 1))
    categories[[0, 5]] = 1
    found = make_references(prepared_of(root, categories=categories), {"same_category": 0.9, "self": 0.1})
    assert found.has_reference().all()
    assert {found.draw(epoch, 7)[1] for epoch in range(30)} == {"self"}
    assert {found.draw(epoch, 0)[1] for epoch in range(200)} == {"same_category", "self"}


# --- near-duplicates ---


@pytest.fixture
def with_duplicates(root: Path, tmp_path: Path) -> Path:
    """12 pictures, of the third also one in bad quality and one at half the size, of the sixth an exact copy."""
    own = Path(shutil.copytree(root, tmp_path / "own", ignore=shutil.ignore_patterns("cache")))
    for path in own.iterdir():
        picture = photograph(int(path.stem), int(path.stem), 96, 80)
        picture.save(path)
        if path.stem == "02":
            picture.save(own / "90.jpg", quality=50)
            picture.resize((48, 40), Image.Resampling.LANCZOS).save(own / "91.png")
        if path.stem == "05":
            picture.save(own / "92.png")
    return own


@pytest.mark.parametrize("kind", OTHERS)
def test_a_near_duplicate_is_never_a_reference(with_duplicates: Path, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    prepared = prepared_of(with_duplicates, None)
    with caplog.at_level(logging.INFO):
        drawn = draws(make_references(prepared, kind, top_k=4), 60)
    same = {2: {2, 12, 13}, 12: {2, 12, 13}, 13: {2, 12, 13}, 5: {5, 14}, 14: {5, 14}}
    for target in range(len(prepared)):
        assert not set(drawn[:, target].tolist()) & same.get(target, {target})
    assert "near-duplicates are no references of each other" in caplog.text


def test_near_duplicates_join_their_scenes(with_duplicates: Path) -> None:
    scenes = tuple("abcdefghijklxxy")
    found = make_references(prepared_of(with_duplicates, scenes), "random")
    groups = [set(np.flatnonzero(found.groups == group).tolist()) for group in np.unique(found.groups)]
    assert {2, 12, 13} in groups
    assert {5, 14} in groups
    assert len(groups) == 12
    scenes = tuple("abcdefghijkldxy")
    found = make_references(prepared_of(with_duplicates, scenes), "random")
    assert {2, 3, 12, 13} in [set(np.flatnonzero(found.groups == group).tolist()) for group in np.unique(found.groups)]


def test_near_duplicates_equal_those_of_comparing_every_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    originals = random.integers(0, 256, (60, 192))
    noisy = originals[random.integers(0, 60, 200)] + random.integers(-6, 7, (200, 192)) * random.random((200, 1))
    thumbnails = np.concatenate((originals, noisy)).clip(0, 255).round().astype(np.uint8)
    expected = {(i, j) for i, j in zip(*np.nonzero(near_duplicates(thumbnails[:, None], thumbnails[None])), strict=True) if i < j}
    assert 100 < len(expected) < 260 * 259 / 2
    assert {tuple(sorted(pair)) for pair in find_near_duplicates(thumbnails).tolist()} == expected
    monkeypatch.setattr(references, "_CHUNK", 7)
    assert {tuple(sorted(pair)) for pair in find_near_duplicates(thumbnails).tolist()} == expected
    assert find_near_duplicates(thumbnails[:1]).shape == (0, 2)


# --- what is kept ---


def test_palettes_are_searched_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = prepared_of(root)
    first = make_references(prepared, "palette_top_k")
    monkeypatch.setattr(references, "nearest_palettes", None)
    monkeypatch.setattr(references, "find_near_duplicates", None)
    again = make_references(prepared, "palette_top_k")
    assert np.array_equal(first.nearest, again.nearest)  # pyright: ignore[reportArgumentType]
    assert np.array_equal(first.groups, again.groups)


@pytest.mark.parametrize("change", ["pictures", "scenes", "top_k"])
def test_other_pictures_scenes_or_counts_are_searched_anew(root: Path, change: str) -> None:
    prepared = prepared_of(root)
    make_references(prepared, "palette_top_k")
    scenes, top_k = SCENES, 3
    if change == "pictures":
        prepared, scenes = prepared[np.arange(9)], SCENES[:9]
    elif change == "scenes":
        scenes = tuple("abcdefghijkl")
        prepared = prepared_of(root, scenes)
    else:
        top_k = 5
    found = make_references(prepared, "palette_top_k", top_k)
    assert found.nearest is not None
    assert found.nearest.tolist() == nearest_by_brute_force(prepared, scenes, top_k)


def test_an_interrupted_search_is_never_taken_for_a_whole_one(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = Path(shutil.copytree(root, tmp_path / "own", ignore=shutil.ignore_patterns("cache")))
    prepared = prepared_of(own)
    whole = references.nearest_palettes

    def fail(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(references, "nearest_palettes", fail)
    with pytest.raises(KeyboardInterrupt):
        make_references(prepared, "palette")
    monkeypatch.setattr(references, "nearest_palettes", whole)
    found = make_references(prepared, "palette")
    assert draws(found, 1)[0].tolist() == [one[0] for one in nearest_by_brute_force(prepared, SCENES, 1)]
