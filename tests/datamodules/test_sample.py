import contextlib
import io
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pycocotools.coco import COCO

from datamodules import sample
from datamodules.config import REFERENCES, SampleConfig
from datamodules.dataset import PictureDataset
from datamodules.labels import VOID
from datamodules.sample import SCENES, VERSION, SampleDataModule, make_sample


@pytest.fixture(scope="module")
def sample_root(cache_directory: Path) -> Path:
    return cache_directory / f"sample-{VERSION}"


def annotations(root: Path, split: str) -> Any:
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(root / "annotations" / f"instances_{split}2017.json"))


@pytest.mark.parametrize(("split", "at_least"), [("train", 60), ("val", 12)])
def test_has_enough_crops_in_cocos_layout(sample_root: Path, split: str, at_least: int) -> None:
    coco = annotations(sample_root, split)
    assert len(coco.imgs) >= at_least
    assert {image["file_name"] for image in coco.imgs.values()} == {path.name for path in (sample_root / f"{split}2017").iterdir()}
    for image in coco.imgs.values():
        assert Image.open(sample_root / f"{split}2017" / image["file_name"]).size == (image["width"], image["height"])
        names = {category["name"] for category in coco.loadCats({a["category_id"] for a in coco.imgToAnns[image["id"]]})}
        assert names == set(SCENES[split][image["scene"]])


def test_no_scene_of_validation_is_in_training(sample_root: Path) -> None:
    scenes = {split: {image["scene"] for image in annotations(sample_root, split).imgs.values()} for split in ("train", "val")}
    assert not scenes["train"] & scenes["val"]
    assert all(len(names) > 1 for names in scenes.values()), "no crop can be another scene's reference"


def test_is_the_same_to_the_byte_every_time(sample_root: Path, tmp_path: Path) -> None:
    make_sample(tmp_path / "again")
    files = {path.relative_to(sample_root) for path in sample_root.rglob("*") if path.is_file()}
    assert files == {path.relative_to(tmp_path / "again") for path in (tmp_path / "again").rglob("*") if path.is_file()}
    assert all((sample_root / name).read_bytes() == (tmp_path / "again" / name).read_bytes() for name in files)
    assert list(tmp_path.iterdir()) == [tmp_path / "again"], "something is left beside it"


@pytest.mark.parametrize("references", [kind for kind in REFERENCES if kind != "self"])
def test_references_are_of_another_scene(references: str) -> None:
    module = SampleDataModule(SampleConfig(references=references, image_size=16), seed=0)
    module.prepare_data()
    module.setup("fit")
    for split in ("train", "val"):
        dataset = module.datasets[split]
        assert isinstance(dataset, PictureDataset)
        assert len(dataset) > 0
        groups = dataset.prepared.pictures.groups
        for target in dataset.targets:
            assert groups[target] != groups[dataset.references.draw(0, int(target))[0]]


def test_instances_can_be_its_label_maps() -> None:
    module = SampleDataModule(SampleConfig(label_maps="instances", image_size=16), seed=0)
    module.prepare_data()
    sample = module.datasets["val"][0, 0]
    assert sample.target_labels is not None
    assert sample.target_labels.shape == sample.target.shape[:2]
    assert (sample.target_labels < VOID).all()


def test_a_cache_directory_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"data\.(cache_dir|root)=.*file"):
        SampleDataModule(SampleConfig(cache_dir=str(tmp_path / "file" / "cache")), seed=0).prepare_data()


def test_categories_choose_among_the_scenes() -> None:
    pictures = SampleDataModule(SampleConfig(categories=["outdoor"]), seed=0).list_pictures("train")
    assert set(pictures.groups) == {"china", "rocket"}


def test_what_is_there_is_kept(sample_root: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in sample_root.rglob("*")}
    make_sample(sample_root)
    assert {path: path.stat().st_mtime_ns for path in sample_root.rglob("*")} == before


def test_an_empty_directory_is_filled(sample_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "_write_split", lambda aside, split, scenes: copy_split(sample_root, aside, split))
    make_sample(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["annotations", "train2017", "val2017"]


def test_a_directory_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("all my work")
    with pytest.raises(ValueError, match=r"data\.root=.*holds something else.*an empty or a new directory"):
        make_sample(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def copy_split(sample_root: Path, root: Path, split: str) -> None:
    shutil.copytree(sample_root / f"{split}2017", root / f"{split}2017")
    (root / "annotations").mkdir(exist_ok=True)
    shutil.copy(sample_root / "annotations" / f"instances_{split}2017.json", root / "annotations")


def test_another_run_may_finish_first(sample_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "sample"

    def write_split(aside: Path, split: str, scenes: object) -> None:
        copy_split(sample_root, aside, split)
        copy_split(sample_root, root, split)

    monkeypatch.setattr(sample, "_write_split", write_split)
    make_sample(root)
    assert sorted(path.name for path in root.iterdir()) == ["annotations", "train2017", "val2017"]
