import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.color
from PIL import Image

from datamodules import ab_histogram, make_data_module
from datamodules.base import PictureDataModule
from datamodules.config import CocoConfig
from datamodules.dataset import PictureDataset
from datamodules.pictures import read_picture
from tests.data import CocoPicture, make_folder, photograph, write_coco_split
from tests.datamodules.modules import SIZE, batches_of, make_module, part


def count_by_hand(pictures: Iterable[np.ndarray]) -> np.ndarray:
    counts = np.zeros((256, 256), dtype=np.int64)
    for pixels in pictures:
        ab = np.rint(skimage.color.rgb2lab(pixels[::4, ::4])[..., 1:]).astype(int)
        np.add.at(counts, (ab[..., 0] + 128, ab[..., 1] + 128), 1)
    return counts


def pictures_of(dataset: PictureDataset, resize: str = "crop") -> list[np.ndarray]:
    """Of the targets, read from their files."""
    listed = dataset.prepared.pictures
    return [read_picture(listed.path(int(row)), SIZE, resize)[0] for row in dataset.targets]


def assert_close(found: np.ndarray, expected: np.ndarray) -> None:
    """Pixels right between two cells may be counted in either."""
    assert found.shape == (256, 256)
    assert found.dtype == np.int64
    assert found.sum() == expected.sum()
    assert np.abs(found - expected).sum() <= 2 + 0.002 * expected.sum()


@pytest.fixture
def own_cache(tmp_path: Path) -> dict[str, Any]:
    return {"cache_dir": str(tmp_path / "cache")}


@pytest.mark.parametrize("settings", [{}, {"resize": "squash"}, {"cache": False}])
def test_coco_is_counted_as_by_hand(coco_root: Path, settings: dict[str, Any], own_cache: dict[str, Any]) -> None:
    module = make_module("coco", coco_root, **own_cache, **settings)
    pictures = pictures_of(part(module, "train"), settings.get("resize", "crop"))
    assert len(pictures) == 12
    assert_close(module.ab_histogram(), count_by_hand(pictures))


def test_the_sample_data_is_counted_as_by_hand() -> None:
    module = make_module("sample", None)
    assert_close(module.ab_histogram(), count_by_hand(pictures_of(part(module, "train"))))


def test_a_process_that_did_not_prepare_counts_the_training_split(coco_root: Path, own_cache: dict[str, Any]) -> None:
    expected = make_module("coco", coco_root, **own_cache).ab_histogram()
    module = make_data_module(CocoConfig(root=str(coco_root), image_size=SIZE, **own_cache), seed=0)
    module.setup("validate")
    assert np.array_equal(module.ab_histogram(), expected)


def test_pictures_that_are_no_targets_are_not_counted(tmp_path: Path, own_cache: dict[str, Any]) -> None:
    # only the first picture shows a zebra, so that it has no reference
    shown = ["zebra", *["giraffe"] * 5]
    for split in ("train", "val"):
        write_coco_split(tmp_path, split, [CocoPicture(photograph(i, i), [name]) for i, name in enumerate(shown)])
    module = make_module("coco", tmp_path, references="same_category", categories=["zebra", "giraffe"], **own_cache)
    pictures = pictures_of(part(module, "train"))
    assert len(pictures) == 5
    assert_close(module.ab_histogram(), count_by_hand(pictures))


