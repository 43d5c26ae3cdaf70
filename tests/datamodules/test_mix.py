from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.base import PictureDataModule
from datamodules.labels import VOID
from tests.data import color_of, make_camvid, make_folder, photograph
from tests.datamodules.modules import SIZE, assert_equal_batches, attach_trainer, batches_of, draw_all, names_of
from tests.datamodules.modules import make_module as make_any_module


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small source, a large one and one with label maps."""
    root = tmp_path_factory.mktemp("mix")
    make_folder(root / "many", pictures=32)
    (root / "few").mkdir()
    for split in ("train", "val"):
        (root / "few" / split).mkdir()
        for number in range(6):
            photograph(700 + number + 50 * (split == "val"), number).save(root / "few" / split / f"{number}.png")
    make_camvid(root / "streets")
    return {name: root / name for name in ("few", "many", "streets")}


def make_module(roots: dict[str, Path], sources: list[dict[str, Any]] | None = None, **settings: Any) -> PictureDataModule:
    default = [{"name": "folder", "root": str(roots["few"])}, {"name": "folder", "root": str(roots["many"]), "val_fraction": 0.3}]
    return make_any_module("mix", None, sources=default if sources is None else sources, **settings)


def epoch_of(module: PictureDataModule, epoch: int = 0, **trainer: Any) -> list[str]:
    attach_trainer(module, done=epoch * module.batches_per_epoch(trainer.get("processes", 1)), **trainer)
    return [name for batch in module.train_dataloader() for name in batch.ids]


def test_without_weights_an_epoch_has_every_picture_of_every_source(roots: dict[str, Path]) -> None:
    module = make_module(roots, batch_size=1)
    names = epoch_of(module)
    assert len(names) == len(set(names)) == len(module.datasets["train"])
    assert set(names) == set(names_of(module, "train"))
    prefixes = [name.split("/")[0] for name in names]
    assert set(prefixes) == {"0-folder", "1-folder"}
    assert prefixes.count("0-folder") == 6
    assert prefixes[:6].count("0-folder") < 6, "the sources come one after the other"


@pytest.mark.parametrize("processes", [1, 2])
def test_weights_are_shares_of_an_epoch(roots: dict[str, Path], processes: int) -> None:
    module = make_module(roots, batch_size=1, weights=[1, 3])
    seen = set()
    for epoch in range(8):
        names = [name for rank in range(processes) for name in epoch_of(module, epoch, rank=rank, processes=processes)]
        assert len(names) == len(set(names)) == 24
        assert sum(name.startswith("0-") for name in names) == 6
        seen |= set(names)
    assert len(seen) == len(module.datasets["train"]), "some pictures are never taken"


def test_references_come_from_the_targets_source(roots: dict[str, Path]) -> None:
    own = {}
    for number, name in enumerate(("few", "many")):
        for path in roots[name].rglob("*"):
            if path.suffix in (".jpg", ".png", ".JPEG", ".gif", ".bmp", ".webp", ".tif"):
                with Image.open(path) as picture:
                    own.setdefault(number, []).append(
                        np.asarray(picture.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BICUBIC)).astype(float)
                    )
    for kind in ("palette", "random", "unrelated"):
        module = make_module(roots, references=kind, resize="squash")
        for sample in draw_all(module.datasets["train"], 1):
            nearest = [min(np.abs(sample.reference - candidate).mean() for candidate in own[number]) for number in (0, 1)]
            assert int(np.argmin(nearest)) == int(sample.id[0])


def test_validation_has_every_picture_of_every_source_once(roots: dict[str, Path]) -> None:
    module = make_module(roots)
    found = [name for batch in batches_of(module, "val") for name in batch.ids]
    assert len(found) == len(set(found)) == len(module.datasets["val"])
    assert [name for name in found if name.startswith("0-")] == [f"0-folder/val/{number}.png" for number in range(6)]
    assert any(name.startswith("1-") for name in found)


def test_the_test_split_is_of_the_sources_that_have_one(roots: dict[str, Path]) -> None:
    assert not make_module(roots).has_split("test")
    sources = [{"name": "folder", "root": str(roots["few"])}, {"name": "camvid", "root": str(roots["streets"])}]
    module = make_module(roots, sources, stage="test")
    assert {name.split("/")[0] for name in names_of(module, "test")} == {"1-camvid"}
    assert len(names_of(module, "test")) == 3


def test_the_same_source_twice_is_told_apart(roots: dict[str, Path]) -> None:
    source = {"name": "folder", "root": str(roots["few"])}
    module = make_module(roots, [source, dict(source)])
    samples = draw_all(module.datasets["train"])
    assert len({sample.id for sample in samples}) == len({sample.key for sample in samples}) == 12


@pytest.mark.parametrize("settings", [{"num_workers": 2}, {"cache": False}])
def test_workers_and_the_cache_change_nothing(roots: dict[str, Path], settings: dict[str, Any]) -> None:
    expected = batches_of(make_module(roots, references="random", weights=[1, 1]))
    found = batches_of(make_module(roots, references="random", weights=[1, 1], **settings))
    assert len(expected) == len(found) == 3
    for first, second in zip(expected, found, strict=True):
        assert_equal_batches(first, second)


def test_what_a_source_leaves_out_is_listed_under_its_name(roots: dict[str, Path], tmp_path: Path) -> None:
    for number in range(8):
        photograph(number, number).save(tmp_path / f"{number}.png")
    for number in (8, 9):
        photograph(number, number).convert("L").save(tmp_path / f"{number}.png")
    sources = [{"name": "folder", "root": str(roots["few"])}, {"name": "folder", "root": str(tmp_path)}]
    module = make_module(roots, sources, references="self", val_fraction=0.3)
    assert {name for _, name in module.skipped} == {"1-folder/8.png", "1-folder/9.png"}
    assert set(module.skipped.values()) == {"nearly grey"}


def test_a_source_that_is_its_own_reference_is_warped(roots: dict[str, Path]) -> None:
    sources = [
        {"name": "folder", "root": str(roots["few"]), "references": "self"},
        {"name": "folder", "root": str(roots["many"]), "val_fraction": 0.3},
    ]
    module = make_module(roots, sources, references="palette", resize="squash", batch_size=2)
    warped = 0
    for batch in batches_of(module):
        for index, name in enumerate(batch.ids):
            if name.startswith("0-"):
                target, reference = batch.target_rgb[index], batch.reference_rgb[index]
                assert not torch.equal(target, reference)
                assert not torch.equal(target.flip(2), reference)
                warped += 1
    assert warped == 6


@pytest.mark.parametrize("order", [1, -1])
def test_sources_with_and_without_label_maps_go_together(roots: dict[str, Path], order: int) -> None:
    sources = [{"name": "camvid", "root": str(roots["streets"]), "label_maps": "classes"}, {"name": "folder", "root": str(roots["few"])}]
    module = make_module(roots, sources[::order], resize="squash")
    streets = 0
    for batch in batches_of(module):
        assert batch.target_labels is not None
        for index, name in enumerate(batch.ids):
            labels = batch.target_labels[index].numpy()
            if "camvid" in name:
                streets += 1
                colors = color_of(np.where(labels == VOID, 11, labels))
                off = np.abs((batch.target_rgb[index] * 255).permute(1, 2, 0).numpy() - colors).max(axis=-1) > 43
                assert off.mean() < 0.15
            else:
                assert (labels == VOID).all()
    assert streets == 6


def test_a_missing_root_of_a_source_is_named(roots: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data\.root=.*nowhere: no such directory"):
        make_module(roots, [{"name": "folder", "root": str(tmp_path / "nowhere")}])
    with pytest.raises(ValueError, match=r"data\.root: data=camvid needs the directory"):
        make_module(roots, [{"name": "camvid"}])
