import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datamodules.coco import CocoDataModule
from datamodules.config import CocoConfig
from tests.data import CATEGORIES, SHOWN, CocoPicture, make_coco, photograph, write_coco_split
from tests.datamodules.modules import files_below, make_module, names_of


def listed(root: Path, split: str = "train", **settings: object) -> list[str]:
    module = CocoDataModule(CocoConfig(root=str(root), **settings), seed=0)  # pyright: ignore[reportArgumentType]
    return [str(path) for path in module.list_pictures(split).paths]


def annotation_file(root: Path, split: str = "train") -> Path:
    return root / "annotations" / f"instances_{split}2017.json"


@pytest.fixture
def own_root(coco_root: Path, tmp_path: Path) -> Path:
    """A copy of the tiny data set that a test may damage."""
    return Path(shutil.copytree(coco_root, tmp_path / "coco"))


def test_the_default_categories_are_the_reports() -> None:
    assert CocoConfig().categories == list(SHOWN)


def test_default_categories_leave_out_pictures_that_show_none_of_them(coco_root: Path) -> None:
    assert listed(coco_root) == [f"train2017/{number:012d}.jpg" for number in range(1, 14)]
    assert listed(coco_root, "val") == [f"val2017/{number:012d}.jpg" for number in range(1, 7)]


def test_all_takes_every_picture(coco_root: Path) -> None:
    assert len(listed(coco_root, categories="all")) == 14


@pytest.mark.parametrize("categories", ["zebra", ["zebra"]])
def test_one_category_takes_its_pictures(coco_root: Path, categories: object) -> None:
    assert listed(coco_root, categories=categories) == [f"train2017/{number:012d}.jpg" for number in (2, 6, 10)]


def test_a_picture_of_two_categories_is_listed_once(tmp_path: Path) -> None:
    write_coco_split(tmp_path, "train", [CocoPicture(photograph(i, i), ["zebra", "giraffe", "zebra"]) for i in range(3)])
    assert len(listed(tmp_path, categories=["zebra", "giraffe"])) == 3


def test_categories_and_scenes_of_each_picture_are_kept(tmp_path: Path) -> None:
    shown = [(["zebra"], "savanna"), (["giraffe", "zebra"], "savanna"), (["surfboard"], None)]
    write_coco_split(tmp_path, "train", [CocoPicture(photograph(i, i), names, scene=scene) for i, (names, scene) in enumerate(shown)])
    pictures = CocoDataModule(CocoConfig(root=str(tmp_path), categories="all"), seed=0).list_pictures("train")
    assert dict.fromkeys(pictures.category_names) == dict.fromkeys(CATEGORIES)
    expected = [[names.count(name) for name in pictures.category_names] for names, _ in shown]
    assert pictures.categories.toarray().tolist() == expected
    assert pictures.groups[0] == pictures.groups[1] != pictures.groups[2]


def test_an_unknown_category_names_the_closest(coco_root: Path) -> None:
    with pytest.raises(ValueError, match=r"data\.categories: .*'girafe'; did you mean giraffe"):
        listed(coco_root, categories=["zebra", "girafe"])


def test_a_category_without_a_training_picture_is_refused(coco_root: Path) -> None:
    with pytest.raises(ValueError, match=r"data\.categories: no picture of the train split shows a 'cat'"):
        listed(coco_root, categories=["zebra", "cat"])


def test_a_validation_split_that_shows_none_of_the_categories_is_refused(tmp_path: Path) -> None:
    make_coco(tmp_path, train=4, val=1)
    assert listed(tmp_path, "val", categories=["giraffe", "surfboard"]) == ["val2017/000000000001.jpg"]
    with pytest.raises(ValueError, match=r"data\.categories=.*no picture of the val split"):
        listed(tmp_path, "val", categories=["surfboard"])


def test_the_test_split_is_optional(tmp_path: Path, coco_root: Path) -> None:
    assert not CocoDataModule(CocoConfig(root=str(coco_root)), seed=0).has_split("test")
    make_coco(tmp_path, test=2)
    assert CocoDataModule(CocoConfig(root=str(tmp_path)), seed=0).has_split("test")
    assert listed(tmp_path, "test") == ["test2017/000000000001.jpg", "test2017/000000000002.jpg"]


def test_a_root_that_is_not_given_is_asked_for() -> None:
    with pytest.raises(ValueError, match=r"data\.root: data=coco needs the directory"):
        CocoDataModule(CocoConfig(), seed=0).prepare_data()


def test_a_missing_root_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data\.root=.*nowhere: no such directory"):
        listed(tmp_path / "nowhere")


def test_a_missing_annotation_file_is_named(own_root: Path) -> None:
    annotation_file(own_root, "val").unlink()
    with pytest.raises(ValueError, match=r"data\.root=.*instances_val2017\.json is missing"):
        CocoDataModule(CocoConfig(root=str(own_root)), seed=0).prepare_data()


