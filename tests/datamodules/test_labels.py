import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from datamodules.base import PictureDataModule
from datamodules.labels import VOID, LabelFiles, LabelMaps, file_stamp
from tests.data import (
    CATEGORIES,
    STREET_CLASSES,
    CocoPicture,
    Instance,
    color_of,
    make_camvid,
    photograph,
    regions,
    run_lengths,
    write_coco_panoptic,
    write_coco_split,
    write_coco_stuff,
)
from tests.datamodules.modules import draw_all, make_module, part

CAT, ZEBRA, GIRAFFE, SNOWBOARD, SURFBOARD = CATEGORIES.values()
WIDTH, HEIGHT = 48, 40


def write_split_twice(root: Path, pictures: list[CocoPicture]) -> None:
    """Both splits, with three more pictures to be references."""
    others = [CocoPicture(photograph(90 + i, i, WIDTH, HEIGHT)) for i in range(3)]
    for split in ("train", "val"):
        write_coco_split(root, split, [*pictures, *others])


def label_map(root: Path, number: int = 0, kind: str = "instances") -> np.ndarray:
    """The label map of a picture of the train split, before any resizing."""
    labels = list_labels(root, kind)
    return labels.read(number)


def list_labels(root: Path, kind: str) -> LabelMaps:
    from datamodules.coco import CocoDataModule
    from datamodules.config import CocoConfig

    module = CocoDataModule(CocoConfig(root=str(root), categories="all", label_maps=kind), seed=0)
    labels = module.list_pictures("train").labels
    assert labels is not None
    return labels


# --- instances ---


def test_smaller_instances_are_on_top_and_crowds_at_the_bottom(tmp_path: Path) -> None:
    instances = [
        Instance.box("zebra", 20, 10, 30, 20),  # small, in the middle of all
        Instance.box("giraffe", 10, 5, 40, 35),
        Instance.box("snowboard", 25, 15, 29, 19, is_crowd=True),  # a crowd, although it is the smallest
        Instance.box("surfboard", 0, 0, 12, 40),
    ]
    expected = np.full((HEIGHT, WIDTH), VOID)
    for category, (left, top, right, bottom) in (
        (SNOWBOARD, (25, 15, 29, 19)),
        (GIRAFFE, (10, 5, 40, 35)),
        (SURFBOARD, (0, 0, 12, 40)),
        (ZEBRA, (20, 10, 30, 20)),
    ):
        expected[top:bottom, left:right] = category
    for order in (instances, instances[::-1]):
        write_split_twice(tmp_path, [CocoPicture(photograph(0, 0, WIDTH, HEIGHT), instances=order)])
        assert np.array_equal(label_map(tmp_path), expected)


def test_a_crowd_shows_where_nothing_else_is(tmp_path: Path) -> None:
    crowd = np.zeros((HEIGHT, WIDTH), dtype=bool)
    crowd[5:30, 3:20] = True
    instances = [Instance.box("zebra", 0, 0, 10, 10), Instance("giraffe", run_lengths(crowd), float(crowd.sum()), is_crowd=True)]
    write_split_twice(tmp_path, [CocoPicture(photograph(0, 0, WIDTH, HEIGHT), instances=instances)])
    expected = np.where(crowd, GIRAFFE, VOID)
    expected[:10, :10] = ZEBRA
    assert np.array_equal(label_map(tmp_path), expected)


