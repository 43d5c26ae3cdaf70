import logging
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import skimage.color
import torch
from PIL import Image

from datamodules.base import PictureDataset
from datamodules.batch import Batch, PictureBatch
from datamodules.coco import CocoDataModule
from datamodules.config import REFERENCES, CocoConfig
from datamodules.pictures import read_rgb, to_square
from stylecolor.palette import palette_descriptor
from tests.data import SHOWN, CocoPicture, coco_pictures, photograph, write_coco_split

SIZE = 32


def make_module(root: Path, stage: str | None = "fit", seed: int = 0, **settings: object) -> CocoDataModule:
    given = {"root": str(root), "image_size": SIZE, "num_workers": 0, **settings}
    module = CocoDataModule(CocoConfig(**given), seed)  # pyright: ignore[reportArgumentType]
    module.prepare_data()
    if stage is not None:
        module.setup(stage)
    return module


def attach_trainer(module: CocoDataModule, steps: int = 99, done: int = 0, rank: int = 0, processes: int = 1) -> None:
    """As far as the data module looks at its trainer."""
    progress = SimpleNamespace(total=SimpleNamespace(ready=done))
    fit_loop = SimpleNamespace(epoch_loop=SimpleNamespace(batch_progress=progress))
    module.trainer = SimpleNamespace(  # pyright: ignore[reportAttributeAccessIssue]
        global_rank=rank, world_size=processes, num_training_batches=steps, fit_loop=fit_loop
    )


def draw_all(dataset: PictureDataset, epoch: int = 0) -> list[tuple[torch.Tensor, torch.Tensor, int, str]]:
    return [dataset[epoch, index] for index in range(len(dataset))]


# --- pictures that cannot be read ---


@pytest.fixture
def own_root(coco_root: Path, tmp_path: Path) -> Path:
    """A copy of the tiny data set that a test may damage."""
    return Path(shutil.copytree(coco_root, tmp_path / "coco"))