def damage(contents: dict, what: str) -> str | bytes:
    if what == "truncated":
        return json.dumps(contents)[:-20]
    if what == "binary":
        return b"\x80\x81\xff" * 20
    if what == "a list":
        return "[]"
    if what == "empty":
        return ""
    if what == "no images":
        del contents["images"]
    elif what == "no file names":
        del contents["images"][0]["file_name"]
    elif what == "no category names":
        del contents["categories"][0]["name"]
    elif what == "annotation without a category":
        del contents["annotations"][0]["category_id"]
    return json.dumps(contents)


@pytest.mark.parametrize(
    "what",
    [
        "truncated",
        "binary",
        "a list",
        "empty",
        "no images",
        "no file names",
        "no category names",
        "annotation without a category",
    ],
)
def test_a_damaged_annotation_file_is_named(own_root: Path, what: str) -> None:
    damaged = damage(json.loads(annotation_file(own_root).read_text()), what)
    annotation_file(own_root).write_bytes(damaged if isinstance(damaged, bytes) else damaged.encode())
    with pytest.raises(ValueError, match=r"data\.root=.*instances_train2017\.json is no COCO annotation file or is damaged"):
        listed(own_root)


def test_a_split_without_any_picture_is_refused(own_root: Path) -> None:
    annotation_file(own_root).write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    with pytest.raises(ValueError, match=r"data\..*train"):
        CocoDataModule(CocoConfig(root=str(own_root), categories="all"), seed=0).prepare_data()


@pytest.mark.parametrize("name", ["../../secret/000000000001.jpg", "/etc/passwd.jpg", "../val2017/000000000001.jpg"])
def test_file_names_lead_nowhere_else(own_root: Path, name: str) -> None:
    contents = json.loads(annotation_file(own_root).read_text())
    contents["images"][0]["file_name"] = name
    annotation_file(own_root).write_text(json.dumps(contents))
    with pytest.raises(ValueError, match=r"data\.root=.*1 of its 14 pictures cannot be used, more than 1%: .*leads out of the data set"):
        listed(own_root)


def write_many(root: Path, damage: Callable[[dict[str, Any]], object]) -> None:
    """120 pictures, and something is wrong with their annotations."""
    write_coco_split(root, "train", [CocoPicture(photograph(i, i, 16, 16), ["zebra"]) for i in range(120)])
    write_coco_split(root, "val", [CocoPicture(photograph(i, i, 16, 16), ["zebra"]) for i in range(4)])
    contents = json.loads(annotation_file(root).read_text())
    damage(contents)
    annotation_file(root).write_text(json.dumps(contents))


@pytest.mark.parametrize(
    ("what", "values", "name", "reason"),
    [
        ("images", {"file_name": "../7.jpg"}, "../7.jpg", "leads out"),
        ("images", {"file_name": "/7.jpg"}, "/7.jpg", "leads out"),
        ("images", {"file_name": "000000000009.jpg"}, "000000000009.jpg", "listed twice"),
        ("annotations", {"image_id": 99999}, "annotation 8", "picture 99999 that is not listed"),
        ("annotations", {"category_id": 99999}, "annotation 8", "category 99999 that is not listed"),
        ("annotations", {"segmentation": []}, "000000000008.jpg, annotation 8", "no polygon"),
    ],
)
def test_what_is_left_out_is_listed(tmp_path: Path, what: str, values: dict[str, Any], name: str, reason: str) -> None:
    write_many(tmp_path, lambda contents: contents[what][7].update(values))
    module = make_module("coco", tmp_path, image_size=16, categories="all", label_maps="instances")
    assert list(module.skipped) == [("train", name)]
    assert reason in module.skipped["train", name]
    assert len(module.datasets["train"]) == (119 if what == "images" else 120)


@pytest.mark.parametrize("what", ["images", "annotations"])
def test_an_id_that_stands_for_two_things_is_refused(own_root: Path, what: str) -> None:
    contents = json.loads(annotation_file(own_root).read_text())
    contents[what][5]["id"] = contents[what][2]["id"]
    annotation_file(own_root).write_text(json.dumps(contents))
    with pytest.raises(ValueError, match=r"data\.root=.*instances_train2017\.json: the \w+ id 3 stands for two"):
        listed(own_root)


def test_the_data_set_itself_may_be_read_only(own_root: Path) -> None:
    before = files_below(own_root)
    make_module("coco", own_root, label_maps="instances")
    assert files_below(own_root) == before
    assert sorted(path.name for path in own_root.iterdir()) == ["annotations", "train2017", "val2017"]


@pytest.mark.parametrize("cache", [True, False])
def test_a_cache_directory_that_cannot_be_written_is_one_clear_error(coco_root: Path, tmp_path: Path, cache: bool) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"data\.cache_dir=.*file"):
        make_module("coco", coco_root, cache=cache, cache_dir=str(tmp_path / "file" / "cache"))


def test_a_disk_that_fills_up_while_references_are_found_is_one_clear_error(
    coco_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("datamodules.references.np.save", fail)
        with pytest.raises(ValueError, match=r"data\.cache_dir=.*No space left on device"):
            make_module("coco", coco_root, cache_dir=str(tmp_path))
    assert len(names_of(make_module("coco", coco_root, cache_dir=str(tmp_path)), "train")) == 12


def test_reading_annotations_prints_nothing(coco_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    listed(coco_root)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""
