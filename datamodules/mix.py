"""Several data sets at once."""

from collections.abc import Sequence

from datamodules.base import PictureDataModule
from datamodules.config import MixConfig
from datamodules.dataset import ConcatenatedDataset, PictureDataset
from datamodules.sampler import EpochOrder


class MixDataModule(PictureDataModule):
    """The data sets of `data.sources`, one after the other; targets and references are always of one source."""

    config: MixConfig

    def __init__(self, config: MixConfig, seed: int) -> None:
        from datamodules import make_data_module

        super().__init__(config, seed)
        config.check_root()
        self.parts = []
        for number, source in enumerate(config.source_configs()):
            self.parts.append(make_data_module(source, seed, prefix=f"{number}-{source.name}/"))

    def official_splits(self) -> tuple[str, ...]:
        """A test split where any source has one."""
        return ("train", "val", "test") if any(part.has_split("test") for part in self.parts) else ("train", "val")

    def prepare_splits(self, splits: Sequence[str]) -> None:
        """Prepare every source, then put them together."""
        for part in self.parts:
            part.prepare_splits([split for split in splits if part.has_split(split)])
        super().prepare_splits(splits)

    def make_dataset(self, split: str) -> ConcatenatedDataset:
        """See `PictureDataModule`."""
        datasets = []
        for part in self.parts:
            if not part.has_split(split):
                continue
            dataset = part.datasets.get(split) or part.make_dataset(split)
            assert isinstance(dataset, PictureDataset)
            datasets.append(dataset)
            self.skipped |= part.skipped
        return ConcatenatedDataset(datasets)

    def warps(self) -> bool:
        """See `PictureDataModule`."""
        return any(part.warps() for part in self.parts)

    def _order(self) -> EpochOrder:
        train = self.datasets["train"]
        assert isinstance(train, ConcatenatedDataset)
        return EpochOrder([len(part) for part in train.parts], self.config.weights, self.seed)
