import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datamodules import annotations
from datamodules.annotations import read_annotations, read_instance_maps
from datamodules.labels import VOID
from tests.data import CATEGORIES, CocoPicture, Instance, photograph, run_lengths, write_coco_split
from tests.datamodules.modules import files_below

WIDTH, HEIGHT = 20, 16
WHOLE = [[0, 0, WIDTH, 0, WIDTH, HEIGHT, 0, HEIGHT]]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def write(root: Path, pictures: int = 200, change: Callable[[dict[str, Any]], object] = lambda contents: None) -> Path:
    """An annotation file without its pictures: of each a zebra, of every third also two giraffes."""
    images = [{"id": 10 + n, "file_name": f"{n:04d}.jpg", "width": WIDTH, "height": HEIGHT} for n in range(pictures)]
    shown = [(10 + n, name) for n in range(pictures) for name in ("zebra", *(("giraffe", "giraffe") if n % 3 == 0 else ()))]
    listed = [
        {"id": number, "image_id": image, "category_id": CATEGORIES[name], "area": 9, "segmentation": WHOLE, "iscrowd": 0}
        for number, (image, name) in enumerate(shown)
    ]
    contents = {"images": images, "annotations": listed, "categories": [{"id": i, "name": name} for name, i in CATEGORIES.items()]}
    change(contents)
    path = root / "instances.json"
    path.write_text(json.dumps(contents))
    return path


def test_pictures_come_in_the_order_of_their_names_with_what_they_show(tmp_path: Path, cache: Path) -> None:
    found = read_annotations(write(tmp_path, 9, lambda contents: contents["images"].reverse()), cache)
    assert found.file_names.tolist() == [f"{n:04d}.jpg" for n in range(9)]
    assert found.scenes.tolist() == [str(10 + n) for n in range(9)]
    assert dict(zip(found.category_names, found.category_ids, strict=True)) == CATEGORIES
    expected = np.zeros((9, len(CATEGORIES)))
    expected[:, found.category_names.index("zebra")] = 1
    expected[::3, found.category_names.index("giraffe")] = 2
    assert np.array_equal(found.counts.toarray(), expected)
    assert found.skipped == []


def test_the_file_is_read_once_until_it_changes(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, 9)
    read_annotations(path, cache)
    read_instance_maps(path, cache)
    before = files_below(cache)
    with monkeypatch.context() as patch:
        patch.setattr(annotations, "ProcessPoolExecutor", None)
        assert len(read_annotations(path, cache).file_names) == 9
        read_instance_maps(path, cache)
    assert files_below(cache) == before
    write(tmp_path, 10)
    assert len(read_annotations(path, cache).file_names) == 10


def test_an_interrupted_conversion_is_never_taken_for_a_whole_one(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, 9)

    def fail(*arguments: object) -> None:
        Path(str(arguments[-1]), "pictures.npz").write_bytes(b"half")
        raise RuntimeError("interrupted")

    fail.__name__ = fail.__qualname__ = "_convert_pictures"
    fail.__module__ = "datamodules.annotations"
    whole = annotations._convert_pictures
    with monkeypatch.context() as patch:
        patch.setattr(annotations, "_convert_pictures", fail)
        with pytest.raises(RuntimeError, match="interrupted"):
            read_annotations(path, cache)
    assert annotations._convert_pictures is whole
    assert not [file for file in cache.rglob("*") if file.is_file()]
    # what a killed run left, even of a process with our number
    digest = next(iter((cache / "annotations").iterdir()), None)
    assert digest is None
    assert len(read_annotations(path, cache).file_names) == 9
    (directory,) = (cache / "annotations").iterdir()
    directory.rename(directory.with_suffix(f".{os.getpid()}"))
    assert len(read_annotations(path, cache).file_names) == 9


def test_another_run_may_finish_first(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, 9)
    whole = Path.rename

    def rename_late(aside: Path, directory: Path) -> Path:
        monkeypatch.setattr(Path, "rename", whole)
        read_annotations(path, cache)
        return whole(aside, directory)

    monkeypatch.setattr(Path, "rename", rename_late)
    assert len(read_annotations(path, cache).file_names) == 9
    assert len(list((cache / "annotations").iterdir())) == 1, "something is left beside it"


