from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.trees import directories_of, find_pictures
from tests.data import FOLDER_FILES, make_folder, photograph
from tests.datamodules.modules import SIZE, draw_all, files_below, make_module, names_of, part


def test_all_pictures_are_found_however_deep(tmp_path: Path) -> None:
    assert find_pictures(make_folder(tmp_path)) == sorted(FOLDER_FILES)


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "data")
    make_folder(tmp_path / "elsewhere")
    (root / "circle").symlink_to(root)
    (root / "out").symlink_to(tmp_path / "elsewhere")
    (root / "linked.jpg").symlink_to(root / "a.jpg")
    (root / "broken.jpg").symlink_to(root / "nothing.jpg")
    outside = [f"out/{name}" for name in FOLDER_FILES]
    # a link that leads nowhere is listed, so that it is counted as missing
    assert find_pictures(root) == sorted((*FOLDER_FILES, *outside, "linked.jpg", "broken.jpg"))


def test_splits_are_directories_if_train_and_val_are_there(tmp_path: Path) -> None:
    names = ("train", "val", "test")
    assert directories_of(tmp_path, names) == ()
    for present, expected in (("test", ()), ("train", ()), ("val", names)):
        (tmp_path / present).mkdir()
        assert directories_of(tmp_path, names) == expected


def test_a_part_of_the_pictures_is_for_validation(tmp_path: Path) -> None:
    module = make_module("folder", make_folder(tmp_path, pictures=40), references="random", image_size=16)
    train, val = (set(names_of(module, split)) for split in ("train", "val"))
    assert not train & val
    assert train | val == {*FOLDER_FILES, *(f"many/{number:04d}.jpg" for number in range(40))}
    # a tenth, as far as hashes can
    assert 1 <= len(val) <= 10
    assert module.splits() == ("train", "val")


@pytest.mark.parametrize("test", [False, True])
def test_directories_named_after_splits_are_the_splits(tmp_path: Path, test: bool) -> None:
    for seed, split in enumerate(("train", "val", *(("test",) if test else ()))):
        for number in range(3):
            (tmp_path / split / "deep").mkdir(parents=True, exist_ok=True)
            photograph(10 * seed + number, number).save(tmp_path / split / "deep" / f"{number}.png")
    (tmp_path / "other").mkdir()
    photograph(99, 0).save(tmp_path / "other" / "9.png")
    module = make_module("folder", tmp_path)
    if test:
        module.setup("test")
    for split in module.splits():
        assert names_of(module, split) == [f"{split}/deep/{number}.png" for number in range(3)]
    assert module.has_split("test") == test


def test_directories_are_categories(tmp_path: Path) -> None:
    root = make_folder(tmp_path, pictures=6)
    pictures = make_module("folder", root, references="self", val_fraction=0.3).list_pictures("train")
    assert pictures.category_names == (".", "deep", "deep/er", "many", "other")
    shown = {str(path): pictures.category_names[column] for path, column in zip(pictures.paths, pictures.categories.indices, strict=True)}
    assert shown == {str(path): str(Path(path).parent) for path in pictures.paths}
    assert (pictures.categories.sum(axis=1) == 1).all()
    dataset = part(make_module("folder", root, references={"same_category": 1e9, "self": 1e-9}, val_fraction=0.3), "train")
    for epoch in range(5):
        for target in dataset.targets:
            reference, kind = dataset.references.draw(epoch, int(target))
            assert (reference == target) == (kind == "self")
            paths = dataset.prepared.pictures.paths
            assert Path(paths[reference]).parent == Path(paths[target]).parent


@pytest.mark.parametrize(
    "name", ["a.jpg", "umlaut äöü.jpg", "with space.png", "quote'\".png", "newline\n.png", "日本.webp", "UPPER.JPG", "a..b.jpg"]
)
def test_odd_file_names_are_read(tmp_path: Path, name: str) -> None:
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
        for number in range(2):
            photograph(number, number).save(tmp_path / split / f"{number}.png")
    photograph(9, 9).save(tmp_path / "train" / name)
    module = make_module("folder", tmp_path)
    assert names_of(module, "train") == sorted(["train/0.png", "train/1.png", f"train/{name}"])
    assert module.skipped == {}


def test_pictures_of_every_format_are_their_pixels(tmp_path: Path) -> None:
    root = make_folder(tmp_path)
    module = make_module("folder", root, references="self", resize="squash", val_fraction=0.3)
    samples = draw_all(part(module, "train")) + draw_all(part(module, "val"))
    assert len(samples) == len(FOLDER_FILES)
    for sample in samples:
        with Image.open(root / sample.id) as picture:
            expected = np.asarray(picture.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BICUBIC)).astype(float)
        assert np.abs(sample.target - expected).mean() < 2


def test_a_directory_without_pictures_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(ValueError, match=r"data\.root=.*there is no picture in"):
        make_module("folder", tmp_path)


def test_an_empty_split_is_refused(tmp_path: Path) -> None:
    # the only picture is on one side
    photograph(0, 0).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"data\.root=.*the (train|val) split has no pictures"):
        make_module("folder", tmp_path, references="self")


@pytest.mark.parametrize("name", ["folder", "imagenet", "camvid"])
def test_a_root_that_is_missing_or_not_given_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=rf"data\.root: data={name} needs the directory"):
        make_module(name, None)
    with pytest.raises(ValueError, match=r"data\.root=.*nowhere: no such directory"):
        make_module(name, tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"data\.root=.*file: no such directory"):
        make_module(name, tmp_path / "file")


def test_nothing_is_written_beside_the_pictures(tmp_path: Path) -> None:
    before = files_below(make_folder(tmp_path))
    make_module("folder", tmp_path, references="self", val_fraction=0.3)
    assert files_below(tmp_path) == before