def test_a_second_run_reads_what_the_first_has_counted(
    coco_root: Path, own_cache: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        first = make_module("coco", coco_root, **own_cache).ab_histogram()
    assert "counting the colours of 12 training pictures" in caplog.text
    monkeypatch.setattr(ab_histogram, "_count", None)
    assert np.array_equal(make_module("coco", coco_root, **own_cache).ab_histogram(), first)


@pytest.mark.parametrize("change", ["a picture", "another picture", "the size"])
def test_other_pictures_are_counted_anew(tmp_path: Path, own_cache: dict[str, Any], change: str) -> None:
    root = make_folder(tmp_path / "folder", pictures=20)
    first = make_module("folder", root, val_fraction=0.3, **own_cache).ab_histogram()
    size = SIZE
    if change == "a picture":
        photograph(1, 1, 60, 48).save(next(iter(sorted((root / "many").iterdir()))), quality=90)
    elif change == "another picture":
        for number in range(100, 104):
            photograph(number, 2).save(root / f"{number}.jpg")
    else:
        size = 48
    module = make_module("folder", root, image_size=size, val_fraction=0.3, **own_cache)
    found = module.ab_histogram()
    assert not np.array_equal(found, first)
    if change != "the size":
        assert_close(found, count_by_hand(pictures_of(part(module, "train"))))


def test_an_interrupted_count_leaves_nothing(coco_root: Path, own_cache: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ab_histogram._count_pixels

    def fail(*arguments: object) -> None:
        raise KeyboardInterrupt

    module = make_module("coco", coco_root, **own_cache)
    monkeypatch.setattr(ab_histogram, "_count_pixels", fail)
    with pytest.raises(KeyboardInterrupt):
        module.ab_histogram()
    assert not list((Path(own_cache["cache_dir"]) / "ab_histograms").iterdir())
    monkeypatch.setattr(ab_histogram, "_count_pixels", whole)
    assert_close(module.ab_histogram(), count_by_hand(pictures_of(part(module, "train"))))


def test_the_pictures_held_at_once_change_nothing(coco_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = make_module("coco", coco_root, cache_dir=str(tmp_path / "a")).ab_histogram()
    most = 0
    count_pixels = ab_histogram._count_pixels

    def watch(pixels: np.ndarray) -> np.ndarray:
        nonlocal most
        most = max(most, len(pixels))
        return count_pixels(pixels)

    monkeypatch.setattr(ab_histogram, "_PIXELS_AT_ONCE", 130)
    monkeypatch.setattr(ab_histogram, "_count_pixels", watch)
    assert np.array_equal(make_module("coco", coco_root, cache_dir=str(tmp_path / "b")).ab_histogram(), expected)
    # two pictures of 8 x 8 pixels and a little more for their longer sides
    assert 64 < most < 256


def test_of_many_pictures_some_are_counted_evenly_chosen(
    tmp_path: Path, own_cache: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ab_histogram, "MAX_PICTURES", 4)
    module = make_module("folder", make_folder(tmp_path / "folder", pictures=20), val_fraction=0.3, **own_cache)
    pictures = pictures_of(part(module, "train"))
    count = len(pictures)
    assert count > 12
    expected = [pictures[number] for number in (0, count // 4, count // 2, 3 * count // 4)]
    assert_close(module.ab_histogram(), count_by_hand(expected))


# --- mixes ---


@pytest.fixture
def roots(tmp_path: Path) -> dict[str, Path]:
    """Six pictures in one palette, and 28 of any."""
    make_folder(tmp_path / "many", pictures=20)
    for split in ("train", "val"):
        (tmp_path / "few" / split).mkdir(parents=True)
        for number in range(6):
            photograph(700 + number + 50 * (split == "val"), 3).save(tmp_path / "few" / split / f"{number}.png")
    return {name: tmp_path / name for name in ("few", "many")}


def make_mix(roots: dict[str, Path], **settings: Any) -> PictureDataModule:
    sources = [{"name": "folder", "root": str(roots["few"])}, {"name": "folder", "root": str(roots["many"]), "val_fraction": 0.3}]
    return make_module("mix", None, sources=sources, references="random", **settings)


def parts_of(module: PictureDataModule) -> list[list[np.ndarray]]:
    return [pictures_of(dataset) for dataset in module.datasets["train"].parts]  # pyright: ignore[reportAttributeAccessIssue]


def test_a_mix_counts_every_picture_of_every_source(roots: dict[str, Path], own_cache: dict[str, Any]) -> None:
    module = make_mix(roots, **own_cache)
    few, many = parts_of(module)
    assert_close(module.ab_histogram(), count_by_hand([*few, *many]))
    assert not np.array_equal(module.ab_histogram(), make_module("folder", roots["many"], val_fraction=0.3, **own_cache).ab_histogram())


def test_a_mix_counts_its_sources_in_the_shares_of_an_epoch(roots: dict[str, Path], own_cache: dict[str, Any]) -> None:
    module = make_mix(roots, weights=[3, 1], batch_size=1, **own_cache)
    names = [batch.ids[0] for batch in batches_of(module)]
    assert sum(name.startswith("0-") for name in names) == 6
    assert sum(name.startswith("1-") for name in names) == 2
    paths = [roots["few" if name.startswith("0-") else "many"] / name.split("/", 1)[1] for name in names]
    assert_close(module.ab_histogram(), count_by_hand(read_picture(path, SIZE, "crop")[0] for path in paths))


def test_pictures_of_a_single_colour_are_counted(tmp_path: Path, own_cache: dict[str, Any]) -> None:
    (tmp_path / "plain").mkdir()
    for number in range(12):
        Image.new("RGB", (40, 40), (200 + number, 40, 40)).save(tmp_path / "plain" / f"{number}.png")
    module = make_module("folder", tmp_path / "plain", min_color_range=0.0, references="self", **own_cache)
    found = module.ab_histogram()
    assert found.sum() == 64 * len(module.datasets["train"])
    assert (found > 0).sum() <= 12
