from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.camvid import CLASSES
from datamodules.labels import VOID
from tests.data import STREET_CLASSES, color_of, make_camvid, photograph
from tests.datamodules.modules import batches_of, draw_all, files_below, make_module, names_of, near_edges, part


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_camvid(tmp_path / "camvid")


def frames(root: Path, split: str) -> list[str]:
    return [f"{split}/{path.name}" for path in sorted((root / split).iterdir())]


def test_the_splits_are_its_directories(root: Path) -> None:
    module = make_module("camvid", root)
    module.setup("test")
    for split, count in (("train", 6), ("val", 3), ("test", 3)):
        assert names_of(module, split) == frames(root, split)
        assert len(frames(root, split)) == count
    assert module.skipped == {}


def test_the_test_split_is_optional(tmp_path: Path) -> None:
    import shutil

    root = make_camvid(tmp_path)
    for name in ("test", "testannot"):
        shutil.rmtree(root / name)
    assert make_module("camvid", root).splits() == ("train", "val")


def test_there_are_as_many_classes_as_numbers() -> None:
    assert len(set(CLASSES)) == STREET_CLASSES


@pytest.mark.parametrize("references", ["random", "self"])
@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("resize", ["crop", "squash"])
@pytest.mark.parametrize("cache", [True, False])
def test_label_maps_stay_aligned_with_their_frames(root: Path, references: str, split: str, resize: str, cache: bool) -> None:
    settings = {"references": references, "resize": resize, "cache": cache, "batch_size": 3, "image_size": 40}
    module = make_module("camvid", root, label_maps="classes", **settings)
    void = 0
    for epoch in range(3):
        for batch in batches_of(module, split, done=2 * epoch):
            for rgb, labels in ((batch.target_rgb, batch.target_labels), (batch.reference_rgb, batch.reference_labels)):
                assert labels is not None
                numbers = labels.numpy()
                assert set(np.unique(numbers)) <= {*range(STREET_CLASSES), VOID}
                colors = color_of(np.where(numbers == VOID, STREET_CLASSES, numbers))
                off = np.abs((rgb * 255).permute(0, 2, 3, 1).numpy() - colors).max(axis=-1) > 43
                warped = references == "self" and rgb is batch.reference_rgb
                if warped:
                    # what a warp mirrors in from outside is void in the map and coloured in the picture
                    off &= numbers != VOID
                # a warp interpolates what the resize has interpolated
                edges = np.stack([near_edges(one, reach=2 if warped else 1) for one in numbers])
                assert not (off & ~edges)[:, 2:-2, 2:-2].any()
                assert off.mean() < 0.12
                void += int((numbers == VOID).sum())
    assert void > 0


def test_without_being_asked_for_there_are_no_label_maps(root: Path) -> None:
    for sample in draw_all(part(make_module("camvid", root), "train")):
        assert sample.target_labels is None
        assert sample.reference_labels is None


def test_frames_below_directories_have_their_labels_there(root: Path) -> None:
    # a path that has the name of its split in it once more
    name = frames(root, "train")[1].removeprefix("train/")
    for directory in ("train", "trainannot"):
        (root / directory / "train").mkdir()
        (root / directory / name).rename(root / directory / "train" / name)
    module = make_module("camvid", root, label_maps="classes", resize="squash", image_size=48)
    (moved,) = [sample for sample in draw_all(part(module, "train")) if sample.id.startswith("train/train/")]
    stored = np.asarray(Image.open(root / moved.id.replace("train/", "trainannot/", 1)).resize((48, 48), Image.Resampling.NEAREST))
    assert np.array_equal(moved.target_labels, np.where(stored == 11, VOID, stored))  # pyright: ignore[reportArgumentType]


def test_a_directory_without_its_splits_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    with pytest.raises(ValueError, match=r"data\.root=.*there are no train and val directories; data=camvid needs both"):
        make_module("camvid", tmp_path)


def test_a_split_without_frames_is_refused(tmp_path: Path) -> None:
    for name in ("train", "val"):
        (tmp_path / name).mkdir()
    with pytest.raises(ValueError, match=r"data\.root=.*there is no picture in .*train"):
        make_module("camvid", tmp_path)


def test_missing_label_directories_are_named(root: Path) -> None:
    (root / "valannot").rename(root / "elsewhere")
    with pytest.raises(ValueError, match=r"data\.label_maps=classes: .*valannot is missing"):
        make_module("camvid", root, label_maps="classes")
    assert len(make_module("camvid", root).datasets["val"]) == 3


@pytest.mark.parametrize("damage", ["missing", "another size", "zero bytes"])
def test_a_bad_label_map_is_named(root: Path, damage: str) -> None:
    name = frames(root, "train")[2]
    path = root / name.replace("train/", "trainannot/")
    if damage == "missing":
        path.unlink()
    elif damage == "another size":
        Image.open(path).resize((30, 24), Image.Resampling.NEAREST).save(path)
    else:
        path.write_bytes(b"")
    with pytest.raises(ValueError, match=rf"data\.root=.*1 of the 6 pictures of the train split are missing or damaged.*{name} \(.+\)"):
        make_module("camvid", root, label_maps="classes")


def test_a_bad_label_map_of_many_is_left_out_and_listed(tmp_path: Path) -> None:
    root = make_camvid(tmp_path, train=4)
    for number in range(110):
        photograph(number, number, 30, 24).save(root / "train" / f"x{number:03d}.png")
        Image.new("L", (30, 24) if number != 60 else (24, 30), number % 11).save(root / "trainannot" / f"x{number:03d}.png")
    module = make_module("camvid", root, label_maps="classes", image_size=16)
    assert module.skipped == {("train", "train/x060.png"): "its label map is 24 x 30 px, the picture 30 x 24"}
    assert len(module.datasets["train"]) == 113


def test_nothing_is_written_beside_the_frames(root: Path) -> None:
    before = files_below(root)
    make_module("camvid", root, label_maps="classes")
    assert files_below(root) == before


def test_batches_have_both_label_maps(root: Path) -> None:
    (batch, *_) = batches_of(make_module("camvid", root, label_maps="classes"), "val")
    assert batch.target_labels is not None
    assert batch.reference_labels is not None
    assert batch.target_labels.dtype == batch.reference_labels.dtype == torch.uint8
    assert not torch.equal(batch.target_labels, batch.reference_labels)
