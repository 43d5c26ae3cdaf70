import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.color
import torch
from PIL import Image

from datamodules import base
from datamodules.base import PictureDataModule
from datamodules.batch import Batch, PictureBatch
from datamodules.config import REFERENCES
from datamodules.labels import VOID
from datamodules.pictures import read_picture
from tests.data import (
    CATEGORIES,
    CocoPicture,
    Instance,
    coco_pictures,
    color_of,
    make_folder,
    photograph,
    regions,
    run_lengths,
    write_coco_split,
)
from tests.datamodules.modules import (
    SIZE,
    assert_equal_batches,
    attach_trainer,
    batches_of,
    draw_all,
    names_of,
    near_edges,
    part,
)
from tests.datamodules.modules import make_module as make_any_module


def make_module(root: Path, stage: str | None = "fit", seed: int = 0, **settings: Any) -> PictureDataModule:
    return make_any_module("coco", root, stage, seed, **settings)


@pytest.fixture
def own_root(coco_root: Path, tmp_path: Path) -> Path:
    """A copy of the tiny data set that a test may damage."""
    return Path(shutil.copytree(coco_root, tmp_path / "coco"))


# --- pictures that are left out ---


def test_more_than_1_percent_of_bad_pictures_stops_with_their_list(own_root: Path) -> None:
    directory = own_root / "train2017"
    (directory / "000000000001.jpg").unlink()
    contents = (directory / "000000000005.jpg").read_bytes()
    (directory / "000000000005.jpg").write_bytes(contents[: len(contents) // 2])
    (directory / "000000000007.jpg").write_bytes(b"")
    (directory / "000000000009.jpg").write_text("no picture")
    with pytest.raises(
        ValueError, match=r"data\.root=.*4 of the 13 pictures of the train split are missing or damaged, more than 1%"
    ) as caught:
        make_module(own_root)
    for number in (1, 5, 7, 9):
        assert f"train2017/{number:012d}.jpg" in str(caught.value)
    assert f"train2017/{2:012d}.jpg" not in str(caught.value)


@pytest.mark.parametrize("cache", [True, False])
def test_up_to_1_percent_of_bad_pictures_are_left_out_with_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, cache: bool
) -> None:
    train = [CocoPicture(photograph(i, i, 16, 16), ["zebra"]) for i in range(120)]
    bad = write_coco_split(tmp_path, "train", train)[77]
    bad.write_bytes(bad.read_bytes()[:300])
    write_coco_split(tmp_path, "val", train[:4])
    with caplog.at_level(logging.WARNING):
        module = make_module(tmp_path, categories="all", cache=cache)
    assert len(module.datasets["train"]) == 119
    assert not any(bad.name in name for name in names_of(module, "train"))
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert "left out 1 missing or damaged pictures of the train split" in warning
    assert bad.name in warning
    assert list(module.skipped) == [("train", f"train2017/{bad.name}")]
    assert module.skipped["train", f"train2017/{bad.name}"]


def test_bad_pictures_are_no_references(tmp_path: Path) -> None:
    train = [CocoPicture(photograph(i, i, 16, 16), ["zebra"]) for i in range(110)]
    bad = write_coco_split(tmp_path, "train", train)[50]
    bad.write_bytes(b"")
    write_coco_split(tmp_path, "val", train[:4])
    module = make_module(tmp_path, categories="all", references="random")
    for epoch in range(3):
        draw_all(module.datasets["train"], epoch)
    assert f"train2017/{bad.name}" not in part(module, "train").prepared.pictures.paths


@pytest.mark.parametrize("cache", [True, False])
def test_a_picture_that_vanishes_later_is_named(own_root: Path, cache: bool) -> None:
    module = make_module(own_root, cache=cache)
    (own_root / "val2017" / "000000000001.jpg").unlink()
    if cache:
        assert len(draw_all(module.datasets["val"])) == 6
    else:
        with pytest.raises(ValueError, match=r"data\.root: .*val2017/000000000001\.jpg could be read before"):
            draw_all(module.datasets["val"])


def faint(offset: int) -> Image.Image:
    """One colour and a slightly different one: its range of a plus range of b is small, and grows with the offset."""
    picture = Image.new("RGB", (40, 32), (120, 120, 120))
    picture.paste((120 + offset, 120, 120), (20, 0, 40, 32))
    return picture


@pytest.mark.parametrize(("min_color_range", "left_out"), [(5.0, {1, 2, 3}), (0.0, set()), (1.0, {1, 2})])
def test_nearly_grey_pictures_are_left_out_and_listed(
    tmp_path: Path, min_color_range: float, left_out: set[int], caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "data"
    root.mkdir()
    pictures = [photograph(0, 0), Image.new("RGB", (40, 32), (90, 160, 70)), photograph(1, 1).convert("L"), faint(6), faint(40)]
    pictures += [photograph(i, i) for i in range(2, 5)]
    for number, picture in enumerate(pictures):
        picture.save(root / f"{number}.png")
    ranges = [np.ptp(skimage.color.rgb2lab(np.array(p.convert("RGB"))).reshape(-1, 3)[:, 1:], axis=0).sum() for p in pictures]
    assert {i for i, value in enumerate(ranges) if value < min_color_range} == left_out
    with caplog.at_level(logging.WARNING):
        module = make_any_module("folder", root, min_color_range=min_color_range, val_fraction=0.4, references="self")
    assert {int(name[0]) for _, name in module.skipped} == left_out
    assert set(module.skipped.values()) <= {"nearly grey"}
    assert len(names_of(module, "train")) + len(names_of(module, "val")) == 8 - len(left_out)
    assert ("nearly grey pictures" in caplog.text) == bool(left_out)


# --- references ---


@pytest.mark.parametrize("references", [kind for kind in REFERENCES if kind != "self"])
def test_a_subset_of_one_picture_is_refused(tmp_path: Path, references: str) -> None:
    for split in ("train", "val"):
        write_coco_split(tmp_path, split, [CocoPicture(photograph(0, 0), ["zebra"])])
    with pytest.raises(ValueError, match=rf"data\.references={references}: .* 1 picture\(s\).* train .*data\.categories"):
        make_module(tmp_path, categories=["zebra"], references=references)


def test_a_subset_of_one_scene_is_refused(tmp_path: Path) -> None:
    pictures = [CocoPicture(photograph(i, i), ["zebra"], scene="one") for i in range(4)]
    for split in ("train", "val"):
        write_coco_split(tmp_path, split, pictures)
    with pytest.raises(ValueError, match=r"data\.references=palette: .* 4 picture\(s\)"):
        make_module(tmp_path, categories="all")
    assert len(make_module(tmp_path, categories="all", references="self").datasets["train"]) == 4


def test_pictures_without_a_reference_are_left_out_and_listed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for split in ("train", "val"):
        names = ["zebra", "giraffe", "zebra", "zebra"]
        write_coco_split(tmp_path, split, [CocoPicture(photograph(i, i), [name]) for i, name in enumerate(names)])
    with caplog.at_level(logging.WARNING):
        module = make_module(tmp_path, categories="all", references="same_category")
    assert [name[-6:] for name in names_of(module, "train")] == ["01.jpg", "03.jpg", "04.jpg"]
    assert "left out 1 pictures of the train split that have no reference" in caplog.text
    reason = "no reference with data.references=same_category"
    assert module.skipped == {(split, f"{split}2017/000000000002.jpg"): reason for split in ("train", "val")}


# --- splits ---


def sides(root: Path, **settings: Any) -> tuple[set[str], set[str]]:
    module = make_any_module("folder", root, references="self", **settings)
    return set(names_of(module, "train")), set(names_of(module, "val"))


def test_more_pictures_never_change_the_side_of_others(tmp_path: Path) -> None:
    make_folder(tmp_path, pictures=40)
    train, val = sides(tmp_path, val_fraction=0.3, image_size=16)
    assert not train & val
    assert len(train | val) == 48
    assert 7 <= len(val) <= 22
    for number in range(40):
        photograph(8000 + number, number, 30, 24).save(tmp_path / f"new{number}.png")
    (tmp_path / "many" / "0003.jpg").unlink()
    later_train, later_val = sides(tmp_path, val_fraction=0.3, image_size=16)
    assert train - {"many/0003.jpg"} == {name for name in later_train if not name.startswith("new")}
    assert val - {"many/0003.jpg"} == {name for name in later_val if not name.startswith("new")}
    assert any(name.startswith("new") for name in later_val)


def test_the_side_is_decided_by_the_file_name_and_not_by_its_directory(tmp_path: Path) -> None:
    train, val = sides(make_folder(tmp_path / "a", pictures=20), val_fraction=0.4, image_size=16)
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "many").rename(tmp_path / "b" / "elsewhere")
    for number in range(4):
        photograph(9000 + number, number).save(tmp_path / "b" / f"{number}.png")
    moved_train, moved_val = sides(tmp_path / "b", val_fraction=0.4, image_size=16)
    assert {name.replace("elsewhere", "many") for name in moved_val if "/" in name} == {name for name in val if name.startswith("many")}
    assert {name.replace("elsewhere", "many") for name in moved_train if "/" in name} == {name for name in train if name.startswith("many")}


def test_a_larger_share_keeps_what_was_for_validation(tmp_path: Path) -> None:
    make_folder(tmp_path, pictures=40)
    before: set[str] = set()
    for share in (0.2, 0.5, 0.8):
        _, val = sides(tmp_path, val_fraction=share, image_size=16)
        assert before < val
        before = val


def test_a_share_replaces_the_official_validation_split(coco_root: Path) -> None:
    module = make_module(coco_root, val_fraction=0.4, references="random")
    names = [set(names_of(module, split)) for split in ("train", "val")]
    assert not names[0] & names[1]
    assert names[0] | names[1] == {f"train2017/{number:012d}.jpg" for number in range(1, 13)}
    assert names[1]


@pytest.mark.parametrize("stages", [("fit",), ("validate", "fit"), ("validate",)])
def test_stages_may_be_set_up_in_any_order(tmp_path: Path, stages: tuple[str, ...]) -> None:
    make_folder(tmp_path, pictures=12)
    expected = names_of(make_any_module("folder", tmp_path, references="self", val_fraction=0.4), "val")
    module = make_any_module("folder", tmp_path, stage=None, references="self", val_fraction=0.4)
    module.datasets.clear()
    for stage in stages:
        module.setup(stage)
    assert names_of(module, "val") == expected
    assert ("train" in module.datasets) == ("fit" in stages)


# --- repeatable ---


def test_training_crops_differ_between_epochs_and_seeds(coco_root: Path) -> None:
    by_name = []
    for seed, epoch in ((0, 0), (0, 1), (1, 0)):
        batches = batches_of(make_module(coco_root, seed=seed), done=3 * epoch)
        by_name.append({name: (batch.target_rgb[i], batch.keys[i]) for batch in batches for i, name in enumerate(batch.ids)})
    first = by_name[0]
    assert len(first) == 12
    for changed in by_name[1:]:
        assert sum(torch.equal(first[name][0], changed[name][0]) for name in first) <= 1
        assert all(first[name][1] != changed[name][1] for name in first), "hints would be the same"


@pytest.mark.parametrize("references", ["palette", "random", {"self": 0.5, "palette_top_k": 0.5}])
@pytest.mark.parametrize("split", ["train", "val"])
def test_workers_and_the_cache_change_nothing(coco_root: Path, split: str, references: Any) -> None:
    settings: dict[str, Any] = {"references": references, "label_maps": "instances", "resize": "crop"}
    expected = batches_of(make_module(coco_root, **settings), split)
    assert len(expected) == (3 if split == "train" else 2)
    others: dict[str, Any]
    for others in ({"num_workers": 2}, {"cache": False}, {"cache": False, "num_workers": 1}):
        found = batches_of(make_module(coco_root, **settings, **others), split)
        assert len(found) == len(expected)
        for first, second in zip(expected, found, strict=True):
            assert_equal_batches(first, second)


@pytest.mark.parametrize("references", ["palette_top_k", "self"])
def test_two_processes_see_together_what_one_sees(coco_root: Path, references: str) -> None:
    alone = batches_of(make_module(coco_root, references=references), done=3)
    parts = [batches_of(make_module(coco_root, references=references, batch_size=2), done=3, rank=rank, processes=2) for rank in (0, 1)]
    assert len(alone) == len(parts[0]) == len(parts[1]) == 3
    for whole, first, second in zip(alone, *parts, strict=True):
        assert whole.ids == first.ids + second.ids
        for name in ("target_rgb", "target_ab", "reference_rgb", "keys"):
            assert torch.equal(getattr(whole, name), torch.cat((getattr(first, name), getattr(second, name)))), name


@pytest.mark.parametrize(("batch_size", "processes"), [(2, 1), (5, 1), (2, 2), (1, 3)])
def test_each_picture_is_at_most_once_in_an_epoch_of_all_processes(coco_root: Path, batch_size: int, processes: int) -> None:
    modules = [make_module(coco_root, batch_size=batch_size, references="random") for _ in range(processes)]
    left = set()
    for epoch in range(6):
        steps = 12 // (batch_size * processes)
        ids = [
            name
            for rank, module in enumerate(modules)
            for batch in batches_of(module, done=epoch * steps, rank=rank, processes=processes)
            for name in batch.ids
        ]
        assert len(ids) == len(set(ids)) == steps * batch_size * processes
        left.add(frozenset(names_of(modules[0], "train")) - frozenset(ids))
    if 12 % (batch_size * processes):
        assert len(left) > 2, "the same pictures are left out each time"


@pytest.mark.parametrize("processes", [1, 2, 4])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_each_picture_is_once_in_validation_and_test(tmp_path: Path, batch_size: int, processes: int) -> None:
    for split, count in (("train", 4), ("val", 5), ("test", 7)):
        write_coco_split(tmp_path, split, coco_pictures(split, count))
    for split, count in (("val", 5), ("test", 7)):
        module = make_module(tmp_path, stage="test" if split == "test" else "validate", batch_size=batch_size)
        found = []
        for rank in range(processes):
            attach_trainer(module, rank=rank, processes=processes)
            loader = module.val_dataloader() if split == "val" else module.test_dataloader()
            found += [name for batch in loader for name in batch.ids]
        assert sorted(found) == [f"{split}2017/{number:012d}.jpg" for number in range(1, count + 1)]


def test_training_continues_where_it_stopped(coco_root: Path) -> None:
    expected = batches_of(make_module(coco_root))[2:]
    found = batches_of(make_module(coco_root), done=2)
    assert len(found) == len(expected) == 1
    assert_equal_batches(found[0], expected[0])


@pytest.mark.parametrize("resize", ["crop", "squash"])
def test_validation_is_central_and_the_same_in_every_epoch(coco_root: Path, resize: str) -> None:
    module = make_module(coco_root, resize=resize)
    first, second = batches_of(module, "val"), batches_of(module, "val", done=30)
    for one, other in zip(first, second, strict=True):
        assert_equal_batches(one, other)
    whole = torch.cat([batch.target_rgb for batch in first])
    for index in range(6):
        pixels, _ = read_picture(coco_root / "val2017" / f"{index + 1:012d}.jpg", SIZE, resize)
        top, left = (pixels.shape[0] - SIZE) // 2, (pixels.shape[1] - SIZE) // 2
        middle = torch.from_numpy(pixels[top : top + SIZE, left : left + SIZE]).permute(2, 0, 1)
        assert torch.equal((whole[index] * 255).round().to(torch.uint8), middle)


# --- loaders and the device ---


@pytest.fixture
def module(coco_root: Path) -> PictureDataModule:
    module = make_module(coco_root)
    attach_trainer(module)
    return module


def test_loaders_yield_8_bit_pictures_and_the_device_makes_lab_of_them(module: PictureDataModule) -> None:
    loaded = next(iter(module.train_dataloader()))
    assert isinstance(loaded, PictureBatch)
    assert loaded.target.pixels.dtype == loaded.reference.pixels.dtype == torch.uint8
    assert loaded.random_crops
    batch = module.on_after_batch_transfer(module.on_before_batch_transfer(loaded, 0), 0)
    assert isinstance(batch, Batch)
    assert batch.target_rgb.shape == batch.reference_rgb.shape == (4, 3, SIZE, SIZE)
    expected = torch.from_numpy(skimage.color.rgb2lab(batch.target_rgb.double().numpy(), channel_axis=1))
    torch.testing.assert_close(torch.cat((batch.target_l, batch.target_ab), dim=1).double(), expected, atol=1e-3, rtol=0)
    assert not next(iter(module.val_dataloader())).random_crops


def test_lab_is_float32_under_autocast(module: PictureDataModule) -> None:
    loaded = next(iter(module.train_dataloader()))
    expected = module.on_after_batch_transfer(loaded, 0)
    with torch.autocast("cpu", torch.bfloat16):
        found = module.on_after_batch_transfer(loaded, 0)
    assert_equal_batches(found, expected)
    assert found.target_l.dtype == found.target_ab.dtype == torch.float32


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_lab_is_made_on_the_batchs_device(module: PictureDataModule) -> None:
    loaded = next(iter(module.train_dataloader()))
    batch, expected = module.on_after_batch_transfer(loaded.to("cuda"), 0), module.on_after_batch_transfer(loaded, 0)
    assert batch.target_ab.device.type == "cuda"
    assert torch.equal(batch.target_rgb.cpu(), expected.target_rgb)
    torch.testing.assert_close(batch.target_ab.cpu(), expected.target_ab, atol=1e-3, rtol=0)


def test_an_epoch_of_training_has_every_picture_once(module: PictureDataModule) -> None:
    ids = [name for batch in module.train_dataloader() for name in batch.ids]
    assert len(ids) == len(set(ids)) == 12
    assert ids != sorted(ids)


def test_validation_has_every_picture_once_in_order(module: PictureDataModule) -> None:
    ids = [name for batch in module.val_dataloader() for name in batch.ids]
    assert ids == [f"val2017/{number:012d}.jpg" for number in range(1, 7)]


def test_a_batch_larger_than_the_split_is_refused(coco_root: Path) -> None:
    module = make_module(coco_root, batch_size=13)
    attach_trainer(module)
    with pytest.raises(ValueError, match=r"data\.batch_size=13"):
        module.train_dataloader()


def test_more_processes_than_the_splits_feed_are_refused(coco_root: Path) -> None:
    module = make_module(coco_root, batch_size=2)
    module.check_processes(6)
    assert module.batches_per_epoch(3) == 2
    with pytest.raises(ValueError, match=r"data\.batch_size=2: a step of 7 process"):
        module.check_processes(7)


@pytest.mark.parametrize(("cores", "processes", "workers"), [(8, 1, 7), (8, 4, 1), (2, 1, 1), (1, 1, 1), (64, 1, 8)])
def test_workers_are_chosen_by_the_cores(
    coco_root: Path, cores: int, processes: int, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = make_module(coco_root, num_workers=-1, batch_size=1)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    monkeypatch.setattr(base.os, "cpu_count", lambda: cores)
    attach_trainer(module, processes=processes)
    assert module.val_dataloader().num_workers == workers


# --- label maps ---


@pytest.fixture(scope="module")
def labelled_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """COCO pictures whose colours are the categories of their instances; what shows none is black."""
    root = tmp_path_factory.mktemp("labelled")
    for split in ("train", "val"):
        pictures = []
        for number in range(8):
            width, height = 90 + 10 * (number % 3), 70 + 20 * (number % 2)
            labels = regions(number + 100 * (split == "val"), width, height, [VOID, *CATEGORIES.values()])
            instances = []
            for name, category in CATEGORIES.items():
                instances.append(Instance(name, run_lengths(labels == category), float((labels == category).sum())))
            pictures.append(CocoPicture(Image.fromarray(color_of(np.where(labels == VOID, 0, labels))), instances=instances))
        write_coco_split(root, split, pictures)
    return root


@pytest.mark.parametrize("references", ["random", "self"])
@pytest.mark.parametrize("resize", ["crop", "squash"])
@pytest.mark.parametrize("split", ["train", "val"])
def test_label_maps_stay_aligned_with_their_pictures(labelled_root: Path, references: str, resize: str, split: str) -> None:
    module = make_module(labelled_root, categories="all", label_maps="instances", references=references, resize=resize, image_size=64)
    for epoch in range(3):
        for batch in batches_of(module, split, done=2 * epoch):
            for rgb, labels in ((batch.target_rgb, batch.target_labels), (batch.reference_rgb, batch.reference_labels)):
                assert labels is not None
                assert labels.dtype == torch.uint8
                assert labels.shape == (len(batch), 64, 64)
                numbers = labels.numpy()
                warped = references == "self" and rgb is batch.reference_rgb
                colors = color_of(np.where(numbers == VOID, 0, numbers))
                off = np.abs((rgb * 255).permute(0, 2, 3, 1).numpy() - colors).max(axis=-1) > 43
                # what a warp mirrors in from outside is void in the map and coloured in the picture
                off &= (numbers != VOID) if warped else True
                # JPEG bleeds over edges; of lossless pictures see test_camvid
                edges = np.stack([near_edges(one, reach=2) for one in numbers])
                assert (off & ~edges)[:, 2:-2, 2:-2].mean() < 1e-3
                assert off.mean() < 0.1
                assert len(np.unique(numbers)) > 2


def test_without_label_maps_there_are_none(module: PictureDataModule) -> None:
    batch = module.on_after_batch_transfer(next(iter(module.train_dataloader())), 0)
    assert batch.target_labels is None
    assert batch.reference_labels is None
