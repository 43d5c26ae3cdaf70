"""Data sources: one file each. `DATA_MODULES` names them as `data=` does; modules are imported when they are asked for."""

from importlib import import_module
from typing import TYPE_CHECKING

from datamodules.config import CocoConfig, DataConfig, SampleConfig

if TYPE_CHECKING:
    from datamodules.base import PictureDataModule

DATA_MODULES: dict[str, tuple[type[DataConfig], str]] = {
    "coco": (CocoConfig, "datamodules.coco:CocoDataModule"),
    "sample": (SampleConfig, "datamodules.sample:SampleDataModule"),
}


def make_data_module(config: DataConfig, seed: int) -> "PictureDataModule":
    """The data module that this config configures."""
    module, name = DATA_MODULES[config.name][1].split(":")
    return getattr(import_module(module), name)(config, seed)
