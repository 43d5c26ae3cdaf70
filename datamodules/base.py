"""What every data source shares: bad pictures, references, loaders, and the way from uint8 to Lab on the device."""

import logging
import os
import time
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from datamodules.batch import Batch, PictureBatch, collate
from datamodules.config import DataConfig
from datamodules.index import picture_index
from datamodules.pictures import READ_ERRORS, Pictures, read_rgb, to_square
from datamodules.references import RandomReferences, palette_references
from datamodules.sampler import Draw, EvaluationBatches, TrainBatches
from datamodules.workers import leave_signals_to_trainer
from stylecolor.errors import name_few
from stylecolor.randomness import make_key

BAD_PICTURES_LIMIT = 0.01
SPLITS = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",)}

log = logging.getLogger(__name__)


class PictureDataset(Dataset[tuple[Tensor, Tensor, int, str]]):
    """(target, reference, key, id) for a draw: a pure function of seed, epoch and picture.

    Args:
        pictures: the split.
        config: sizes and the kind of reference.
        seed: of the crops, flips and references.
        descriptors: the pictures' palettes, read for `references=palette` alone.
        augment: random crops and flips, as in training.

    Raises:
        ValueError: when a picture cannot be read any more.
    """

    def __init__(self, pictures: Pictures, config: DataConfig, seed: int, descriptors: Tensor, augment: bool) -> None:
        self.config = config
        self.seed = seed
        self.augment = augment
        self.references: np.ndarray | RandomReferences
        if config.references == "palette":
            self.references = palette_references(pictures, descriptors)
            usable = self.references >= 0
        else:
            self.references = RandomReferences(pictures, seed, same_category=config.references == "same_category")
            usable = self.references.has_reference()
        self.pictures = pictures
        self.targets = np.flatnonzero(usable)

    def __len__(self) -> int:
        return len(self.targets)

    def _read(self, index: int, random: Random | None) -> Tensor:
        path = self.pictures.path(index)
        try:
            return to_square(read_rgb(path), self.config.image_size, self.config.resize, random)
        except READ_ERRORS as error:
            raise ValueError(f"data.root: {path} could be read before and cannot be read now ({error})") from error

    def __getitem__(self, draw: Draw) -> tuple[Tensor, Tensor, int, str]:
        epoch, position = draw
        index = int(self.targets[position])
        name = str(self.pictures.paths[index])

        def random(purpose: str) -> Random | None:
            return Random(make_key(self.seed, epoch, name, purpose)) if self.augment else None

        chosen = self.references
        reference = int(chosen[index]) if isinstance(chosen, np.ndarray) else chosen.draw(epoch, index)
        target = self._read(index, random("target crop"))
        return target, self._read(reference, random("reference crop")), make_key(self.seed, epoch, name), name