def test_more_than_1_percent_of_bad_pictures_stops_with_their_list(own_root: Path) -> None:
    directory = own_root / "train2017"
    (directory / "000000000001.jpg").unlink()
    contents = (directory / "000000000005.jpg").read_bytes()
    (directory / "000000000005.jpg").write_bytes(contents[: len(contents) // 2])
    (directory / "000000000007.jpg").write_bytes(b"")
    (directory / "000000000009.jpg").write_text("no picture")
    with pytest.raises(
        ValueError, match=r"data\.root=.*4 of the 12 pictures of the train split are missing or damaged, more than 1%"
    ) as caught:
        make_module(own_root)
    for number in (1, 5, 7, 9):
        assert f"train2017/{number:012d}.jpg" in str(caught.value)
    assert f"train2017/{2:012d}.jpg" not in str(caught.value)


def test_up_to_1_percent_of_bad_pictures_are_left_out_with_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    train = [CocoPicture(photograph(i, i, 16, 16), ["zebra"]) for i in range(120)]
    bad = write_coco_split(tmp_path, "train", train)[77]
    bad.write_bytes(bad.read_bytes()[:300])
    write_coco_split(tmp_path, "val", train[:4])
    with caplog.at_level(logging.WARNING):
        module = make_module(tmp_path, categories="all")
    assert len(module.datasets["train"]) == 119
    assert not any(bad.name in name for *_, name in draw_all(module.datasets["train"]))
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert "left out 1 missing or damaged pictures of the train split" in warning
    assert bad.name in warning


def test_a_picture_that_vanishes_later_is_named(own_root: Path) -> None:
    module = make_module(own_root)
    (own_root / "val2017" / "000000000001.jpg").unlink()
    with pytest.raises(ValueError, match=r"data\.root: .*val2017/000000000001\.jpg could be read before"):
        draw_all(module.datasets["val"])


# --- references ---

# two scenes of nearly one palette each, and one more of each kind: the nearest palette to each picture is in its own scene
FLAT_COLOURS = [(200, 40, 40), (205, 45, 40), (210, 90, 40), (40, 60, 200), (45, 60, 205), (60, 120, 200), (40, 160, 60), (45, 165, 60)]
FLAT_SCENES = ["red", "red", "orange", "blue", "blue", "sky", "green", "green"]


@pytest.fixture(scope="module")
def flat_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every picture has one colour of its own, so that a reference tells which picture it is."""
    root = tmp_path_factory.mktemp("flat")
    pictures = [
        CocoPicture(Image.new("RGB", (40, 32), color), [SHOWN[i % 2]], scene=scene)
        for i, (color, scene) in enumerate(zip(FLAT_COLOURS, FLAT_SCENES, strict=True))
    ]
    for split in ("train", "val"):
        write_coco_split(root, split, pictures)
    return root


def position_of(picture: torch.Tensor) -> int:
    distance = np.abs(np.array(FLAT_COLOURS) - picture.double().mean(dim=(1, 2)).numpy()).sum(axis=1)
    assert distance.min() < 4
    return int(distance.argmin())


def chosen_references(root: Path, references: str, seed: int = 0, epoch: int = 0, split: str = "train") -> list[int]:
    dataset = make_module(root, seed=seed, categories="all", references=references).datasets[split]
    found = []
    for target, (picture, reference, _, name) in enumerate(draw_all(dataset, epoch)):
        assert position_of(picture) == target
        assert name.endswith(f"{target + 1:012d}.jpg")
        found.append(position_of(reference))
    return found


@pytest.mark.parametrize("references", REFERENCES)
@pytest.mark.parametrize("split", ["train", "val"])
def test_a_reference_is_never_of_the_targets_own_scene(flat_root: Path, references: str, split: str) -> None:
    for epoch in range(5):
        for target, reference in enumerate(chosen_references(flat_root, references, epoch=epoch, split=split)):
            assert FLAT_SCENES[target] != FLAT_SCENES[reference]
            assert references != "same_category" or target % 2 == reference % 2


@pytest.mark.parametrize("references", REFERENCES)
def test_the_seed_and_the_epoch_decide_the_reference(flat_root: Path, references: str) -> None:
    first = chosen_references(flat_root, references)
    assert chosen_references(flat_root, references) == first
    fixed = references == "palette"
    assert (chosen_references(flat_root, references, seed=1) == first) == fixed
    assert (chosen_references(flat_root, references, epoch=1) == first) == fixed


def test_palette_references_are_the_nearest_by_brute_force(coco_root: Path) -> None:
    dataset = make_module(coco_root).datasets["train"]
    thumbnails = [to_square(read_rgb(dataset.pictures.path(index)), 64, "squash").numpy() for index in range(12)]
    ab = torch.stack([torch.from_numpy(skimage.color.rgb2lab(rgb, channel_axis=0)[1:]).float() for rgb in thumbnails])
    distance = (palette_descriptor(ab)[:, None] - palette_descriptor(ab)[None]).square().sum(dim=2)
    distance.fill_diagonal_(float("inf"))
    assert isinstance(dataset.references, np.ndarray)
    assert dataset.references.tolist() == distance.argmin(dim=1).tolist()


@pytest.mark.parametrize("references", REFERENCES)
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


def test_pictures_without_a_reference_are_left_out_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for split in ("train", "val"):
        names = ["zebra", "giraffe", "zebra", "zebra"]
        write_coco_split(tmp_path, split, [CocoPicture(photograph(i, i), [name]) for i, name in enumerate(names)])
    with caplog.at_level(logging.WARNING):
        module = make_module(tmp_path, categories="all", references="same_category")
    assert [name[-6:] for *_, name in draw_all(module.datasets["train"])] == ["01.jpg", "03.jpg", "04.jpg"]
    assert "left out 1 pictures of the train split that have no reference" in caplog.text


# --- what an item is ---


def test_training_crops_differ_between_epochs_and_seeds(coco_root: Path) -> None:
    dataset, other = (make_module(coco_root, seed=seed).datasets["train"] for seed in (0, 1))
    first, second, third = draw_all(dataset, 0), draw_all(dataset, 1), draw_all(other, 0)
    for changed in (second, third):
        assert sum(torch.equal(a[0], b[0]) for a, b in zip(first, changed, strict=True)) <= 1
        assert all(a[2] != b[2] for a, b in zip(first, changed, strict=True)), "hints would be the same"


def test_items_are_a_pure_function_of_seed_epoch_and_picture(coco_root: Path) -> None:
    dataset = make_module(coco_root).datasets["train"]
    expected = draw_all(dataset, 3)
    torch.manual_seed(123)
    np.random.seed(5)  # noqa: NPY002
    for index in reversed(range(len(dataset))):
        target, reference, key, name = dataset[3, index]
        assert torch.equal(target, expected[index][0])
        assert torch.equal(reference, expected[index][1])
        assert (key, name) == expected[index][2:]
    # the picture is the same whatever else is in the subset
    subset = make_module(coco_root, categories=["zebra"]).datasets["train"]
    for target, _, key, name in draw_all(subset, 3):
        (same,) = [item for item in expected if item[3] == name]
        assert torch.equal(target, same[0])
        assert key == same[2]


def test_keys_are_not_the_same_for_two_pictures(coco_root: Path) -> None:
    assert len({item[2] for item in draw_all(make_module(coco_root).datasets["train"])}) == 12


@pytest.mark.parametrize("resize", ["crop", "squash"])
def test_validation_is_central_and_the_same_in_every_epoch(coco_root: Path, resize: str) -> None:
    dataset = make_module(coco_root, resize=resize).datasets["val"]
    for index in range(6):
        expected = to_square(read_rgb(coco_root / "val2017" / f"{index + 1:012d}.jpg"), SIZE, resize)
        for epoch in (0, 4):
            assert torch.equal(dataset[epoch, index][0], expected)


@pytest.mark.parametrize("position", [1, 2, 3])
def test_grey_cmyk_and_turned_pictures_are_upright_colour_pictures(coco_root: Path, position: int) -> None:
    dataset = make_module(coco_root, resize="squash").datasets["train"]
    dataset.augment = False
    original = coco_pictures("train", 12)[position]
    pixels = original.pixels.convert("L").convert("RGB") if original.mode == "L" else original.pixels
    difference = dataset[0, position][0].float() - to_square(pixels, SIZE, "squash").float()
    assert difference.abs().mean() < 4


# --- loaders ---


@pytest.fixture
def module(coco_root: Path) -> CocoDataModule:
    module = make_module(coco_root)
    attach_trainer(module)
    return module


def test_loaders_yield_8_bit_pictures_and_the_device_makes_lab_of_them(module: CocoDataModule) -> None:
    loaded = next(iter(module.train_dataloader()))
    assert isinstance(loaded, PictureBatch)
    assert loaded.target.dtype == loaded.reference.dtype == torch.uint8
    assert loaded.target.shape == loaded.reference.shape == (4, 3, SIZE, SIZE)
    batch = module.on_after_batch_transfer(module.on_before_batch_transfer(loaded, 0), 0)
    assert isinstance(batch, Batch)
    expected = torch.from_numpy(skimage.color.rgb2lab(loaded.target.numpy(), channel_axis=1))
    torch.testing.assert_close(torch.cat((batch.target_l, batch.target_ab), dim=1).double(), expected, atol=1e-3, rtol=0)


def test_lab_is_float32_under_autocast(module: CocoDataModule) -> None:
    loaded = next(iter(module.train_dataloader()))
    expected = module.on_after_batch_transfer(loaded, 0)
    with torch.autocast("cpu", torch.bfloat16):
        found = module.on_after_batch_transfer(loaded, 0)
    assert torch.equal(found.target_l, expected.target_l)
    assert torch.equal(found.target_ab, expected.target_ab)


def test_an_epoch_of_training_has_every_picture_once(module: CocoDataModule) -> None:
    ids = [name for batch in module.train_dataloader() for name in batch.ids]
    assert len(ids) == len(set(ids)) == 12
    assert ids != sorted(ids)


def test_training_continues_where_it_stopped(coco_root: Path) -> None:
    whole, rest = make_module(coco_root), make_module(coco_root)
    attach_trainer(whole)
    attach_trainer(rest, done=2)
    expected = list(whole.train_dataloader())[2:]
    found = list(rest.train_dataloader())
    assert len(found) == len(expected) == 1
    assert found[0].ids == expected[0].ids
    assert torch.equal(found[0].target, expected[0].target)
    assert torch.equal(found[0].reference, expected[0].reference)
    assert torch.equal(found[0].keys, expected[0].keys)


@pytest.mark.parametrize("split", ["train", "val"])
def test_workers_change_nothing(coco_root: Path, split: str) -> None:
    batches = []
    for workers in (0, 2):
        module = make_module(coco_root, num_workers=workers)
        attach_trainer(module)
        batches.append(list(module.train_dataloader() if split == "train" else module.val_dataloader()))
    for first, second in zip(*batches, strict=True):
        assert first.ids == second.ids
        assert torch.equal(first.target, second.target)
        assert torch.equal(first.reference, second.reference)


def test_processes_share_an_epoch(coco_root: Path) -> None:
    ids = []
    for rank in (0, 1):
        module = make_module(coco_root, batch_size=2)
        attach_trainer(module, rank=rank, processes=2)
        ids.append([name for batch in module.train_dataloader() for name in batch.ids])
    assert len(ids[0]) == len(ids[1]) == 6
    assert not set(ids[0]) & set(ids[1])


def test_validation_has_every_picture_once_in_order(module: CocoDataModule) -> None:
    ids = [name for batch in module.val_dataloader() for name in batch.ids]
    assert ids == [f"val2017/{number:012d}.jpg" for number in range(1, 7)]


def test_the_test_split_is_evaluated_like_validation(tmp_path: Path) -> None:
    write_coco_split(tmp_path, "train", coco_pictures("train", 4))
    write_coco_split(tmp_path, "val", coco_pictures("val", 4))
    write_coco_split(tmp_path, "test", coco_pictures("test", 5))
    module = make_module(tmp_path, stage="test")
    assert [len(batch) for batch in module.test_dataloader()] == [4, 1]


def test_a_batch_larger_than_the_split_is_refused(coco_root: Path) -> None:
    module = make_module(coco_root, batch_size=13)
    attach_trainer(module)
    with pytest.raises(ValueError, match=r"data\.batch_size=13"):
        module.train_dataloader()