# --- entries that cannot be used ---


def set_of(what: str, number: int, **values: Any) -> Callable[[dict[str, Any]], object]:
    return lambda contents: contents[what][number].update(values)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../../secret/0003.jpg", "leads out"),
        ("inside/../../0003.jpg", "leads out"),
        ("/etc/passwd", "leads out"),
        ("", "leads out"),
        ("..", "leads out"),
        ("0004.jpg", "is listed twice"),
    ],
)
def test_a_bad_file_name_is_left_out_and_listed(tmp_path: Path, cache: Path, name: str, reason: str) -> None:
    found = read_annotations(write(tmp_path, change=set_of("images", 3, file_name=name)), cache)
    assert len(found.file_names) == 199
    assert "0003.jpg" not in found.file_names
    assert (name in found.file_names) == (name == "0004.jpg")
    ((what, why),) = found.skipped
    assert what == name
    assert reason in why
    # a second time, from the cache
    assert read_annotations(tmp_path / "instances.json", cache).skipped == found.skipped


def test_file_names_may_lead_into_directories(tmp_path: Path, cache: Path) -> None:
    found = read_annotations(write(tmp_path, 9, set_of("images", 3, file_name="deep/0003.jpg")), cache)
    assert "deep/0003.jpg" in found.file_names
    assert found.skipped == []


def test_more_than_1_percent_of_bad_file_names_is_refused(tmp_path: Path, cache: Path) -> None:
    def change(contents: dict[str, Any]) -> None:
        for number in range(3):
            contents["images"][number]["file_name"] = f"/{number}.jpg"

    with pytest.raises(ValueError, match=r"instances\.json: 3 of its 200 pictures cannot be used, more than 1%: /0\.jpg: .*leads out"):
        read_annotations(write(tmp_path, change=change), cache)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"image_id": 99999}, ("annotation 5", "of a picture 99999 that is not listed")),
        ({"category_id": 99999}, ("annotation 5", "of a category 99999 that is not listed")),
    ],
)
def test_an_annotation_that_points_nowhere_is_left_out_and_listed(
    tmp_path: Path, cache: Path, values: dict[str, int], message: tuple[str, str]
) -> None:
    path = write(tmp_path, change=set_of("annotations", 5, **values))
    found = read_annotations(path, cache)
    assert found.skipped == [message]
    whole = read_annotations(write(tmp_path), cache)
    assert found.counts.sum() == whole.counts.sum() - 1
    read_instance_maps(path, cache)