def test_polygons_are_filled_as_pillow_fills_them(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    names = list(CATEGORIES)
    instances, painted = [], Image.new("L", (WIDTH, HEIGHT), VOID)
    for number in range(6):
        centre, radius = random.uniform((8, 8), (WIDTH - 8, HEIGHT - 8)), 16 - 2 * number
        angles = np.sort(random.uniform(0, 2 * np.pi, 9))
        corners = centre + radius * np.stack((np.cos(angles), np.sin(angles)), axis=1)
        category = names[number % len(names)]
        instances.append(Instance(category, [corners.ravel().tolist()], float(radius**2)))
        ImageDraw.Draw(painted).polygon([tuple(corner) for corner in corners - 0.5], fill=CATEGORIES[category])
    write_split_twice(tmp_path, [CocoPicture(photograph(0, 0, WIDTH, HEIGHT), instances=instances)])
    found, expected = label_map(tmp_path), np.asarray(painted)
    assert len(np.unique(found)) > 4
    # pixels on the outlines are a matter of taste
    assert (found == expected).mean() > 0.9
    interior = np.ones_like(found, dtype=bool)
    for rows in (-1, 0, 1):
        for columns in (-1, 0, 1):
            interior &= np.roll(expected, (rows, columns), (0, 1)) == expected
    assert (found == expected)[interior].all()


def test_an_instance_of_several_polygons_has_all_of_them(tmp_path: Path) -> None:
    parts = [[2, 2, 10, 2, 10, 10, 2, 10], [30, 20, 40, 20, 40, 30, 30, 30]]
    write_split_twice(tmp_path, [CocoPicture(photograph(0, 0, WIDTH, HEIGHT), instances=[Instance("zebra", parts, 164)])])
    expected = np.full((HEIGHT, WIDTH), VOID)
    expected[2:10, 2:10] = expected[20:30, 30:40] = ZEBRA
    assert np.array_equal(label_map(tmp_path), expected)


@pytest.mark.parametrize(
    ("box", "inside"),
    [
        ((-20, -15, 12, 9), (0, 0, 12, 9)),
        ((30, 25, 500, 300), (30, 25, WIDTH, HEIGHT)),
        ((-100, -100, 100, 100), (0, 0, WIDTH, HEIGHT)),
        ((60, 50, 90, 80), (0, 0, 0, 0)),
    ],
)
def test_what_lies_outside_the_picture_is_cut_off(tmp_path: Path, box: tuple[int, int, int, int], inside: tuple[int, ...]) -> None:
    write_split_twice(tmp_path, [CocoPicture(photograph(0, 0, WIDTH, HEIGHT), instances=[Instance.box("zebra", *box)])])
    expected = np.full((HEIGHT, WIDTH), VOID)
    expected[inside[1] : inside[3], inside[0] : inside[2]] = ZEBRA
    assert np.array_equal(label_map(tmp_path), expected)


def test_run_lengths_of_both_forms_are_the_same(tmp_path: Path) -> None:
    mask = np.random.default_rng(0).random((HEIGHT, WIDTH)) < 0.3
    codes = [run_lengths(mask, compressed) for compressed in (False, True)]
    write_split_twice(
        tmp_path, [CocoPicture(photograph(i, i, WIDTH, HEIGHT), instances=[Instance("zebra", codes[i], 9)]) for i in range(2)]
    )
    for number in range(2):
        assert np.array_equal(label_map(tmp_path, number), np.where(mask, ZEBRA, VOID))


def test_a_picture_without_instances_is_void(tmp_path: Path) -> None:
    write_split_twice(tmp_path, [])
    assert (label_map(tmp_path) == VOID).all()


def test_a_label_map_of_a_size_that_the_picture_has_not_is_a_bad_picture(tmp_path: Path) -> None:
    write_split_twice(tmp_path, [CocoPicture(photograph(0, 0, WIDTH, HEIGHT), ["zebra"])])
    path = tmp_path / "annotations" / "instances_train2017.json"
    contents = json.loads(path.read_text())
    contents["images"][0].update(width=HEIGHT, height=WIDTH)
    path.write_text(json.dumps(contents))
    with pytest.raises(ValueError, match=rf"000000000001\.jpg \(its label map is {HEIGHT} x {WIDTH} px, the picture {WIDTH} x {HEIGHT}\)"):
        make_module("coco", tmp_path, categories="all", label_maps="instances")


# --- stuff and panoptic ---


def coco_with_maps(root: Path, kind: str) -> list[np.ndarray]:
    """Pictures that show their labels; returns these, 0 being void."""
    maps = [regions(number, WIDTH, HEIGHT, (0, 1, 24, 33, 62)) for number in range(4)]
    pictures = [CocoPicture(Image.fromarray(color_of(labels))) for labels in maps]
    for split in ("train", "val"):
        write_coco_split(root, split, pictures)
        (write_coco_stuff if kind == "stuff" else write_coco_panoptic)(root, split, maps)
    return maps


@pytest.mark.parametrize("kind", ["stuff", "panoptic"])
def test_label_files_become_category_numbers(tmp_path: Path, kind: str) -> None:
    for number, expected in enumerate(coco_with_maps(tmp_path, kind)):
        found = label_map(tmp_path, number, kind)
        assert found.dtype == np.uint8
        assert np.array_equal(found, np.where(expected == 0, VOID, expected))


@pytest.mark.parametrize("kind", ["stuff", "panoptic"])
def test_a_data_set_without_label_files_is_told_so(tmp_path: Path, kind: str) -> None:
    write_split_twice(tmp_path, [])
    with pytest.raises(ValueError, match=rf"data\.root=.*annotations.{kind}_train2017\w* is missing, which data\.label_maps={kind} needs"):
        make_module("coco", tmp_path, categories="all", label_maps=kind)


@pytest.mark.parametrize("damage", ["missing", "truncated", "a list", "no segments"])
def test_a_damaged_panoptic_file_is_named(tmp_path: Path, damage: str) -> None:
    coco_with_maps(tmp_path, "panoptic")
    path = tmp_path / "annotations" / "panoptic_train2017.json"
    contents = json.loads(path.read_text())
    del contents["annotations"][0]["segments_info"]
    texts = {"truncated": path.read_text()[:-10], "a list": "[]", "no segments": json.dumps(contents)}
    path.unlink() if damage == "missing" else path.write_text(texts[damage])
    with pytest.raises(ValueError, match=r"data\.root=.*panoptic_train2017\.json is missing or no panoptic annotation file"):
        make_module("coco", tmp_path, categories="all", label_maps="panoptic")


def test_segments_that_are_not_listed_are_void(tmp_path: Path) -> None:
    maps = coco_with_maps(tmp_path, "panoptic")
    path = tmp_path / "annotations" / "panoptic_train2017.json"
    contents = json.loads(path.read_text())
    gone = contents["annotations"][0]["segments_info"].pop()
    path.write_text(json.dumps(contents))
    expected = np.where(np.isin(maps[0], (0, gone["category_id"])), VOID, maps[0])
    assert np.array_equal(label_map(tmp_path, 0, "panoptic"), expected)


def bad_label_files(root: Path, kind: str, damage: str) -> PictureDataModule:
    """A module of 120 pictures, one label file of which is bad."""
    maps = [regions(number, WIDTH, HEIGHT, (1, 24, 33, 62)) for number in range(4)] * 30
    pictures = [CocoPicture(photograph(number, number, WIDTH, HEIGHT)) for number in range(120)]
    for split, count in (("train", 120), ("val", 4)):
        write_coco_split(root, split, pictures[:count])
        paths = (write_coco_stuff if kind == "stuff" else write_coco_panoptic)(root, split, maps[:count])
        if split == "val":
            continue
        if damage == "missing":
            paths[7].unlink()
        elif damage == "another size":
            with Image.open(paths[7]) as picture:
                picture.resize((WIDTH, HEIGHT - 2)).save(paths[7])
        elif damage == "truncated":
            paths[7].write_bytes(paths[7].read_bytes()[:60])
        else:
            Image.fromarray(np.zeros((HEIGHT, WIDTH), dtype=np.uint16)).save(paths[7])
    return make_module("coco", root, image_size=16, categories="all", label_maps=kind)


@pytest.mark.parametrize(
    ("kind", "damage", "reason"),
    [
        ("stuff", "missing", "No such file"),
        ("stuff", "another size", "label map is 48 x 38 px, the picture 48 x 40"),
        ("stuff", "truncated", ""),
        ("stuff", "16 bits", "mode I;16, not 8-bit numbers"),
        ("panoptic", "missing", "No such file"),
        ("panoptic", "another size", "label map is 48 x 38 px"),
        ("panoptic", "16 bits", "not the colours of a panoptic map"),
    ],
)
def test_a_picture_with_a_bad_label_file_is_left_out_and_listed(tmp_path: Path, kind: str, damage: str, reason: str) -> None:
    module = bad_label_files(tmp_path, kind, damage)
    assert len(module.datasets["train"]) == 119
    assert list(module.skipped) == [("train", "train2017/000000000008.jpg")]
    assert reason in module.skipped["train", "train2017/000000000008.jpg"]


# --- CamVid and label files in general ---


def test_camvids_class_11_is_void(tmp_path: Path) -> None:
    make_camvid(tmp_path)
    module = make_module("camvid", tmp_path, label_maps="classes", resize="squash", image_size=24)
    samples = draw_all(part(module, "train"))
    assert len(samples) == 6
    for sample in samples:
        assert sample.target_labels is not None
        stored = Image.open(tmp_path / sample.id.replace("train/", "trainannot/")).resize((24, 24), Image.Resampling.NEAREST)
        expected = np.asarray(stored)
        assert (expected == STREET_CLASSES).any()
        assert np.array_equal(sample.target_labels, np.where(expected == STREET_CLASSES, VOID, expected))


def test_label_files_know_what_is_void_and_change_with_their_file(tmp_path: Path) -> None:
    numbers = np.arange(12, dtype=np.uint8).reshape(3, 4)
    Image.fromarray(numbers).save(tmp_path / "a.png")
    labels = LabelFiles(tmp_path, np.array(["missing.png", "a.png"]), void=(0, 7))
    assert np.array_equal(labels.read(1), np.where(np.isin(numbers, (0, 7)), VOID, numbers))
    assert np.array_equal(labels[np.array([1])].read(0), labels.read(1))
    assert labels.stamp(0) == ""
    before = labels.stamp(1)
    assert before == file_stamp(tmp_path / "a.png") != ""
    Image.fromarray(np.zeros((30, 40), dtype=np.uint8)).save(tmp_path / "a.png")
    assert labels.stamp(1) != before


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "1", "LA"])
def test_a_label_file_of_colours_is_refused(tmp_path: Path, mode: str) -> None:
    photograph(0, 0).convert(mode).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=rf"label map .*a\.png has mode {mode}, not 8-bit numbers"):
        LabelFiles(tmp_path, np.array(["a.png"]), void=()).read(0)