class PictureDataModule(LightningDataModule):
    """Base of the data sources; a subclass says which pictures each split has.

    `prepare_data` reads every picture once (see `datamodules.index`); `setup` leaves out what cannot be read.
    """

    def __init__(self, config: DataConfig, seed: int) -> None:
        super().__init__()
        self.config = config
        self.seed = seed
        self.datasets: dict[str, PictureDataset] = {}
        self.fetched_at = 0.0
        self._listed: dict[str, Pictures] = {}

    @property
    def root(self) -> Path:
        """The data set's directory.

        Raises:
            ValueError: when `data.root` is not given or no directory.
        """
        if self.config.root is None:
            raise ValueError(f"data.root: data={self.config.name} needs the directory of the data set, such as data.root=DIR")
        root = Path(self.config.root)
        if not root.is_dir():
            raise ValueError(f"data.root={root}: no such directory")
        return root

    def has_split(self, split: str) -> bool:
        """Whether the data set has a `train`, `val` or `test` split."""
        raise NotImplementedError

    def list_pictures(self, split: str) -> Pictures:
        """The pictures of a split, readable or not."""
        raise NotImplementedError

    def _pictures(self, split: str) -> Pictures:
        if split not in self._listed:
            self._listed[split] = self.list_pictures(split)
        return self._listed[split]

    def prepare_data(self) -> None:
        """Index every split, in one process of each machine."""
        for split in ("train", "val", "test"):
            if self.has_split(split):
                picture_index(self._pictures(split), split)

    def setup(self, stage: str) -> None:
        """Build the data sets of `fit`, `validate` or `test`.

        Raises:
            ValueError: when more than 1 % of a split cannot be read, or none of its pictures has a reference.
        """
        for split in SPLITS[stage]:
            if split not in self.datasets:
                self.datasets[split] = self._make_dataset(split)
                self._listed.pop(split, None)

    def _make_dataset(self, split: str) -> PictureDataset:
        pictures = self._pictures(split)
        readable, descriptors = picture_index(pictures, split)
        bad = [str(path) for path in pictures.paths[~readable]]
        if len(bad) > BAD_PICTURES_LIMIT * len(pictures):
            raise ValueError(
                f"data.root={self.root}: {len(bad)} of the {len(pictures)} pictures of the {split} split are missing or damaged, "
                f"more than {BAD_PICTURES_LIMIT:.0%}: {name_few(bad, limit=20)}"
            )
        if bad:
            log.warning("left out %d missing or damaged pictures of the %s split: %s", len(bad), split, name_few(bad))
        dataset = PictureDataset(
            pictures[readable], self.config, self.seed, descriptors[torch.from_numpy(readable)], augment=split == "train"
        )
        if not len(dataset):
            raise ValueError(
                f"data.references={self.config.references}: none of the {readable.sum()} picture(s) of {split} can be another's reference; "
                "take more pictures (data.categories) or other data.references"
            )
        if len(dataset) < readable.sum():
            log.warning(
                "left out %d pictures of the %s split that have no reference with data.references=%s",
                readable.sum() - len(dataset),
                split,
                self.config.references,
            )
        log.info("%s: %d pictures", split, len(dataset))
        return dataset

    def check_processes(self, processes: int) -> None:
        """Refuse, before they are started, more processes than the splits can feed.

        Raises:
            ValueError: naming the split's size and the number of processes.
        """
        for split, dataset in self.datasets.items():
            if split == "train":
                TrainBatches(len(dataset), self.config.batch_size, self.seed, 0, processes, self._steps_done)
            else:
                EvaluationBatches(len(dataset), self.config.batch_size, 0, processes)

    def batches_per_epoch(self, processes: int) -> int:
        """Steps that an epoch of all training pictures takes."""
        return len(TrainBatches(len(self.datasets["train"]), self.config.batch_size, self.seed, 0, processes, self._steps_done))

    def _rank_and_processes(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _steps_done(self) -> tuple[int, float]:
        assert self.trainer is not None
        return self.trainer.fit_loop.epoch_loop.batch_progress.total.ready, self.trainer.num_training_batches

    def _loader(self, split: str, batches: TrainBatches | EvaluationBatches) -> DataLoader[Any]:
        workers = self.config.num_workers
        if workers < 0:
            on_this_machine = max(1, int(os.environ.get("LOCAL_WORLD_SIZE", self._rank_and_processes()[1])))
            workers = min(8, max(1, (os.cpu_count() or 1) // on_this_machine - 1))
        return DataLoader(
            self.datasets[split],
            batch_sampler=batches,
            num_workers=workers,
            collate_fn=collate,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=workers > 0,
            worker_init_fn=leave_signals_to_trainer,
        )

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled, augmented batches, which continue where a resumed run stopped."""
        rank, processes = self._rank_and_processes()
        dataset = self.datasets["train"]
        return self._loader("train", TrainBatches(len(dataset), self.config.batch_size, self.seed, rank, processes, self._steps_done))

    def _evaluation_loader(self, split: str) -> DataLoader[Any]:
        rank, processes = self._rank_and_processes()
        return self._loader(split, EvaluationBatches(len(self.datasets[split]), self.config.batch_size, rank, processes))

    def val_dataloader(self) -> DataLoader[Any]:
        """The validation split, in order, centre-cropped."""
        return self._evaluation_loader("val")

    def test_dataloader(self) -> DataLoader[Any]:
        """The test split, in order, centre-cropped."""
        return self._evaluation_loader("test")

    def on_before_batch_transfer(self, batch: PictureBatch, dataloader_idx: int) -> PictureBatch:
        """Note when the loader delivered, for the share of time spent waiting for data."""
        self.fetched_at = time.perf_counter()
        return batch

    def on_after_batch_transfer(self, batch: PictureBatch, dataloader_idx: int) -> Batch:
        """On the device and outside autocast: scale to [0, 1] and convert to Lab in float32."""
        return Batch.from_pictures(batch)
