"""What every data source shares: bad pictures, splits, references, loaders, and the way from uint8 to Lab on the device."""

import logging
import os
import time
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from datamodules.ab_histogram import count_ab
from datamodules.batch import Batch, PictureBatch, collate
from datamodules.cache import Form, Prepared, prepare
from datamodules.config import DEFAULT_VAL_FRACTION, DataConfig
from datamodules.dataset import ConcatenatedDataset, PictureDataset
from datamodules.pictures import Pictures
from datamodules.references import References
from datamodules.sampler import EpochOrder, EvaluationBatches, TrainBatches
from datamodules.workers import start_worker
from stylecolor.cache_directory import cache_directory
from stylecolor.errors import name_few
from stylecolor.randomness import fraction

BAD_PICTURES_LIMIT = 0.01
SPLITS = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",)}

log = logging.getLogger(__name__)


class PictureDataModule(LightningDataModule):
    """Base of the data sources; a subclass says which splits there are and which pictures each has.

    `prepare_data` decodes every picture once (see `datamodules.cache`) and finds the references; `setup` opens what it left.
    `skipped` says of every picture or annotation that was left out, by (split, name), why.
    """

    def __init__(self, config: DataConfig, seed: int, prefix: str = "") -> None:
        super().__init__()
        self.config = config
        self.seed = seed
        self.prefix = prefix
        self.datasets: dict[str, PictureDataset | ConcatenatedDataset] = {}
        self.skipped: dict[tuple[str, str], str] = {}
        self.fetched_at = 0.0
        self._listed: dict[str, Pictures] = {}

    @property
    def root(self) -> Path:
        """The data set's directory.

        Raises:
            ValueError: when `data.root` is not given or no directory.
        """
        self.config.check_root()
        return Path(str(self.config.root))

    def official_splits(self) -> tuple[str, ...]:
        """The splits that the data set itself makes: `train`, `val` and perhaps `test`; none if it makes none."""
        raise NotImplementedError

    def list_pictures(self, split: str) -> Pictures:
        """The pictures of an official split, or all as `train` where there is none; readable or not."""
        raise NotImplementedError

    def label_names(self) -> dict[int, str]:
        """What the numbers of the label maps mean, as far as the data set says; nothing without label maps."""
        return {}

    def splits(self) -> tuple[str, ...]:
        """The splits that are used."""
        official = self.official_splits()
        return ("train", "val", "test") if "test" in official else ("train", "val")

    def has_split(self, split: str) -> bool:
        """Whether there is a `train`, `val` or `test` split."""
        return split in self.splits()

    def skip(self, split: str, entries: Iterable[tuple[str, str]]) -> None:
        """Note what is left out of a split: (name, why)."""
        for name, why in entries:
            self.skipped[split, self.prefix + name] = why

    def _pictures(self, split: str) -> Pictures:
        if split in self._listed:
            return self._listed[split]
        if split == "test" or ("val" in self.official_splits() and self.config.val_fraction is None):
            self._listed[split] = self.list_pictures(split)
        else:
            share = DEFAULT_VAL_FRACTION if self.config.val_fraction is None else self.config.val_fraction
            pictures = self.list_pictures("train")
            # by the name alone, so that a picture keeps its side whatever others come or go
            held_out = np.array([fraction("split", Path(path).name) < share for path in pictures.paths], dtype=bool)
            self._listed |= {"train": pictures[~held_out], "val": pictures[held_out]}
        return self._listed[split]

    def prepare_data(self) -> None:
        """Prepare every split, in one process of each machine."""
        self.prepare_splits(self.splits())

    def prepare_splits(self, splits: Sequence[str]) -> None:
        """Prepare some of the splits, and build their data sets.

        Raises:
            ValueError: see `setup`.
        """
        self._make_datasets(splits)

    def setup(self, stage: str) -> None:
        """Build the data sets of `fit`, `validate` or `test`.

        Raises:
            ValueError: when more than 1 % of a split cannot be read, or none of its pictures has a reference.
        """
        self._make_datasets(SPLITS[stage])

    def _make_datasets(self, splits: Iterable[str]) -> None:
        for split in splits:
            if split not in self.datasets:
                self.datasets[split] = self.make_dataset(split)
                self._listed.pop(split, None)

    def make_dataset(self, split: str) -> PictureDataset | ConcatenatedDataset:
        """The targets of a split with their references.

        Raises:
            ValueError: see `setup`.
        """
        config = self.config
        what = f"{self.prefix}{split}"
        pictures = self._pictures(split)
        if not len(pictures):
            raise ValueError(f"data.root={config.root}: the {split} split has no pictures; choose another data.val_fraction or data.root")
        prepared = prepare(pictures, Form(config.image_size, config.resize, config.label_maps, config.cache), config, what)
        self._refuse_many_bad(prepared, split)
        colourful = prepared.color_ranges >= config.min_color_range
        self.skip(split, prepared.problems.items())
        grey = pictures.paths[prepared.readable & ~colourful]
        self.skip(split, ((str(path), "nearly grey") for path in grey))
        used = prepared[np.flatnonzero(prepared.readable & colourful)]
        references = References(used, config.reference_weights(), config.top_k, self.seed, cache_directory(config.cache_dir))
        dataset = PictureDataset(used, references, self.seed, self.prefix)
        if not len(dataset):
            raise ValueError(
                f"data.references={config.references}: none of the {len(used)} picture(s) of {what} can be another's reference; "
                "take more pictures (data.categories) or other data.references"
            )
        alone = used.pictures.paths[~references.has_reference()]
        self.skip(split, ((str(path), f"no reference with data.references={config.references}") for path in alone))
        for paths, why in (
            (list(prepared.problems), "missing or damaged pictures of the {} split"),
            (grey, "nearly grey pictures of the {} split"),
            (alone, "pictures of the {} split that have no reference"),
        ):
            if len(paths):
                log.warning("left out %d %s: %s", len(paths), why.format(what), name_few(map(str, paths)))
        log.info("%s: %d pictures", what, len(dataset))
        return dataset

    def _refuse_many_bad(self, prepared: Prepared, split: str) -> None:
        problems = prepared.problems
        if len(problems) > BAD_PICTURES_LIMIT * len(prepared):
            raise ValueError(
                f"data.root={self.config.root}: {len(problems)} of the {len(prepared)} pictures of the {split} split are missing or "
                f"damaged, more than {BAD_PICTURES_LIMIT:.0%}: {name_few((f'{path} ({why})' for path, why in problems.items()), limit=20)}"
            )

    def warps(self) -> bool:
        """Whether any target can be its own reference."""
        return "self" in self.config.reference_weights()

    def _order(self) -> EpochOrder:
        """How training pictures are shuffled."""
        return EpochOrder([len(self.datasets["train"])], None, self.seed)

    def ab_histogram(self) -> Int64[np.ndarray, "256 256"]:
        """How often each ab occurs in the training split, see `datamodules.ab_histogram`; of a mix, in the shares that an epoch has."""
        self._make_datasets(("train",))
        train = self.datasets["train"]
        parts = train.parts if isinstance(train, ConcatenatedDataset) else [train]
        return count_ab(parts, np.sort(self._order().of(0)), cache_directory(self.config.cache_dir))

    @property
    def batch_size(self) -> int:
        """Pictures in a step of one process, for Lightning's search of the largest; never more than the training split has."""
        return self.config.batch_size

    @batch_size.setter
    def batch_size(self, size: int) -> None:
        self.config.batch_size = max(1, min(size, len(self._order())))

    def training_batch(self, number: int) -> Batch:
        """A batch of training once more, on the CPU: the `number`-th of this process, counted from 0 over all epochs."""
        assert self.trainer is not None
        rank, processes = self._rank_and_processes()
        limit = self.trainer.num_training_batches
        batches = TrainBatches(self._order(), self.config.batch_size, rank, processes, lambda: (number, limit))
        samples = [self.datasets["train"][draw] for draw in next(iter(batches))]
        return self.on_after_batch_transfer(collate(samples, random_crops=True), 0)

    def check_processes(self, processes: int) -> None:
        """Refuse, before they are started, more processes than the splits can feed.

        Raises:
            ValueError: naming the split's size and the number of processes.
        """
        for split, dataset in self.datasets.items():
            if split == "train":
                TrainBatches(self._order(), self.config.batch_size, 0, processes, self._steps_done)
            else:
                EvaluationBatches(len(dataset), self.config.batch_size, 0, processes)

    def batches_per_epoch(self, processes: int) -> int:
        """Steps that an epoch of all training pictures takes."""
        return len(TrainBatches(self._order(), self.config.batch_size, 0, processes, self._steps_done))

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
            collate_fn=partial(collate, random_crops=split == "train"),
            pin_memory=torch.cuda.is_available(),
            persistent_workers=workers > 0,
            worker_init_fn=start_worker,
        )

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled, augmented batches, which continue where a resumed run stopped."""
        rank, processes = self._rank_and_processes()
        return self._loader("train", TrainBatches(self._order(), self.config.batch_size, rank, processes, self._steps_done))

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
        """On the device and outside autocast: crop, scale to [0, 1] and convert to Lab in float32."""
        return Batch.from_pictures(batch, self.config.image_size, warps=self.warps())
