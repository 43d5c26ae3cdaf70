"""Data modules of tiny data sets, as far as several test files make them."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from scipy.ndimage import maximum_filter, minimum_filter
from scipy.sparse import csr_array

from datamodules import DATA_MODULES, make_data_module
from datamodules.base import PictureDataModule
from datamodules.batch import Batch, Sample
from datamodules.dataset import ConcatenatedDataset, PictureDataset
from datamodules.labels import LabelMaps
from datamodules.pictures import Pictures

SIZE = 32


def make_module(name: str, root: Path | None, stage: str | None = "fit", seed: int = 0, **settings: Any) -> PictureDataModule:
    """A prepared data module; `stage=None` is not set up."""
    given = {"image_size": SIZE, "num_workers": 0, **({} if root is None else {"root": str(root)}), **settings}
    module = make_data_module(DATA_MODULES[name][0](**given), seed)
    module.prepare_data()
    if stage is not None:
        module.setup(stage)
    return module


def attach_trainer(module: PictureDataModule, steps: float = 99, done: int = 0, rank: int = 0, processes: int = 1) -> None:
    """As far as the data module looks at its trainer."""
    progress = SimpleNamespace(total=SimpleNamespace(ready=done))
    fit_loop = SimpleNamespace(epoch_loop=SimpleNamespace(batch_progress=progress))
    module.trainer = SimpleNamespace(  # pyright: ignore[reportAttributeAccessIssue]
        global_rank=rank, world_size=processes, num_training_batches=steps, fit_loop=fit_loop
    )


def part(module: PictureDataModule, split: str) -> PictureDataset:
    """The data set of a split of a module that is no mix."""
    dataset = module.datasets[split]
    assert isinstance(dataset, PictureDataset)
    return dataset


def draw_all(dataset: PictureDataset | ConcatenatedDataset, epoch: int = 0) -> list[Sample]:
    """One epoch, in order."""
    return [dataset[epoch, index] for index in range(len(dataset))]


def names_of(module: PictureDataModule, split: str) -> list[str]:
    """The targets of a split."""
    return [sample.id for sample in draw_all(module.datasets[split])]


def batches_of(module: PictureDataModule, split: str = "train", **trainer: Any) -> list[Batch]:
    """An epoch as the stages see it."""
    attach_trainer(module, **trainer)
    loader = module.train_dataloader() if split == "train" else module.val_dataloader()
    return [module.on_after_batch_transfer(batch, 0) for batch in loader]


def assert_equal_batches(first: Batch, second: Batch) -> None:
    """To the bit, in every field."""
    assert first.ids == second.ids
    for name, value in vars(first).items():
        other = getattr(second, name)
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, other), name
        else:
            assert value == other


def list_pictures(root: Path, names: Sequence[str], labels: LabelMaps | None = None) -> Pictures:
    """Pictures without groups and categories."""
    paths = np.array(names, dtype=str)
    return Pictures(root, paths, paths, csr_array(np.ones((len(paths), 1), dtype=np.int32)), ("any",), labels)


def files_below(directory: Path) -> dict[Path, tuple[int, int]]:
    """Size and time of every file."""
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in directory.rglob("*") if path.is_file()}


def near_edges(labels: np.ndarray, reach: int = 1) -> np.ndarray:
    """Bool (height, width): is there another label so many pixels away, or less?"""
    return maximum_filter(labels, 2 * reach + 1) != minimum_filter(labels, 2 * reach + 1)
