"""Data sources: one file each. `DATA_MODULES` names them as `data=` does; modules are imported when they are asked for."""

from importlib import import_module
from typing import TYPE_CHECKING

from datamodules.config import (
    CamvidConfig,
    CocoConfig,
    DataConfig,
    FolderConfig,
    ImageNetConfig,
    MixConfig,
    SampleConfig,
)

if TYPE_CHECKING:
    from datamodules.base import PictureDataModule

DATA_MODULES: dict[str, tuple[type[DataConfig], str]] = {
    "coco": (CocoConfig, "datamodules.coco:CocoDataModule"),
    "camvid": (CamvidConfig, "datamodules.camvid:CamvidDataModule"),
    "imagenet": (ImageNetConfig, "datamodules.imagenet:ImageNetDataModule"),
    "folder": (FolderConfig, "datamodules.folder:FolderDataModule"),
    "sample": (SampleConfig, "datamodules.sample:SampleDataModule"),
    "mix": (MixConfig, "datamodules.mix:MixDataModule"),
}


def make_data_module(config: DataConfig, seed: int, **options: str) -> "PictureDataModule":
    """The data module that this config configures."""
    module, name = DATA_MODULES[config.name][1].split(":")
    return getattr(import_module(module), name)(config, seed, **options)
