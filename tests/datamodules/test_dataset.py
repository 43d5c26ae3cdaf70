import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from datamodules.dataset import ConcatenatedDataset
from datamodules.pictures import read_picture
from tests.data import make_folder
from tests.datamodules.modules import SIZE, draw_all, make_module, part


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("folder"), pictures=8)


def assert_same(first: object, second: object) -> None:
    assert isinstance(first, tuple)
    assert isinstance(second, tuple)
    for one, other in zip(first, second, strict=True):
        assert np.array_equal(one, other) if isinstance(one, np.ndarray) else one == other


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("references", ["palette", "random", "self", {"self": 1, "unrelated": 1}])
def test_samples_are_the_uncropped_target_and_its_reference(root: Path, cache: bool, references: object) -> None:
    dataset = part(make_module("folder", root, val_fraction=0.3, cache=cache, references=references), "train")
    paths = dataset.prepared.pictures.paths
    for epoch in range(2):
        for position, sample in enumerate(draw_all(dataset, epoch)):
            index = int(dataset.targets[position])
            reference, kind = dataset.references.draw(epoch, index)
            assert sample.id == paths[index]
            assert np.array_equal(sample.target, read_picture(root / paths[index], SIZE, "crop")[0])
            assert np.array_equal(sample.reference, read_picture(root / paths[reference], SIZE, "crop")[0])
            assert sample.is_own_reference == (kind == "self") == (reference == index)
            assert sample.target_labels is None


def test_samples_are_a_pure_function_of_seed_epoch_and_picture(root: Path) -> None:
    dataset = part(make_module("folder", root, val_fraction=0.3, references="random"), "train")
    expected = draw_all(dataset, 3)
    torch.manual_seed(123)
    np.random.seed(5)  # noqa: NPY002
    for index in reversed(range(len(dataset))):
        assert_same(dataset[3, index], expected[index])
    again = part(make_module("folder", root, val_fraction=0.3, references="random"), "train")
    for index, sample in enumerate(draw_all(again, 3)):
        assert_same(sample, expected[index])


def test_a_target_is_the_same_whatever_else_is_in_the_data_set(root: Path) -> None:
    few, many = (part(make_module("folder", root, references="self", val_fraction=share), "train") for share in (0.6, 0.3))
    by_name = {sample.id: sample for sample in draw_all(many, 2)}
    samples = draw_all(few, 2)
    assert 0 < len(samples) < len(by_name)
    for sample in samples:
        assert_same(sample, by_name[sample.id])


def test_keys_differ_between_pictures_epochs_and_seeds(root: Path) -> None:
    datasets = [part(make_module("folder", root, val_fraction=0.3, seed=seed), "train") for seed in (0, 1)]
    keys = [sample.key for dataset in datasets for epoch in range(3) for sample in draw_all(dataset, epoch)]
    assert len(keys) == len(set(keys)) == 2 * 3 * len(datasets[0])
    assert all(0 <= key < 2**62 for key in keys)


def test_targets_without_a_reference_are_not_drawn(root: Path) -> None:
    dataset = part(make_module("folder", root, val_fraction=0.3, references="same_category"), "train")
    paths = dataset.prepared.pictures.paths
    assert 0 < len(dataset) < len(paths)
    assert {sample.id for sample in draw_all(dataset)} == {str(paths[index]) for index in dataset.targets}


def test_several_data_sets_are_one_after_the_other(root: Path) -> None:
    parts = [part(make_module("folder", root, val_fraction=0.4), split) for split in ("train", "val", "train")]
    whole = ConcatenatedDataset(parts)
    assert len(whole) == sum(map(len, parts))
    expected = [(dataset, position) for dataset in parts for position in range(len(dataset))]
    for index, (dataset, position) in enumerate(expected):
        assert_same(whole[1, index], dataset[1, position])


def test_a_worker_that_is_not_forked_gets_the_same(root: Path) -> None:
    dataset = part(make_module("folder", root, val_fraction=0.3), "train")
    expected = draw_all(dataset, 1)
    for index, sample in enumerate(draw_all(pickle.loads(pickle.dumps(dataset)), 1)):
        assert_same(sample, expected[index])