def test_more_than_1_percent_of_annotations_that_point_nowhere_is_refused(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(
        ValueError, match=r"instances\.json: 1 of its 15 annotations cannot be used, more than 1%: annotation 5: of a picture"
    ):
        read_annotations(write(tmp_path, 9, set_of("annotations", 5, image_id=99999)), cache)


@pytest.mark.parametrize(
    ("what", "number", "message"),
    [("images", 12, "the picture id 12 stands for two"), ("annotations", 4, "the annotation id 4 stands for two")],
)
def test_an_id_that_stands_for_two_things_is_refused(tmp_path: Path, cache: Path, what: str, number: int, message: str) -> None:
    for change in (
        lambda contents: contents[what][7].update(id=number),
        lambda contents: contents[what].append(dict(contents[what][2], id=number)),
    ):
        with pytest.raises(ValueError, match=f"instances.json: {message}"):
            read_annotations(write(tmp_path, change=change), cache)


# --- instances ---


@pytest.mark.parametrize(
    ("segmentation", "reason"),
    [
        ([[1, 1, 5, 5]], "no polygon of three corners"),
        ([], "no polygon of three corners"),
        (run_lengths(np.ones((HEIGHT + 1, WIDTH))), r"run-length code has the size [17, 20], the picture [16, 20]"),
        ({"size": [HEIGHT, WIDTH], "counts": [10, 5]}, "run-length code has 15 pixels, the picture 320"),
        ({"size": [HEIGHT, WIDTH], "counts": [300, 100]}, "run-length code has 400 pixels, the picture 320"),
        (None, "has the size None"),
        (7, "has the size None"),
        ({"size": [HEIGHT, WIDTH], "counts": run_lengths(np.ones((4, 4)), True)["counts"]}, "16 pixels"),
        ({"size": [HEIGHT, WIDTH], "counts": run_lengths(np.ones((40, 40)), True)["counts"]}, "1600 pixels"),
        ({"size": [HEIGHT, WIDTH]}, ""),
        ([["a", "b", "c", "d", "e", "f"]], ""),
        ([[None, 1, 2, 3, 4, 5]], ""),
    ],
    ids=["line", "empty", "other size", "short", "long", "null", "number", "short code", "long code", "no counts", "texts", "nulls"],
)
def test_an_unusable_instance_is_left_out_and_listed(tmp_path: Path, cache: Path, segmentation: Any, reason: str) -> None:
    path = write(tmp_path, change=set_of("annotations", 0, segmentation=segmentation))
    maps, skipped = read_instance_maps(path, cache)
    ((what, why),) = skipped
    assert what == "0000.jpg, annotation 0"
    assert reason in why
    # the two giraffes are still there, and all other pictures
    assert (maps.read(0) == CATEGORIES["giraffe"]).all()
    assert (maps.read(1) == CATEGORIES["zebra"]).all()


def test_more_than_1_percent_of_unusable_instances_is_refused(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(ValueError, match=r"1 of its 15 instances cannot be used, more than 1%: 0000\.jpg, annotation 0: has no polygon"):
        read_instance_maps(write(tmp_path, 9, set_of("annotations", 0, segmentation=[])), cache)


def test_category_numbers_that_are_no_label_are_refused(tmp_path: Path, cache: Path) -> None:
    def change(contents: dict[str, Any]) -> None:
        contents["categories"].append({"id": VOID, "name": "ghost"})
        contents["annotations"][0]["category_id"] = VOID

    path = write(tmp_path, change=change)
    with pytest.raises(ValueError, match=r"instances\.json: category ids must be below 255 for label maps, one is 255"):
        read_instance_maps(path, cache)
    assert read_annotations(path, cache).skipped == []


@pytest.mark.parametrize("values", [{"height": None}, {"height": "large"}, {"height": -3}, {}])
def test_a_picture_without_a_size_is_named(tmp_path: Path, cache: Path, values: dict[str, Any]) -> None:
    def change(contents: dict[str, Any]) -> None:
        del contents["images"][3]["height"]
        contents["images"][3].update(values)

    with pytest.raises(ValueError, match=r"instances\.json"):
        read_instance_maps(write(tmp_path, 9, change), cache)


def test_maps_of_some_pictures_are_theirs(tmp_path: Path, cache: Path) -> None:
    pictures = [
        CocoPicture(photograph(n, n, WIDTH, HEIGHT), instances=[Instance.box(name, n, n, n + 6, n + 5)])
        for n, name in enumerate(("zebra", "giraffe", "cat", "surfboard"))
    ]
    write_coco_split(tmp_path, "train", pictures)
    maps, _ = read_instance_maps(tmp_path / "annotations" / "instances_train2017.json", cache)
    some = maps[np.array([3, 1])]
    for place, n in enumerate((3, 1)):
        expected = np.full((HEIGHT, WIDTH), VOID)
        expected[n : n + 5, n : n + 6] = CATEGORIES["surfboard" if n == 3 else "giraffe"]
        assert np.array_equal(some.read(place), expected)
    assert some.stamp(0) == maps.stamp(2) != ""


def test_workers_open_the_maps_themselves(tmp_path: Path, cache: Path) -> None:
    import pickle

    maps, _ = read_instance_maps(write(tmp_path, 9), cache)
    expected = maps.read(2)
    stored = pickle.dumps(maps)
    assert len(stored) < 2000, "the arrays are copied"
    assert np.array_equal(pickle.loads(stored).read(2), expected)
