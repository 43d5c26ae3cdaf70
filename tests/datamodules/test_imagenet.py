from pathlib import Path

import pytest

from tests.data import SYNSETS, make_imagenet, photograph
from tests.datamodules.modules import make_module, names_of, part


def test_the_classes_are_the_directories(tmp_path: Path) -> None:
    module = make_module("imagenet", make_imagenet(tmp_path))
    assert names_of(module, "train") == [f"train/{synset}/{synset}_{10026 + i}.JPEG" for synset in SYNSETS for i in range(4)]
    assert [name.split("/")[1] for name in names_of(module, "val")] == [synset for synset in SYNSETS for _ in range(2)]
    pictures = module.list_pictures("train")
    assert pictures.category_names == SYNSETS
    assert pictures.categories.toarray().argmax(axis=1).tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert pictures.categories.sum() == 12


def test_a_tree_without_splits_has_a_part_held_out(tmp_path: Path) -> None:
    make_imagenet(tmp_path, train=20)
    module = make_module("imagenet", tmp_path / "train", image_size=16, references="random")
    train, val = (set(names_of(module, split)) for split in ("train", "val"))
    assert not train & val
    assert len(train | val) == 60
    assert 1 <= len(val) <= 15
    assert {name.split("/")[0] for name in train} == set(SYNSETS)


@pytest.mark.parametrize("cache", [True, False])
def test_references_of_the_same_category_are_of_the_class(tmp_path: Path, cache: bool) -> None:
    dataset = part(make_module("imagenet", make_imagenet(tmp_path), references="same_category", cache=cache), "train")
    paths = dataset.prepared.pictures.paths
    for epoch in range(5):
        for target in dataset.targets:
            reference, kind = dataset.references.draw(epoch, int(target))
            assert kind == "same_category"
            assert reference != target
            assert paths[reference].split("/")[1] == paths[target].split("/")[1]


def test_pictures_outside_the_class_directories_are_refused(tmp_path: Path) -> None:
    make_imagenet(tmp_path)
    photograph(1, 1).save(tmp_path / "train" / "loose.jpg")
    with pytest.raises(ValueError, match=r"data\.root=.*1 pictures, such as train/loose\.jpg, lie in no class directory; use data=folder"):
        make_module("imagenet", tmp_path)


def test_a_folder_of_pictures_is_refused(tmp_path: Path) -> None:
    for number in range(3):
        photograph(number, number).save(tmp_path / f"{number}.jpg")
    with pytest.raises(ValueError, match=r"3 pictures, such as 0\.jpg, lie in no class directory"):
        make_module("imagenet", tmp_path)
